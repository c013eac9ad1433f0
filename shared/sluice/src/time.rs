//! Reads times, the same way everywhere: every form that AWS and RFC 3339 write, and nothing that
//! could mean two things.
//!
//! | form | example |
//! |---|---|
//! | RFC 3339, with `t`, `z` or a blank too | `2026-11-21T08:00:00.250Z`, `2026-11-21 09:00:00+01:00` |
//! | short offsets, as in CloudWatch alarm events | `2026-11-21T08:00:00.000+0000`, `…+00` |
//! | a zone by name, UTC only | `2026-11-21 08:00:00 UTC`, `… GMT` |
//! | ISO 8601 basic, as in a signature | `20261121T080000Z` |
//! | HTTP, as in S3's Last-Modified | `Sat, 21 Nov 2026 08:00:00 GMT` |
//! | access logs of S3 and API Gateway | `[21/Nov/2026:08:00:00 +0000]` |
//! | seconds since 1970 | `1795248000`, `1795248000.25`, `1.795248E9` |
//! | milliseconds since 1970 | `1795248000250` |
//! | no zone, marked as such | `2026-11-21 08:00:00.000`, `2026/11/21 08:00:00` |
//!
//! A number below 100,000,000,000 counts seconds (to the year 5138), one from there on milliseconds
//! (from March 1973). What is finer than a millisecond is cut off. A leap second is the first second
//! of the next minute, as in POSIX.

use std::fmt;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use serde_json::Value;

use crate::quote;

/// Numbers from here on are milliseconds. It has twelve digits, and seconds have ten until 2286.
const FIRST_MILLISECOND: u64 = 100_000_000_000;
/// 9999-12-31T23:59:59.999Z.
const EPOCH_MS_MAX: u64 = 253_402_300_799_999;
/// No form above is this long, apart from needless digits.
const TEXT_BYTES_MAX: usize = 100;
/// Digits of a second's fraction that are read.
const FRACTION_DIGITS_MAX: usize = 9;

/// A time that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Milliseconds since 1970; without a zone, those of this time in UTC.
    pub epoch_ms: u64,
    /// Whether the zone was known. If not, refuse the time, or say that you took it for UTC.
    pub has_zone: bool,
}

/// Why something is not a time. It quotes what it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct NotATime {
    what: String,
    problem: Problem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Problem {
    UnknownForm,
    DateAlone,
    DateOrNumber,
    DayOrMonthFirst,
    LeapSecond,
    NoSuchTime,
    OutOfRange,
    NoZone,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::UnknownForm => {
                "is not a time: write it like 2026-11-21T08:00:00Z, or as seconds since 1970"
            }
            Self::DateAlone => {
                "is a date without a time of day: write it like 2026-11-21T08:00:00Z"
            }
            Self::DateOrNumber => "could be a date or a number: write it like 2026-11-21T08:00:00Z",
            Self::DayOrMonthFirst => {
                "could begin with the day or the month: write it like 2026-11-21T08:00:00Z"
            }
            Self::LeapSecond => "has a second 60 that is not the last of a day in UTC",
            Self::NoSuchTime => "is not a time: there is no such date, time of day or offset",
            Self::OutOfRange => "is outside the years 1970 to 9999",
            Self::NoZone => "has no time zone: add Z or an offset such as +01:00",
        })
    }
}

/// Reads a time from text.
///
/// ```
/// let time = sluice::time::read("2026-11-21T09:00:00+01:00")?;
/// assert_eq!((time.epoch_ms, time.has_zone), (1_795_248_000_000, true));
/// assert!(!sluice::time::read("2026-11-21 08:00:00.000")?.has_zone);
/// # Ok::<(), sluice::time::NotATime>(())
/// ```
pub fn read(text: &str) -> Result<Time, NotATime> {
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    parse(trimmed).map_err(|problem| NotATime { what: quote(text).to_string(), problem })
}

