//! What the load asks of the stream.

use super::observation::MinuteLoad;
use super::{Load, Policy, Rate};

/// Minutes of load that scale-up's goal is made of: data points arrive one to two minutes late, and
/// a spike must not be averaged away.
pub(super) const MINUTES_UP: usize = 5;

/// What comes in for the processors plus what other producers put, in the heaviest of the last
/// `minutes` (accepted and refused where no processor reports), plus the backlog spread over the
/// time in which it should drain.
pub fn demand(policy: &Policy, load: &Load, minutes: usize) -> Rate {
    let recent = &load.minutes[load.minutes.len().saturating_sub(minutes)..];
    let asked = recent.iter().map(minute_demand).fold(Rate::default(), Rate::max);
    asked.plus(backlog(load, asked).times(1.0 / policy.drain_seconds))
}

/// Bytes and records that wait in Lambda's queue: what came in and was not sent. Where no processor
/// reports, or the oldest event is older than the look-back, its age stands for it.
fn backlog(load: &Load, asked: Rate) -> Rate {
    let queue_seconds = load.queue_age_ms as f64 / 1_000.0;
    let by_age = asked.times(queue_seconds);
    let is_reported = load.minutes.iter().any(|minute| minute.wanted != Rate::default());
    if !is_reported || queue_seconds > load.minutes.len() as f64 * 60.0 {
        return by_age;
    }
    // Lambda's pauses let single events grow old while next to nothing waits.
    let waiting = load.minutes.iter().fold(Rate::default(), |waiting, minute| {
        let more = minute.wanted.plus(minute.sent.times(-1.0)).times(60.0);
        waiting.plus(more).max(Rate::default())
    });
    Rate { bytes: waiting.bytes.min(by_age.bytes), records: waiting.records.min(by_age.records) }
}

/// What one minute asked of the stream.
pub(super) fn minute_demand(minute: &MinuteLoad) -> Rate {
    let accepted = minute.accepted;
    if minute.wanted != Rate::default() {
        // A refused record is refused at every try: ten tries of one record look like ten records,
        // and a single hot key like a stream that is far too small. The processors count once.
        // What they send of a backlog is not asked for again: it came in earlier.
        let others = accepted.plus(minute.sent.times(-1.0)).max(Rate::default());
        return others.plus(minute.wanted);
    }
    // Refused records are counted, not weighed: take them to be as large as the accepted ones.
    let record_bytes = if accepted.records > 0.0 { accepted.bytes / accepted.records } else { 0.0 };
    let refused =
        Rate { bytes: minute.refused_records * record_bytes, records: minute.refused_records };
    accepted.plus(refused)
}
