//! The command as people use it.

use std::process::{Command, Output};

use serde_json::Value;

fn what_if(line: &str) -> Output {
    let words = line.split_whitespace();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.arg("what-if").args(words).output().expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn file(name: &str, content: &str) -> String {
    let path = std::env::temp_dir().join(format!("what-if-{}-{name}", std::process::id()));
    std::fs::write(&path, content).expect("a writable folder");
    path.to_string_lossy().into_owned()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_other_ones() {
    let line = "--generate live-event --days 2 --json --quiet --policies sluice,on-demand,optimum";
    let one = what_if(&format!("{line} --seed 3"));
    assert!(one.status.success(), "{}", text(&one.stderr));
    assert_eq!(one.stdout, what_if(&format!("{line} --seed 3")).stdout);
    assert_ne!(one.stdout, what_if(&format!("{line} --seed 4")).stdout);
    let report: Value = serde_json::from_slice(&one.stdout).expect("JSON");
    assert_eq!(report["policies"].as_array().map(Vec::len), Some(3));
    for policy in report["policies"].as_array().into_iter().flatten() {
        assert!(policy["bill"]["shards"].as_f64() > Some(0.0), "{policy}");
        assert!(policy["points"].as_array().map(Vec::len) > Some(900));
    }
}

#[test]
fn every_policy_stands_in_the_table_and_progress_on_standard_error() {
    let done = what_if("--generate diurnal --days 1 --peak-mbps 8");
    let (table, progress) = (text(&done.stdout), text(&done.stderr));
    for policy in sluice_cli::what_if::run::POLICIES {
        assert!(table.lines().any(|line| line.starts_with(policy)), "{policy}: {table}");
        assert!(progress.contains(policy), "{policy}: {progress}");
    }
    assert!(table.contains("* the cheapest that keeps lag p99 at 30 s"), "{table}");
}

#[test]
fn a_small_stream_is_told_that_one_shard_does() {
    let done = what_if("--generate diurnal --days 2 --peak-mbps 0.4 --quiet");
    let table = text(&done.stdout);
    assert!(table.contains("one shard, about $11 a month, is all it needs"), "{table}");
}

#[test]
fn a_large_steady_stream_is_told_of_on_demand_advantage() {
    let rows: String = (0..288).map(|row| format!("{},90000000\n", row * 300)).collect();
    let path = file("steady.csv", &rows);
    let done = what_if(&format!("{path} --quiet --policies sluice,on-demand,on-demand-advantage"));
    let table = text(&done.stdout);
    assert!(table.contains("on-demand Advantage"), "{table}");
}

#[test]
fn bad_input_is_refused_with_its_line() {
    for (name, content, says) in [
        ("empty.csv", "", "empty.csv: no rows"),
        ("one.csv", "0,1\n", "one.csv: one row"),
        ("uneven.csv", "0,1\n60,1\n61,1\n", "line 3: 61 s after the earliest row"),
        ("nan.csv", "0,1\n60,NaN\n", "line 2: the value \"NaN\""),
        ("text.csv", "seconds,value\n0,1\n60,one\n", "line 3: the value \"one\" is not a number"),
    ] {
        let path = file(name, content);
        let done = what_if(&format!("{path} --quiet"));
        assert!(!done.status.success(), "{name}");
        assert!(done.stdout.is_empty(), "{name}: {}", text(&done.stdout));
        assert!(text(&done.stderr).contains(says), "{name}: {}", text(&done.stderr));
    }
    let done = what_if("/nowhere.csv");
    assert!(text(&done.stderr).contains("/nowhere.csv cannot be opened"));
}

#[test]
fn what_was_assumed_is_said_and_a_warning_is_never_quiet() {
    let path = file("said.csv", "120,1e9\n60,1e9\n0,1e9\n");
    let loud = text(&what_if(&format!("{path} --policies sluice")).stderr);
    assert!(loud.contains("read 3 rows as bytes a second"), "{loud}");
    assert!(loud.contains("sorted"), "{loud}");
    let quiet = text(&what_if(&format!("{path} --policies sluice --quiet")).stderr);
    assert!(quiet.starts_with("warning: the peak would need 1000 shards"), "{quiet}");
    assert_eq!(quiet.lines().count(), 1, "{quiet}");
}

#[test]
fn no_traffic_at_all_is_billed_one_shard_and_nothing_absurd_is_said() {
    let rows: String = (0..1_440).map(|row| format!("{},0\n", row * 60)).collect();
    let path = file("zero.csv", &rows);
    let done = what_if(&format!("{path} --quiet"));
    let table = text(&done.stdout);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(!table.contains("0 shards") && !table.contains("NaN"), "{table}");
    let fixed = table.lines().find(|line| line.starts_with("fixed-at-peak")).expect("a row");
    assert!(fixed.contains(" 0.36 "), "one shard is 24 h of $0.015: {fixed}");
    let done = what_if(&format!("{path} --peak-mbps 64"));
    assert!(text(&done.stderr).contains("no peak to scale"), "{}", text(&done.stderr));
}

#[test]
fn a_sweep_marks_its_frontier() {
    let done = what_if("--generate flash-crowd --days 2 --quiet --sweep target-utilisation=50..90");
    let table = text(&done.stdout);
    assert!(table.contains("TargetUtilization=50 "), "{table}{}", text(&done.stderr));
    assert!(table.contains("TargetUtilization=90 "), "{table}{}", text(&done.stderr));
    assert!(table.contains("frontier of cost and lag p99: "), "{table}");
    assert!(table.contains("UtilizationDownMax follows"), "{table}");
    let held = "--set UtilizationDownMax=65 --sweep TargetUtilization=50..90";
    let done = what_if(&format!("--generate flash-crowd --days 2 --quiet {held}"));
    let says = "UtilizationDownMax must be below TargetUtilization";
    assert!(text(&done.stderr).contains(says), "{}", text(&done.stderr));
}

#[test]
fn the_report_is_one_file_that_fetches_nothing() {
    let path = file("report.html", "");
    let done = what_if(&format!("--generate step --days 1 --quiet --html {path}"));
    assert!(done.status.success(), "{}", text(&done.stderr));
    let html = std::fs::read_to_string(&path).expect("a report");
    assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>"));
    for word in ["http://", "https://", "<script", "src=", "@import", "url("] {
        assert!(!html.contains(word), "{word}");
    }
    for policy in sluice_cli::what_if::run::POLICIES {
        assert!(html.contains(&format!("<h2>{policy}</h2>")), "{policy}");
    }
    assert!(html.contains("reshards and why"));
}

#[test]
fn a_stream_fixed_at_the_peak_has_shards_for_whole_records_and_is_not_late() {
    // 64 shards of 40 whole records each take a little less than this.
    let rows: String = (0..60).map(|row| format!("{},64000000\n", row * 60)).collect();
    let path = file("peak.csv", &rows);
    let done = what_if(&format!("{path} --quiet --json --policies fixed-at-peak,optimum"));
    let report: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    for policy in report["policies"].as_array().expect("policies") {
        assert_eq!(policy["shards_most"], 65, "{}", policy["name"]);
        assert!(policy["lag_p99"].as_u64() <= Some(1), "{}", policy["name"]);
        assert!(policy["refused_megabytes"].as_f64() <= Some(0.0), "{}", policy["name"]);
    }
}
