//! One invocation: decode → transform → pack → put → hand over → report.

use std::pin::pin;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{Either, select};
use sluice::delivery::{Answer, DeadLetter, Destination, Occasion, Reason};
use sluice::logs::{Batch, Decoder, MessageType, Payload, SubscriptionEvent, Transform};
use sluice::ports::{Clock, EmitMetrics, PutRecords, QueueError, SendMessage};
use sluice::records::{
    CallLimits, Pacer, Packer, Packing, PartitionBy, PutPolicy, PutReport, Record, Spread, Stopped,
    put_all, spread,
};
use sluice::telemetry::Fate;
use tracing::warn;

use crate::config::Config;
use crate::report::{Places, Report};

/// PutRecords calls in flight: enough to hide the round trip, few enough to stop quickly.
const PUT_CALLS_IN_FLIGHT_MAX: usize = 4;
/// Backoff starts within this and doubles.
const BACKOFF_MS: u64 = 100;
/// No backoff is longer than this.
const BACKOFF_MS_MAX: u64 = 5_000;
/// A queue that refuses is asked again within this, then within twice as long.
const HAND_OVER_BACKOFF_MS: u64 = 1_000;
/// No pause before asking the queue again is longer.
const HAND_OVER_BACKOFF_MS_MAX: u64 = 10_000;
/// Kept free before the deadline for handing over what is left, unless the whole invocation is
/// short: then a quarter of it.
const HAND_OVER_RESERVE_MS: u64 = 10_000;

/// Events of one payload that go to the quarantine in a message each, for the same reason. A message
/// takes some 10 ms.
const ALONE_MAX: usize = 100;
/// Every log group of Sluice's functions is under this, as the templates have it.
const OWN_LOG_GROUPS: &str = "/sluice/";

/// The verbs that reach outside.
#[derive(Debug)]
pub struct Ports<P, Q, C, M> {
    /// The stream.
    pub stream: P,
    /// The dead-letter queue, if there is one.
    pub queue: Option<Q>,
    /// The quarantine for what can never succeed; without one that goes to the dead-letter queue.
    pub quarantine: Option<Q>,
    /// Time.
    pub clock: C,
    /// Where EMF lines go.
    pub metrics: M,
}

/// The invocation fails: what could not be delivered could not be handed over either. Lambda tries
/// the event twice more, then its own dead-letter setting takes it.
#[derive(Debug, thiserror::Error)]
pub enum HandOverFailed {
    /// `DEAD_LETTER_QUEUE_URL` is not set.
    #[error("{reason}, and there is no dead-letter queue")]
    NoQueue {
        /// Why there was something to hand over.
        reason: Reason,
    },
    /// The queue did not take a dead letter.
    #[error("{reason}, and the dead-letter queue refused")]
    QueueRefused {
        /// Why there was something to hand over.
        reason: Reason,
        /// What the queue said.
        #[source]
        source: QueueError,
    },
    /// The queue gave no answer before the invocation's deadline.
    #[error("{reason}, and the dead-letter queue did not answer in time")]
    OutOfTime {
        /// Why there was something to hand over.
        reason: Reason,
    },
}

/// Packs a batch; the last argument gives each record its partition key.
pub type PackFn = fn(&mut Packer, &Batch, &mut dyn FnMut() -> String) -> Packing;

/// What lives as long as an execution environment.
pub struct Processor<P, Q, C, M> {
    config: Config,
    ports: Ports<P, Q, C, M>,
    transform: Box<dyn Transform>,
    policy: PutPolicy,
    decoder: Decoder,
    packer: Packer,
    packing: PackFn,
    pacer: Pacer,
    spread: Spread,
    rng: Rng,
    own_log_group_seen: bool,
    /// Events of own log groups that no line has told of yet.
    unforwarded: u64,
}

