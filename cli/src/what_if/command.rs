//! One run of the command: traffic → policies → table, JSON, report.

use std::io::{Write, stderr};

use anyhow::{Context, bail};
use sluice::limits::{SHARD_BYTES_PER_SECOND, SHARDS_MAX};
use sluice_simulated::{Backlog, StreamLimits};

use crate::what_if::arguments::{Arguments, Setting, Sweep};
#[cfg(feature = "aws")]
use crate::what_if::cloudwatch;
use crate::what_if::generate::generate;
use crate::what_if::html;
use crate::what_if::policies::sluice::Parameters;
use crate::what_if::reading::{Options, Reading, read_file};
use crate::what_if::result::{self, Outcome};
use crate::what_if::run::{Job, POLICIES, each};
use crate::what_if::trace::Trace;
use crate::what_if::world::Settings;

/// MB/s of made-up traffic's peak.
const GENERATED_PEAK_MBPS: f64 = 64.0;
/// Days of made-up traffic.
const GENERATED_DAYS: f64 = 7.0;
/// Days of metrics that are read.
const CLOUDWATCH_DAYS: f64 = 14.0;

/// Does what the arguments say and writes the result to `out`.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let trace = read_trace(arguments)?;
    trace.check_length()?;
    let mut parameters = Parameters::of_template(shards_max(&trace));
    for Setting { name, value } in &arguments.set {
        parameters.set(name, value)?;
    }
    parameters.check()?;
    let settings = settings(arguments, &trace, &parameters);
    let outcomes = match &arguments.sweep {
        Some(sweep) => play_sweep(arguments, sweep, &trace, &settings, &parameters)?,
        None => play(arguments, &trace, &settings, &parameters)?,
    };
    if let Some(path) = &arguments.html {
        std::fs::write(path, html::report(&trace, &settings, &outcomes))
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &result::report(&trace, &settings, &outcomes))?;
        writeln!(out)?;
    } else {
        write!(out, "{}", result::heading(&trace, &settings))?;
        write!(out, "{}", result::table(&outcomes))?;
        write!(out, "{}", result::advice(&trace, &settings, &outcomes))?;
        if arguments.sweep.is_some() {
            write!(out, "{}", result::frontier_text(&outcomes))?;
            if follows_target(arguments) {
                writeln!(out, "UtilizationDownMax follows, in proportion; --set it to hold it")?;
            }
        }
    }
    if let Some(name) = &arguments.decisions {
        let found = outcomes.iter().find(|outcome| outcome.name == *name);
        let outcome = found.with_context(|| format!("{name} was not played"))?;
        write!(out, "\n{}", result::decisions(outcome))?;
    }
    Ok(())
}

/// Room for the peak and a doubling too much: the maximum must not decide the comparison.
fn shards_max(trace: &Trace) -> u32 {
    let peak_shards = (trace.peak() / SHARD_BYTES_PER_SECOND as f64).ceil().max(1.0);
    ((peak_shards * 2.0) as u32).clamp(2, SHARDS_MAX as u32)
}

fn settings(arguments: &Arguments, trace: &Trace, parameters: &Parameters) -> Settings {
    Settings {
        seed: arguments.seed,
        payload_bytes: arguments.payload_bytes,
        record_bytes: parameters.record_bytes,
        event_bytes: arguments.event_bytes,
        readers: arguments.readers,
        shards_max: shards_max(trace),
        limits: StreamLimits::default(),
        backlog: Backlog {
            fill_min: arguments.queue_fill,
            deleted: arguments.queue_deletes,
            ..Backlog::default()
        },
    }
}

