//! The command line.

use clap::{Args, Subcommand};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed, or some messages could not be moved; standard error says why
  2    the command line is not understood
  130  interrupted; everything is back in the quarantine";

const SHOW_EXAMPLES: &str = "\
Examples:
  sluice quarantine show --stack sluice-log-processing
  sluice quarantine show --stack sluice-log-processing --reason transform-failed --text
  sluice quarantine show --queue https://sqs.eu-west-1.amazonaws.com/111122223333/my-quarantine --json";

const SEND_BACK_EXAMPLES: &str = "\
Examples:
  sluice quarantine send-back --stack sluice-log-processing --dry-run
  sluice quarantine send-back --stack sluice-log-processing --reason transform-failed
  sluice quarantine send-back --queue my-quarantine --max 100 --json";

/// Look into the quarantine, and send back what a repair makes deliverable.
///
/// Region and credentials are those of the AWS CLI: AWS_PROFILE, AWS_REGION, single sign-on and so on.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// List what is in the quarantine, oldest first. Changes nothing.
    #[command(after_help = format!("{SHOW_EXAMPLES}\n\n{EXIT_CODES}"))]
    Show(Show),
    /// Send messages back to the dead-letter queue, to be replayed. Run it after a repair.
    #[command(after_help = format!("{SEND_BACK_EXAMPLES}\n\n{EXIT_CODES}"))]
    SendBack(SendBack),
}

/// Where the quarantine is.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(required = true, multiple = false)]
pub struct Place {
    /// The log-processing stack that has the quarantine.
    #[arg(long, value_name = "NAME")]
    pub stack: Option<String>,
    /// The quarantine queue itself, by its URL or its name.
    #[arg(long, value_name = "URL|NAME")]
    pub queue: Option<String>,
}

/// Which of its messages.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Selection {
    /// Only messages with this reason, such as transform-failed.
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// At most N messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max: Option<u64>,
}

/// `sluice quarantine show`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Show {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// Which.
    #[command(flatten)]
    pub selection: Selection,
    /// Show the text of the log messages, too. They may hold anything that was ever logged.
    #[arg(long)]
    pub text: bool,
    /// Print everything as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `sluice quarantine send-back`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SendBack {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// Which.
    #[command(flatten)]
    pub selection: Selection,
    /// Say what would be sent back, and leave it.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

impl Selection {
    /// Whether a message with this reason is meant.
    #[must_use]
    pub fn has(&self, reason: &str) -> bool {
        self.reason.as_deref().is_none_or(|wanted| wanted == reason)
    }
}

impl Command {
    /// Where.
    #[must_use]
    pub fn place(&self) -> &Place {
        match self {
            Self::Show(show) => &show.place,
            Self::SendBack(send_back) => &send_back.place,
        }
    }
}
