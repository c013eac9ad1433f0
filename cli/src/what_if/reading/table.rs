//! Rows of a table: where times and values stand, and what the lines above them say.

use std::borrow::Cow;
use std::io::BufRead;

use sluice::limits::{STREAM_BYTES_PER_SECOND_MAX, TRACE_STEPS_MAX};
use sluice::{quote, time};

use super::number::{Decimal, Number, read_number};
use super::steps::{Row, Rows};
use super::text::Lines;
use super::{Options, Unit};
use crate::what_if::trace::{STEP_SECONDS_MAX, TraceError, at, whole};

/// Lines from which the separator is told, and at most as many may stand above the rows.
const HEAD_LINES: usize = 64;
/// Plain numbers below this are seconds since the beginning; from here on since 1970 (March 1973).
const FIRST_EPOCH_SECOND: f64 = 1e8;
/// The highest value that any unit can have: what the largest stream takes in the longest step.
const VALUE_MAX: f64 = (STREAM_BYTES_PER_SECOND_MAX * STEP_SECONDS_MAX) as f64;
/// What CloudWatch's console writes above the rows.
const CONSOLE: [&str; 14] = [
    "id",
    "statuscode",
    "messages",
    "fulllabel",
    "label",
    "region",
    "account",
    "accountid",
    "namespace",
    "metricname",
    "statistic",
    "stat",
    "period",
    "unit",
];
/// Statistics that do not tell how much came in.
const STATISTICS: [&str; 5] =
    ["average", "minimum", "maximum", "samplecount", "extendedstatistics"];

/// What stands between columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Separator {
    Char(char),
    Blanks,
}

/// How times are written; the first row tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// Seconds since the beginning.
    Seconds,
    /// Moments.
    Moments,
}

#[derive(Debug)]
struct Columns {
    /// Where the time stands; a date and a time of day may stand apart.
    time: Vec<usize>,
    value: usize,
    width: usize,
}

/// What a file says of its values.
#[derive(Debug)]
pub struct Source {
    /// What they are called.
    pub name: String,
    /// What they are.
    pub unit: Option<Unit>,
    /// A statistic that does not tell how much came in.
    pub statistic: Option<String>,
    /// Seconds of a period.
    pub period_seconds: Option<u64>,
    /// What a row is called: a line or a data point.
    pub place: &'static str,
}

/// A table while it is read.
pub struct Table<'a> {
    options: &'a Options,
    /// Told to the user.
    pub warnings: Vec<String>,
    /// What a comment says about the unit.
    pub unit_comment: Option<String>,
    /// Whether a time had no zone.
    pub has_time_without_zone: bool,
    /// What a row is called in errors.
    pub place: &'static str,
    /// What stands above the rows: each line's first cell, plain, and all of its cells.
    head: Vec<(u64, Vec<String>)>,
    names: Option<Vec<String>>,
    columns: Option<Columns>,
    clock: Option<Clock>,
    begins_ms: Option<u64>,
    separator: Separator,
    decimal: Option<Decimal>,
    /// Rows whose value could be a thousand times as much, with the sign that decides.
    undecided: Vec<u32>,
    undecided_sign: Option<(Decimal, u64, String)>,
    rows: Rows,
}

/// Letters and digits of `name`, small.
pub fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
}

fn is_time_name(name: &str) -> bool {
    let name = plain(name);
    ["time", "date", "bin", "epoch", "unix"].iter().any(|start| name.starts_with(start))
        || name.ends_with("time")
        || ["seconds", "second", "sec", "secs", "ts", "minute", "hour", "period"]
            .contains(&name.as_str())
}

fn is_number_like(cell: &str) -> bool {
    cell.trim_start_matches(['+', '-', '.']).starts_with(|c: char| c.is_ascii_digit())
}

/// A date or a time of day, not a bare number.
fn is_written_time(cell: &str) -> bool {
    cell.contains([':', '/', '-', 'T']) && time::read(cell).is_ok()
}

impl<'a> Table<'a> {
    /// An empty one.
    pub fn new(options: &'a Options) -> Self {
        Self {
            options,
            warnings: Vec::new(),
            unit_comment: None,
            has_time_without_zone: false,
            place: "line",
            head: Vec::new(),
            names: None,
            columns: None,
            clock: None,
            begins_ms: None,
            separator: Separator::Char(','),
            decimal: options.decimal,
            undecided: Vec::new(),
            undecided_sign: None,
            rows: Rows::default(),
        }
    }

