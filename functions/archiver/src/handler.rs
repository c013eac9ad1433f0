//! One invocation: parse → open → join → put → hand over → answer → report.
//!
//! A batch goes out a *chunk* at a time, so that memory stays bounded however far records
//! inflate. When a chunk does not make it, nothing after it is tried: Lambda delivers all of that
//! again, and whatever had been put would be there twice.

use base64_simd::STANDARD;
use fastrand::Rng;
use sluice::delivery::Reason;
use sluice::invocation::{Backoff, BatchResponse, Deadline, Within};
use sluice::ports::{Clock, EmitMetrics, PutRecords, QueueError, SendMessage};
use sluice::records::{CallLimits, Pacer, PutPolicy, PutReport, Record, Stopped, put_all};
use tracing::{error, warn};

use crate::config::Config;
use crate::decide::Chunk;
use crate::event::{KinesisEvent, KinesisRecord, NotAKinesisEvent};
use crate::join::Joined;
use crate::letter::Unarchivable;
use crate::open::Opener;
use crate::report::Report;

/// PutRecordBatch calls in flight, each of up to 4 MiB.
const PUT_CALLS_IN_FLIGHT_MAX: usize = 2;
/// Other environments put into the same Firehose.
const PUT_BACKOFF: Backoff = Backoff::full_jitter(100, 5_000);
/// An error that another try cannot change may be changed by a person. Answering at once would spend
/// Lambda's retries within seconds.
const UNAVAILABLE_BACKOFF: Backoff = Backoff::equal_jitter(10_000, 10_000);

/// The verbs that reach outside.
#[derive(Debug)]
pub struct Ports<P, Q, C, M> {
    pub firehose: P,
    pub on_failure: Q,
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
            backoff: PUT_BACKOFF,
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
        let deadline = Deadline::new(now_ms, deadline_ms);
        let records = KinesisEvent::parse(event)?.records;
        let mut report = Report { records_in: records.len() as u64, ..Report::default() };
        let left = self.archive(&records, deadline, &mut report).await;
        report.records_left = left.map_or(0, |left| records.len() - left) as u64;
        let Outside { ports, config, .. } = &self.outside;
        ports.metrics.emit(&report.to_line(config, now_ms));
        let sequence_number =
            |left: usize| records[left].kinesis.sequence_number.clone().into_owned();
        Ok(left.map(sequence_number).into_iter().collect())
    }

    /// Archives the records in order; returns the place of the first that did not make it.
    async fn archive(
        &mut self,
        records: &[KinesisRecord<'_>],
        deadline: Deadline,
        report: &mut Report,
    ) -> Option<usize> {
        let mut chunk = Chunk::default();
        for (place, record) in records.iter().enumerate() {
            let Ok(data) = STANDARD.decode_to_vec(record.kinesis.data.as_bytes()) else {
                chunk.set_aside(Unarchivable {
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
                    "damaged record archived as it came"
                );
            }
            for (number, event) in opened.events.enumerate() {
                if let Err(too_large) = chunk.joined.add(place, event) {
                    chunk.set_aside(Unarchivable {
                        place,
                        event: number,
                        reason: Reason::EventTooLarge,
                        detail: too_large.to_string(),
                        data: event.to_vec(),
                    });
                }
                if chunk.is_full() {
                    let full = std::mem::take(&mut chunk);
                    let left = self.outside.settle(full, records, deadline, report).await;
                    if left.is_some() {
                        return left;
                    }
                }
            }
        }
        self.outside.settle(chunk, records, deadline, report).await
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
        chunk: Chunk,
        records: &[KinesisRecord<'_>],
        deadline: Deadline,
        report: &mut Report,
    ) -> Option<usize> {
        let not_put = self.put(&chunk.joined, deadline, report).await;
        let first_not_put = chunk.first_not_put(&not_put);
        for unarchivable in chunk.to_hand_over(first_not_put) {
            let record = &records[unarchivable.place];
            match self.hand_over(unarchivable, record, deadline).await {
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
                    warn!(%error, "on-failure queue did not accept the event; the record will be retried");
                    return Some(unarchivable.place);
                }
            }
        }
        first_not_put
    }

    /// Puts as long as there is time; returns what the Firehose did not take.
    async fn put(
        &mut self,
        joined: &Joined,
        deadline: Deadline,
        report: &mut Report,
    ) -> Vec<usize> {
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
                deadline.work_until_ms(),
            )
            .await;
            total.throttled += put.throttled;
            total.failed += put.failed;
            pending = put.remaining.iter().map(|&place| pending[place]).collect();
            match put.stopped.take() {
                None => {}
                Some(Stopped::Permanent { code, detail }) => {
                    warn!(code, detail, records = pending.len(), "Firehose is unavailable");
                    let pause = UNAVAILABLE_BACKOFF.pause(1, &mut self.rng);
                    if clock.epoch_ms() + pause.as_millis() as u64 >= deadline.work_until_ms() {
                        break;
                    }
                    clock.sleep(pause).await;
                }
                Some(Stopped::DeadlineReached(reason) | Stopped::AttemptsExhausted(reason)) => {
                    warn!(
                        reason,
                        records = pending.len(),
                        "Firehose did not accept all records in time"
                    );
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
        deadline: Deadline,
    ) -> Result<(), QueueError> {
        let clock = &self.ports.clock;
        for letter in unarchivable.letters(record, clock.epoch_ms()) {
            let ms_left = deadline.hand_over_until_ms().saturating_sub(clock.epoch_ms());
            let message = letter.to_message(0);
            let sent = self.ports.on_failure.send_message(&message);
            clock.within(ms_left, sent).await.unwrap_or_else(|| {
                Err(QueueError {
                    code: "Timeout".to_owned(),
                    detail: "no answer before the invocation's end".to_owned(),
                })
            })?;
        }
        Ok(())
    }
}
