//! Wiring, nothing else.

use dlq_replayer::{Config, Ports, ReplayError, Replayer};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
use serde_json::value::RawValue;
use sluice_aws::{Functions, Queue, start, with_causes};
use sluice_aws::{Stdout, SystemClock};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (config, connection) = start(Config::read)?;

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

/// The run's error as Lambda shows it, with its causes.
fn diagnostic(error: ReplayError) -> Diagnostic {
    let error_message = with_causes(&error);
    tracing::error!(error_message, "the run fails; what it did not finish is in the queue");
    Diagnostic { error_type: "ReplayError".to_owned(), error_message }
}
