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
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut Self::command(), "sluice", &mut script);
                out.write_all(&script)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every command that does something, with the words that call it.
    fn leaves(command: &clap::Command) -> Vec<clap::Command> {
        let inner: Vec<_> = command.get_subcommands().flat_map(leaves).collect();
        if inner.is_empty() { vec![command.clone()] } else { inner }
    }

    #[test]
    fn every_command_helps_with_examples_that_are_understood() {
        for command in leaves(&Program::command()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<_> =
                help.lines().filter(|line| line.starts_with("  sluice ")).collect();
            assert!(examples.len() >= 3, "{}: {help}", command.get_name());
            for example in examples {
                let words = example.split_whitespace().take_while(|&word| word != ">");
                let parsed = Program::try_parse_from(words);
                assert!(parsed.is_ok(), "{example}: {parsed:?}");
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, says) in [
            ("sluice quarantin", "unrecognized subcommand 'quarantin'"),
            ("sluice quarantine show", "<--stack <NAME>|--queue <URL|NAME>>"),
            ("sluice quarantine show --stack a --queue b", "cannot be used with"),
            ("sluice quarantine show --stack a --max 0", "0 is not in 1.."),
            ("sluice quarantine send-back --stack a --max all", "invalid digit found in string"),
            ("sluice quarantine send-back --stack a --text", "unexpected argument '--text'"),
            ("sluice completions csh", "invalid value 'csh'"),
        ] {
            let error = Program::try_parse_from(line.split_whitespace()).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(says), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_command_line_makes_it_panic(words in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![
                "what-if", "quarantine", "show", "send-back", "completions", "--generate", "step",
                "--set", "--sweep", "--max", "--queue", "--stack", "--reason", "--json", "--", "-",
            ]).prop_map(str::to_owned),
            any::<String>(),
        ], 0..8)) {
            let _ = Program::try_parse_from(["sluice".to_owned()].into_iter().chain(words));
        }
    }
}
