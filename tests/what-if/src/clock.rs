//! Time of day, which schedules go by.

/// Seconds of a day.
pub const SECONDS_PER_DAY: u64 = 86_400;
/// Seconds of a minute, the period of the stream's metrics.
pub const SECONDS_PER_MINUTE: u64 = 60;

/// Seconds after midnight in `2026-11-21T13:30:00Z`; the zone, where there is one, must be UTC.
#[must_use]
pub fn parse_time_of_day(text: &str) -> Option<u64> {
    let (_, time) = text.split_once(['T', ' '])?;
    let mut parts = time.strip_suffix('Z').unwrap_or(time).split(':').map(str::parse::<u64>);
    let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let is_time = hours < 24 && minutes < 60 && seconds < 60 && parts.next().is_none();
    is_time.then_some((hours * 60 + minutes) * 60 + seconds)
}

/// `17 14:05`: days and time of day of a second.
#[must_use]
pub fn format_second(second: u64) -> String {
    let minutes = second / SECONDS_PER_MINUTE;
    format!("day {} {:02}:{:02}", minutes / 1_440 + 1, minutes / 60 % 24, minutes % 60)
}
