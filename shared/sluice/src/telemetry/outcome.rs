//! What became of log events, by the minute in which they happened.
//!
//! Counted under the minute of its own timestamp, what came in and what became of it must be equal in
//! every minute, whenever the events came. CloudWatch shows old minutes hours or days late, so this is
//! for dashboards; the alarm on loss goes by the lost events of each invocation.

use std::collections::BTreeMap;

use super::{EmfLine, Unit};
use crate::limits::{METRIC_AGE_MS_MAX, METRIC_AHEAD_MS_MAX};

const MINUTE_MS: u64 = 60_000;

/// Lines of one invocation. CloudWatch Logs sends a few minutes at a time; a payload that is spread
/// over more is not worth a line a minute.
const MINUTES_MAX: usize = 60;

/// What became of one log event in an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody answers for it: it came in and is lost.
    Lost,
    /// The transform left it out.
    Filtered,
    /// The stream has it.
    Delivered,
    /// The dead-letter queue has it.
    DeadLettered,
    /// The quarantine has it.
    Quarantined,
    /// Lambda has it still and brings it again, so that it is not counted yet.
    NotSettled,
}

/// Log events by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// All of them that are settled.
    pub came_in: u64,
    /// Left out by the transform.
    pub filtered: u64,
    /// In the stream.
    pub delivered: u64,
    /// In the dead-letter queue.
    pub dead_lettered: u64,
    /// In quarantine.
    pub quarantined: u64,
}

impl Outcomes {
    fn count(&mut self, outcome: Outcome) {
        let outcomes = match outcome {
            Outcome::Filtered => &mut self.filtered,
            Outcome::Delivered => &mut self.delivered,
            Outcome::DeadLettered => &mut self.dead_lettered,
            Outcome::Quarantined => &mut self.quarantined,
            Outcome::Lost | Outcome::NotSettled => return,
        };
        *outcomes += 1;
    }
}

/// Log events by outcome and by the minute in which they happened.
#[derive(Debug, Default)]
pub struct OutcomesByMinute {
    minutes: BTreeMap<u64, Outcomes>,
    /// Settled events whose timestamp CloudWatch would not accept, or beyond the minutes that are printed.
    pub outside: u64,
}

impl OutcomesByMinute {
    /// Counts events that came in at `now_ms`: each with its timestamp, in milliseconds since 1970.
    pub fn count(&mut self, events: impl Iterator<Item = (i64, Outcome)>, now_ms: u64) {
        let accepted = now_ms.saturating_sub(METRIC_AGE_MS_MAX)..=now_ms + METRIC_AHEAD_MS_MAX;
        for (timestamp_ms, outcome) in events.filter(|&(_, outcome)| outcome != Outcome::NotSettled)
        {
            // The whole minute must be acceptable, for it is the minute's begin that is sent.
            let minute_ms = u64::try_from(timestamp_ms).ok().map(|ms| ms - ms % MINUTE_MS);
            let minute_ms = minute_ms.filter(|minute_ms| {
                accepted.contains(minute_ms)
                    && (self.minutes.len() < MINUTES_MAX || self.minutes.contains_key(minute_ms))
            });
            let Some(minute_ms) = minute_ms else {
                self.outside += 1;
                continue;
            };
            let outcomes = self.minutes.entry(minute_ms).or_default();
            outcomes.came_in += 1;
            outcomes.count(outcome);
        }
    }

    /// One EMF line a minute, under that minute's timestamp. A outcome that nothing met is left out:
    /// the line is printed for every invocation, and CloudWatch Logs bills it by the byte.
    pub fn to_lines(&self, dimensions: &[(&'static str, &str)]) -> Vec<String> {
        let to_line = |(&minute_ms, outcomes): (&u64, &Outcomes)| {
            let mut line = EmfLine::new(minute_ms, dimensions);
            line.metric("EventTimeIn", Unit::Count, outcomes.came_in);
            for (name, count) in [
                ("EventTimeDelivered", outcomes.delivered),
                ("EventTimeFiltered", outcomes.filtered),
                ("EventTimeDeadLettered", outcomes.dead_lettered),
                ("EventTimeQuarantined", outcomes.quarantined),
            ] {
                if count > 0 {
                    line.metric(name, Unit::Count, count);
                }
            }
            line.to_line()
        };
        self.minutes.iter().map(to_line).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const NOW_MS: u64 = 1_795_219_230_000;

    fn lines(events: &[(i64, Outcome)]) -> (Vec<Value>, u64) {
        let mut outcomes = OutcomesByMinute::default();
        outcomes.count(events.iter().copied(), NOW_MS);
        let lines = outcomes.to_lines(&[("FunctionName", "f")]);
        let lines = lines.iter().map(|line| serde_json::from_str(line).expect("JSON"));
        (lines.collect(), outcomes.outside)
    }

    #[test]
    fn each_event_counts_in_its_own_minute() {
        let now_ms = NOW_MS as i64;
        let (lines, outside) = lines(&[
            (now_ms, Outcome::Delivered),
            (now_ms - 30_000, Outcome::Filtered),
            (now_ms - 30_001, Outcome::DeadLettered),
            (now_ms - 40_000, Outcome::Quarantined),
            (now_ms - 45_000, Outcome::Lost),
            (now_ms - 50_000, Outcome::NotSettled),
        ]);
        assert_eq!(outside, 0);
        let of = |line: &Value| {
            let names = ["In", "Delivered", "Filtered", "DeadLettered", "Quarantined"];
            let counts = names.map(|name| line[format!("EventTime{name}")].as_u64().unwrap_or(0));
            (line["_aws"]["Timestamp"].as_u64().expect("a time"), counts)
        };
        let minute_ms = 1_795_219_200_000;
        assert_eq!(of(&lines[0]), (minute_ms - 60_000, [3, 0, 0, 1, 1]));
        assert_eq!(of(&lines[1]), (minute_ms, [2, 1, 1, 0, 0]));
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn what_cloudwatch_would_not_accept_is_counted_apart() {
        let now_ms = NOW_MS as i64;
        let (day_ms, hour_ms) = (86_400_000, 3_600_000);
        let (lines, outside) = lines(&[
            (now_ms - 14 * day_ms - 60_000, Outcome::Delivered),
            (now_ms + 2 * hour_ms + 60_000, Outcome::Delivered),
            (i64::MIN, Outcome::Delivered),
            (i64::MAX, Outcome::Delivered),
            (now_ms - 14 * day_ms + 60_000, Outcome::Delivered),
            (now_ms + 2 * hour_ms, Outcome::Delivered),
        ]);
        assert_eq!((lines.len(), outside), (2, 4));
    }

    #[test]
    fn the_number_of_lines_is_bounded() {
        let events: Vec<(i64, Outcome)> = (0..100)
            .flat_map(|minute| [(NOW_MS as i64 - minute * 60_000, Outcome::Delivered); 2])
            .collect();
        assert_eq!(lines(&events).1, 80);
        assert_eq!(lines(&events).0.len(), MINUTES_MAX);
    }
}
