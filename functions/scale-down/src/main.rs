//! Wiring, nothing else.

use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
use scale_down::ScaleDown;
use serde_json::value::RawValue;
use sluice_autoscaler::ScalingConfig;
use sluice_autoscaler::ScalingError;
use sluice_aws::{ControlPlane, start};
use sluice_aws::{Stdout, SystemClock};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (config, connection) = start(ScalingConfig::read)?;

    let world = ControlPlane::new(&connection, config.stream_name.clone());
    let function =
        ScaleDown::new(config, world, SystemClock::start(), Stdout, fastrand::Rng::new());
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        function.handle(event.payload.get()).await.map_err(diagnostic)
    }))
    .await
}

/// The invocation's error as Lambda shows it.
fn diagnostic(error: ScalingError) -> Diagnostic {
    tracing::error!(%error, "invocation failed; the next scheduled run will retry");
    Diagnostic { error_type: "ScalingError".to_owned(), error_message: error.to_string() }
}
