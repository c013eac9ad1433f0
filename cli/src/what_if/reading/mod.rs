//! Traffic out of the files that people have: exports of CloudWatch, answers of its API, tables of
//! their own. What is clear is read, and what was assumed is said; the rest is refused with its line,
//! the reason and what to do.

mod json;
mod number;
mod steps;
mod table;
mod text;

use std::fmt::Write;
use std::fs::File;
use std::io::{BufRead, Read};
use std::path::Path;

use anyhow::{Context, bail};
use sluice::limits::{SHARD_BYTES_PER_SECOND, STREAM_BYTES_PER_SECOND_MAX, TRACE_BYTES_MAX};
use sluice::quote;

pub use number::Decimal;

use crate::what_if::trace::{Trace, TraceError, at, whole};
use table::Table;

/// A peak above this many shards is more likely a wrong unit.
const SHARDS_PLAUSIBLE: f64 = 100.0;
/// So is a peak below so many bytes a second.
const BYTES_PER_SECOND_PLAUSIBLE: f64 = 1_000.0;

/// What the values of a file are. A period is the time from one row to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Unit {
    /// Bytes a second.
    BytesPerSecond,
    /// Bytes in each period, as CloudWatch's Sum of IncomingBytes.
    BytesPerPeriod,
    /// Megabytes (10^6 bytes) a second.
    MegabytesPerSecond,
    /// Log events or records a second, of --event-bytes each.
    #[value(alias = "records-per-second")]
    EventsPerSecond,
    /// Log events or records in each period, of --event-bytes each.
    #[value(alias = "records-per-period")]
    EventsPerPeriod,
}

impl Unit {
    /// Bytes a second that a value of 1 is.
    fn bytes_per_second(self, step_seconds: u64, event_bytes: f64) -> f64 {
        let step = step_seconds as f64;
        match self {
            Self::BytesPerSecond => 1.0,
            Self::BytesPerPeriod => 1.0 / step,
            Self::MegabytesPerSecond => 1e6,
            Self::EventsPerSecond => event_bytes,
            Self::EventsPerPeriod => event_bytes / step,
        }
    }

    fn phrase(self, step_seconds: u64, event_bytes: f64) -> String {
        match self {
            Self::BytesPerSecond => "bytes a second".to_owned(),
            Self::BytesPerPeriod => format!("the sum of bytes per {step_seconds} s"),
            Self::MegabytesPerSecond => "MB (10^6 bytes) a second".to_owned(),
            Self::EventsPerSecond => format!("events a second, {event_bytes} bytes each"),
            Self::EventsPerPeriod => {
                format!("the number of events per {step_seconds} s, {event_bytes} bytes each")
            }
        }
    }

    /// The unit that a name such as `IncomingBytes` tells.
    fn of_name(name: &str) -> Option<Self> {
        let plain = table::plain(name);
        let has = |words: &[&str]| words.iter().any(|word| plain.contains(word));
        let is_rate = has(&["persecond", "persec"]) || name.contains("/s");
        let is_count = has(&["records", "events", "count", "requests", "messages", "hits"]);
        match (has(&["bytes"]), is_count) {
            (true, _) if has(&["megabytes"]) => is_rate.then_some(Self::MegabytesPerSecond),
            (true, _) if is_rate => Some(Self::BytesPerSecond),
            (true, _) => Some(Self::BytesPerPeriod),
            (false, true) if is_rate => Some(Self::EventsPerSecond),
            (false, true) => Some(Self::EventsPerPeriod),
            (false, false) if is_rate && has(&["mb"]) => Some(Self::MegabytesPerSecond),
            (false, false) if is_rate => None,
            (false, false) => has(&["sum", "total"]).then_some(Self::BytesPerPeriod),
        }
    }
}

/// How a file is to be read, where it does not tell itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// What the values are.
    pub unit: Option<Unit>,
    /// The column of values, by name or number.
    pub column: Option<String>,
    /// The decimal sign.
    pub decimal: Option<Decimal>,
    /// Bytes of an event.
    pub event_bytes: f64,
    /// Whether the values will be scaled, so that only their shape counts.
    pub is_scaled: bool,
}

/// Traffic, and how it was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The traffic.
    pub trace: Trace,
    /// What was assumed.
    pub notes: Vec<String>,
    /// What is probably wrong.
    pub warnings: Vec<String>,
}

/// Reads a file.
pub fn read_file(path: &Path, options: &Options) -> anyhow::Result<Reading> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("{name} cannot be opened"))?;
    let about = file.metadata().with_context(|| format!("{name} cannot be opened"))?;
    if about.is_dir() {
        bail!("{name} is a folder: give a file");
    }
    if about.len() > TRACE_BYTES_MAX {
        bail!(
            "{name} has {} MB, and {} MB at most are read: sum the traffic up by the minute first",
            about.len() / 1_000_000,
            TRACE_BYTES_MAX / 1_000_000
        );
    }
    read(&name, file, options).with_context(|| name.clone())
}