fn read_trace(arguments: &Arguments) -> anyhow::Result<Trace> {
    let scaled = |trace: Trace| match arguments.peak_mbps {
        Some(peak) => trace.scaled_to_peak(peak * 1e6),
        None => Ok(trace),
    };
    if let Some(path) = &arguments.trace {
        let options = Options {
            unit: arguments.unit,
            column: arguments.column.clone(),
            decimal: arguments.decimal,
            event_bytes: arguments.event_bytes,
            is_scaled: arguments.peak_mbps.is_some(),
        };
        let Reading { trace, notes, warnings } = read_file(path, &options)?;
        if !arguments.quiet {
            notes.iter().for_each(|note| say(note));
        }
        warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
        let trace = match arguments.days {
            Some(days) => trace.first_days(days),
            None => trace,
        };
        return Ok(scaled(trace)?);
    }
    if let Some(shape) = arguments.generate {
        let days = arguments.days.unwrap_or(GENERATED_DAYS);
        if days.fract() != 0.0 {
            bail!("--days is {days}; made-up traffic has whole days");
        }
        let peak = arguments.peak_mbps.unwrap_or(GENERATED_PEAK_MBPS);
        return Ok(generate(shape, days as u64, peak * 1e6, arguments.seed));
    }
    let stream = arguments.from_cloudwatch.as_deref().context("no traffic is given")?;
    Ok(scaled(read_cloudwatch(stream, arguments.days.unwrap_or(CLOUDWATCH_DAYS))?)?)
}

#[cfg(feature = "aws")]
fn read_cloudwatch(stream: &str, days: f64) -> anyhow::Result<Trace> {
    cloudwatch::read_from_environment(stream, days)
}

#[cfg(not(feature = "aws"))]
fn read_cloudwatch(stream: &str, _days: f64) -> anyhow::Result<Trace> {
    bail!(
        "--from-cloudwatch {stream}: `make simulate` builds what-if without the AWS SDK, which takes \
         minutes to compile: cargo run --profile simulate -p sluice-cli -- what-if --from-cloudwatch …"
    )
}

fn play(
    arguments: &Arguments,
    trace: &Trace,
    settings: &Settings,
    parameters: &Parameters,
) -> anyhow::Result<Vec<Outcome>> {
    let all = || POLICIES.map(str::to_owned).to_vec();
    let names = if arguments.policies.is_empty() { all() } else { arguments.policies.clone() };
    let progress = |done: usize, name: &str| tell(arguments, done, names.len(), name);
    let outcomes = Job { trace, settings, parameters }.play_all(&names, progress)?;
    Ok(outcomes)
}

/// Whether UtilizationDownMax moves with a swept target: held where it is, it would lie above
/// the lower ones, which no function starts with.
fn follows_target(arguments: &Arguments) -> bool {
    let is_swept = |sweep: &Sweep| sweep.name == "TargetUtilization";
    arguments.sweep.as_ref().is_some_and(is_swept)
        && !arguments.set.iter().any(|setting| setting.name == "UtilizationDownMax")
}

fn play_sweep(
    arguments: &Arguments,
    sweep: &Sweep,
    trace: &Trace,
    settings: &Settings,
    parameters: &Parameters,
) -> anyhow::Result<Vec<Outcome>> {
    let mut variants = Vec::new();
    for value in sweep.values() {
        let mut parameters = parameters.clone();
        let policy = &parameters.policy;
        let share = policy.utilization_down_max / policy.target_utilization;
        parameters.set(sweep.name, &value.to_string())?;
        if follows_target(arguments) {
            parameters.set("UtilizationDownMax", &(share * value).to_string())?;
        }
        let name = format!("{}={value}", sweep.name);
        parameters.check().with_context(|| name.clone())?;
        variants.push((name, parameters));
    }
    let work = |(name, parameters): &(String, Parameters)| {
        let settings = &Settings { record_bytes: parameters.record_bytes, ..settings.clone() };
        let outcome = Job { trace, settings, parameters }.play("sluice");
        Outcome { name: name.clone(), ..outcome }
    };
    let count = variants.len();
    Ok(each(&variants, work, |done, (name, _)| tell(arguments, done, count, name)))
}

fn say(line: &str) {
    writeln!(stderr(), "{line}").ok();
}

fn tell(arguments: &Arguments, done: usize, of: usize, name: &str) {
    if !arguments.quiet {
        writeln!(stderr(), "{done}/{of} {name}").ok();
    }
}
