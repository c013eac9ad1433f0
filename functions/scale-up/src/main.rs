//! Wiring, nothing else.

use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
use scale_up::ScaleUp;
use serde_json::value::RawValue;
use sluice::aws::{Connection, ControlPlane};
use sluice::config::EnvReader;
use sluice::scaling::ScalingConfig;
use sluice::scaling::run::ScalingError;
use sluice::system::{Stdout, SystemClock};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    sluice::telemetry::init();
    let lookup = |name: &str| std::env::var(name).ok();
    let mut env = EnvReader::new(&lookup);
    let (config, connection) = (ScalingConfig::read(&mut env), Connection::read(&mut env));
    let (config, connection) = env.finish(config.zip(connection)).inspect_err(|error| {
        tracing::error!(problems = ?error.0, "the function cannot start");
    })?;

    let world = ControlPlane::new(&connection, config.stream_name.clone());
    let function = ScaleUp::new(config, world, SystemClock::start(), Stdout);
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        function.handle(event.payload.get()).await.map_err(diagnostic)
    }))
    .await
}

/// The wake-up's error as Lambda shows it.
fn diagnostic(error: ScalingError) -> Diagnostic {
    tracing::error!(%error, "the wake-up fails; the next one looks again");
    Diagnostic { error_type: "ScalingError".to_owned(), error_message: error.to_string() }
}
