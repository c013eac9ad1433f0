//! CloudWatch: metrics that are seen late, and alarms that act on a change of state only.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use sluice::ports::{Alarm, DataPoint};
use sluice::scaling::AlarmState;

/// What Lambda counts of a function's events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AsyncCounts {
    /// `AsyncEventsReceived`.
    pub received: u64,
    /// `Invocations`, synchronous ones included.
    pub invocations: u64,
    /// `Errors`.
    pub errors: u64,
    /// `AsyncEventsDropped`: given up, with or without a dead-letter queue to take them.
    pub dropped: u64,
    /// Tries that found no free environment.
    pub throttles: u64,
    /// The longest that an event waited for its first invocation.
    pub age_ms_max: u64,
}

/// Buckets of high-resolution metrics, in milliseconds.
pub const HIGH_RESOLUTION_MS: u64 = 10_000;
/// Buckets of all other metrics.
pub const MINUTE_MS: u64 = 60_000;
/// Data points stamped longer ago than this are readable late.
const OLD_MS: u64 = 3 * 60 * MINUTE_MS;
/// Data points stamped longer ago than this are readable days late.
const VERY_OLD_MS: u64 = 24 * 60 * MINUTE_MS;
/// An old data point is readable within this.
const OLD_LATE_MS_MAX: u64 = 2 * 60 * MINUTE_MS;
/// A very old one is readable after this at the earliest. AWS gives no upper bound.
const VERY_OLD_LATE_MS_MIN: u64 = 48 * 60 * MINUTE_MS;
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

/// What a period holds that became readable at one moment.
#[derive(Debug, Clone)]
struct Bucket {
    sum: f64,
    values: Vec<f64>,
    visible_ms: u64,
}

/// How much longer than a new one a data point of this age takes to become readable, within what AWS
/// documents: "Data points with time stamps from 24 hours ago or longer can take at least 48 hours
/// to become available for GetMetricData or GetMetricStatistics from the time they are submitted.
/// Data points with time stamps between 3 and 24 hours ago can take as much as 2 hours". (API
/// reference, "PutMetricData"; Nov 2026)
#[must_use]
pub fn further_delay_ms(age_ms: u64) -> RangeInclusive<u64> {
    match age_ms {
        0..OLD_MS => 0..=0,
        OLD_MS..VERY_OLD_MS => 0..=OLD_LATE_MS_MAX,
        VERY_OLD_MS.. => VERY_OLD_LATE_MS_MIN..=VERY_OLD_LATE_MS_MIN + VERY_OLD_MS,
    }
}

/// What metric math's `FILL` makes of a metric that was never published. AWS does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unpublished {
    /// The filler, as for a metric that has a gap.
    #[default]
    IsFilled,
    /// No data points: there is no series to fill.
    StaysEmpty,
}

/// Every metric that was published.
#[derive(Debug, Clone, Default)]
pub struct MetricStore {
    series: BTreeMap<MetricName, BTreeMap<u64, Vec<Bucket>>>,
    /// What `FILL` makes of all other metrics.
    pub unpublished: Unpublished,
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
        let buckets = series.entry(begin_ms).or_default();
        match buckets.iter_mut().find(|bucket| bucket.visible_ms == visible_ms) {
            Some(bucket) => {
                bucket.sum += value;
                bucket.values.push(value);
            }
            None => buckets.push(Bucket { sum: value, values: vec![value], visible_ms }),
        }
    }

    /// Whether `FILL` fills this metric's gaps at `now_ms`.
    #[must_use]
    pub fn is_filled(&self, metric: &MetricName, now_ms: u64) -> bool {
        let is_published = |series: &BTreeMap<u64, Vec<Bucket>>| {
            series.values().flatten().any(|bucket| bucket.visible_ms <= now_ms)
        };
        self.unpublished == Unpublished::IsFilled
            || self.series.get(metric).is_some_and(is_published)
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
        for (begin_ms, buckets) in series.range(from_ms..to_ms.max(from_ms)) {
            for bucket in buckets.iter().filter(|bucket| bucket.visible_ms <= now_ms) {
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

    #[test]
    fn what_comes_late_hides_nothing_that_was_seen() {
        let metric = MetricName::new("Sluice", "EventTimeIn", &[]);
        let mut store = MetricStore::default();
        store.publish(&metric, BEGIN_MS, 1.0, BEGIN_MS + 60_000);
        store.publish(&metric, BEGIN_MS, 2.0, BEGIN_MS + 600_000);
        let read = |now_ms| {
            let points = store.read(&metric, "Sum", MINUTE_MS, BEGIN_MS, now_ms, now_ms);
            points.iter().map(|point| point.value).collect::<Vec<_>>()
        };
        assert_eq!(read(BEGIN_MS + 60_000), [1.0]);
        assert_eq!(read(BEGIN_MS + 600_000), [3.0]);
    }

    #[test]
    fn the_older_a_time_stamp_the_later_its_data_point_is_readable() {
        let hour_ms = 60 * MINUTE_MS;
        assert_eq!(further_delay_ms(3 * hour_ms - 1), 0..=0);
        assert_eq!(further_delay_ms(3 * hour_ms), 0..=2 * hour_ms);
        assert_eq!(further_delay_ms(24 * hour_ms - 1), 0..=2 * hour_ms);
        assert_eq!(*further_delay_ms(24 * hour_ms).start(), 48 * hour_ms);
    }
}
