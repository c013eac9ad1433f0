//! What came out: one outcome a policy, as a table and as JSON.

use std::fmt::Write;

use serde::Serialize;
use sluice::limits::{
    ADVANTAGE_BYTES_PER_SECOND_MIN, SHARD_BYTES_PER_SECOND, SHARD_RECORDS_PER_SECOND,
};

use crate::what_if::clock::{SECONDS_PER_DAY, format_second};
use crate::what_if::cost::{Bill, put_dollars};
use crate::what_if::trace::Trace;
use crate::what_if::world::Settings;

/// The bar for the recommended policy: so many seconds at p99.
pub const LAG_P99_SECONDS_MAX: u64 = 30;

/// A stream whose peak is below this share of a shard needs no more than that shard.
const SMALL_SHARE: f64 = 0.8;

/// One call that changed, or should have changed, the shards.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// When.
    pub second: u64,
    /// Open shards before.
    pub from: u32,
    /// Open shards wanted.
    pub to: u32,
    /// Why, in the rule's own words.
    pub why: String,
    /// What AWS's rules said against it.
    pub error: Option<String>,
}

/// A stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Point {
    /// Its end.
    pub second: u64,
    /// The most that arrived in a second, MB.
    pub load: f64,
    /// What could be taken a second on average, MB.
    pub capacity: f64,
    /// The latest delivery, in seconds.
    pub lag: u64,
    /// What everything up to here has cost.
    pub dollars: f64,
    #[serde(skip)]
    seconds: u64,
}

impl Point {
    /// Adds a second.
    pub fn add(&mut self, arrived: f64, capacity: f64, lag: u64) {
        self.load = self.load.max(arrived);
        self.capacity += capacity;
        self.lag = self.lag.max(lag);
        self.seconds += 1;
    }

    /// Ends it.
    #[must_use]
    pub fn finish(self, second: u64, dollars: f64) -> Self {
        let capacity = self.capacity / self.seconds.max(1) as f64 / 1e6;
        Self { second, load: self.load / 1e6, capacity, dollars, ..self }
    }
}

/// What came out of one policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The policy.
    pub name: String,
    /// Where its rule is documented.
    pub source: String,
    /// Dollars, over the whole time.
    pub bill: Bill,
    /// Days that were played.
    pub days: f64,
    /// Shard-hours.
    pub shard_hours: f64,
    /// The most open shards.
    pub shards_most: u32,
    /// Seconds that half of all bytes do not exceed.
    pub lag_p50: u64,
    /// Seconds that 95 % of all bytes do not exceed.
    pub lag_p95: u64,
    /// Seconds that 99 % of all bytes do not exceed.
    pub lag_p99: u64,
    /// The latest delivery.
    pub lag_max: u64,
    /// Offered to the stream and refused, MB.
    pub refused_megabytes: f64,
    /// Given up by Lambda after six hours, which goes to the dead-letter queue, or deleted from its
    /// queue, MB.
    pub lost_megabytes: f64,
    /// Still waiting seven hours after the traffic's end, MB.
    pub undelivered_megabytes: f64,
    /// UpdateShardCount calls that were accepted.
    pub reshards: u64,
    /// SplitShard calls that were accepted.
    pub splits: u64,
    /// MergeShards calls that were accepted.
    pub merges: u64,
    /// The most UpdateShardCount calls in any 24 hours.
    pub reshards_most_in_a_day: u64,
    /// Minutes in which more came in than could be taken.
    pub minutes_over: u64,
    /// Every call.
    pub decisions: Vec<Decision>,
    /// Load, capacity, lag and cost over time.
    pub points: Vec<Point>,
}

impl Outcome {
    /// Dollars a day.
    #[must_use]
    pub fn dollars_a_day(&self) -> f64 {
        self.bill.total() / self.days
    }

    /// Whether nothing was lost and 99 % was in time.
    #[must_use]
    pub fn keeps_up(&self) -> bool {
        self.lag_p99 <= LAG_P99_SECONDS_MAX
            && self.lost_megabytes <= 0.0
            && self.undelivered_megabytes <= 0.0
    }
}

