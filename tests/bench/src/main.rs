//! What the handler costs: CPU per uncompressed MB, from the raw event body to accepted PutRecords
//! on a local sink, beside a plain handler in the same run.
//!
//! Every handler runs in a process of its own (this program again), which reports its own CPU
//! time, user and system; the sink's is the parent's and counts for nobody. The handlers take
//! turns, round after round, so that a noisy machine is noisy for all of them.

#![allow(clippy::print_stdout, reason = "a table on stdout is what it is for")]

mod ours;
mod payloads;
mod plain;
mod sink;
mod stages;
mod worker;

use std::process::ExitCode;

use clap::{Parser, value_parser};

use crate::sink::Sink;
use crate::worker::{Handler, Worker};

type Error = Box<dyn std::error::Error>;

/// The promise (docs/experiments/performance.md): at payloads of this size, the default record format…
const PROMISE_PAYLOAD_BYTES: usize = 100_000;
/// …costs at most this share of the plain handler with the same transform.
const PROMISE_RATIO_MAX: f64 = 0.45;

const PAYLOAD_BYTES: [usize; 3] = [10_000, PROMISE_PAYLOAD_BYTES, 1_000_000];
const ROUNDS_DEFAULT: u64 = 15;
/// Payload bytes a handler works through in one turn: short, so that all have the same noise.
const TURN_BYTES: usize = 4_000_000;

/// The CPU of our handler beside a plain one's, in the same run.
#[derive(Parser)]
#[command(name = "bench")]
struct Options {
    /// Exit 1 when the promise is broken.
    #[arg(long)]
    check: bool,
    /// Also print where our handler's CPU goes.
    #[arg(long)]
    stages: bool,
    /// Turns of each handler.
    #[arg(long, value_name = "N", default_value_t = ROUNDS_DEFAULT, value_parser = value_parser!(u64).range(1..))]
    rounds: u64,
    /// Of the generated log lines.
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
}

fn main() -> Result<ExitCode, Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == worker::SUBCOMMAND) {
        worker::serve(&arguments[1..])?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options::parse();
    let sink = Sink::start()?;
    println!(
        "seed {}, {} rounds of {} MB a handler; CPU of the handler's own process, user + system",
        options.seed,
        options.rounds,
        TURN_BYTES / 1_000_000
    );
    let mut kept = true;
    for payload_bytes in PAYLOAD_BYTES {
        let measured = measure(&options, &sink, payload_bytes)?;
        print_table(payload_bytes, &measured);
        kept &= payload_bytes != PROMISE_PAYLOAD_BYTES || promise_kept(&measured);
    }
    if options.stages {
        stages::print(&sink, options.seed)?;
    }
    println!(
        "\npromise: ours, kpl at {} KB costs at most {PROMISE_RATIO_MAX} of plain: {}",
        PROMISE_PAYLOAD_BYTES / 1_000,
        if kept { "kept" } else { "BROKEN" }
    );
    Ok(if options.check && !kept { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One row of the table.
struct Measured {
    handler: Handler,
    /// CPU milliseconds an uncompressed MB, by round.
    ms_per_mb: Vec<f64>,
    calls_per_mb: f64,
    records_per_mb: f64,
    sent_bytes_per_byte: f64,
}

fn measure(options: &Options, sink: &Sink, payload_bytes: usize) -> Result<Vec<Measured>, Error> {
    let start = |handler| Worker::start(handler, sink.port(), options.seed, payload_bytes);
    let mut workers =
        Handler::ALL.iter().map(|&handler| start(handler)).collect::<Result<Vec<_>, _>>()?;
    let mut measured: Vec<Measured> = Handler::ALL
        .iter()
        .map(|&handler| Measured {
            handler,
            ms_per_mb: Vec::new(),
            calls_per_mb: 0.0,
            records_per_mb: 0.0,
            sent_bytes_per_byte: 0.0,
        })
        .collect();
    for worker in &mut workers {
        worker.turn(TURN_BYTES / 2)?;
    }
    for _ in 0..options.rounds {
        for (worker, row) in workers.iter_mut().zip(&mut measured) {
            let before = sink.seen();
            let turn = worker.turn(TURN_BYTES)?;
            let seen = sink.seen().since(before);
            let mb = turn.bytes as f64 / 1e6;
            row.ms_per_mb.push(turn.cpu.as_secs_f64() * 1e3 / mb);
            row.calls_per_mb = seen.calls as f64 / mb;
            row.records_per_mb = seen.records as f64 / mb;
            row.sent_bytes_per_byte = seen.bytes as f64 / turn.bytes as f64;
        }
    }
    Ok(measured)
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let values = sorted(values);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Ours against the plain handler with the same transform, round by round: the median, since both
/// had the same noise in the same round.
fn ratio(row: &Measured, measured: &[Measured]) -> Option<f64> {
    let plain = measured.iter().find(|other| {
        other.handler.format.is_none() && other.handler.envelope == row.handler.envelope
    })?;
    Some(median(row.ms_per_mb.iter().zip(&plain.ms_per_mb).map(|(ours, plain)| ours / plain)))
}

fn promise_kept(measured: &[Measured]) -> bool {
    measured
        .iter()
        .filter(|row| row.handler.is_default_format())
        .all(|row| ratio(row, measured).is_some_and(|ratio| ratio <= PROMISE_RATIO_MAX))
}

fn print_table(payload_bytes: usize, measured: &[Measured]) {
    println!("\npayloads of {} KB uncompressed", payload_bytes / 1_000);
    println!(
        "  {:<24} {:>9} {:>15}   {:>8} {:>8} {:>10} {:>8}",
        "handler", "ms CPU/MB", "min–max", "of plain", "calls/MB", "records/MB", "sent B/B"
    );
    for row in measured {
        let ms_per_mb = sorted(row.ms_per_mb.iter().copied());
        let (least, most) = (ms_per_mb[0], ms_per_mb[ms_per_mb.len() - 1]);
        println!(
            "  {:<24} {:>9.2} {:>15}   {:>8.2} {:>8.1} {:>10.1} {:>8.2}",
            row.handler.to_string(),
            median(row.ms_per_mb.iter().copied()),
            format!("{least:.2}–{most:.2}"),
            ratio(row, measured).unwrap_or(f64::NAN),
            row.calls_per_mb,
            row.records_per_mb,
            row.sent_bytes_per_byte,
        );
    }
}