impl<P, Q, C, M> Processor<P, Q, C, M>
where
    P: PutRecords,
    Q: SendMessage,
    C: Clock,
    M: EmitMetrics,
{
    /// A processor that has seen nothing yet.
    pub fn new(config: Config, ports: Ports<P, Q, C, M>, mut rng: Rng) -> Self {
        Self {
            transform: config.transform.build(),
            policy: PutPolicy {
                call_limits: CallLimits::PUT_RECORDS,
                attempts_max: config.put_attempts_max,
                calls_in_flight_max: PUT_CALLS_IN_FLIGHT_MAX,
                backoff_ms: BACKOFF_MS,
                backoff_ms_max: BACKOFF_MS_MAX,
                in_order: config.partition_by == PartitionBy::LogStream,
            },
            decoder: Decoder::new(),
            packer: Packer::new(config.record_format, config.record_bytes_target)
                .with_record_bytes_max(config.record_bytes_max),
            packing: |packer, batch, next_key| packer.pack(batch, next_key),
            pacer: Pacer::new(config.concurrency_per_shard),
            spread: Spread::new(&mut rng),
            rng,
            own_log_group_seen: false,
            unforwarded: 0,
            config,
            ports,
        }
    }

    /// Uses `transform` in place of the configured one.
    #[must_use]
    pub fn with_transform(mut self, transform: Box<dyn Transform>) -> Self {
        self.transform = transform;
        self
    }

    /// Packs with `packing`, so that a test can let events fall out.
    #[must_use]
    pub fn with_packing(mut self, packing: PackFn) -> Self {
        self.packing = packing;
        self
    }

    /// Handles one event, given as the JSON text that Lambda hands over. `Ok` means that the
    /// stream, the dead-letter queue or the quarantine has every log event of it, or that it was
    /// filtered.
    pub async fn handle(
        &mut self,
        event: &str,
        deadline_epoch_ms: u64,
    ) -> Result<Answer, HandOverFailed> {
        let now_ms = self.ports.clock.epoch_ms();
        let mut report = Report::new(now_ms);
        let mut occasion = Occasion { now_ms, replay: None };
        let payload = SubscriptionEvent::parse(event.as_bytes()).and_then(|event| {
            occasion.replay = event.replay;
            self.decoder.decode_data(&event.data)
        });
        let payload = match payload {
            Ok(payload) => payload,
            Err(error) => {
                report.undecodable += 1;
                let detail = error.to_string();
                let dead_letter = DeadLetter::undecodable(event, error.reason(), &detail, occasion);
                let dead_letters = dead_letter.messages();
                let handed_over = hand_over(
                    &self.ports,
                    &mut self.rng,
                    &dead_letters,
                    occasion,
                    deadline_epoch_ms,
                )
                .await;
                return finish(&self.ports, &self.config, report, handed_over);
            }
        };
        if payload.message_type == MessageType::Control {
            report.control_messages += 1;
            report.emit(&self.config, &self.ports.metrics);
            return Ok(Answer::default());
        }
        let log_group = payload.log_group.value();
        if log_group.starts_with(OWN_LOG_GROUPS)
            || self.config.log_group_name.as_deref() == Some(&*log_group)
        {
            // Forwarding would make another function of Sluice print a line, and a line printed here
            // may come to another processor, whose line comes back: either would feed a loop. One
            // line in an environment's life is bounded; the count waits for the next report.
            if !self.own_log_group_seen {
                self.own_log_group_seen = true;
                warn!(
                    log_group = %sluice::quote(&log_group),
                    "a log group of Sluice is subscribed to this function: its events are not \
                     forwarded; exclude {OWN_LOG_GROUPS} from the subscription, it bills without end"
                );
            }
            let events = payload.events() as u64;
            self.unforwarded += events;
            return Ok(Answer { events_in: events, events_filtered: events, ..Answer::default() });
        }

        let batch = Batch::transform(self.transform.as_ref(), &payload);
        let packing = match self.config.partition_by {
            PartitionBy::Even => {
                (self.packing)(&mut self.packer, &batch, &mut || self.spread.next_key())
            }
            PartitionBy::LogStream => {
                let key =
                    spread::log_stream_key(&payload.log_group.value(), &payload.log_stream.value());
                (self.packing)(&mut self.packer, &batch, &mut || key.clone())
            }
        };
        report.saw(&payload, &batch, &packing);
        report.unforwarded = std::mem::take(&mut self.unforwarded);

        let (items, records): (Vec<_>, Vec<Record>) =
            packing.records.into_iter().map(|packed| (packed.items, packed.record)).unzip();
        let put = put_all(
            &self.ports.stream,
            &self.ports.clock,
            &mut self.pacer,
            &mut self.rng,
            &self.policy,
            &records,
            put_cutoff_ms(now_ms, deadline_epoch_ms),
        )
        .await;
        let undelivered: Vec<usize> = put
            .remaining
            .iter()
            .flat_map(|&record| batch.items[items[record].clone()].iter().map(|item| item.event))
            .collect();
        report.put(&put, &records, &payload, &batch, &items, self.ports.clock.epoch_ms());

        let undeliverable = undeliverable(&payload, &batch, &packing.too_large, undelivered, &put);
        let dead_letters: Vec<DeadLetter> = undeliverable
            .iter()
            .flat_map(|Undeliverable { events, reason, detail }| {
                DeadLetter::remainder(&payload, events, *reason, detail, occasion)
            })
            .collect();
        let handed_over =
            hand_over(&self.ports, &mut self.rng, &dead_letters, occasion, deadline_epoch_ms).await;

        // Each fate on its own evidence, so that an event that fell out on the way is seen.
        let mut fates = vec![Fate::Lost; payload.events()];
        batch.filtered.iter().for_each(|&event| fates[event] = Fate::Filtered);
        for item in items.iter().flat_map(|items| &batch.items[items.clone()]) {
            fates[item.event] = Fate::Delivered;
        }
        // The letters have the events one after the other.
        let mut events = undeliverable.iter().flat_map(|left| &left.events);
        for letter in &dead_letters {
            let fate = match (&handed_over, occasion.destination(letter.reason)) {
                (Err(_), _) => Fate::NotSettled,
                (Ok(_), Destination::Quarantine) if self.ports.quarantine.is_some() => {
                    Fate::Quarantined
                }
                _ => Fate::DeadLettered,
            };
            for &event in events.by_ref().take(letter.log_events.unwrap_or(0)) {
                fates[event] = fate;
            }
        }
        let is_replay = occasion.replay.is_some();
        report.settled(&payload, &fates, is_replay, self.ports.clock.epoch_ms());
        finish(&self.ports, &self.config, report, handed_over)
    }
}

