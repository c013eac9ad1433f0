//! Looks into the quarantine, and sends back to the dead-letter queue what a repair makes
//! deliverable. Neither shows the text of a log message unless asked to.

pub mod arguments;
#[cfg(feature = "aws")]
pub mod description;
#[cfg(feature = "aws")]
mod held;
#[cfg(feature = "aws")]
mod queue;
#[cfg(feature = "aws")]
mod send_back;
#[cfg(feature = "aws")]
mod show;

use std::io::Write;
use std::process::ExitCode;

use arguments::Command;
#[cfg(feature = "aws")]
use queue::Quarantine;

#[cfg(feature = "aws")]
use crate::terminal::say;

/// Without the SDK there is no queue to look into.
#[cfg(not(feature = "aws"))]
pub fn run(_: &Command, _: &mut dyn Write) -> anyhow::Result<ExitCode> {
    anyhow::bail!(
        "this sluice is built without the AWS SDK: run `make quarantine-show`, or build it with `cargo build -p sluice-cli`"
    )
}

/// Does what the command says, puts back what is in hand, and writes the result to `out`.
#[cfg(feature = "aws")]
pub fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run_on_aws(command, out))
}

#[cfg(feature = "aws")]
async fn run_on_aws(command: &Command, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let config = crate::aws::config().await?;
    let sqs = aws_sdk_sqs::Client::new(&config);
    let url = queue::url_of(command.place(), &config, &sqs).await?;
    let mut quarantine = Quarantine::open(sqs, url).await?;
    match command {
        Command::Show(options) => {
            let work = async |quarantine: &mut _| show::look(quarantine, options).await;
            let Some(found) = holding(&mut quarantine, work).await? else {
                return Ok(ExitCode::from(INTERRUPTED));
            };
            show::print(&quarantine, &found, options, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::SendBack(options) => {
            let work = async |quarantine: &mut _| send_back::send_back(quarantine, options).await;
            let Some(tally) = holding(&mut quarantine, work).await? else {
                return Ok(ExitCode::from(INTERRUPTED));
            };
            tally.print(&quarantine, options, out)?;
            Ok(if tally.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Does `work`, and puts back what is in hand however it ends. Nothing, if it was interrupted.
#[cfg(feature = "aws")]
async fn holding<T>(
    quarantine: &mut Quarantine,
    work: impl AsyncFnOnce(&mut Quarantine) -> anyhow::Result<T>,
) -> anyhow::Result<Option<T>> {
    let done = tokio::select! {
        done = work(quarantine) => done.map(Some),
        _ = tokio::signal::ctrl_c() => Ok(None),
    };
    let put_back = quarantine.put_back().await;
    let done = done?;
    if done.is_none() {
        say("interrupted; what was in hand is back, or comes back by itself within minutes");
    } else {
        put_back?;
    }
    Ok(done)
}

/// As a shell says that SIGINT ended a program.
#[cfg(feature = "aws")]
const INTERRUPTED: u8 = 130;