/// Reads a time from a JSON value: a number, or text.
pub fn read_json(value: &Value) -> Result<Time, NotATime> {
    let other = |what: &str| Err(NotATime { what: what.to_owned(), problem: Problem::UnknownForm });
    match value {
        Value::String(text) => read(text),
        Value::Number(number) => {
            let text = number.to_string();
            number_ms(&text)
                .unwrap_or(Err(Problem::UnknownForm))
                .map(|epoch_ms| Time { epoch_ms, has_zone: true })
                .map_err(|problem| NotATime { what: text, problem })
        }
        Value::Null => other("null"),
        Value::Bool(_) => other("true or false"),
        Value::Array(_) => other("an array"),
        Value::Object(_) => other("an object"),
    }
}

/// Reads a time from a JSON value as milliseconds since 1970, and refuses one without a zone.
pub fn read_json_instant(value: &Value) -> Result<u64, NotATime> {
    let time = read_json(value)?;
    if time.has_zone {
        return Ok(time.epoch_ms);
    }
    let what = quote(value.as_str().unwrap_or_default()).to_string();
    Err(NotATime { what, problem: Problem::NoZone })
}

/// Writes a time as RFC 3339 in UTC; a bare number beyond the year 9999.
///
/// ```
/// assert_eq!(sluice::time::write(1_795_248_000_250), "2026-11-21T08:00:00.25Z");
/// ```
pub fn write(epoch_ms: u64) -> String {
    let time = i64::try_from(epoch_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| epoch_ms.to_string(), |time| time.to_string())
}

fn parse(text: &str) -> Result<Time, Problem> {
    if text.len() > TEXT_BYTES_MAX || !text.is_ascii() {
        return Err(Problem::UnknownForm);
    }
    if let Some(epoch_ms) = number_ms(text) {
        if is_compact_date(text) {
            return Err(Problem::DateOrNumber);
        }
        return Ok(Time { epoch_ms: epoch_ms?, has_zone: true });
    }
    let bytes = text.as_bytes();
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_digit_next = bytes.get(digits + 1).is_some_and(u8::is_ascii_digit);
    match (digits, bytes.get(digits)) {
        (1 | 2, Some(b'/' | b'-' | b'.')) if is_digit_next => Err(Problem::DayOrMonthFirst),
        (4 | 8, _) => parse_iso(text),
        _ => parse_http(text),
    }
}

/// Year first.
fn parse_iso(text: &str) -> Result<Time, Problem> {
    let text = normalized(text);
    // jiff also reads time zones in brackets.
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.,+TtZz ".contains(&byte)) {
        return Err(Problem::UnknownForm);
    }
    let pieces = Pieces::parse(&text).map_err(|_| Problem::NoSuchTime)?;
    let Some(time) = pieces.time() else { return Err(Problem::DateAlone) };
    let offset = pieces.to_numeric_offset();
    // RFC 3339 has offsets of less than a day.
    if offset.is_some_and(|offset| offset.seconds().abs() >= 86_400) {
        return Err(Problem::NoSuchTime);
    }
    let clock = text.find(['T', 't', ' ']).map_or("", |at| &text[at + 1..]);
    let at = offset.unwrap_or(Offset::UTC).to_timestamp(pieces.date().to_datetime(time));
    let epoch_ms = epoch_ms(at.map_err(|_| Problem::OutOfRange)?, clock)?;
    Ok(Time { epoch_ms, has_zone: offset.is_some() })
}

/// Writes what AWS writes as jiff reads it: dashes in the date, at most nine digits of a fraction, no
/// blank before the zone, and Z for UTC.
fn normalized(text: &str) -> String {
    let mut text = text.to_owned();
    let name_at = text.len().saturating_sub("UTC".len());
    if ["UTC", "GMT"].contains(&&text[name_at..]) {
        text.replace_range(name_at.., "Z");
    }
    if let Some(blank) = text.rfind(' ').filter(|&blank| blank > "2026-11-21 ".len()) {
        text.remove(blank);
    }
    if [4, 7].iter().all(|&at| text.as_bytes().get(at) == Some(&b'/')) {
        text.replace_range(4..=4, "-");
        text.replace_range(7..=7, "-");
    }
    if let Some(point) = text.find(['.', ',']) {
        let digits = text[point + 1..].bytes().take_while(u8::is_ascii_digit).count();
        text.replace_range(point + 1 + digits.min(FRACTION_DIGITS_MAX)..point + 1 + digits, "");
    }
    text
}