/// When putting must end so that the rest can be handed over.
fn put_cutoff_ms(arrived_ms: u64, deadline_epoch_ms: u64) -> u64 {
    let whole = deadline_epoch_ms.saturating_sub(arrived_ms);
    deadline_epoch_ms - HAND_OVER_RESERVE_MS.min(whole / 4)
}

/// Events that were not delivered for one reason.
struct Undeliverable {
    /// Which ones of the payload.
    events: Vec<usize>,
    reason: Reason,
    detail: String,
}

/// Everything that was not delivered, each event once.
fn undeliverable(
    payload: &Payload<'_>,
    batch: &Batch,
    too_large: &[usize],
    undelivered: Vec<usize>,
    put: &PutReport,
) -> Vec<Undeliverable> {
    let mut all = Vec::new();
    for &item in too_large {
        let item = &batch.items[item];
        let detail = format!("{} bytes after the transform", batch.bytes_of(item).len());
        let reason = Reason::EventTooLarge;
        all.push(Undeliverable { events: vec![item.event], reason, detail });
    }
    let failed = batch.failed.iter().map(|(event, detail)| (*event, detail.clone()));
    all.extend(one_by_one(Reason::TransformFailed, failed.collect()));
    let odd = (payload.log_events.len()..).zip(&payload.odd_events);
    all.extend(one_by_one(
        Reason::OtherShape,
        odd.map(|(event, odd_event)| (event, odd_event.detail())).collect(),
    ));
    if !undelivered.is_empty() {
        let (reason, detail) = match &put.stopped {
            Some(Stopped::Permanent { code, detail }) => {
                (Reason::StreamUnavailable, format!("{code}: {detail}"))
            }
            Some(Stopped::DeadlineReached(last)) => (Reason::Deadline, last.clone()),
            Some(Stopped::AttemptsExhausted(last)) => (Reason::RefusedTooOften, last.clone()),
            None => (Reason::RefusedTooOften, String::new()),
        };
        all.push(Undeliverable { events: undelivered, reason, detail });
    }
    all
}

