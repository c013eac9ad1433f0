//! The traffic of a stream of one's own, read from its metrics.

use anyhow::{Context, bail};
use sluice::config::EnvReader;
use sluice::ports::{Clock, DataPoint, MetricQuery, ReadMetrics};
use sluice_aws::SystemClock;
use sluice_aws::{Connection, ControlPlane};

use crate::what_if::clock::{SECONDS_PER_DAY, SECONDS_PER_MINUTE};
use crate::what_if::trace::Trace;

/// CloudWatch keeps data points of a minute for so many days. (CloudWatch documentation; Nov 2026)
const MINUTES_KEPT_DAYS: f64 = 15.0;
/// The latest minutes have no data yet.
const LATE_SECONDS: u64 = 300;

/// Reads the last `days` of `stream` with the region and credentials of the environment.
pub fn read_from_environment(stream: &str, days: f64) -> anyhow::Result<Trace> {
    let lookup = |name: &str| std::env::var(name).ok();
    let mut env = EnvReader::new(&lookup);
    let connection = Connection::read(&mut env);
    let connection = env.finish(connection)?;
    let plane = ControlPlane::new(&connection, stream.to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(read(&plane, stream, days, SystemClock::start().epoch_ms()))
}

/// Reads the last `days` of `stream` before `now_ms`. Kinesis publishes nothing for a minute
/// without puts, so a minute without data is a minute without traffic.
pub async fn read<W: ReadMetrics>(
    world: &W,
    stream: &str,
    days: f64,
    now_ms: u64,
) -> anyhow::Result<Trace> {
    if days > MINUTES_KEPT_DAYS {
        bail!("CloudWatch keeps minutes for {MINUTES_KEPT_DAYS} days: --days is {days}");
    }
    let query = |name: &str| MetricQuery {
        namespace: "AWS/Kinesis".to_owned(),
        name: name.to_owned(),
        dimensions: vec![("StreamName".to_owned(), stream.to_owned())],
        statistic: "Sum".to_owned(),
    };
    let names = ["IncomingBytes", "IncomingRecords", "WriteProvisionedThroughputExceeded"];
    let now_minute = (now_ms / 1_000 - LATE_SECONDS) / SECONDS_PER_MINUTE;
    let minutes = ((days * SECONDS_PER_DAY as f64) as u64 / SECONDS_PER_MINUTE).max(2);
    let from_minute = now_minute.saturating_sub(minutes);
    let ms = |minute: u64| minute * SECONDS_PER_MINUTE * 1_000;
    let answer = world
        .get_metrics(&names.map(query), ms(from_minute), ms(now_minute))
        .await
        .with_context(|| format!("the metrics of {stream} cannot be read"))?;
    let [bytes, records, refused] = <[Vec<DataPoint>; 3]>::try_from(answer)
        .map_err(|answer| anyhow::anyhow!("{} series instead of three", answer.len()))?;
    let sum = |points: &[DataPoint]| points.iter().map(|point| point.value).sum::<f64>();
    if sum(&bytes) <= 0.0 {
        bail!(
            "{stream} took no data in the last {days} days: are the name, AWS_REGION and the \
             account right?"
        );
    }
    let mut bytes_per_second = vec![0.0; minutes as usize];
    for point in &bytes {
        let minute = point.epoch_ms / 1_000 / SECONDS_PER_MINUTE;
        let place = minute.checked_sub(from_minute).map(|place| place as usize);
        if let Some(value) = place.and_then(|place| bytes_per_second.get_mut(place)) {
            *value = point.value / SECONDS_PER_MINUTE as f64;
        }
    }
    Ok(Trace {
        name: format!("{stream}, the last {days} days"),
        step_seconds: SECONDS_PER_MINUTE,
        begins_at_second: from_minute * SECONDS_PER_MINUTE % SECONDS_PER_DAY,
        bytes_per_second,
        refused_records: Some(sum(&refused)).filter(|&refused| refused > 0.0),
        record_bytes: Some(sum(&bytes) / sum(&records)).filter(|bytes| bytes.is_finite()),
    })
}
