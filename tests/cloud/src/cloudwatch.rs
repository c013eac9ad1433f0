//! CloudWatch: metrics that are seen late, and alarms that act on a change of state only.

use std::collections::BTreeMap;

use sluice::ports::{Alarm, DataPoint};
use sluice::scaling::AlarmState;

/// Buckets of high-resolution metrics, in milliseconds.
pub const HIGH_RESOLUTION_MS: u64 = 10_000;
/// Buckets of all other metrics.
pub const MINUTE_MS: u64 = 60_000;
/// How far back an alarm looks for its latest period.
const EVALUATION_RANGE_MS: u64 = 5 * MINUTE_MS;

/// A metric's identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricName {
    /// `Namespace`.
    pub namespace: String,
    /// `MetricName`.
    pub name: String,
    /// `Dimensions`, sorted.
    pub dimensions: Vec<(String, String)>,
}

impl MetricName {
    /// A metric's identity.
    #[must_use]
    pub fn new(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Self {
        let owned = dimensions.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
        let mut dimensions: Vec<_> = owned.collect();
        dimensions.sort();
        Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions }
    }
}

/// What a period holds.
#[derive(Debug, Clone, Default)]
struct Bucket {
    sum: f64,
    values: Vec<f64>,
    visible_ms: u64,
}

/// Every metric that was published.
#[derive(Debug, Clone, Default)]
pub struct MetricStore {
    series: BTreeMap<MetricName, BTreeMap<u64, Bucket>>,
}

impl MetricStore {
    /// Every metric of which there is anything.
    pub fn metrics(&self) -> impl Iterator<Item = &MetricName> {
        self.series.keys()
    }

    /// Publishes a value in the bucket that begins at `begin_ms`. It is seen from `visible_ms` on.
    pub fn publish(&mut self, metric: &MetricName, begin_ms: u64, value: f64, visible_ms: u64) {
        if !self.series.contains_key(metric) {
            self.series.insert(metric.clone(), BTreeMap::new());
        }
        let series = self.series.get_mut(metric).expect("just put there");
        let bucket = series.entry(begin_ms).or_default();
        bucket.sum += value;
        bucket.values.push(value);
        bucket.visible_ms = bucket.visible_ms.max(visible_ms);
    }

    /// The periods that begin in `from_ms..to_ms` and of which something is seen at `now_ms`,
    /// oldest first.
    #[must_use]
    pub fn read(
        &self,
        metric: &MetricName,
        statistic: &str,
        period_ms: u64,
        from_ms: u64,
        to_ms: u64,
        now_ms: u64,
    ) -> Vec<DataPoint> {
        let Some(series) = self.series.get(metric) else { return Vec::new() };
        let mut periods: BTreeMap<u64, Vec<&Bucket>> = BTreeMap::new();
        let from_ms = from_ms / period_ms * period_ms;
        for (begin_ms, bucket) in series.range(from_ms..to_ms.max(from_ms)) {
            if bucket.visible_ms <= now_ms {
                periods.entry(begin_ms / period_ms * period_ms).or_default().push(bucket);
            }
        }
        let point = |(epoch_ms, buckets): (u64, Vec<&Bucket>)| DataPoint {
            epoch_ms,
            value: statistic_of(statistic, &buckets),
        };
        periods.into_iter().map(point).collect()
    }
}

fn statistic_of(statistic: &str, buckets: &[&Bucket]) -> f64 {
    if statistic == "Sum" {
        return buckets.iter().map(|bucket| bucket.sum).sum();
    }
    let count = buckets.iter().map(|bucket| bucket.values.len()).sum::<usize>() as f64;
    match statistic {
        "SampleCount" => return count,
        "Average" => return buckets.iter().map(|bucket| bucket.sum).sum::<f64>() / count,
        _ => {}
    }
    let mut values: Vec<f64> =
        buckets.iter().flat_map(|bucket| bucket.values.iter().copied()).collect();
    values.sort_by(f64::total_cmp);
    let rank = match statistic {
        "Maximum" => 1.0,
        "Minimum" => 0.0,
        percentile => {
            let percent = percentile.strip_prefix('p').and_then(|percent| percent.parse().ok());
            percent.map_or_else(|| panic!("no such statistic: {percentile}"), |p: f64| p / 100.0)
        }
    };
    let last = values.len().saturating_sub(1) as f64;
    values.get((last * rank).ceil() as usize).copied().unwrap_or(0.0)
}

/// An alarm on one metric that is over its threshold in one period. Missing data are not breaching.
#[derive(Debug, Clone)]
pub struct MetricAlarm {
    /// As DescribeAlarms gives it.
    pub alarm: Alarm,
    /// What it watches.
    pub metric: MetricName,
    /// `Statistic`.
    pub statistic: String,
}

impl MetricAlarm {
    /// The state that the latest period seen at `now_ms` gives.
    #[must_use]
    pub fn evaluate(&self, metrics: &MetricStore, now_ms: u64) -> AlarmState {
        let period_ms = u64::from(self.alarm.period_seconds) * 1_000;
        // Only whole periods.
        let to_ms = now_ms / period_ms * period_ms;
        let from_ms = to_ms.saturating_sub(EVALUATION_RANGE_MS.max(2 * period_ms));
        let points = metrics.read(&self.metric, &self.statistic, period_ms, from_ms, to_ms, now_ms);
        match points.last() {
            Some(point) if point.value > self.alarm.threshold => AlarmState::Alarm,
            _ => AlarmState::Ok,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN_MS: u64 = 1_795_219_200_000;

    #[test]
    fn data_are_seen_late_and_added_up() {
        let metric = MetricName::new("Sluice", "WantedBytes", &[("b", "2"), ("a", "1")]);
        let mut store = MetricStore::default();
        for bucket in 0..12 {
            let begin_ms = BEGIN_MS + bucket * HIGH_RESOLUTION_MS;
            store.publish(&metric, begin_ms, bucket as f64, begin_ms + 20_000);
        }
        let read = |statistic: &str, now_ms| {
            let points = store.read(&metric, statistic, MINUTE_MS, BEGIN_MS, now_ms, now_ms);
            points.iter().map(|point| point.value).collect::<Vec<_>>()
        };
        assert_eq!(read("Sum", BEGIN_MS + 10_000), [] as [f64; 0]);
        assert_eq!(read("Sum", BEGIN_MS + 40_000), [3.0]);
        assert_eq!(read("Sum", BEGIN_MS + 140_000), [15.0, 51.0]);
        assert_eq!(read("Maximum", BEGIN_MS + 140_000), [5.0, 11.0]);
        assert_eq!(read("p50", BEGIN_MS + 140_000), [3.0, 9.0]);
    }
}
