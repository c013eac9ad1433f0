//! Wiring, nothing else.

use fastrand::Rng;
use sluice_aws::{
    ControlPlane, Error, Functions, KinesisReader, KinesisTargets, Stdout, SystemClock, serve,
};
use stream_replayer::{Config, NoteResume, Ports, Replayer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    serve(Config::read, |config, connection| {
        let ports = Ports {
            source: KinesisReader::new(connection.kinesis(), config.stream_name.clone()),
            streams: KinesisTargets::new(connection.kinesis()),
            functions: Functions::new(connection.lambda()),
            cloudwatch: ControlPlane::new(connection, config.stream_name.clone()),
            clock: SystemClock::start(),
            metrics: Stdout,
            notes: Log,
        };
        let replayer = Replayer::new(config, ports, Rng::new());
        async move |event: &str, deadline_ms| replayer.handle(event, deadline_ms).await
    })
    .await
}

struct Log;

impl NoteResume for Log {
    fn note(&self, event: &str) {
        tracing::info!(resume = event, "replayed so far");
    }
}
