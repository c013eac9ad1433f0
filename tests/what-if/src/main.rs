//! `what-if TRACE.csv`: what Sluice would cost and how late it would be, beside the alternatives.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use what_if::arguments::{Arguments, Command, HELP};
use what_if::command;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match Arguments::parse(&words) {
        Ok(Command::Help) => stdout().write_all(HELP.as_bytes()).map_err(anyhow::Error::from),
        Ok(Command::Run(arguments)) => command::run(&arguments, &mut stdout().lock()),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(stderr(), "what-if: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}
