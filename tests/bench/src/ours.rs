//! Our handler, wired as `functions/log-processor/src/main.rs` wires it, but for time and metrics.

use std::cell::Cell;
use std::time::Duration;

use log_processor::{Config, Ports, Processor};
use serde_json::value::RawValue;
use sluice::config::EnvReader;
use sluice::ports::{Clock, EmitMetrics};
use sluice::records::RecordFormat;
use sluice_aws::SystemClock;
use sluice_aws::{Connection, KinesisStream, Queue};

use crate::Error;

pub type BenchProcessor = Processor<KinesisStream, Queue, PacelessClock, NoMetrics>;

/// The machine's clocks, but every look at the monotonic one, on which only pacing looks, finds
/// it a second on: the pacer's bucket is always full, and no time is spent waiting.
pub struct PacelessClock {
    system: SystemClock,
    looks: Cell<u32>,
}

impl Clock for PacelessClock {
    fn epoch_ms(&self) -> u64 {
        self.system.epoch_ms()
    }

    fn monotonic(&self) -> Duration {
        self.looks.set(self.looks.get() + 1);
        Duration::from_secs(u64::from(self.looks.get()))
    }

    async fn sleep(&self, duration: Duration) {
        self.system.sleep(duration).await;
    }
}

/// Takes the line, which has been made, and drops it.
pub struct NoMetrics;

impl EmitMetrics for NoMetrics {
    fn emit(&self, line: &str) {
        std::hint::black_box(line);
    }
}

/// The environment that the handlers' configuration is read from.
fn variable(
    name: &str,
    endpoint_url: &str,
    format: RecordFormat,
    envelope: bool,
) -> Option<String> {
    let value = match name {
        "STREAM_NAME" => "bench",
        "TRANSFORM" if envelope => "envelope",
        "TRANSFORM" => "passthrough",
        "RECORD_FORMAT" => match format {
            RecordFormat::Single => "single",
            RecordFormat::Kpl => "kpl",
            RecordFormat::Gzip => "gzip",
        },
        "RECORD_BYTES_TARGET" => "24900",
        "MAX_RECORD_KIB" => "1024",
        "PARTITION_BY" => "even",
        "CONCURRENCY_PER_SHARD" => "1",
        "PUT_ATTEMPTS_MAX" => "10",
        "AWS_LAMBDA_FUNCTION_NAME" => "bench",
        "AWS_REGION" => "eu-west-1",
        "AWS_ACCESS_KEY_ID" => "bench",
        "AWS_SECRET_ACCESS_KEY" => "bench",
        "AWS_ENDPOINT_URL" => endpoint_url,
        _ => return None,
    };
    Some(value.to_owned())
}

pub fn stream(endpoint_url: &str) -> Result<KinesisStream, Error> {
    let lookup = |name: &str| variable(name, endpoint_url, RecordFormat::Kpl, false);
    let mut env = EnvReader::new(&lookup);
    let connection = Connection::read(&mut env);
    let connection = env.finish(connection)?;
    Ok(KinesisStream::new(connection.kinesis(), "bench".to_owned()))
}

pub fn processor(
    endpoint_url: &str,
    format: RecordFormat,
    envelope: bool,
) -> Result<BenchProcessor, Error> {
    let lookup = |name: &str| variable(name, endpoint_url, format, envelope);
    let mut env = EnvReader::new(&lookup);
    let config = Config::read(&mut env);
    let config = env.finish(config)?;
    let ports = Ports {
        stream: stream(endpoint_url)?,
        queue: None,
        quarantine: None,
        clock: PacelessClock { system: SystemClock::start(), looks: Cell::new(0) },
        metrics: NoMetrics,
    };
    Ok(Processor::new(config, ports, fastrand::Rng::with_seed(1)))
}

/// One invocation, from what Lambda's runtime reads off the wire. Without a queue, `Ok` means that
/// the sink has accepted every event.
pub async fn handle(processor: &mut BenchProcessor, event: &[u8]) -> Result<(), Error> {
    let event: Box<RawValue> = serde_json::from_slice(event)?;
    let deadline_epoch_ms = SystemClock::start().epoch_ms() + 60_000;
    processor.handle(event.get(), deadline_epoch_ms).await?;
    Ok(())
}