    /// Reads every line of a text.
    pub fn read_lines(&mut self, text: impl BufRead) -> Result<(), TraceError> {
        let mut lines = Lines::new(text);
        let mut first = Vec::new();
        while first.len() < HEAD_LINES {
            let Some((line, text)) = lines.next_line()? else { break };
            if self.is_row(&text) {
                first.push((line, text));
            }
        }
        let separators = first.iter().rev().map(|(_, text)| separator(text));
        let found = separators.into_iter().find(|found| *found != Separator::Blanks);
        self.separator = found.unwrap_or(Separator::Blanks);
        for (line, text) in &first {
            self.push_line(*line, text)?;
        }
        while let Some((line, text)) = lines.next_line()? {
            if self.is_row(&text) {
                self.push_line(line, &text)?;
            }
        }
        Ok(())
    }

    /// Whether a line is neither blank nor a comment, which may tell when the traffic begins.
    fn is_row(&mut self, line: &str) -> bool {
        let line = line.trim();
        let Some(comment) = line.strip_prefix('#').or_else(|| line.strip_prefix("//")) else {
            return !line.is_empty();
        };
        // A comment may say anything: a begin that is no time is midnight.
        let comment = comment.trim();
        if let Some(begin) = comment.strip_prefix("start:") {
            self.begins_ms = time::read(begin).map(|time| time.epoch_ms).ok().or(self.begins_ms);
        }
        if let Some(unit) = comment.strip_prefix("unit:") {
            self.unit_comment = Some(unit.trim().to_owned());
        }
        false
    }

    fn push_line(&mut self, line: u64, text: &str) -> Result<(), TraceError> {
        let cells = split(text, self.separator)
            .ok_or_else(|| at(line, format!("a quote is not closed in {}", quote(text))))?;
        self.push_cells(line, &cells)
    }