/// The month by its name.
fn parse_http(text: &str) -> Result<Time, Problem> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let mut text = inner.unwrap_or(text).to_owned();
    // 21/Nov/2026:08:00:00 +0000
    if [(2, b'/'), (6, b'/'), (11, b':')].iter().all(|&(at, c)| text.as_bytes().get(at) == Some(&c))
    {
        for at in [2, 6, 11] {
            text.replace_range(at..=at, " ");
        }
    }
    // jiff also reads years of two digits, comments and America's zones.
    let mut words = text.split(' ');
    let is_year = |word: &str| word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
    let has_year = words.any(is_year);
    let zone = words.next_back().unwrap_or_default().to_owned();
    if !has_year || !(["GMT", "UTC"].contains(&&*zone) || zone.starts_with(['+', '-'])) {
        return Err(Problem::UnknownForm);
    }
    if zone == "UTC" {
        text.replace_range(text.len() - zone.len().., "GMT");
    }
    let at = rfc2822::DateTimeParser::new().parse_timestamp(&text);
    let clock = text.find(':').map_or("", |colon| &text[colon.saturating_sub(2)..]);
    Ok(Time { epoch_ms: epoch_ms(at.map_err(|_| Problem::NoSuchTime)?, clock)?, has_zone: true })
}

/// Milliseconds of `at`; `clock` begins with the hour, as it was written. jiff takes the second 60
/// for 59.
fn epoch_ms(at: Timestamp, clock: &str) -> Result<u64, Problem> {
    let epoch_ms = u64::try_from(at.as_millisecond()).map_err(|_| Problem::OutOfRange)?;
    let is_leap = clock.bytes().filter(|&byte| byte != b':').skip(4).take(2).eq(*b"60");
    let epoch_ms = match is_leap {
        false => epoch_ms,
        true if epoch_ms / 1_000 % 86_400 == 86_399 => epoch_ms + 1_000,
        true => return Err(Problem::LeapSecond),
    };
    (epoch_ms <= EPOCH_MS_MAX).then_some(epoch_ms).ok_or(Problem::OutOfRange)
}

/// Whether a number could be a date, such as `20261121` or `20261121080000`.
fn is_compact_date(text: &str) -> bool {
    let number = |at: usize| text[at..at + 2].parse::<u32>().unwrap_or_default();
    text.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(text.len(), 8 | 12 | 14)
        && (19..=21).contains(&number(0))
        && (1..=12).contains(&number(4))
        && (1..=31).contains(&number(6))
}

/// Reads a decimal number, exactly: floating point would lose milliseconds. `None` if it is not one.
fn number_ms(text: &str) -> Option<Result<u64, Problem>> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || exponent_digits.is_empty() {
        return None;
    }
    if ![whole, fraction, exponent_digits].into_iter().all(are_digits) {
        return None;
    }
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Some(Ok(0));
    }
    let Ok(exponent) = exponent.parse::<i32>() else { return Some(Err(Problem::OutOfRange)) };
    // Significant digits before the point.
    let point =
        whole.len() as i64 - (digits.len() - significant.len()) as i64 + i64::from(exponent);
    if text.starts_with('-') || point > 15 {
        return Some(Err(Problem::OutOfRange));
    }
    let cut_after = |places: i64| {
        let places = usize::try_from(places).unwrap_or_default();
        let digits = significant.bytes().chain(std::iter::repeat(b'0')).take(places);
        digits.fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'))
    };
    let number = cut_after(point);
    let epoch_ms = if number < FIRST_MILLISECOND { cut_after(point + 3) } else { number };
    Some((epoch_ms <= EPOCH_MS_MAX).then_some(epoch_ms).ok_or(Problem::OutOfRange))
}

