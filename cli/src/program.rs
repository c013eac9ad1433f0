//! The command line as a whole.

use clap::{Parser, Subcommand};

use crate::what_if;

/// Sizes, inspects and repairs Sluice from the command line.
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
}
