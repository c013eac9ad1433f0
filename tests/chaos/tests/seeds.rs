//! A short run of what `make chaos` runs long: two seeds of every family.

use std::process::{Command, Output};

use chaos::tally::OWN_DUPLICATES_MAX;
use chaos::{Family, Options, Plan, Table, Tally, run};

const EVENTS: usize = 1_500;

/// Runs these seeds; none may fail.
fn table(seeds: impl Iterator<Item = u64>) -> Table {
    let mut table = Table::default();
    for seed in seeds {
        let plan = Plan::draw(seed, EVENTS);
        let outcome = run(&plan, &Options::default());
        let repeat = format!("cargo run -p chaos -- --seed {seed} --seeds 1 --events {EVENTS}");
        let failures = &outcome.verdict.failures;
        assert!(failures.is_empty(), "{plan}\n  {outcome}\nto repeat: {repeat}");
        let tally = Tally::of(&plan, &outcome);
        assert_eq!(
            tally.delivered + tally.quarantined + tally.filtered + tally.deleted,
            tally.events,
            "{plan}\n  {outcome}\nto repeat: {repeat}"
        );
        table.add(plan.family, &tally);
    }
    table
}

fn families(range: std::ops::Range<usize>) -> Table {
    let number = Family::ALL.len() as u64;
    table(range.flat_map(|place| [place as u64, place as u64 + number]))
}

#[test]
fn nothing_is_lost_where_the_stream_and_the_queues_fail() {
    let whole = families(0..8).whole;
    assert_eq!((whole.seeds, whole.lost, whole.deleted, whole.failed), (16, 0, 0, 0));
    assert!(whole.dead_lettered > 0 && whole.replayed > 0, "{whole:?}");
}

#[test]
fn nothing_is_lost_where_things_come_twice_and_poison_comes() {
    let whole = families(8..14).whole;
    assert_eq!((whole.seeds, whole.lost, whole.deleted, whole.failed), (12, 0, 0, 0));
    assert!(whole.duplicates_injected > 0 && whole.quarantined > 0, "{whole:?}");
}

#[test]
fn nothing_is_lost_where_functions_are_throttled_and_killed() {
    let whole = families(14..18).whole;
    assert_eq!((whole.seeds, whole.lost, whole.deleted, whole.failed), (8, 0, 0, 0));
    assert!(whole.deaths > 100 && whole.duplicates_injected > 0, "{whole:?}");
}

#[test]
fn what_lambda_deletes_before_a_function_sees_it_is_counted_and_nothing_else_is_lost() {
    let whole = families(18..19).whole;
    assert_eq!((whole.seeds, whole.lost, whole.failed), (2, 0, 0));
    assert!(whole.deleted > 0 && whole.dead_lettered > 0, "{whole:?}");
}

#[test]
fn nothing_comes_twice_unless_something_makes_it() {
    let number = Family::ALL.len() as u64;
    // One seed of each family that injects no duplicates.
    let seeds = (0..number).filter(|&seed| !Plan::draw(seed, EVENTS).injects_duplicates());
    let table = table(seeds);
    assert!(table.whole.events_clean > 8 * EVENTS as u64);
    assert!(!table.has_too_many_duplicates(), "over {OWN_DUPLICATES_MAX:e}:\n{table}");
}

fn chaos(state: &std::path::Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    command.arg("--state").arg(state).args(["--events", "200", "--quiet"]).args(arguments);
    command.output().expect("the program runs")
}

#[test]
fn a_run_that_was_broken_off_is_resumed_and_ends_in_the_same_table() {
    let folder = std::env::temp_dir().join(format!("chaos-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let state = folder.join("state.jsonl");
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let table_of = |output: &Output| -> String {
        let text = text(output);
        // Not how long it took and how much memory that was.
        let is_table = |line: &&str| !line.contains(" of memory");
        text.lines().skip_while(|line| !line.starts_with("family")).take_while(is_table).collect()
    };

    let whole = chaos(&state, &["--seeds", "5"]);
    assert!(whole.status.success(), "{}", text(&whole));
    let nothing = chaos(&state, &["--seeds", "5", "--resume"]);
    assert!(!nothing.status.success(), "a whole run cannot be resumed");

    // Broken off in the middle of the fourth line of a seed.
    let lines = std::fs::read_to_string(&state).expect("a state file");
    let cut: usize = lines.split_inclusive('\n').take(4).map(str::len).sum();
    std::fs::write(&state, &lines[..cut + 20]).expect("a state file");
    let resumed = chaos(&state, &["--seeds", "5"]);
    assert!(text(&resumed).contains("RESUMED: 3 of 5 seeds"), "{}", text(&resumed));
    assert_eq!(table_of(&resumed), table_of(&whole));

    std::fs::write(&state, &lines[..cut]).expect("a state file");
    let fresh = chaos(&state, &["--seeds", "5", "--fresh"]);
    assert!(!text(&fresh).contains("RESUMED"), "{}", text(&fresh));
    std::fs::write(&state, &lines[..cut]).expect("a state file");
    let other = chaos(&state, &["--seeds", "6"]);
    assert!(!text(&other).contains("RESUMED"), "another run: {}", text(&other));
    std::fs::remove_dir_all(&folder).expect("a folder");
}

#[test]
fn a_seed_that_fails_is_said_with_the_command_that_repeats_it() {
    let folder = std::env::temp_dir().join(format!("chaos-failing-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let state = folder.join("state.jsonl");
    let seed_3 = ["--seed", "3", "--seeds", "1"];
    let mutated = chaos(&state, &[&seed_3[..], &["--mutation", "no-hand-over"]].concat());
    let text = String::from_utf8_lossy(&mutated.stdout);
    assert_eq!(mutated.status.code(), Some(1), "{text}");
    assert!(text.contains("are nowhere"), "{text}");
    let repeat = "FAILED; to repeat: cargo run -p chaos -- --seed 3 --seeds 1 --events 200";
    assert!(text.contains(repeat), "{text}");
    assert!(chaos(&state, &seed_3).status.success());
    std::fs::remove_dir_all(&folder).expect("a folder");
}
