//! `sluice quarantine send-back`: to the dead-letter queue, for the next replay.

use std::io::Write;

use serde_json::json;

use super::arguments::SendBack;
use super::held::Held;
use super::queue::{Quarantine, in_batches};
use super::show::Reasons;
use crate::terminal::{Progress, ascii_json, grouped};

/// What became of the messages.
pub struct Tally {
    /// The dead-letter queue.
    target: String,
    /// What is there now, or would be.
    reasons: Reasons,
    /// What the dead-letter queue does not take.
    refused: u64,
    /// What is in both queues.
    doubled: u64,
    /// Parts of events, which stay.
    parts: u64,
}

/// Sends messages back. Each is deleted here only when it is there; until then it is in both queues.
pub async fn send_back(quarantine: &mut Quarantine, options: &SendBack) -> anyhow::Result<Tally> {
    let target = quarantine.dead_letter_queue().await?;
    let mut tally = Tally { target, reasons: Reasons::default(), refused: 0, doubled: 0, parts: 0 };
    let most = options.selection.max.unwrap_or(u64::MAX);
    let mut progress = Progress::start();
    while tally.reasons.total() < most {
        let taken = quarantine.take().await?;
        if taken.is_empty() {
            break;
        }
        let wanted = taken.iter().filter(|held| options.selection.has(held.reason()));
        let (parts, mut whole): (Vec<&Held>, Vec<&Held>) =
            wanted.partition(|held| held.part().is_some());
        tally.parts += parts.len() as u64;
        whole.truncate(usize::try_from(most - tally.reasons.total()).unwrap_or(usize::MAX));
        for batch in in_batches(&whole) {
            let there = match options.dry_run {
                true => batch,
                false => tally.moved(quarantine, &batch).await?,
            };
            there.iter().for_each(|held| tally.reasons.add(held.reason()));
        }
        let (done, all) = (grouped(tally.reasons.total()), grouped(quarantine.messages));
        progress.say(&format!("{done} of about {all}"));
    }
    Ok(tally)
}

impl Tally {
    async fn moved<'a>(
        &mut self,
        quarantine: &mut Quarantine,
        batch: &[&'a Held],
    ) -> anyhow::Result<Vec<&'a Held>> {
        let there = quarantine.send(&self.target, batch).await?;
        self.refused += (batch.len() - there.len()) as u64;
        if !there.is_empty() {
            self.doubled += quarantine.delete(&there).await?;
        }
        Ok(there)
    }

    /// Whether everything that should be moved is moved.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.refused == 0 && self.doubled == 0
    }

    /// Writes it.
    pub fn print(
        &self,
        quarantine: &Quarantine,
        options: &SendBack,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let sent = self.reasons.total();
        if options.json {
            let report = json!({
                "queue": quarantine.url,
                "deadLetterQueue": self.target,
                "dryRun": options.dry_run,
                "sentBack": sent,
                "reasons": self.reasons.json(),
                "refused": self.refused,
                "inBothQueues": self.doubled,
                "parts": self.parts,
            });
            writeln!(out, "{}", ascii_json(&report)?)?;
            return Ok(());
        }
        let did = if options.dry_run { "would be sent back" } else { "sent back" };
        writeln!(out, "{} {did} to {}", grouped(sent), self.target)?;
        write!(out, "{}", self.reasons.table("  "))?;
        if self.doubled > 0 {
            let doubled = grouped(self.doubled);
            writeln!(
                out,
                "{doubled} of them could not be deleted here and are in both queues: they may be delivered twice."
            )?;
        }
        if self.parts > 0 {
            let parts = grouped(self.parts);
            writeln!(
                out,
                "{parts} are parts of events that no message holds whole. A part cannot be replayed, so they stay here; \
                 docs/runbook.md, quarantine-not-empty, says how to put them together."
            )?;
        }
        if self.refused > 0 {
            let refused = grouped(self.refused);
            writeln!(out, "{refused} refused by the dead-letter queue; they stay in quarantine.")?;
        }
        if sent > 0 && !options.dry_run {
            writeln!(
                out,
                "The next replay takes them: daily, or at once by invoking the replayer (see the stack's outputs)."
            )?;
        }
        Ok(())
    }
}
