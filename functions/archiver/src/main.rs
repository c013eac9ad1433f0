//! Wiring, nothing else.

use archiver::{Archiver, Config, NotAKinesisEvent, Ports};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
use serde_json::value::RawValue;
use sluice_aws::{Firehose, Queue, start, with_causes};
use sluice_aws::{Stdout, SystemClock};
use tokio::sync::Mutex;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (config, connection) = start(Config::read)?;

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

/// The invocation's error as Lambda shows it, with its causes.
fn diagnostic(error: NotAKinesisEvent) -> Diagnostic {
    let error_message = with_causes(&error);
    tracing::error!(error_message, "the invocation fails");
    Diagnostic { error_type: "NotAKinesisEvent".to_owned(), error_message }
}
