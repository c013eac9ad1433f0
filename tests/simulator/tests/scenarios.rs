//! Every scenario, one test each.

use std::path::{Path, PathBuf};
use std::{env, fs};

use simulator::run::command;
use simulator::scenario::{load, names};
use simulator::{Options, run};

/// Seeds that every scenario passes with.
const SEEDS: [u64; 2] = [1, 2];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("expected")
}

fn logs() -> Vec<String> {
    let files = fs::read_dir(folder()).expect("a folder").map(|file| file.expect("a file"));
    let mut names: Vec<_> = files
        .map(|file| file.path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The first seed's log as a reviewer reads it: what was decided, called and alarmed.
fn compare(name: &str, brief: &str) {
    let path = folder().join(format!("{name}.log"));
    if env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, brief).expect("an expected file can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if brief == expected {
        return;
    }
    let (ours, theirs): (Vec<&str>, Vec<&str>) =
        (brief.lines().collect(), expected.lines().collect());
    let same = ours.iter().zip(&theirs).take_while(|(ours, theirs)| ours == theirs).count();
    let some =
        |lines: &[&str]| lines.iter().skip(same).take(5).copied().collect::<Vec<_>>().join("\n  ");
    panic!(
        "{}:{}: expected\n  {}\nbut now\n  {}\nIf that is meant: UPDATE_EXPECTED=1 cargo nextest \
         run -p simulator, and review the diff.",
        path.display(),
        same + 1,
        some(&theirs),
        some(&ours)
    );
}

fn check(name: &str) {
    let scenario = load(name).expect("a scenario");
    for seed in SEEDS {
        let options = Options { seed, ..Options::default() };
        let outcome = run(&scenario, &options);
        assert!(
            outcome.failures.is_empty(),
            "{}\nshards {:?}\nto repeat: {}",
            outcome.failures.join("\n"),
            outcome.path,
            command(name, &options)
        );
        if seed == SEEDS[0] {
            compare(name, &outcome.brief);
        }
    }
}

macro_rules! scenarios {
    ($($test:ident = $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*

        #[test]
        fn every_scenario_has_its_test() {
            assert_eq!(names().expect("scenarios"), [$($name),*]);
            assert_eq!(logs(), [$($name),*]);
        }
    };
}

scenarios! {
    a_person_asks = "a-person-asks",
    alarm_late = "alarm-late",
    alarm_lost = "alarm-lost",
    alarm_twice = "alarm-twice",
    by_hand = "by-hand",
    clock_ahead = "clock-ahead",
    clock_behind = "clock-behind",
    concurrency_at_the_edge = "concurrency-at-the-edge",
    disneys_day = "disneys-day",
    even_overload = "even-overload",
    hot_key = "hot-key",
    hot_shard = "hot-shard",
    hot_shard_auto = "hot-shard-auto",
    hot_shard_by_hand = "hot-shard-by-hand",
    hot_shard_killed = "hot-shard-killed",
    killed_anywhere = "killed-anywhere",
    lagging_consumer = "lagging-consumer",
    metrics_late = "metrics-late",
    mixed_faults = "mixed-faults",
    odd_counts = "odd-counts",
    old_by_nature = "old-by-nature",
    planned_floor = "planned-floor",
    quiet_day = "quiet-day",
    reshard_takes_15_minutes = "reshard-takes-15-minutes",
    resource_in_use = "resource-in-use",
    source_clock_ahead = "source-clock-ahead",
    spike_into_a_queue = "spike-into-a-queue",
    spike_of_ten = "spike-of-ten",
    split_and_merged = "split-and-merged",
    stack_update = "stack-update",
    stays_in_alarm = "stays-in-alarm",
    ten_calls_gone = "ten-calls-gone",
    throttled_control_plane = "throttled-control-plane",
    traffic_never_falls = "traffic-never-falls",
}
