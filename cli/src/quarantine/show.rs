//! `sluice quarantine show`: what is in the quarantine.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::arguments::Show;
use super::description::{Description, Text, describe};
use super::queue::Quarantine;
use crate::terminal::{Progress, ascii_json, clipped, grouped, plain, say, span, table};

/// Characters of a log message, unless it is for a program.
const TEXT_CHARACTERS_MAX: usize = 200;

/// Messages by reason, the most frequent first.
#[derive(Debug, Default)]
pub struct Reasons(Vec<(String, u64)>);

impl Reasons {
    /// Counts one more.
    pub fn add(&mut self, reason: &str) {
        match self.0.iter_mut().find(|(known, _)| known == reason) {
            Some((_, count)) => *count += 1,
            None => self.0.push((reason.to_owned(), 1)),
        }
    }

    /// How many messages were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    fn sorted(&self) -> Vec<(String, u64)> {
        let mut reasons = self.0.clone();
        reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        reasons
    }

    /// For people, indented so.
    #[must_use]
    pub fn table(&self, indent: &str) -> String {
        let row = |(reason, count): (String, u64)| {
            [format!("{indent}{}", grouped(count)), plain(&reason)]
        };
        table(&self.sorted().into_iter().map(row).collect::<Vec<_>>())
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Map<String, Value> {
        self.sorted().into_iter().map(|(reason, count)| (reason, count.into())).collect()
    }
}

/// Takes messages in hand and describes them, oldest first.
pub async fn look(quarantine: &mut Quarantine, options: &Show) -> anyhow::Result<Vec<Description>> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let text = match (options.text, options.json) {
        (false, _) => Text::Hidden,
        (true, true) => Text::Whole,
        // One more, so that what is cut can say so.
        (true, false) => Text::Characters(TEXT_CHARACTERS_MAX + 1),
    };
    let most = options.selection.max.map_or(usize::MAX, |most| most as usize);
    let mut progress = Progress::start();
    let mut found = Vec::new();
    while found.len() < most {
        let batch = quarantine.take().await?;
        if batch.is_empty() {
            break;
        }
        let wanted = batch.iter().filter(|held| options.selection.has(held.reason()));
        found.extend(wanted.map(|held| describe(held, now_ms, quarantine.retention_seconds, text)));
        progress.say(&format!("{} looked at", grouped(found.len() as u64)));
    }
    found.truncate(most);
    found.sort_by_key(|one| one.dead_lettered_at);
    Ok(found)
}

#[derive(Serialize)]
struct Report<'a> {
    queue: &'a str,
    reasons: Map<String, Value>,
    messages: &'a [Description],
}

/// Writes what was found.
pub fn print(
    quarantine: &Quarantine,
    found: &[Description],
    options: &Show,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut reasons = Reasons::default();
    found.iter().for_each(|one| reasons.add(&one.reason));
    if options.json {
        let report = Report { queue: &quarantine.url, reasons: reasons.json(), messages: found };
        writeln!(out, "{}", ascii_json(&report)?)?;
        return Ok(());
    }
    if found.is_empty() {
        match &options.selection.reason {
            None => writeln!(out, "Nothing there.")?,
            Some(reason) => writeln!(out, "Nothing there with the reason {}.", plain(reason))?,
        }
    } else {
        let rows: Vec<_> =
            [HEADER.map(str::to_owned)].into_iter().chain(found.iter().map(row)).collect();
        write!(out, "{}", table(&rows))?;
        for one in found {
            let Some(text) = &one.text else { continue };
            writeln!(out, "\n{}, {}:", plain(&one.message_id), plain(&one.reason))?;
            for text in text {
                writeln!(out, "  {}", clipped(&plain(text), TEXT_CHARACTERS_MAX))?;
            }
        }
        write!(out, "\n{}", reasons.table(""))?;
    }
    if quarantine.hidden > 0 {
        let hidden = grouped(quarantine.hidden);
        say(&format!("{hidden} more are in somebody else's hands for the moment."));
    }
    Ok(())
}

const HEADER: [&str; 9] = [
    "AGE",
    "DELETED IN",
    "REASON",
    "TRIES",
    "EVENTS",
    "LOG GROUP",
    "LOG STREAM",
    "EVENTS OF (UTC)",
    "DETAIL",
];

fn row(one: &Description) -> [String; 9] {
    let number = |number: Option<u64>| number.map_or("–".to_owned(), |number| number.to_string());
    let name = |name: Option<&String>, most| {
        name.map_or("–".to_owned(), |name| clipped(&plain(name), most))
    };
    let contents = one.contents.as_ref();
    [
        span(one.age_seconds),
        span(one.deleted_in_seconds),
        clipped(&plain(&one.reason), 24),
        number(one.attempts),
        number(one.log_events),
        name(contents.map(|contents| &contents.log_group), 40),
        name(contents.map(|contents| &contents.log_stream), 32),
        time_range(one),
        clipped(&plain(&said_of(one)), 70),
    ]
}

/// What is wrong with it now, and what was said when it came.
fn said_of(one: &Description) -> String {
    let unreadable = one.unreadable.as_ref().map(|why| format!("unreadable: {why}"));
    let said = unreadable.into_iter().chain(one.detail.clone());
    said.collect::<Vec<_>>().join("; ")
}

fn time_range(one: &Description) -> String {
    let times = one
        .contents
        .as_ref()
        .and_then(|contents| contents.first_timestamp.zip(contents.last_timestamp));
    let Some((first, last)) = times else { return "–".to_owned() };
    let (first, last) = (moment(first), moment(last));
    if first == last {
        return first;
    }
    match (first.split_once(' '), last.split_once(' ')) {
        (Some((day, _)), Some((same, time))) if day == same => format!("{first} – {time}"),
        _ => format!("{first} – {last}"),
    }
}

/// A time in UTC; what is none, as the number that it is.
fn moment(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => ms.to_string(),
    }
}
