//! Wiring, nothing else.

use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
use log_processor::{Config, HandOverFailed, Ports, Processor};
use serde_json::value::RawValue;
use sluice_aws::{KinesisStream, Queue, start, with_causes};
use sluice_aws::{Stdout, SystemClock};
use tokio::sync::Mutex;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (config, connection) = start(Config::read)?;

    let queue = |url: &Option<String>| url.clone().map(|url| Queue::new(connection.sqs(), url));
    let ports = Ports {
        stream: KinesisStream::new(connection.kinesis(), config.stream_name.clone()),
        queue: queue(&config.dead_letter_queue_url),
        quarantine: queue(&config.quarantine_queue_url),
        clock: SystemClock::start(),
        metrics: Stdout,
    };
    let processor = Mutex::new(Processor::new(config, ports, fastrand::Rng::new()));
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let mut processor = processor.lock().await;
        processor.handle(event.payload.get(), event.context.deadline).await.map_err(diagnostic)
    }))
    .await
}

/// The invocation's error as Lambda shows it, with its causes.
fn diagnostic(error: HandOverFailed) -> Diagnostic {
    let error_message = with_causes(&error);
    tracing::error!(error_message, "the invocation fails");
    Diagnostic { error_type: "HandOverFailed".to_owned(), error_message }
}
