//! An alarm as CloudWatch evaluates it: M of N periods, any comparison, metric math, missing data.
//!
//! "Using Amazon CloudWatch alarms", CloudWatch user guide, read in November 2026. Data come late, so
//! CloudWatch looks at some periods more than asked for and takes the latest that have data.

use std::collections::{BTreeMap, BTreeSet};

use sluice::scaling::AlarmState;

use crate::cloudwatch::{MetricName, MetricStore};
use crate::metric_math::{Expression, Series};

/// Periods that are looked at beyond `EvaluationPeriods`. AWS gives no number.
const FURTHER_PERIODS: u64 = 5;

/// `ComparisonOperator`, without the anomaly bands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `GreaterThanThreshold`.
    Greater,
    /// `GreaterThanOrEqualToThreshold`.
    GreaterOrEqual,
    /// `LessThanThreshold`.
    Less,
    /// `LessThanOrEqualToThreshold`.
    LessOrEqual,
}

/// `TreatMissingData`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The state becomes INSUFFICIENT_DATA.
    Insufficient,
    /// The state stays.
    Ignored,
    /// As if over the threshold.
    Breaching,
    /// As if under it.
    NotBreaching,
}

/// One of an alarm's queries.
#[derive(Debug, Clone)]
pub enum Query {
    /// A metric with its statistic.
    Metric(MetricName, String),
    /// An expression over other queries.
    Math(Expression),
}

/// An alarm.
#[derive(Debug, Clone)]
pub struct AlarmRule {
    /// Queries by ID.
    pub queries: BTreeMap<String, Query>,
    /// The query that is compared.
    pub compared: String,
    /// `Period`.
    pub period_seconds: u64,
    /// `ComparisonOperator`.
    pub comparison: Comparison,
    /// `Threshold`.
    pub threshold: f64,
    /// `EvaluationPeriods`.
    pub evaluation_periods: u64,
    /// `DatapointsToAlarm`.
    pub datapoints_to_alarm: u64,
    /// `TreatMissingData`.
    pub missing: Missing,
}

impl AlarmRule {
    /// The data points that it goes by at `now_ms`.
    ///
    /// # Panics
    /// When an expression cannot be evaluated.
    #[must_use]
    pub fn data_points(&self, metrics: &MetricStore, now_ms: u64) -> Series {
        let period_ms = self.period_seconds * 1_000;
        let to_ms = now_ms / period_ms * period_ms;
        let count = self.evaluation_periods + FURTHER_PERIODS;
        let from_ms = to_ms.saturating_sub(count * period_ms);
        let periods: Vec<u64> =
            (0..count).map(|place| from_ms + place * period_ms).filter(|&ms| ms < to_ms).collect();
        let series = self.series(&self.compared, metrics, &periods, now_ms);
        let surplus = series.len().saturating_sub(self.evaluation_periods as usize);
        series.into_iter().skip(surplus).collect()
    }

    fn series(&self, id: &str, metrics: &MetricStore, periods: &[u64], now_ms: u64) -> Series {
        let period_ms = self.period_seconds * 1_000;
        match self.queries.get(id).unwrap_or_else(|| panic!("no query {id}")) {
            Query::Metric(metric, statistic) => {
                let (Some(&first), Some(&last)) = (periods.first(), periods.last()) else {
                    return Series::new();
                };
                let to_ms = last + period_ms;
                let points = metrics.read(metric, statistic, period_ms, first, to_ms, now_ms);
                points.into_iter().map(|point| (point.epoch_ms, point.value)).collect()
            }
            Query::Math(expression) => {
                let names = expression.names().into_iter().filter(|name| *name != "REPEAT");
                let queries: BTreeMap<&str, Series> =
                    names.map(|name| (name, self.series(name, metrics, periods, now_ms))).collect();
                let unfilled = queries.keys().copied().filter(|name| match &self.queries[*name] {
                    Query::Metric(metric, _) => !metrics.is_filled(metric, now_ms),
                    Query::Math(_) => false,
                });
                let unfilled: BTreeSet<&str> = unfilled.collect();
                let evaluated =
                    expression.evaluate(&queries, &unfilled, periods, self.period_seconds);
                evaluated.unwrap_or_else(|error| panic!("{id}: {error}"))
            }
        }
    }

