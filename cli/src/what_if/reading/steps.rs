//! Even steps out of rows: sorted, each once, gaps filled.

use std::collections::HashMap;

use sluice::limits::{TRACE_STEPS_MAX, TRACE_YEARS_MAX};

use crate::what_if::trace::{STEP_SECONDS_MAX, TraceError, at, whole};

/// A row. Millions are held, so it is small.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Seconds since the first row that was read.
    pub offset: i32,
    /// Where it stands.
    pub line: u32,
    /// Its value, or [`Row::EMPTY`].
    pub value: f64,
}

impl Row {
    /// The value of a row that has none.
    pub const EMPTY: f64 = f64::NAN;

    fn is_empty(&self) -> bool {
        self.value.is_nan()
    }
}

/// All rows.
#[derive(Debug, Default)]
pub struct Rows {
    /// The second of the row that was read first.
    pub base_second: u64,
    /// The rows as they were read.
    pub rows: Vec<Row>,
}

/// Values in even steps.
#[derive(Debug)]
pub struct Even {
    pub first_second: u64,
    pub step_seconds: u64,
    pub values: Vec<f64>,
    /// The highest value and its line.
    pub highest: (f64, u64),
    /// Rows that count.
    pub rows: usize,
    /// Steps without a row.
    pub missing: u64,
    /// Rows that say again what another one says.
    pub repeated: u64,
    /// The line of the first row that is earlier than the one before.
    pub first_out_of_order: Option<u64>,
}

/// Two rows of one time, one after the other, that have different values.
fn conflict(rows: &[Row]) -> Option<&[Row; 2]> {
    rows.windows(2).filter_map(|pair| pair.first_chunk()).find(|[one, other]| {
        let is_same_time = one.offset == other.offset;
        is_same_time && one.value != other.value && !one.is_empty() && !other.is_empty()
    })
}

/// Brings rows into even steps; `period_seconds` is what the file says of them.
pub fn even(
    rows: Rows,
    period_seconds: Option<u64>,
    place: &'static str,
) -> Result<Even, TraceError> {
    let Rows { base_second, mut rows } = rows;
    let at = |line: u32, problem: String| at(line.into(), problem).placed(place);
    let second = |row: Row| base_second.saturating_add_signed(row.offset.into());
    if rows.iter().all(Row::is_empty) {
        return Err(whole("no rows: give times and values, as in seconds,value"));
    }
    let out_of_order = rows.windows(2).find(|pair| pair[1].offset < pair[0].offset);
    let first_out_of_order = out_of_order.map(|pair| u64::from(pair[1].line));
    if first_out_of_order.is_some() {
        rows.sort_by_key(|row| (row.offset, row.line));
    }
    let read = rows.len();
    // An empty row says nothing against one that has a value.
    if rows.iter().any(Row::is_empty) {
        rows.sort_by_key(|row| (row.offset, row.is_empty(), row.line));
    }
    if let Some([one, other]) = conflict(&rows) {
        let problem = format!(
            "second {} has the value {} here and {} in {place} {}: add up what belongs together, or \
             keep one of them",
            second(*other),
            other.value,
            one.value,
            one.line
        );
        return Err(at(other.line, problem));
    }
    rows.dedup_by_key(|row| row.offset);
    let repeated = (read - rows.len()) as u64;
    let (first, last) = (rows[0], rows[rows.len() - 1]);
    if rows.len() == 1 {
        return Err(whole("one row: two are needed to know the step"));
    }
    let offset = |row: &Row| (i64::from(row.offset) - i64::from(first.offset)) as u64;
    let span = offset(&last);
    if span > TRACE_YEARS_MAX * 366 * 86_400 {
        let problem = format!(
            "second {} is {} years after {place} {}: is the date right? At most {TRACE_YEARS_MAX} years \
             are read",
            second(last),
            span / (365 * 86_400),
            first.line
        );
        return Err(at(last.line, problem));
    }
    let step_seconds = step(&rows, period_seconds, &at)?;
    let steps = span / step_seconds + 1;
    if steps > TRACE_STEPS_MAX as u64 {
        return Err(whole(format!(
            "{steps} steps of {step_seconds} s, and at most {TRACE_STEPS_MAX} are read: sum the traffic \
             up by the minute, or give fewer days"
        )));
    }
    let mut values = vec![0.0; steps as usize];
    let mut filled = 0;
    let mut highest = (0.0, u64::from(first.line));
    for row in rows.iter().filter(|row| !row.is_empty()) {
        filled += 1;
        values[(offset(row) / step_seconds) as usize] = row.value;
        if row.value > highest.0 {
            highest = (row.value, row.line.into());
        }
    }
    Ok(Even {
        first_second: second(first),
        step_seconds,
        missing: steps - filled as u64,
        rows: filled,
        values,
        highest,
        repeated,
        first_out_of_order,
    })
}

/// The step: the period that the file names, the commonest distance of two rows, or, where rows are
/// missing from whole minutes, the largest that all fit.
fn step(
    rows: &[Row],
    period_seconds: Option<u64>,
    at: &impl Fn(u32, String) -> TraceError,
) -> Result<u64, TraceError> {
    let distance = |pair: &[Row]| (i64::from(pair[1].offset) - i64::from(pair[0].offset)) as u64;
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for pair in rows.windows(2) {
        *counts.entry(distance(pair)).or_default() += 1;
    }
    // Of two that are as common the larger, so that one stray row does not make a step of a second.
    let common = counts.iter().max_by_key(|&(&distance, &count)| (count, distance));
    let common = common.map_or(1, |(&distance, _)| distance);
    let fit = counts.keys().fold(0, |fit, &distance| greatest_common_divisor(fit, distance));
    let named = period_seconds.filter(|&period| period > 0 && fit % period == 0);
    let step = match named {
        Some(period) => period,
        None if fit == common => common,
        None if fit % 60 == 0 => fit,
        None => {
            let odd = rows.windows(2).find(|pair| distance(pair) % common != 0);
            let odd = odd.map_or(rows[0], |pair| pair[1]);
            let off = odd.offset.abs_diff(rows[0].offset);
            return Err(at(
                odd.line,
                format!(
                    "{off} s after the earliest row does not fit the step of {common} s: bring rows \
                     into even steps, as by summing them up by the minute"
                ),
            ));
        }
    };
    if step > STEP_SECONDS_MAX {
        let problem = format!(
            "a step of {step} s: steps may have 1 to {STEP_SECONDS_MAX} s, since load within a longer \
             one is not known"
        );
        return Err(at(rows[1].line, problem));
    }
    Ok(step)
}

fn greatest_common_divisor(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}
