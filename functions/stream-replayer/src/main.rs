//! Wiring, nothing else.

use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
use serde_json::value::RawValue;
use sluice_aws::{ControlPlane, Functions, KinesisReader, KinesisTargets, start, with_causes};
use sluice_aws::{Stdout, SystemClock};
use stream_replayer::{Config, NoteResume, Ports, ReplayError, Replayer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (config, connection) = start(Config::read)?;

    let ports = Ports {
        source: KinesisReader::new(connection.kinesis(), config.stream_name.clone()),
        streams: KinesisTargets::new(connection.kinesis()),
        functions: Functions::new(connection.lambda()),
        cloudwatch: ControlPlane::new(&connection, config.stream_name.clone()),
        clock: SystemClock::start(),
        metrics: Stdout,
        notes: Log,
    };
    let replayer = Replayer::new(config, ports, fastrand::Rng::new());
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        replayer.handle(event.payload.get(), event.context.deadline).await.map_err(diagnostic)
    }))
    .await
}

/// The function's log.
struct Log;

impl NoteResume for Log {
    fn note(&self, event: &str) {
        tracing::info!(resume = event, "replayed so far");
    }
}

/// The run's error as Lambda shows it, with its causes.
fn diagnostic(error: ReplayError) -> Diagnostic {
    let error_message = with_causes(&error);
    tracing::error!(error_message, "the replay fails; nothing of the window is lost by it");
    Diagnostic { error_type: "ReplayError".to_owned(), error_message }
}