    /// The beginnings of the periods that are over the threshold.
    #[must_use]
    pub fn breaching(&self, metrics: &MetricStore, now_ms: u64) -> Vec<u64> {
        let points = self.data_points(metrics, now_ms);
        points.into_iter().filter(|&(_, value)| self.is_breached(value)).map(|(ms, _)| ms).collect()
    }

    fn is_breached(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Greater => value > self.threshold,
            Comparison::GreaterOrEqual => value >= self.threshold,
            Comparison::Less => value < self.threshold,
            Comparison::LessOrEqual => value <= self.threshold,
        }
    }

    /// Its state at `now_ms`, after `before`.
    #[must_use]
    pub fn evaluate(&self, metrics: &MetricStore, before: AlarmState, now_ms: u64) -> AlarmState {
        let points = self.data_points(metrics, now_ms);
        let missing = self.evaluation_periods - points.len() as u64;
        if points.is_empty() {
            return match self.missing {
                Missing::Insufficient => AlarmState::InsufficientData,
                Missing::Ignored => before,
                Missing::Breaching => AlarmState::Alarm,
                Missing::NotBreaching => AlarmState::Ok,
            };
        }
        let mut breaching =
            points.values().filter(|&&value| self.is_breached(value)).count() as u64;
        if self.missing == Missing::Breaching {
            breaching += missing;
        }
        if breaching >= self.datapoints_to_alarm { AlarmState::Alarm } else { AlarmState::Ok }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudwatch::MINUTE_MS;

    const BEGIN_MS: u64 = 1_795_219_200_000;

    fn rule(periods: u64, of: u64, missing: Missing) -> AlarmRule {
        let metric = MetricName::new("N", "m", &[]);
        AlarmRule {
            queries: BTreeMap::from([("m".to_owned(), Query::Metric(metric, "Sum".to_owned()))]),
            compared: "m".to_owned(),
            period_seconds: 60,
            comparison: Comparison::Greater,
            threshold: 10.0,
            evaluation_periods: of,
            datapoints_to_alarm: periods,
            missing,
        }
    }

    fn store(values: &[(u64, f64)]) -> MetricStore {
        let metric = MetricName::new("N", "m", &[]);
        let mut store = MetricStore::default();
        for &(minute, value) in values {
            let begin_ms = BEGIN_MS + minute * MINUTE_MS;
            store.publish(&metric, begin_ms, value, begin_ms + 2 * MINUTE_MS);
        }
        store
    }

    fn state(rule: &AlarmRule, store: &MetricStore, minute: u64) -> AlarmState {
        rule.evaluate(store, AlarmState::Ok, BEGIN_MS + minute * MINUTE_MS)
    }

    #[test]
    fn so_many_of_so_many_periods_must_be_over_the_threshold() {
        let store = store(&[(0, 11.0), (1, 11.0), (2, 10.0), (3, 11.0), (4, 11.0), (5, 11.0)]);
        let all = rule(3, 3, Missing::NotBreaching);
        let states: Vec<_> = (2..9).map(|minute| state(&all, &store, minute)).collect();
        use AlarmState::{Alarm, Ok};
        // Minute 5 is seen at 7.
        assert_eq!(states, [Ok, Ok, Ok, Ok, Ok, Alarm, Alarm]);
        assert_eq!(state(&rule(2, 3, Missing::NotBreaching), &store, 4), Alarm);
    }

    #[test]
    fn missing_data_are_treated_as_the_alarm_says() {
        let nothing = store(&[]);
        assert_eq!(
            state(&rule(1, 1, Missing::Insufficient), &nothing, 3),
            AlarmState::InsufficientData
        );
        assert_eq!(state(&rule(1, 1, Missing::Ignored), &nothing, 3), AlarmState::Ok);
        assert_eq!(state(&rule(1, 1, Missing::Breaching), &nothing, 3), AlarmState::Alarm);
        assert_eq!(state(&rule(1, 1, Missing::NotBreaching), &nothing, 3), AlarmState::Ok);
        // One period with data and one without.
        let one = store(&[(0, 11.0)]);
        assert_eq!(state(&rule(2, 2, Missing::Breaching), &one, 3), AlarmState::Alarm);
        assert_eq!(state(&rule(2, 2, Missing::NotBreaching), &one, 3), AlarmState::Ok);
    }
}
