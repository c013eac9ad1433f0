//! Wiring, nothing else.

use fastrand::Rng;
use log_processor::{Config, Ports, Processor};
use sluice_aws::{Error, KinesisStream, Queue, Stdout, SystemClock, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    serve(Config::read, |config, connection| {
        let queue = |url: &Option<String>| url.clone().map(|url| Queue::new(connection.sqs(), url));
        let ports = Ports {
            stream: KinesisStream::new(connection.kinesis(), config.stream_name.clone()),
            queue: queue(&config.dead_letter_queue_url),
            quarantine: queue(&config.quarantine_queue_url),
            clock: SystemClock::start(),
            metrics: Stdout,
        };
        let mut processor = Processor::new(config, ports, Rng::new());
        async move |event: &str, deadline_ms| processor.handle(event, deadline_ms).await
    })
    .await
}