#[cfg(test)]
mod tests {
    use jiff::fmt::StdFmtWrite;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// 2026-11-21T08:00:00Z.
    const EIGHT_MS: u64 = 1_795_248_000_000;

    fn zoned(text: &str) -> u64 {
        let time = read(text).unwrap_or_else(|error| panic!("{error}"));
        assert!(time.has_zone, "{text}");
        time.epoch_ms
    }

    fn refused(text: &str) -> String {
        read(text).expect_err(text).to_string()
    }

    #[test]
    fn every_spelling_of_a_moment_is_the_same_moment() {
        for text in [
            "2026-11-21T08:00:00Z",
            "2026-11-21t08:00:00z",
            "2026-11-21 08:00:00Z",
            "2026-11-21T08:00Z",
            "2026-11-21T08:00:00.000Z",
            "2026-11-21T08:00:00.0Z",
            "2026-11-21T08:00:00,000Z",
            "2026-11-21T08:00:00.000000000Z",
            "2026-11-21T08:00:00.000000000000000000999Z",
            "2026-11-21T09:00:00+01:00",
            "2026-11-21T09:00:00.000+0100",
            "2026-11-21T09:00:00+01",
            "2026-11-20T21:00:00-11:00",
            "2026-11-21T13:45:00+05:45",
            "2026-11-21T08:00:00+00:00",
            "2026-11-21T08:00:00-00:00",
            // The time of a CloudWatch alarm event.
            "2026-11-21T08:00:00.000+0000",
            "2026-11-21 08:00:00 UTC",
            "2026-11-21 08:00:00UTC",
            "2026-11-21 08:00:00.000 GMT",
            "2026-11-21 08:00:00 +0000",
            "2026-11-21 09:00:00 +01:00",
            "2026-11-21 08:00 UTC",
            "2026/11/21 08:00:00Z",
            "20261121T080000Z",
            "20261121T090000+0100",
            "Sat, 21 Nov 2026 08:00:00 GMT",
            "Sat, 21 Nov 2026 08:00:00 UTC",
            "Sat, 21 Nov 2026 09:00:00 +0100",
            "21 Nov 2026 08:00:00 GMT",
            "[21/Nov/2026:08:00:00 +0000]",
            "21/Nov/2026:09:00:00 +0100",
            "1795248000",
            "+1795248000",
            "1795248000.0",
            "1795248000.",
            "1795248000.000000",
            "1.795248E9",
            "1.795248e+9",
            "17952480000E-1",
            "01795248000",
            "1795248000000",
            "1795248000000.75",
            "1.795248e12",
            "  2026-11-21T08:00:00Z\n",
        ] {
            assert_eq!(zoned(text), EIGHT_MS, "{text:?}");
        }
        for value in [
            json!(1_795_248_000),
            json!(1_795_248_000.0),
            json!(1.795_248e9),
            json!(1_795_248_000_000u64),
            json!(1_795_248_000_000.0),
            json!("1795248000"),
            json!("2026-11-21T08:00:00Z"),
        ] {
            assert_eq!(read_json_instant(&value), Ok(EIGHT_MS), "{value}");
        }
    }

    #[test]
    fn milliseconds_survive_and_what_is_finer_is_cut_off() {
        for text in [
            "2026-11-21T08:00:00.987Z",
            "2026-11-21T08:00:00.987999999Z",
            "2026-11-21T08:00:00.9879999999999Z",
            "1795248000.987",
            "1795248000.9879999",
            "1.795248000987e9",
            "1795248000987",
        ] {
            assert_eq!(zoned(text), EIGHT_MS + 987, "{text}");
        }
        assert_eq!(zoned("2026-11-21T08:00:00.1Z"), EIGHT_MS + 100);
        assert_eq!(read_json_instant(&json!(1_545_084_650.987)), Ok(1_545_084_650_987));
    }

