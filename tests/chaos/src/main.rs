//! `chaos --seeds N`: many worlds in virtual time, each broken by its seed's plan, and a table.

use std::any::Any;
use std::io::{Write, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context;
use chaos::plan::Plan;
use chaos::progress::{Begin, Progress, Run};
use chaos::{Mutation, Options, Outcome, Table, Tally, run};
use clap::{Parser, ValueEnum, value_parser};

/// Carries events through the real processor and the real replayer in a simulated AWS that breaks by
/// seed, and looks for every one of them: in the stream, in quarantine, or filtered; nowhere else,
/// and never nowhere.
#[derive(Parser)]
#[command(
    name = "chaos",
    after_help = "\
The same seed gives the same bytes. The exit status is 1 when an event is lost, when anything is
where it must not be, or when more than 1 event in 10,000 is doubled without a cause that was
injected.

Examples:
  cargo run -p chaos -- --seeds 1000
  cargo run -p chaos -- --seed 17 --seeds 1"
)]
struct Arguments {
    /// So many seeds, from --seed on.
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed; it decides everything.
    #[arg(long = "seed", value_name = "N", default_value = "0")]
    first: u64,
    /// Log events of each seed.
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = value_parser!(u32).range(1..))]
    events: u32,
    /// Fail unless the same run was broken off; without it, it is resumed if it was.
    #[arg(long)]
    resume: bool,
    /// Start over, whatever was broken off.
    #[arg(long, conflicts_with = "resume")]
    fresh: bool,
    /// What a broken-off run leaves behind.
    #[arg(long, value_name = "FILE", default_value = "target/chaos/state.jsonl")]
    state: PathBuf,
    /// Break the functions, to see it noticed.
    #[arg(long, value_name = "NAME", value_enum)]
    mutation: Option<Mutation>,
    /// Progress and the table only.
    #[arg(long)]
    quiet: bool,
}

/// A line of progress this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

fn main() -> anyhow::Result<ExitCode> {
    let mut out = stdout().lock();
    let arguments = Arguments::parse();
    let Arguments { first, seeds, quiet, .. } = arguments;
    let events = arguments.events as usize;
    let mutation = arguments.mutation.unwrap_or_default();
    let begin = match arguments {
        Arguments { resume: true, .. } => Begin::Resume,
        Arguments { fresh: true, .. } => Begin::Anew,
        _ => Begin::WhereItBrokeOff,
    };
    let run = Run { first, seeds, events, program: program(mutation)? };
    let mut progress = Progress::open(&arguments.state, &run, begin)?;
    let mut table = Table::default();
    for (&seed, tally) in progress.done() {
        table.add(Plan::draw(seed, events).family, tally);
    }
    let resumed = progress.done().len();
    writeln!(out, "seeds {first} to {}, {events} events each", first + seeds - 1)?;
    if resumed > 0 {
        writeln!(
            out,
            "RESUMED: {resumed} of {seeds} seeds are done, as {} has it; --fresh starts over",
            progress.path().display()
        )?;
    }
    let missing: Vec<u64> =
        (first..first + seeds).filter(|seed| !progress.done().contains_key(seed)).collect();

    // What a seed that panics says is said with the command that repeats it.
    std::panic::set_hook(Box::new(|_| {}));
    let begin = Instant::now();
    let mut failed = Vec::new();
    let mut said = Instant::now();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let (next, missing) = (&next, &missing);
        let (sender, receiver) = mpsc::channel();
        for _ in 0..std::thread::available_parallelism()?.get() {
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some(&seed) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let plan = Plan::draw(seed, events);
                    let ended = carry(&plan, mutation);
                    if sender.send((plan, ended)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut done = 0;
        loop {
            match receiver.recv_timeout(PROGRESS_EVERY) {
                Ok((plan, ended)) => {
                    done += 1;
                    let tally = match &ended {
                        Ok(outcome) => Tally::of(&plan, outcome),
                        Err(_) => Tally::of_panic(),
                    };
                    let says = match &ended {
                        Ok(outcome) => outcome.to_string(),
                        Err(panic) => format!("\n  FAILED: panicked: {panic}"),
                    };
                    if tally.failed > 0 {
                        let repeat = command(plan.seed, events, mutation);
                        writeln!(out, "{plan}\n  {says}\n  to repeat: {repeat}")?;
                        failed.push(repeat);
                    } else if !quiet {
                        writeln!(out, "{plan}\n  {says}")?;
                    }
                    table.add(plan.family, &tally);
                    progress.add(plan.seed, tally)?;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if said.elapsed() >= PROGRESS_EVERY {
                said = Instant::now();
                let seconds = begin.elapsed().as_secs_f64();
                let rate = f64::from(done) / seconds;
                let left = missing.len() as f64 - f64::from(done);
                let ready = resumed + done as usize;
                writeln!(
                    out,
                    "{ready} of {seeds} seeds, {} events, {} lost, {} failed; {rate:.1} seeds/s, \
                     {:.0} s to go; {} MB",
                    table.whole.events,
                    table.whole.lost,
                    table.whole.failed,
                    left / rate,
                    resident_megabytes(),
                )?;
                out.flush()?;
            }
        }
    })?;

    let seconds = begin.elapsed().as_secs_f64();
    writeln!(out, "{table}")?;
    writeln!(
        out,
        "{} events, {} lost; {seconds:.0} s, {} MB of memory at the most",
        table.whole.events,
        table.whole.lost,
        peak_megabytes(),
    )?;
    for repeat in &failed {
        writeln!(out, "FAILED; to repeat: {repeat}")?;
    }
    if table.has_too_many_duplicates() {
        writeln!(out, "FAILED: too many duplicates where none were injected")?;
    }
    let is_good = failed.is_empty() && !table.has_too_many_duplicates();
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a plan; `Err` is what it panicked with.
fn carry(plan: &Plan, mutation: Mutation) -> Result<Outcome, String> {
    let options = Options { mutation, ..Options::default() };
    catch_unwind(AssertUnwindSafe(|| run(plan, &options)))
        .map_err(|panic| message_of(panic.as_ref()))
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "without a message".to_owned())
}

/// The command that repeats a seed.
fn command(seed: u64, events: usize, mutation: Mutation) -> String {
    let mutation = name(mutation).map(|name| format!(" --mutation {name}")).unwrap_or_default();
    format!(
        "cargo run -p chaos -- --seed {seed} --seeds 1 --events {events} \
         --state target/chaos/seed-{seed}.jsonl{mutation}"
    )
}

/// Its name on the command line; none for [`Mutation::None`].
fn name(mutation: Mutation) -> Option<String> {
    mutation.to_possible_value().map(|value| value.get_name().to_owned())
}

/// Tells this build from another.
fn program(mutation: Mutation) -> anyhow::Result<String> {
    let path = std::env::current_exe()?;
    let metadata = path.metadata().with_context(|| path.display().to_string())?;
    let modified = metadata.modified()?.duration_since(std::time::UNIX_EPOCH)?;
    let mutation = name(mutation).unwrap_or_default();
    Ok(format!("{}-{} {mutation}", modified.as_millis(), metadata.len()))
}

/// A line of `/proc/self/status`, in MB; 0 where there is none.
fn status_megabytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1_000
}

fn resident_megabytes() -> u64 {
    status_megabytes("VmRSS")
}

fn peak_megabytes() -> u64 {
    status_megabytes("VmHWM")
}
