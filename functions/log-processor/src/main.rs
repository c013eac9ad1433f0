//! Wiring, nothing else.

use fastrand::Rng;
use log_processor::{Config, Forwarder, Ports, Processor, Role};
use sluice_aws::{Connection, Error, KinesisStream, Queue, Stdout, SystemClock, answer, start};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    match start(Role::read)? {
        (Role::Processor(config), connection) => process(config, &connection).await,
        (Role::Forwarder { queue_url }, connection) => forward(queue_url, &connection).await,
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
    let mut processor = Processor::new(config, ports, Rng::new());
    answer(async move |event: &str, deadline_ms| processor.answer(event, deadline_ms).await).await
}

async fn forward(queue_url: String, connection: &Connection) -> Result<(), Error> {
    let queue = Queue::new(connection.sqs(), queue_url);
    let mut forwarder = Forwarder::new(queue, SystemClock::start(), Rng::new());
    answer(async move |event: &str, deadline_ms| forwarder.forward(event, deadline_ms).await).await
}
