//! Wiring, nothing else.

use archiver::{Archiver, Config, Ports};
use fastrand::Rng;
use sluice_aws::{Error, Firehose, Queue, Stdout, SystemClock, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    serve(Config::read, |config, connection| {
        let ports = Ports {
            firehose: Firehose::new(connection.firehose(), config.delivery_stream_name.clone()),
            on_failure: Queue::new(connection.sqs(), config.on_failure_queue_url.clone()),
            clock: SystemClock::start(),
            metrics: Stdout,
        };
        let mut archiver = Archiver::new(config, ports, Rng::new());
        async move |event: &str, deadline_ms| archiver.handle(event, deadline_ms).await
    })
    .await
}
