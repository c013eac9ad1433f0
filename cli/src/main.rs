//! `what-if TRACE.csv`: what Sluice would cost and how late it would be, beside the alternatives.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use clap::Parser;
use what_if::arguments::Arguments;
use what_if::command;

fn main() -> ExitCode {
    match command::run(&Arguments::parse(), &mut stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(stderr(), "what-if: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}
