//! `simulator --scenario NAME --seed N`: one scenario in virtual time, a line a decision.

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, bail};
use simulator::run::command;
use simulator::scenario::{load, names};
use simulator::{Kill, Options, Outcome, run};

const HELP: &str = "\
Runs the scaling functions against the simulated AWS, in virtual time.

  cargo run -p simulator -- --list
  cargo run -p simulator -- --scenario NAME [--seed N] [--quiet]
  cargo run -p simulator -- --scenario all
  cargo run -p simulator -- --scenario NAME --kill-at CALL --kill before|after
  cargo run -p simulator -- --scenario mixed-faults --seeds 1000 --quiet

  --scenario NAME   a file of tests/simulator/scenarios, or all
  --seed N          everything that chance decides (1)
  --seeds COUNT     so many seeds, from --seed on
  --kill-at CALL    kill the function that makes this call of the control plane, counted from 0
  --kill WHEN       before or after the call takes effect (before)
  --quiet           no decisions, the outcome only
  --list            the scenarios and why they exist

The same seed gives the same bytes. The exit status is 1 when a scenario does not pass.
";

struct Arguments {
    scenario: String,
    options: Options,
    seeds: u64,
    quiet: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut out = stdout().lock();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() || arguments.iter().any(|argument| argument == "--help") {
        write!(out, "{HELP}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        for name in names()? {
            writeln!(out, "{name}\n    {}", load(&name)?.why.trim())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let Arguments { scenario, options, seeds, quiet } = parse(&arguments)?;
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

fn parse(arguments: &[String]) -> anyhow::Result<Arguments> {
    let (mut scenario, mut seed, mut seeds, mut quiet) = (None, 1, 1, false);
    let (mut kill_at, mut after) = (None, false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--scenario" => scenario = Some(value()?.clone()),
            "--seed" => seed = value()?.parse().context("--seed is a number")?,
            "--seeds" => seeds = value()?.parse().context("--seeds is a number")?,
            "--kill-at" => kill_at = Some(value()?.parse().context("--kill-at is a number")?),
            "--kill" => {
                after = match value()?.as_str() {
                    "before" => false,
                    "after" => true,
                    other => bail!("--kill is before or after, not {other}"),
                }
            }
            "--quiet" => quiet = true,
            other => bail!("unknown argument {other}; --help lists them"),
        }
    }
    let kill = kill_at.map(|call| Kill { call, after });
    Ok(Arguments {
        scenario: scenario.context("--scenario is missing; --help lists the arguments")?,
        options: Options { seed, kill, ..Options::default() },
        seeds,
        quiet,
    })
}

fn summary(outcome: &Outcome) -> String {
    let path: Vec<String> = outcome.path.iter().map(u32::to_string).collect();
    format!(
        "shards {}; {} UpdateShardCount, {} SplitShard, {} MergeShards, {} calls in all; at most {} s behind; \
         {:.3} MB dead-lettered; ${:.2}",
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
