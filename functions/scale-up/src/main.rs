//! Wiring, nothing else.

use scale_up::ScaleUp;
use sluice_autoscaler::ScalingConfig;
use sluice_aws::{ControlPlane, Error, Stdout, SystemClock, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    serve(ScalingConfig::read, |config, connection| {
        let world = ControlPlane::new(connection, config.stream_name.clone());
        let function =
            ScaleUp::new(config, world, SystemClock::start(), Stdout, fastrand::Rng::new());
        async move |event: &str, _| function.handle(event).await
    })
    .await
}