/// The cheapest outcome that keeps up, the clairvoyant optimum aside.
#[must_use]
pub fn cheapest<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Option<&'a Outcome> {
    outcomes
        .into_iter()
        .filter(|outcome| outcome.keeps_up() && outcome.name != crate::what_if::optimum::NAME)
        .min_by(|one, other| one.bill.total().total_cmp(&other.bill.total()))
}

/// Everything, for JSON.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// The traffic.
    pub trace: &'a str,
    /// Days that were played.
    pub days: f64,
    /// Its peak, MB/s.
    pub peak_megabytes_per_second: f64,
    /// Its mean, MB/s.
    pub mean_megabytes_per_second: f64,
    /// Everything that chance decided.
    pub seed: u64,
    /// The cheapest policy that keeps up.
    pub cheapest: Option<&'a str>,
    /// Those that no other beats in both cost and lag p99.
    pub frontier: Vec<&'a str>,
    /// All of them.
    pub policies: &'a [Outcome],
}

/// Everything, for JSON.
#[must_use]
pub fn report<'a>(trace: &'a Trace, settings: &Settings, outcomes: &'a [Outcome]) -> Report<'a> {
    Report {
        trace: &trace.name,
        days: trace.seconds() as f64 / SECONDS_PER_DAY as f64,
        peak_megabytes_per_second: trace.peak() / 1e6,
        mean_megabytes_per_second: trace.mean() / 1e6,
        seed: settings.seed,
        cheapest: cheapest(outcomes).map(|outcome| outcome.name.as_str()),
        frontier: frontier(outcomes).into_iter().map(|outcome| outcome.name.as_str()).collect(),
        policies: outcomes,
    }
}

/// The outcomes that no other beats: neither cheaper at no more lag, nor less late at no more cost.
#[must_use]
pub fn frontier(outcomes: &[Outcome]) -> Vec<&Outcome> {
    let key = |outcome: &Outcome| (outcome.bill.total(), outcome.lag_p99);
    let beats = |other: &Outcome, one: &Outcome| {
        let ((other_cost, other_lag), (cost, lag)) = (key(other), key(one));
        other_cost <= cost && other_lag <= lag && (other_cost, other_lag) != (cost, lag)
    };
    outcomes.iter().filter(|one| !outcomes.iter().any(|other| beats(other, one))).collect()
}

/// The frontier in a sentence.
#[must_use]
pub fn frontier_text(outcomes: &[Outcome]) -> String {
    let names: Vec<&str> =
        frontier(outcomes).into_iter().map(|outcome| outcome.name.as_str()).collect();
    format!("frontier of cost and lag p99: {}\n", names.join(", "))
}

/// What was played, in two lines.
#[must_use]
pub fn heading(trace: &Trace, settings: &Settings) -> String {
    let refused = trace.refused_records.map_or_else(String::new, |refused| {
        format!(
            "the stream refused {refused:.0} records in that time: what was asked of it was more \
             than what is played\n"
        )
    });
    let records = trace.record_bytes.map_or_else(String::new, |bytes| {
        format!("the stream's records have {bytes:.0} B today on average\n")
    });
    format!(
        "{}: {:.1} days in steps of {} s, peak {:.2} MB/s, mean {:.2} MB/s, seed {}\n\
         {:.0} B an event, {:.0} B a payload, {:.0} B a record; list prices of us-east-1\n{records}{refused}\n",
        trace.name,
        trace.seconds() as f64 / SECONDS_PER_DAY as f64,
        trace.step_seconds,
        trace.peak() / 1e6,
        trace.mean() / 1e6,
        settings.seed,
        settings.event_bytes,
        settings.payload_bytes,
        settings.record_bytes,
    )
}

