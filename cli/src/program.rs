//! The command line as a whole.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::{quarantine, what_if};

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  sluice completions bash > ~/.local/share/bash-completion/completions/sluice
  sluice completions zsh > ~/.zfunc/_sluice
  sluice completions fish > ~/.config/fish/completions/sluice.fish";

/// Sizes and repairs Sluice from the command line.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, arg_required_else_help = true)]
pub struct Program {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One of the program's commands.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)]
pub enum Command {
    WhatIf(Box<what_if::arguments::Arguments>),
    #[command(subcommand)]
    Quarantine(quarantine::arguments::Command),
    /// Print what makes a shell complete this program's arguments.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

impl Program {
    /// Does what the command line says and writes the result to `out`.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match &self.command {
            Command::WhatIf(arguments) => {
                what_if::command::run(arguments, out).map(|()| ExitCode::SUCCESS)
            }
            Command::Quarantine(command) => quarantine::run(command, out),
            Command::Completions { shell } => {
                clap_complete::generate(*shell, &mut Self::command(), "sluice", &mut &mut *out);
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