/// Reads traffic from `input`.
pub fn read(name: &str, input: impl Read, options: &Options) -> Result<Reading, TraceError> {
    let mut text = text::decoded(input)?;
    let mut table = Table::new(options);
    let head = text.fill_buf().map_err(|error| whole(error.to_string()))?;
    match head.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | b'[') => json::read(text, &mut table)?,
        _ => table.read_lines(text)?,
    }
    finish(name, table, options)
}

/// Reads traffic that says everything itself.
pub fn parse_trace(name: &str, input: impl Read) -> Result<Trace, TraceError> {
    let options = Options { event_bytes: 300.0, is_scaled: true, ..Options::default() };
    read(name, input, &options).map(|reading| reading.trace)
}

fn finish(name: &str, mut table: Table<'_>, options: &Options) -> Result<Reading, TraceError> {
    let values = table.take_values()?;
    let source = table.source();
    let (mut notes, mut warnings) = (Vec::new(), std::mem::take(&mut table.warnings));
    let mut even = steps::even(values, source.period_seconds, source.place)?;
    let step_seconds = even.step_seconds;

    if let Some(statistic) = source.statistic.filter(|_| options.unit.is_none()) {
        return Err(whole(format!(
            "the values are the {statistic} of {}, which does not tell how much came in: export the \
             statistic Sum, or say with --unit what they are",
            quote(&source.name)
        )));
    }
    let unit = options.unit.or(source.unit).unwrap_or(Unit::BytesPerSecond);
    let factor = unit.bytes_per_second(step_seconds, options.event_bytes);
    even.values.iter_mut().for_each(|value| *value *= factor);
    let (highest, line) = even.highest;
    let peak = highest * factor;
    let phrase = unit.phrase(step_seconds, options.event_bytes);
    if peak > STREAM_BYTES_PER_SECOND_MAX as f64 && !options.is_scaled {
        let problem = format!(
            "{highest} as {phrase} is more than the {} GB/s that the largest stream takes: give \
             --unit, or --peak-mbps to scale it",
            STREAM_BYTES_PER_SECOND_MAX / 1_000_000_000
        );
        return Err(at(line, problem).placed(source.place));
    }

    let named =
        if source.name.is_empty() { String::new() } else { format!(" of {}", quote(&source.name)) };
    let mut read = format!("read {} rows{named} as {phrase}", thousands(even.rows as u64));
    if table.has_time_without_zone {
        read.push_str("; times without a zone are UTC");
    }
    notes.push(read);
    if let Some(line) = even.first_out_of_order {
        notes.push(format!("rows were not in the order of time ({} {line}): sorted", source.place));
    }
    if even.repeated > 0 {
        notes.push(format!(
            "{} rows are there more than once: counted once",
            thousands(even.repeated)
        ));
    }
    let steps = even.values.len() as u64;
    if even.missing > 0 {
        let mut gap = String::new();
        write!(
            gap,
            "{} of {} steps of {step_seconds} s have no row: they count as no traffic",
            thousands(even.missing),
            thousands(steps)
        )
        .expect("a string takes everything");
        let list = if even.missing * 2 > steps { &mut warnings } else { &mut notes };
        list.push(gap);
    }

    warnings.extend(doubt(&table, options, peak, step_seconds));
    let begins_at_second = (table.begins_at_second() + even.first_second) % 86_400;
    let trace = Trace {
        name: name.to_owned(),
        step_seconds,
        begins_at_second,
        bytes_per_second: even.values,
        refused_records: None,
        record_bytes: None,
    };
    Ok(Reading { trace, notes, warnings })
}

/// What speaks against the unit that was assumed.
fn doubt(table: &Table<'_>, options: &Options, peak: f64, step_seconds: u64) -> Option<String> {
    let is_assumed = options.unit.is_none() && !options.is_scaled;
    let shards = peak / SHARD_BYTES_PER_SECOND as f64;
    let is_default = is_assumed && table.source().unit.is_none();
    if let Some(told) = table.unit_comment.as_ref().filter(|_| is_default) {
        return (Unit::of_name(told) != Some(Unit::BytesPerSecond)).then(|| {
            format!(
                "the file says that its unit is {}, and it was read as bytes a second: give --unit, \
                 or --peak-mbps to scale it",
                quote(told)
            )
        });
    }
    if is_default && shards > SHARDS_PLAUSIBLE && step_seconds > 1 {
        return Some(format!(
            "the peak would need {shards:.0} shards; if the values are sums per {step_seconds} s, give \
             --unit bytes-per-period"
        ));
    }
    (is_assumed && peak > 0.0 && peak < BYTES_PER_SECOND_PLAUSIBLE).then(|| {
        format!(
            "the peak is only {peak:.1} bytes a second; if that is not the unit, give --unit, or \
             --peak-mbps to scale it"
        )
    })
}

/// `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