    /// Reads a row, or what stands above the rows.
    pub fn push_cells(&mut self, line: u64, cells: &[Cow<'_, str>]) -> Result<(), TraceError> {
        if self.columns.is_none() {
            if self.is_above_rows(cells) {
                if self.head.len() == HEAD_LINES {
                    return Err(self.at(line, "no row of times and values up to here".to_owned()));
                }
                let cells: Vec<String> = cells.iter().map(|cell| cell.trim().to_owned()).collect();
                let is_console = CONSOLE.contains(&plain(&cells[0]).as_str());
                let is_time = |cell: &String| is_time_name(cell) && plain(cell) != "period";
                if !is_console || cells.iter().any(is_time) {
                    self.names = Some(cells.clone());
                }
                self.head.push((line, cells));
                return Ok(());
            }
            self.columns = Some(self.find_columns(line, cells)?);
        }
        self.push_row(line, cells)
    }

    fn at(&self, line: u64, problem: String) -> TraceError {
        at(line, problem).placed(self.place)
    }

    fn is_above_rows(&self, cells: &[Cow<'_, str>]) -> bool {
        if cells.iter().any(|cell| is_written_time(cell.trim())) {
            return false;
        }
        let has_names = |cells: &[String]| cells.iter().any(|cell| is_time_name(cell));
        if CONSOLE.contains(&plain(&cells[0]).as_str()) {
            return true;
        }
        !self.names.as_deref().is_some_and(has_names)
            && !cells.iter().any(|cell| is_number_like(cell.trim()))
    }

    /// The label of a column that the console wrote under `name`.
    fn said(&self, name: &str, column: usize) -> Option<&str> {
        let found = self.head.iter().find(|(_, cells)| plain(&cells[0]) == name);
        found
            .and_then(|(_, cells)| cells.get(column))
            .map(String::as_str)
            .filter(|cell| !cell.is_empty())
    }

    fn column_name(&self, column: usize) -> &str {
        let named = self.names.as_ref().filter(|names| names.len() > 1);
        let named = named.and_then(|names| names.get(column)).map(String::as_str);
        named
            .or_else(|| self.said("label", column))
            .or_else(|| self.said("fulllabel", column))
            .unwrap_or("")
    }

    fn find_columns(&self, line: u64, cells: &[Cow<'_, str>]) -> Result<Columns, TraceError> {
        let cell = |column: usize| cells[column].trim();
        let mut width = cells.len();
        while width > 2 && cell(width - 1).is_empty() && self.column_name(width - 1).is_empty() {
            width -= 1;
        }
        let row = || quote(&cells.join(",")).to_string();
        if width < 2 {
            let problem = format!(
                "{} is one column; a time and a value are needed, with a comma, semicolon, tab or bar \
                 between them",
                row()
            );
            return Err(self.at(line, problem));
        }
        let names: Vec<usize> =
            (0..width).filter(|&column| is_time_name(self.column_name(column))).collect();
        let time = match names[..] {
            // A date beside a time of day.
            [one, other]
                if time::read(cell(one)).is_err()
                    && time::read(&format!("{} {}", cell(one), cell(other))).is_ok() =>
            {
                vec![one, other]
            }
            [one, ..] => vec![one],
            [] => match (0..width).find(|&column| is_written_time(cell(column))) {
                Some(column) => vec![column],
                None => vec![0],
            },
        };
        let is_value = |column: &usize| !time.contains(column) && !names.contains(column);
        let others: Vec<usize> = (0..width).filter(is_value).collect();
        if let Some(wanted) = &self.options.column {
            let is_wanted = |column: &usize| plain(self.column_name(*column)) == plain(wanted);
            let named = others.iter().copied().find(is_wanted);
            let numbered = wanted.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let value = named.or(numbered.filter(|column| others.contains(column)));
            let value = value.ok_or_else(|| {
                let known = self.list(&others);
                whole(format!(
                    "--column: there is no column {} of values; there are {known}",
                    quote(wanted)
                ))
            })?;
            return Ok(Columns { time, value, width });
        }
        let is_number = |column: &usize| {
            let is_named = !self.column_name(*column).is_empty();
            read_number(cell(*column)).is_ok() || cell(*column).is_empty() && is_named
        };
        let numbers: Vec<usize> = others.iter().copied().filter(is_number).collect();
        let plain_name = |column: usize| plain(self.column_name(column));
        let sums = || numbers.iter().copied().filter(|&column| plain_name(column) == "sum");
        let are_statistics = numbers.iter().all(|&column| {
            plain_name(column) == "sum" || STATISTICS.contains(&plain_name(column).as_str())
        });
        let value = match (&numbers[..], &others[..]) {
            ([value], _) | ([], [value]) => *value,
            ([], [value, ..]) => *value,
            (_, []) => return Err(self.at(line, format!("{} has no value beside its time", row()))),
            _ if are_statistics && sums().count() == 1 => sums().next().unwrap_or_default(),
            _ => {
                let problem = format!(
                    "there are {} columns of values: choose one with --column, of {} (a number with \
                     commas between thousands needs quotes)",
                    numbers.len(),
                    self.list(&numbers)
                );
                return Err(self.at(line, problem));
            }
        };
        Ok(Columns { time, value, width })
    }

    fn list(&self, columns: &[usize]) -> String {
        let name = |&column: &usize| match self.column_name(column) {
            "" => format!("{}", column + 1),
            name => quote(name).to_string(),
        };
        columns.iter().take(20).map(name).collect::<Vec<_>>().join(", ")
    }

    fn push_row(&mut self, line: u64, cells: &[Cow<'_, str>]) -> Result<(), TraceError> {
        let Columns { time, value, width } = self.columns.as_ref().expect("columns are found");
        let filled =
            cells.iter().rposition(|cell| !cell.trim().is_empty()).map_or(0, |last| last + 1);
        let needed = time.iter().chain([value]).max().map_or(0, |last| last + 1);
        if filled > *width || cells.len() < needed.min(2) {
            let problem = format!(
                "{} has {} columns where {width} are expected",
                quote(&cells.join(",")),
                filled.max(cells.len().min(*width))
            );
            return Err(self.at(line, problem));
        }
        let cell = |column: usize| cells.get(column).map_or("", |cell| cell.trim());
        let moment: Cow<'_, str> = match time[..] {
            [one, other] => format!("{} {}", cell(one), cell(other)).into(),
            _ => cell(time[0]).into(),
        };
        let text = cell(*value);
        let second = self.read_second(line, &moment)?;
        // A step without a data point, beside other metrics that have one.
        let value = if text.is_empty() { Row::EMPTY } else { self.read_value(line, text)? };
        if self.rows.rows.is_empty() {
            self.rows.base_second = second;
        }
        let offset = i128::from(second) - i128::from(self.rows.base_second);
        let offset = i32::try_from(offset).map_err(|_| {
            let problem = format!(
                "{} is more than 68 years from the first row: is the date right?",
                quote(&moment)
            );
            self.at(line, problem)
        })?;
        if self.rows.rows.len() == TRACE_STEPS_MAX {
            let problem =
                format!("more than {TRACE_STEPS_MAX} rows: sum the traffic up by the minute first");
            return Err(self.at(line, problem));
        }
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        self.rows.rows.push(Row { offset, line, value });
        Ok(())
    }

    fn read_second(&mut self, line: u64, text: &str) -> Result<u64, TraceError> {
        let is_plain =
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let number = text.parse::<f64>().ok().filter(|_| is_plain);
        let is_small = |number: f64| number < FIRST_EPOCH_SECOND;
        let is_moment = || time::read(text).is_ok();
        let clock = *self.clock.get_or_insert_with(|| match number {
            // `20261121` could be a date.
            Some(number) if is_small(number) && (number < 1e7 || is_moment()) => Clock::Seconds,
            _ => Clock::Moments,
        });
        if clock == Clock::Seconds {
            let name =
                self.columns.as_ref().map_or("", |columns| self.column_name(columns.time[0]));
            if ["minute", "minutes", "hour", "hours", "ms", "milliseconds"]
                .contains(&plain(name).as_str())
            {
                let problem =
                    format!("the column {} does not count seconds: write seconds", quote(name));
                return Err(self.at(line, problem));
            }
            let whole = number.filter(|number| number.fract() == 0.0 && is_small(*number * 0.1));
            return whole.map(|number| number as u64).ok_or_else(|| {
                let problem = format!(
                    "{} is not a whole number of seconds from 0 on, as the rows above have",
                    quote(text)
                );
                self.at(line, problem)
            });
        }
        let time = time::read(text).map_err(|error| self.at(line, error.to_string()))?;
        if time.epoch_ms % 1_000 != 0 {
            let problem =
                format!("{} has a fraction of a second: steps are whole seconds", quote(text));
            return Err(self.at(line, problem));
        }
        self.has_time_without_zone |= !time.has_zone;
        Ok(time.epoch_ms / 1_000)
    }

    fn read_value(&mut self, line: u64, text: &str) -> Result<f64, TraceError> {
        let refuse = |table: &Self, why: &str| {
            let problem = format!("the value {} {why}", quote(text));
            Err(table.at(line, problem))
        };
        let number = match read_number(text) {
            Ok(number) => number,
            Err(why) => return refuse(self, &format!("{why}: write plain numbers from 0 on")),
        };
        let value = match number {
            Number::Plain(value) => value,
            Number::Shows(value, decimal) => {
                if *self.decimal.get_or_insert(decimal) != decimal {
                    return refuse(
                        self,
                        "uses comma and point the other way round than --decimal or the rows above",
                    );
                }
                value
            }
            Number::Either(value, sign) => match self.decimal {
                Some(decimal) if decimal == sign => value,
                Some(_) => value * 1_000.0,
                None => {
                    self.undecided.push(self.rows.rows.len() as u32);
                    let told = self.undecided_sign.get_or_insert((sign, line, text.to_owned()));
                    if told.0 != sign {
                        return refuse(
                            self,
                            "has another sign than the rows above: give --decimal",
                        );
                    }
                    value
                }
            },
        };
        if value < 0.0 {
            return refuse(self, "is negative: traffic is 0 or more");
        }
        if value > VALUE_MAX {
            return refuse(self, "is more than any stream takes: is it the right column?");
        }
        // Never -0.
        Ok(value.abs())
    }

    /// The rows, with every number decided.
    pub fn take_values(&mut self) -> Result<Rows, TraceError> {
        if let Some((sign, line, text)) = self.undecided_sign.take() {
            let is_csv = self.separator == Separator::Char(',');
            let decimal = match (self.decimal, sign) {
                (Some(decimal), _) => decimal,
                // Between commas, a comma inside quotes separates thousands.
                (None, _) if is_csv => Decimal::Point,
                (None, Decimal::Point) if self.separator != Separator::Char(';') => Decimal::Point,
                _ => {
                    let problem = format!(
                        "the value {} could have three decimals or be in thousands: give --decimal \
                         point or --decimal comma",
                        quote(&text)
                    );
                    return Err(self.at(line, problem));
                }
            };
            if decimal != sign {
                for &row in &self.undecided {
                    self.rows.rows[row as usize].value *= 1_000.0;
                }
            }
            // Without the dust of binary fractions.
            if decimal != sign {
                self.undecided.iter().for_each(|&row| {
                    let value = &mut self.rows.rows[row as usize].value;
                    *value = value.round();
                });
            }
        }
        if self.rows.rows.is_empty()
            && let Some((line, cells)) = self.head.last()
            && !cells.iter().any(|cell| is_time_name(cell))
            && !CONSOLE.contains(&plain(&cells[0]).as_str())
        {
            let problem = format!(
                "no rows: {} is neither a row of a time and a value nor a header above such rows",
                quote(&cells.join(","))
            );
            return Err(self.at(*line, problem));
        }
        Ok(std::mem::take(&mut self.rows))
    }

    /// What the file says of its values.
    pub fn source(&self) -> Source {
        let value = self.columns.as_ref().map_or(1, |columns| columns.value);
        let header = self.column_name(value);
        let full = self.said("fulllabel", value).unwrap_or("");
        let titles = self.head.iter().filter(|(_, cells)| cells.len() == 1);
        let title = titles.map(|(_, cells)| cells[0].as_str()).next().unwrap_or("");
        // `… IncomingBytes Average 300`
        let words: Vec<&str> = full.split_whitespace().collect();
        let (full_statistic, full_period) = match words[..] {
            [.., statistic, period] if period.parse::<u64>().is_ok() => (statistic, Some(period)),
            _ => ("", None),
        };
        let statistic = [full_statistic, header, self.said("statistic", 1).unwrap_or("")]
            .into_iter()
            .find(|name| {
                let name = plain(name);
                STATISTICS.contains(&name.as_str())
                    || name.strip_prefix('p').is_some_and(|rank| rank.parse::<u32>().is_ok())
            });
        let is_statistic = plain(header) == "sum" || STATISTICS.contains(&plain(header).as_str());
        let name = match (title, header) {
            ("", header) => header,
            (title, header) if header.is_empty() || is_statistic => title,
            (_, header) => header,
        };
        let period = full_period.or_else(|| self.said("period", 1));
        Source {
            name: name.to_owned(),
            unit: [header, title, full].into_iter().find_map(Unit::of_name),
            statistic: statistic.map(str::to_owned),
            period_seconds: period.and_then(|period| period.parse().ok()),
            place: self.place,
        }
    }

    /// Seconds after midnight at which rows that count seconds begin.
    pub fn begins_at_second(&self) -> u64 {
        let begins_ms = self.begins_ms.filter(|_| self.clock == Some(Clock::Seconds));
        begins_ms.unwrap_or(0) / 1_000 % 86_400
    }
}

/// What most probably stands between the columns of a line.
fn separator(line: &str) -> Separator {
    let mut is_quoted = false;
    let mut found = Vec::new();
    for c in line.trim().chars() {
        is_quoted ^= c == '"';
        if !is_quoted {
            found.push(c);
        }
    }
    let separators = ['\t', ';', '|', ','].into_iter();
    let separator = separators
        .map(Separator::Char)
        .find(|separator| matches!(separator, Separator::Char(c) if found.contains(c)));
    separator.unwrap_or(Separator::Blanks)
}

/// The cells of a line; `None` if a quote is not closed.
fn split(line: &str, separator: Separator) -> Option<Vec<Cow<'_, str>>> {
    let Separator::Char(separator) = separator else {
        return Some(split_blanks(line));
    };
    if !line.contains('"') {
        return Some(line.split(separator).map(Cow::Borrowed).collect());
    }
    let mut cells = vec![String::new()];
    let mut is_quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let cell = cells.last_mut().expect("a cell");
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                cell.push('"');
                chars.next();
            }
            '"' if is_quoted || cell.trim().is_empty() => is_quoted = !is_quoted,
            _ if c == separator && !is_quoted => cells.push(String::new()),
            _ => cell.push(c),
        }
    }
    (!is_quoted).then(|| cells.into_iter().map(Cow::Owned).collect())
}

/// A time, which may have a blank in it, and what stands after it.
fn split_blanks(line: &str) -> Vec<Cow<'_, str>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [date, clock, value] if is_written_time(&format!("{date} {clock}")) => {
            vec![Cow::Owned(format!("{date} {clock}")), Cow::Borrowed(value)]
        }
        _ => words.into_iter().map(Cow::Borrowed).collect(),
    }
}
