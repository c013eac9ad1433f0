//! One invocation: parse → open → join → put → hand over → answer → report.
//!
//! A batch goes through a *window* at a time, so that memory stays bounded however far records
//! inflate. When a window does not make it, nothing after it is tried: Lambda delivers all of that
//! again, and whatever had been put would be there twice.

use std::pin::pin;
use std::time::Duration;

use base64_simd::STANDARD;
use fastrand::Rng;
use futures_util::future::{Either, select};
use sluice::delivery::Reason;
use sluice::ports::{Clock, EmitMetrics, PutRecords, QueueError, SendMessage};
use sluice::records::{CallLimits, Pacer, PutPolicy, PutReport, Record, Stopped, put_all};
use tracing::{error, warn};

use crate::config::Config;
use crate::event::{BatchResponse, KinesisEvent, KinesisRecord, NotAKinesisEvent};
use crate::join::Joined;
use crate::letter::Unarchivable;
use crate::open::Opener;
use crate::report::Report;

/// Bytes that are joined up before they are put.
const WINDOW_BYTES: usize = 16 * 1_048_576;
/// PutRecordBatch calls in flight, each of up to 4 MiB.
const PUT_CALLS_IN_FLIGHT_MAX: usize = 2;
/// Backoff starts within this and doubles.
const BACKOFF_MS: u64 = 100;
/// No backoff is longer than this.
const BACKOFF_MS_MAX: u64 = 5_000;
/// An error that another try cannot change may be changed by a person: the next try is this much
/// later. Answering at once would spend Lambda's retries within seconds.
const UNAVAILABLE_MS: u64 = 10_000;
/// Kept free before the deadline for the on-failure queue, unless the invocation is short: then a
/// quarter of it.
const HAND_OVER_RESERVE_MS: u64 = 10_000;

/// The verbs that reach outside.
#[derive(Debug)]
pub struct Ports<P, Q, C, M> {
    /// The Firehose.
    pub firehose: P,
    /// The on-failure queue.
    pub on_failure: Q,
    /// Time.
    pub clock: C,
    /// Where EMF lines go.
    pub metrics: M,
}

/// What lives as long as an execution environment.
pub struct Archiver<P, Q, C, M> {
    outside: Outside<P, Q, C, M>,
    opener: Opener,
}

/// The part that puts and hands over.
struct Outside<P, Q, C, M> {
    config: Config,
    ports: Ports<P, Q, C, M>,
    policy: PutPolicy,
    rng: Rng,
}

/// What is on its way out, and the places of its records in the batch.
#[derive(Default)]
struct Window {
    joined: Joined,
    unarchivable: Vec<Unarchivable>,
    unarchivable_bytes: usize,
}

impl Window {
    fn is_full(&self) -> bool {
        self.joined.bytes + self.unarchivable_bytes >= WINDOW_BYTES
    }

    fn set_aside(&mut self, unarchivable: Unarchivable) {
        self.unarchivable_bytes += unarchivable.data.len();
        self.unarchivable.push(unarchivable);
    }
}

/// When what must end.
#[derive(Clone, Copy)]
struct Cutoffs {
    put_ms: u64,
    hand_over_ms: u64,
}

impl Cutoffs {
    fn new(now_ms: u64, deadline_ms: u64) -> Self {
        let reserve_ms = HAND_OVER_RESERVE_MS.min(deadline_ms.saturating_sub(now_ms) / 4);
        Self {
            put_ms: deadline_ms - reserve_ms,
            // The rest is for the answer.
            hand_over_ms: deadline_ms - reserve_ms / 5,
        }
    }
}