/// The table.
#[must_use]
pub fn table(outcomes: &[Outcome]) -> String {
    let best = cheapest(outcomes).map(|outcome| outcome.name.as_str());
    let header = [
        "policy",
        "$/day",
        "shards $",
        "puts $",
        "lambda $",
        "other $",
        "shard-h",
        "p50 s",
        "p95 s",
        "p99 s",
        "max s",
        "refused MB",
        "lost MB",
        "reshards",
        "in 24 h",
        "min > 100 %",
    ];
    let mut rows: Vec<Vec<String>> = vec![header.map(str::to_owned).to_vec()];
    for outcome in outcomes {
        let mark = if best == Some(outcome.name.as_str()) { " *" } else { "" };
        let dollars = |dollars: f64| format!("{:.2}", dollars / outcome.days);
        let single = |count: u64, what: &str| match count {
            0 => String::new(),
            _ => format!(" + {count} {what}"),
        };
        let (splits, merges) = (single(outcome.splits, "splits"), single(outcome.merges, "merges"));
        rows.push(vec![
            format!("{}{mark}", outcome.name),
            dollars(outcome.bill.total()),
            dollars(outcome.bill.shards),
            dollars(outcome.bill.puts),
            dollars(outcome.bill.lambda),
            dollars(outcome.bill.other),
            format!("{:.0}", outcome.shard_hours),
            outcome.lag_p50.to_string(),
            outcome.lag_p95.to_string(),
            outcome.lag_p99.to_string(),
            outcome.lag_max.to_string(),
            format!("{:.0}", outcome.refused_megabytes),
            format!("{:.0}", outcome.lost_megabytes + outcome.undelivered_megabytes),
            format!("{}{splits}{merges}", outcome.reshards),
            outcome.reshards_most_in_a_day.to_string(),
            outcome.minutes_over.to_string(),
        ]);
    }
    let columns = header.len();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let pad = " ".repeat(width - cell.chars().count());
            // Names to the left, figures to the right.
            let cell = if column == 0 { format!("{cell}{pad}") } else { format!("  {pad}{cell}") };
            text.push_str(&cell);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    match best {
        Some(name) => writeln!(
            text,
            "\n* the cheapest that keeps lag p99 at {LAG_P99_SECONDS_MAX} s or less and loses nothing: {name}"
        ),
        None => writeln!(
            text,
            "\nno policy keeps lag p99 at {LAG_P99_SECONDS_MAX} s or less without loss"
        ),
    }
    .expect("a string takes everything");
    text
}

/// Where another choice than Sluice is better, in so many words, and what packing is worth.
#[must_use]
pub fn advice(trace: &Trace, settings: &Settings, outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let shard = SHARD_BYTES_PER_SECOND as f64;
    let events = trace.peak() / settings.event_bytes;
    let days = trace.seconds() as f64 / SECONDS_PER_DAY as f64;
    let puts = |record_bytes: f64| put_dollars(trace.bytes(), record_bytes) / days;
    if trace.peak() > 0.0 {
        writeln!(
            text,
            "packing: with a record an event the peak would be {events:.0} records/s and need {:.0} \
             shards, not {:.0}; puts would cost ${:.2} a day, not ${:.2}",
            (events / SHARD_RECORDS_PER_SECOND as f64).max(trace.peak() / shard).ceil(),
            (trace.peak() / shard).ceil(),
            puts(settings.event_bytes),
            puts(settings.record_bytes),
        )
        .expect("a string takes everything");
    }
    if trace.peak() <= shard * SMALL_SHARE {
        text.push_str("this traffic is small: one shard, about $11 a month, is all it needs\n");
    }
    let named = |name: &str| outcomes.iter().find(|outcome| outcome.name == name);
    if let (Some(sluice), Some(advantage)) = (named("sluice"), named("on-demand-advantage")) {
        let (ours, theirs) = (sluice.dollars_a_day(), advantage.dollars_a_day());
        if theirs < ours {
            writeln!(text, "on-demand Advantage is cheaper: ${theirs:.2} a day against ${ours:.2}")
                .expect("a string takes everything");
        } else if trace.mean() >= ADVANTAGE_BYTES_PER_SECOND_MIN {
            writeln!(
                text,
                "above its minimum of 25 MB/s, on-demand Advantage costs ${theirs:.2} a day and \
                 keeps no shards of yours: compare it when there are many readers or no keys"
            )
            .expect("a string takes everything");
        }
    }
    text
}

/// The decisions of one policy, a line each.
#[must_use]
pub fn decisions(outcome: &Outcome) -> String {
    let mut text = String::new();
    for decision in &outcome.decisions {
        let Decision { second, from, to, why, error } = decision;
        let error = error.as_ref().map(|error| format!(" [{error}]")).unwrap_or_default();
        writeln!(text, "{}  {from} -> {to}{error}  {why}", format_second(*second))
            .expect("a string takes everything");
    }
    text
}
