//! `sluice`: the program for whoever operates Sluice.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use clap::Parser;
use sluice_cli::program::{Command, Program};
use sluice_cli::what_if;

fn main() -> ExitCode {
    let Command::WhatIf(arguments) = Program::parse().command;
    match what_if::command::run(&arguments, &mut stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(stderr(), "sluice: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}