/// Each event alone with its detail, but only as long as there is time to send so many messages; all
/// others of the reason together.
fn one_by_one(reason: Reason, mut events: Vec<(usize, String)>) -> Vec<Undeliverable> {
    let others = events.split_off(events.len().min(ALONE_MAX));
    let alone = |(event, detail)| Undeliverable { events: vec![event], reason, detail };
    let mut all: Vec<_> = events.into_iter().map(alone).collect();
    if let Some((_, detail)) = others.first() {
        let detail = format!("the first of {}: {detail}", others.len());
        let events = others.into_iter().map(|(event, _)| event).collect();
        all.push(Undeliverable { events, reason, detail });
    }
    all
}

/// Reports what became of the event.
fn finish<P, Q, C, M: EmitMetrics>(
    ports: &Ports<P, Q, C, M>,
    config: &Config,
    mut report: Report,
    handed_over: Result<Places, HandOverFailed>,
) -> Result<Answer, HandOverFailed> {
    match handed_over {
        Ok(places) => report.handed_over(places),
        Err(_) => report.hand_over_failed(),
    }
    report.emit(config, &ports.metrics);
    handed_over.map(|_| report.answer())
}

/// Returns once the queues have every dead letter.
async fn hand_over<P, Q: SendMessage, C: Clock, M>(
    ports: &Ports<P, Q, C, M>,
    rng: &mut Rng,
    dead_letters: &[DeadLetter],
    occasion: Occasion,
    deadline_epoch_ms: u64,
) -> Result<Places, HandOverFailed> {
    let mut places = Places::default();
    for dead_letter in dead_letters {
        let reason = dead_letter.reason;
        let (queue, delay_seconds, place, name) =
            match (occasion.destination(reason), &ports.quarantine) {
                (Destination::Quarantine, Some(quarantine)) => {
                    (Some(quarantine), 0, &mut places.quarantined, "quarantine")
                }
                (destination, _) => (
                    ports.queue.as_ref(),
                    destination.delay_seconds(),
                    &mut places.dead_letters,
                    "dead-letter queue",
                ),
            };
        warn!(
            reason = reason.code(),
            detail = dead_letter.detail,
            log_events = dead_letter.log_events,
            attempts = dead_letter.attempts,
            "log events go to the {name}"
        );
        let Some(queue) = queue else {
            return Err(HandOverFailed::NoQueue { reason });
        };
        let ms_left = deadline_epoch_ms.saturating_sub(ports.clock.epoch_ms());
        let sent = pin!(send(queue, &ports.clock, rng, dead_letter, delay_seconds, ms_left));
        let deadline = pin!(ports.clock.sleep(Duration::from_millis(ms_left)));
        match select(sent, deadline).await {
            Either::Left((Ok(()), _)) => place.add(dead_letter),
            Either::Left((Err(source), _)) => {
                return Err(HandOverFailed::QueueRefused { reason, source });
            }
            Either::Right(_) => return Err(HandOverFailed::OutOfTime { reason }),
        }
    }
    Ok(places)
}

/// Sends a dead letter, again and again for `ms_left` while the queue refuses: an invocation that
/// fails brings all of its payload again, what was delivered of it, too.
async fn send<Q: SendMessage, C: Clock>(
    queue: &Q,
    clock: &C,
    rng: &mut Rng,
    dead_letter: &DeadLetter,
    delay_seconds: u32,
    ms_left: u64,
) -> Result<(), QueueError> {
    let until_ms = clock.epoch_ms() + ms_left;
    let mut backoff_ms = HAND_OVER_BACKOFF_MS;
    loop {
        let sent = queue.send_message(&dead_letter.to_message(delay_seconds)).await;
        let Err(error) = sent else { return Ok(()) };
        let pause_ms = rng.u64(backoff_ms / 2..=backoff_ms);
        if !error.may_pass() || clock.epoch_ms() + pause_ms >= until_ms {
            return Err(error);
        }
        clock.sleep(Duration::from_millis(pause_ms)).await;
        backoff_ms = (backoff_ms * 2).min(HAND_OVER_BACKOFF_MS_MAX);
    }
}
