//! One shard: read a page, send what of it goes, remember how far it is.

use std::time::Duration;

use sluice::ports::{Clock, InvokeFunction, PutReplayed, ReadStream, RecordsPage};

use crate::decide::{SLACK_MS, decide_end, decide_read_pause};
use crate::progress::End;
use crate::run::{Halt, NoteResume, Run, Suspect, retried};
use crate::send::Sender;

/// Records of one GetRecords call: at 25 KB a record, what a shard gives in some seconds.
const READ_RECORDS_MAX: usize = 1_000;

/// Reads a shard at half of what it gives, page after page.
struct Reader<'a, S, C, N> {
    source: &'a S,
    run: &'a Run<'a, C, N>,
    id: &'a str,
    next_iterator: Option<String>,
    /// When it may be read again.
    read_at: Duration,
}

impl<S: ReadStream, C: Clock, N: NoteResume> Reader<'_, S, C, N> {
    /// The next page, and when it was asked for.
    async fn next_page(&mut self) -> Result<(RecordsPage, u64), Halt> {
        let Self { source, run, id, .. } = *self;
        loop {
            run.pause(self.read_at.saturating_sub(run.clock.monotonic())).await?;
            let iterator = match self.next_iterator.take() {
                Some(iterator) => iterator,
                None => {
                    let from_ms = run.trigger.from.0.saturating_sub(SLACK_MS);
                    let from = run.progress.borrow().read_from(id, from_ms);
                    let get = async || source.get_shard_iterator(id, &from).await;
                    retried(run.clock, run.rng, run.take_until_ms, get).await?
                }
            };
            let asked_ms = run.clock.epoch_ms();
            let get = async || source.get_records(&iterator, READ_RECORDS_MAX).await;
            let page = match retried(run.clock, run.rng, run.take_until_ms, get).await {
                // The target took longer than an iterator lives: on from the last that it has.
                Err(Halt::IteratorExpired) => continue,
                page => page?,
            };
            let bytes: u64 = page.records.iter().map(|record| record.data.len() as u64).sum();
            self.read_at = run.clock.monotonic() + decide_read_pause(bytes);
            return Ok((page, asked_ms));
        }
    }
}

/// Replays one shard to its end or the window's.
pub(crate) async fn replay_shard<S, T, F, C, N>(
    run: &Run<'_, C, N>,
    source: &S,
    streams: &T,
    functions: &F,
    id: &str,
) -> Result<End, Halt>
where
    S: ReadStream,
    T: PutReplayed,
    F: InvokeFunction,
    C: Clock,
    N: NoteResume,
{
    let mut reader = Reader { source, run, id, next_iterator: None, read_at: Duration::ZERO };
    let mut sender = Sender::new(run, streams, functions, id);
    loop {
        let (mut page, asked_ms) = reader.next_page().await?;
        let end = decide_end(&run.trigger, &page, asked_ms);
        let last = page
            .records
            .last()
            .map(|last| (last.sequence_number.clone(), last.arrived_ms.min(run.trigger.until.0)));
        sender.send(std::mem::take(&mut page.records)).await?;
        // Until it is known who is to blame, a resume begins before the first of them.
        if let Some((last, arrived_ms)) = last.filter(|_| sender.suspects.is_empty()) {
            run.advance(id, &last, arrived_ms, 0);
        }
        match (end, sender.suspects.first()) {
            (Some(_), Some(Suspect { why, .. })) => return Err(Halt::Failed(why.clone())),
            (Some(end), None) => return Ok(end),
            (None, _) => {}
        }
        reader.next_iterator = page.next_iterator;
    }
}
