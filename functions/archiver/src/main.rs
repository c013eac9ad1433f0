//! Wiring, nothing else.

use archiver::{Archiver, Config, NotAKinesisEvent, Ports};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
use serde_json::value::RawValue;
use sluice::aws::{Connection, Firehose, Queue};
use sluice::config::EnvReader;
use sluice::system::{Stdout, SystemClock};
use tokio::sync::Mutex;

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
        firehose: Firehose::new(connection.firehose(), config.delivery_stream_name.clone()),
        on_failure: Queue::new(connection.sqs(), config.on_failure_queue_url.clone()),
        clock: SystemClock::start(),
        metrics: Stdout,
    };
    let archiver = Mutex::new(Archiver::new(config, ports, fastrand::Rng::new()));
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let mut archiver = archiver.lock().await;
        archiver.handle(event.payload.get(), event.context.deadline).await.map_err(diagnostic)
    }))
    .await
}

/// The invocation's error as Lambda shows it, with its cause.
fn diagnostic(error: NotAKinesisEvent) -> Diagnostic {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    let error_message = format!("{error}{}", cause.unwrap_or_default());
    tracing::error!(error_message, "the invocation fails");
    Diagnostic { error_type: "NotAKinesisEvent".to_owned(), error_message }
}
