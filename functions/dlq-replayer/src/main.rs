//! Wiring, nothing else.

use dlq_replayer::{Config, Ports, Replayer};
use fastrand::Rng;
use sluice_aws::{Error, Functions, Queue, Stdout, SystemClock, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    serve(Config::read, |config, connection| {
        let ports = Ports {
            queue: Queue::new(connection.sqs(), config.dead_letter_queue_url.clone()),
            quarantine: Queue::new(connection.sqs(), config.quarantine_queue_url.clone()),
            functions: Functions::new(connection.lambda()),
            clock: SystemClock::start(),
            metrics: Stdout,
        };
        let replayer = Replayer::new(config, ports, Rng::new());
        async move |event: &str, deadline_ms| replayer.handle(event, deadline_ms).await
    })
    .await
}