    #[test]
    fn seconds_and_milliseconds_are_told_apart_by_magnitude() {
        assert_eq!(zoned("0"), 0);
        assert_eq!(zoned("-0"), 0);
        assert_eq!(zoned("1e-99"), 0);
        assert_eq!(zoned("99999999999"), 99_999_999_999_000);
        assert_eq!(zoned("99999999999.999"), 99_999_999_999_999);
        assert_eq!(zoned("100000000000"), 100_000_000_000);
        assert_eq!(zoned("253402300799999"), EPOCH_MS_MAX);
        for number in
            ["253402300800000", "1795248000000000", "1e300", "-1", "-0.5", "1e99999999999"]
        {
            assert!(refused(number).ends_with("is outside the years 1970 to 9999"), "{number}");
        }
        for value in [json!(1e300), json!(-1), json!(u64::MAX), json!(i64::MIN)] {
            assert!(read_json(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_missing_zone_is_told_and_never_guessed() {
        for text in [
            "2026-11-21T08:00:00",
            "2026-11-21T08:00",
            "2026-11-21 08:00:00.000",
            "2026-11-21 08:00:00,000",
            "2026/11/21 08:00:00",
            "20261121T080000",
        ] {
            let time = Time { epoch_ms: EIGHT_MS, has_zone: false };
            assert_eq!(read(text), Ok(time), "{text}");
            let refused = read_json_instant(&json!(text)).expect_err(text).to_string();
            assert!(refused.contains("add Z or an offset"), "{refused}");
            assert!(refused.contains(text), "{refused}");
        }
    }

    #[test]
    fn a_leap_second_is_the_first_second_of_the_next_day() {
        for text in [
            "2016-12-31T23:59:60Z",
            "2016-12-31T15:59:60-08:00",
            "2017-01-01T00:59:60+0100",
            "20161231T235960Z",
            "Sat, 31 Dec 2016 23:59:60 GMT",
        ] {
            assert_eq!(write(zoned(text)), "2017-01-01T00:00:00Z", "{text}");
        }
        assert_eq!(write(zoned("2016-12-31T23:59:60.5Z")), "2017-01-01T00:00:00.5Z");
        for text in ["2026-11-21T08:00:60Z", "2016-12-31T23:59:60+01:00"] {
            assert!(refused(text).contains("second 60"), "{text}");
        }
        assert!(refused("9999-12-31T23:59:60Z").contains("outside"));
        assert!(refused("2016-12-31T23:59:61Z").contains("no such"));
    }

    #[test]
    fn what_is_not_a_time_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "is not a time"),
            ("tonight", "is not a time"),
            ("now", "is not a time"),
            ("NaN", "is not a time"),
            ("Infinity", "is not a time"),
            ("0x10", "is not a time"),
            ("1_795_248_000", "is not a time"),
            ("1,795,248,000", "is not a time"),
            ("08:00:00Z", "is not a time"),
            ("<aws.scheduler.scheduled-time>", "is not a time"),
            ("at(2026-11-21T08:00:00)", "is not a time"),
            ("2026-11-21T08:00:00Z[Europe/Berlin]", "is not a time"),
            ("2026-11-21T08:00:00 CET", "is not a time"),
            ("2026-11-21T08:00:00Z and more", "is not a time"),
            ("２０２６-11-21T08:00:00Z", "is not a time"),
            ("2026-11-21T08:00:00\u{2212}01:00", "is not a time"),
            ("2026-11-21T08:00:00Z\0", "is not a time"),
            ("2026-11-21", "without a time of day"),
            ("2026/11/21", "without a time of day"),
            ("20261121", "could be a date or a number"),
            ("202611210800", "could be a date or a number"),
            ("20261121080000", "could be a date or a number"),
            ("21/11/2026 08:00:00", "the day or the month"),
            ("11/21/2026 8:00 AM", "the day or the month"),
            ("05-06-2026 08:00:00Z", "the day or the month"),
            ("21.11.2026 08:00", "the day or the month"),
            ("2026-13-21T08:00:00Z", "no such"),
            ("2026-02-29T08:00:00Z", "no such"),
            ("2026-11-21T24:00:00Z", "no such"),
            ("2026-11-21T08:60:00Z", "no such"),
            ("2026-11-21T08:00:00+24:00", "no such"),
            ("2026-11-21T08:00:00+01:60", "no such"),
            ("Sun, 21 Nov 2026 08:00:00 GMT", "no such"),
            ("Sat, 21 Nov 26 08:00:00 GMT", "is not a time"),
            ("Sat, 21 Nov 2026 08:00:00 EST", "is not a time"),
            ("Sat, 21 Nov 2026 08:00:00", "is not a time"),
            ("1969-12-31T23:59:59Z", "outside the years"),
            ("1970-01-01T00:00:00+01:00", "outside the years"),
            ("0000-01-01T00:00:00Z", "outside the years"),
            ("9999-12-31T23:59:59-01:00", "outside the years"),
        ] {
            let refused = refused(text);
            assert!(refused.contains(reason), "{refused}");
            assert!(refused.starts_with(&quote(text).to_string()), "{refused}");
        }
        for value in [json!(null), json!(true), json!([1]), json!({"a": 1}), json!("")] {
            assert!(read_json(&value).is_err(), "{value}");
        }
        let long = refused(&"9".repeat(100_000));
        assert!(long.len() < 300, "{long}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_written_is_read_back(epoch_ms in 0..=EPOCH_MS_MAX, minutes in -1_439i32..=1_439) {
            prop_assert_eq!(read(&write(epoch_ms)), Ok(Time { epoch_ms, has_zone: true }));
            let (seconds, ms) = (epoch_ms / 1_000, epoch_ms % 1_000);
            if seconds < FIRST_MILLISECOND {
                prop_assert_eq!(zoned(&format!("{seconds}.{ms:03}")), epoch_ms);
            }
            if epoch_ms >= FIRST_MILLISECOND {
                prop_assert_eq!(read_json_instant(&json!(epoch_ms)), Ok(epoch_ms));
            }
            // Any offset, as long as the local year has four digits.
            let local_ms = epoch_ms.checked_add_signed(i64::from(minutes) * 60_000);
            if let Some(local_ms) = local_ms.filter(|&local_ms| local_ms <= EPOCH_MS_MAX) {
                let sign = if minutes < 0 { '-' } else { '+' };
                let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
                for colon in [":", ""] {
                    let offset = format!("{sign}{hours:02}{colon}{minutes:02}");
                    prop_assert_eq!(zoned(&write(local_ms).replace('Z', &offset)), epoch_ms);
                }
            }
        }

        #[test]
        fn http_dates_are_read_back(seconds in 0..=EPOCH_MS_MAX / 1_000) {
            let at = Timestamp::from_second(seconds as i64).expect("in range");
            let mut text = String::new();
            rfc2822::DateTimePrinter::new()
                .print_timestamp_rfc9110(&at, StdFmtWrite(&mut text))
                .expect("an HTTP date");
            prop_assert_eq!(zoned(&text), seconds * 1_000);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), dated in "[0-9/:.,TtZzGMU+ eE-]{0,40}") {
            for text in [text, dated] {
                if let Ok(time) = read(&text) {
                    prop_assert!(time.epoch_ms <= EPOCH_MS_MAX);
                }
            }
        }

        #[test]
        fn no_change_to_one_character_makes_it_panic(
            place in any::<prop::sample::Index>(),
            new in any::<char>(),
            which in 0usize..5,
        ) {
            let text = [
                "2026-11-21T08:00:00.250+01:00",
                "20261121T080000Z",
                "Sat, 21 Nov 2026 08:00:00 GMT",
                "[21/Nov/2026:08:00:00 +0000]",
                "1.795248000987e9",
            ][which];
            let mut chars: Vec<char> = text.chars().collect();
            let place = place.index(chars.len());
            chars[place] = new;
            let _ = read(&chars.into_iter().collect::<String>());
        }
    }
}
