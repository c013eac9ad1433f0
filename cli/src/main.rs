//! `sluice`: the program for whoever operates Sluice.

use std::io::{ErrorKind, Write, stderr, stdout};
use std::process::ExitCode;

use clap::Parser;
use sluice_cli::program::Program;

fn main() -> ExitCode {
    Program::parse().run(&mut stdout().lock()).unwrap_or_else(|error| {
        // Whoever reads has seen enough, as `head` has.
        let is_closed = |cause: &std::io::Error| cause.kind() == ErrorKind::BrokenPipe;
        if error.chain().filter_map(|cause| cause.downcast_ref()).any(is_closed) {
            return ExitCode::SUCCESS;
        }
        writeln!(stderr(), "sluice: {}", sluice_cli::terminal::plain(&format!("{error:#}"))).ok();
        ExitCode::FAILURE
    })
}
