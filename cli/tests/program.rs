//! The program as a shell sees it.

use std::io::Read;
use std::process::{Command, Output, Stdio};

fn sluice(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(arguments);
    command
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = sluice(arguments).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn shells_learn_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, error) = output(&["completions", shell]);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{shell}");
        for word in ["what-if", "quarantine", "send-back", "dry-run", "peak-mbps"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn exit_codes_are_those_that_the_help_names() {
    assert_eq!(output(&["--help"]).0, Some(0));
    assert_eq!(output(&[]).0, Some(2));
    let (code, _, error) = output(&["quarantine", "show", "--stack", "a", "--max", "none"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("--max"), "{error}");
    let (code, out, error) = output(&["what-if", "/nowhere\u{1b}[2J.csv"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.starts_with("sluice: ") && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn whoever_stops_reading_gets_no_error() {
    let mut process = sluice(&["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(process.stdout.take());
    let mut error = String::new();
    process.stderr.take().expect("a pipe").read_to_string(&mut error).expect("text");
    assert!(process.wait().expect("it ends").success());
    assert_eq!(error, "");
}
