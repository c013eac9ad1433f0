//! `simulator --scenario NAME --seed N`: one scenario in virtual time, a line a decision.

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum, value_parser};
use simulator::run::command;
use simulator::scenario::{load, names};
use simulator::{Kill, Options, Outcome, run};

/// Runs the scaling functions against the simulated AWS, in virtual time.
#[derive(Parser)]
#[command(
    name = "simulator",
    arg_required_else_help = true,
    after_help = "\
The same seed gives the same bytes. The exit status is 1 when a scenario does not pass.

Examples:
  cargo run -p simulator -- --scenario disneys-day
  cargo run -p simulator -- --scenario all --quiet
  cargo run -p simulator -- --scenario disneys-day --kill-at 7 --kill after
  cargo run -p simulator -- --scenario mixed-faults --seeds 1000 --quiet"
)]
struct Arguments {
    /// A file of tests/simulator/scenarios, or all.
    #[arg(long, value_name = "NAME", required_unless_present = "list")]
    scenario: Option<String>,
    /// Everything that chance decides.
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// So many seeds, from --seed on.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = value_parser!(u64).range(1..))]
    seeds: u64,
    /// Kill the function that makes this call of the control plane, counted from 0.
    #[arg(long, value_name = "CALL")]
    kill_at: Option<u64>,
    /// Before or after the call takes effect.
    #[arg(long, value_name = "WHEN", value_enum, default_value = "before", requires = "kill_at")]
    kill: When,
    /// No decisions, the outcome only.
    #[arg(long)]
    quiet: bool,
    /// The scenarios and why they exist.
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    Before,
    After,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut out = stdout().lock();
    let arguments = Arguments::parse();
    if arguments.list {
        for name in names()? {
            writeln!(out, "{name}\n    {}", load(&name)?.why.trim())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let Arguments { seed, seeds, quiet, .. } = arguments;
    let after = arguments.kill == When::After;
    let kill = arguments.kill_at.map(|call| Kill { call, after });
    let options = Options { seed, kill, ..Options::default() };
    let scenario = arguments.scenario.context("--scenario is missing")?;
    let scenarios = if scenario == "all" { names()? } else { vec![scenario] };
    let mut failed = Vec::new();
    for name in scenarios {
        let scenario = load(&name)?;
        let all: Vec<u64> = (options.seed..options.seed + seeds).collect();
        for some in all.chunks(std::thread::available_parallelism()?.get()) {
            // The seed is said before the run, so that even a hang can be repeated.
            for &seed in some {
                let repeat = command(&name, &Options { seed, ..options });
                writeln!(out, "{name}: seed {seed}; to repeat: {repeat}")?;
            }
            let outcomes = std::thread::scope(|scope| {
                let scenario = &scenario;
                let start =
                    |&seed: &u64| scope.spawn(move || run(scenario, &Options { seed, ..options }));
                let runs: Vec<_> = some.iter().map(start).collect();
                runs.into_iter().map(|run| run.join()).collect::<Vec<_>>()
            });
            for (&seed, outcome) in some.iter().zip(outcomes) {
                let Ok(outcome) = outcome else { bail!("seed {seed} panicked") };
                if !quiet {
                    write!(out, "{}", outcome.text)?;
                }
                writeln!(out, "{name}: seed {seed}: {}", summary(&outcome))?;
                for failure in &outcome.failures {
                    writeln!(out, "  FAILED: {failure}")?;
                }
                if !outcome.failures.is_empty() {
                    failed.push(command(&name, &Options { seed, ..options }));
                }
            }
        }
    }
    for repeat in &failed {
        writeln!(out, "failed; to repeat: {repeat}")?;
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(outcome: &Outcome) -> String {
    let path: Vec<String> = outcome.path.iter().map(u32::to_string).collect();
    format!(
        "shards {}; {} UpdateShardCount, {} SplitShard, {} MergeShards, {} calls in all; \
         at most {} s behind; {:.3} MB dead-lettered; ${:.2}",
        path.join(" -> "),
        outcome.calls,
        outcome.splits,
        outcome.merges,
        outcome.control_calls,
        outcome.lag_seconds_max,
        outcome.dead_letter_bytes / 1e6,
        outcome.dollars
    )
}
