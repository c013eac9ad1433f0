//! Time of day, which schedules go by.

/// Seconds of a day.
pub const SECONDS_PER_DAY: u64 = 86_400;
/// Seconds of a minute, the period of the stream's metrics.
pub const SECONDS_PER_MINUTE: u64 = 60;

/// `17 14:05`: days and time of day of a second.
#[must_use]
pub fn format_second(second: u64) -> String {
    let minutes = second / SECONDS_PER_MINUTE;
    format!("day {} {:02}:{:02}", minutes / 1_440 + 1, minutes / 60 % 24, minutes % 60)
}
