//! Wiring, nothing else.

use dlq_replayer::{Config, Ports, ReplayError, Replayer};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
use serde_json::value::RawValue;
use sluice::aws::{Connection, Functions, Queue};
use sluice::config::EnvReader;
use sluice::system::{Stdout, SystemClock};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    sluice::telemetry::init();
    let lookup = |name: &str| std::env::var(name).ok();
    let mut env = EnvReader::new(&lookup);
    let (config, connection) = (Config::read(&mut env), Connection::read(&mut env));
    let (config, connection) = env.finish(config.zip(connection)).inspect_err(|error| {
        tracing::error!(problems = ?error.0, "the function cannot start");
    })?;

    let ports = Ports {
        queue: Queue::new(connection.sqs(), config.dead_letter_queue_url.clone()),
        quarantine: Queue::new(connection.sqs(), config.quarantine_queue_url.clone()),
        functions: Functions::new(connection.lambda()),
        clock: SystemClock::start(),
        metrics: Stdout,
    };
    let replayer = Replayer::new(config, ports, fastrand::Rng::new());
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        replayer.handle(event.payload.get(), event.context.deadline).await.map_err(diagnostic)
    }))
    .await
}

/// The run's error as Lambda shows it, with its cause.
fn diagnostic(error: ReplayError) -> Diagnostic {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    let error_message = format!("{error}{}", cause.unwrap_or_default());
    tracing::error!(error_message, "the run fails; what it did not finish is in the queue");
    Diagnostic { error_type: "ReplayError".to_owned(), error_message }
}