impl<P, Q, C, M> Archiver<P, Q, C, M>
where
    P: PutRecords,
    Q: SendMessage,
    C: Clock,
    M: EmitMetrics,
{
    /// An archiver that has seen nothing yet.
    pub fn new(config: Config, ports: Ports<P, Q, C, M>, rng: Rng) -> Self {
        let policy = PutPolicy {
            call_limits: CallLimits::PUT_RECORD_BATCH,
            // Time bounds it: what is not archived now is delivered again from the beginning.
            attempts_max: u32::MAX,
            calls_in_flight_max: PUT_CALLS_IN_FLIGHT_MAX,
            backoff_ms: BACKOFF_MS,
            backoff_ms_max: BACKOFF_MS_MAX,
            in_order: false,
        };
        Self { outside: Outside { config, ports, policy, rng }, opener: Opener::default() }
    }

    /// Handles one batch, given as the JSON text that Lambda hands over. What the answer does not
    /// name, the Firehose or the on-failure queue has.
    pub async fn handle(
        &mut self,
        event: &str,
        deadline_ms: u64,
    ) -> Result<BatchResponse, NotAKinesisEvent> {
        let now_ms = self.outside.ports.clock.epoch_ms();
        let cutoffs = Cutoffs::new(now_ms, deadline_ms);
        let records = KinesisEvent::parse(event)?.records;
        let mut report = Report { records_in: records.len() as u64, ..Report::default() };
        let left = self.archive(&records, cutoffs, &mut report).await;
        report.records_left = left.map_or(0, |left| records.len() - left) as u64;
        let Outside { ports, config, .. } = &self.outside;
        ports.metrics.emit(&report.to_line(config, now_ms));
        Ok(BatchResponse::from_first_left(left.map(|left| &records[left])))
    }

    /// Archives the records in order; returns the place of the first that did not make it.
    async fn archive(
        &mut self,
        records: &[KinesisRecord<'_>],
        cutoffs: Cutoffs,
        report: &mut Report,
    ) -> Option<usize> {
        let mut window = Window::default();
        for (place, record) in records.iter().enumerate() {
            let Ok(data) = STANDARD.decode_to_vec(record.kinesis.data.as_bytes()) else {
                window.set_aside(Unarchivable {
                    place,
                    event: 0,
                    reason: Reason::NotBase64,
                    detail: "the record's data are not base64".to_owned(),
                    data: record.kinesis.data.as_bytes().to_vec(),
                });
                continue;
            };
            let opened = self.opener.open(&data);
            if let Some(damage) = opened.damage {
                report.records_damaged += 1;
                warn!(
                    shard = record.shard_id(),
                    sequence_number = &*record.kinesis.sequence_number,
                    damage,
                    "a damaged record is archived as it came"
                );
            }
            for (number, event) in opened.events.enumerate() {
                if let Err(too_large) = window.joined.add(place, event) {
                    window.set_aside(Unarchivable {
                        place,
                        event: number,
                        reason: Reason::EventTooLarge,
                        detail: too_large.to_string(),
                        data: event.to_vec(),
                    });
                }
                if window.is_full() {
                    let full = std::mem::take(&mut window);
                    let left = self.outside.settle(full, records, cutoffs, report).await;
                    if left.is_some() {
                        return left;
                    }
                }
            }
        }
        self.outside.settle(window, records, cutoffs, report).await
    }
}

impl<P, Q, C, M> Outside<P, Q, C, M>
where
    P: PutRecords,
    Q: SendMessage,
    C: Clock,
{
    /// Puts and hands over; returns the place of the first record that did not make it.
    async fn settle(
        &mut self,
        window: Window,
        records: &[KinesisRecord<'_>],
        cutoffs: Cutoffs,
        report: &mut Report,
    ) -> Option<usize> {
        let not_put = self.put(&window.joined, cutoffs, report).await;
        let not_put = not_put.into_iter().map(|index| window.joined.first[index]).min();
        for unarchivable in &window.unarchivable {
            // What comes again anyway is handed over then.
            if not_put.is_some_and(|place| place <= unarchivable.place) {
                break;
            }
            let record = &records[unarchivable.place];
            match self.hand_over(unarchivable, record, cutoffs).await {
                Ok(()) => {
                    report.events_not_archivable += 1;
                    error!(
                        reason = unarchivable.reason.code(),
                        detail = unarchivable.detail,
                        shard = record.shard_id(),
                        sequence_number = &*record.kinesis.sequence_number,
                        "an event that can never be archived is in the on-failure queue"
                    );
                }
                Err(error) => {
                    warn!(%error, "the on-failure queue refuses; the record comes again");
                    return Some(unarchivable.place);
                }
            }
        }
        not_put
    }

    /// Puts as long as there is time; returns what the Firehose did not take.
    async fn put(&mut self, joined: &Joined, cutoffs: Cutoffs, report: &mut Report) -> Vec<usize> {
        let clock = &self.ports.clock;
        let (firehose, policy) = (&self.ports.firehose, &self.policy);
        let mut pending: Vec<usize> = (0..joined.records.len()).collect();
        let mut total = PutReport::default();
        while !pending.is_empty() {
            let again: Vec<Record>;
            let records = if pending.len() == joined.records.len() {
                &joined.records
            } else {
                again = pending.iter().map(|&index| joined.records[index].clone()).collect();
                &again
            };
            let mut put = put_all(
                firehose,
                clock,
                &mut Pacer::unlimited(),
                &mut self.rng,
                policy,
                records,
                cutoffs.put_ms,
            )
            .await;
            total.throttled += put.throttled;
            total.failed += put.failed;
            pending = put.remaining.iter().map(|&place| pending[place]).collect();
            match put.stopped.take() {
                None => {}
                Some(Stopped::Permanent { code, detail }) => {
                    warn!(code, detail, records = pending.len(), "the Firehose cannot be used");
                    let pause_ms = self.rng.u64(UNAVAILABLE_MS / 2..=UNAVAILABLE_MS);
                    if clock.epoch_ms() + pause_ms >= cutoffs.put_ms {
                        break;
                    }
                    clock.sleep(Duration::from_millis(pause_ms)).await;
                }
                Some(Stopped::DeadlineReached(reason) | Stopped::AttemptsExhausted(reason)) => {
                    warn!(reason, records = pending.len(), "the Firehose does not take all of it");
                    break;
                }
            }
        }
        total.remaining = pending;
        report.put(joined, &total);
        total.remaining
    }

    /// Returns once the on-failure queue has all of it.
    async fn hand_over(
        &self,
        unarchivable: &Unarchivable,
        record: &KinesisRecord<'_>,
        cutoffs: Cutoffs,
    ) -> Result<(), QueueError> {
        let clock = &self.ports.clock;
        for letter in unarchivable.letters(record, clock.epoch_ms()) {
            let ms_left = cutoffs.hand_over_ms.saturating_sub(clock.epoch_ms());
            let message = letter.to_message(0);
            let sent = pin!(self.ports.on_failure.send_message(&message));
            let cutoff = pin!(clock.sleep(Duration::from_millis(ms_left)));
            match select(sent, cutoff).await {
                Either::Left((result, _)) => result?,
                Either::Right(_) => {
                    return Err(QueueError {
                        code: "Timeout".to_owned(),
                        detail: "no answer before the invocation's end".to_owned(),
                    });
                }
            }
        }
        Ok(())
    }
}
