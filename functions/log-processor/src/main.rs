//! Wiring, nothing else.

// The layout of an async function around the runtime's is deeper than the compiler looks by default.
#![recursion_limit = "256"]

use std::error::Error as StdError;

use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
use log_processor::{Config, Forwarder, Ports, Processor, Role};
use serde_json::value::RawValue;
use sluice_aws::{Connection, KinesisStream, Queue, Stdout, SystemClock, start, with_causes};
use tokio::sync::Mutex;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    match start(Role::read)? {
        (Role::Processor(config), connection) => process(config, &connection).await,
        (Role::Forwarder { queue_url }, connection) => {
            Box::pin(forward(queue_url, &connection)).await
        }
    }
}

async fn process(config: Config, connection: &Connection) -> Result<(), Error> {
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
        let answered = processor.answer(event.payload.get(), event.context.deadline).await;
        answered.map_err(|error| diagnostic("HandOverFailed", &error))
    }))
    .await
}

async fn forward(queue_url: String, connection: &Connection) -> Result<(), Error> {
    let queue = Queue::new(connection.sqs(), queue_url);
    let forwarder = Mutex::new(Forwarder::new(queue, SystemClock::start(), fastrand::Rng::new()));
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let mut forwarder = forwarder.lock().await;
        let forwarded = forwarder.forward(event.payload.get(), event.context.deadline).await;
        forwarded.map_err(|error| diagnostic("NotForwarded", &error))
    }))
    .await
}

/// The invocation's error as Lambda shows it, with its causes.
fn diagnostic(error_type: &str, error: &dyn StdError) -> Diagnostic {
    let error_message = with_causes(error);
    tracing::error!(error_message, "the invocation fails");
    Diagnostic { error_type: error_type.to_owned(), error_message }
}
