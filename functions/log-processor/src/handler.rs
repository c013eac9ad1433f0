//! One invocation: decode → transform → pack → put → hand over → report.

use fastrand::Rng;
use sluice::delivery::{Answer, DeadLetter, Destination, Invocation, Reason, Replay};
use sluice::invocation::{Backoff, BatchResponse, Deadline};
use sluice::logs::{
    Batch, DecodeError, Decoder, MessageType, Payload, SubscriptionEvent, Transform,
};
use sluice::ports::{Clock, EmitMetrics, PutRecords, Record, SendMessage};
use sluice::records::{
    CallLimits, Pacer, Packer, Packing, PartitionBy, PutPolicy, Spread, put_all, spread,
};
use sluice::telemetry::Outcome;
use tracing::warn;

use crate::config::Config;
use crate::decide::{
    OWN_LOG_GROUPS, dead_letters, decide_destination, decide_undeliverable, is_own, outcomes,
    why_undelivered,
};
use crate::event::{Reply, SqsBatch};
use crate::hand_over::{HandOver, HandoffError};
use crate::report::Report;

/// PutRecords calls in flight: enough to hide the round trip, few enough to stop quickly.
const PUT_CALLS_IN_FLIGHT_MAX: usize = 4;
/// Other environments put into the same shards.
const PUT_BACKOFF: Backoff = Backoff::full_jitter(100, 5_000);

/// The verbs that reach outside.
#[derive(Debug)]
pub struct Ports<P, Q, C, M> {
    pub stream: P,
    /// The dead-letter queue, if there is one.
    pub queue: Option<Q>,
    /// The quarantine for what can never succeed; without one that goes to the dead-letter queue.
    pub quarantine: Option<Q>,
    pub clock: C,
    /// Where EMF lines go.
    pub metrics: M,
}

/// Packs a batch; the last argument gives each record its partition key.
pub type PackFn = fn(&mut Packer, &Batch, &mut dyn FnMut() -> String) -> Packing;

/// What lives as long as an execution environment.
pub struct Processor<P, Q, C, M> {
    decoder: Decoder,
    carrier: Carrier<P, Q, C, M>,
}

/// The part that brings a decoded payload to its places.
struct Carrier<P, Q, C, M> {
    config: Config,
    ports: Ports<P, Q, C, M>,
    transform: Box<dyn Transform>,
    policy: PutPolicy,
    packer: Packer,
    packing: PackFn,
    pacer: Pacer,
    spread: Spread,
    rng: Rng,
    own_log_group_seen: bool,
    /// Events of own log groups that no line has told of yet.
    unforwarded: u64,
}

/// What becomes of what the stream does not take in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remainder {
    /// The dead-letter queue gets it.
    HandedOver,
    /// The whole event comes again.
    ComesAgain,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    /// Every log event of it is somewhere, or was filtered.
    Settled,
    /// So many log events of a log group of Sluice, which are let go without a line.
    NotForwarded(u64),
    /// Some of its log events are nowhere yet.
    ComesAgain,
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
        let carrier = Carrier {
            transform: config.transform.build(),
            policy: PutPolicy {
                call_limits: CallLimits::PUT_RECORDS,
                attempts_max: config.put_attempts_max,
                calls_in_flight_max: PUT_CALLS_IN_FLIGHT_MAX,
                backoff: PUT_BACKOFF,
                in_order: config.partition_by == PartitionBy::LogStream,
            },
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
        };
        Self { decoder: Decoder::new(), carrier }
    }

    /// Uses `transform` in place of the configured one.
    #[must_use]
    pub fn with_transform(mut self, transform: Box<dyn Transform>) -> Self {
        self.carrier.transform = transform;
        self
    }

    /// Packs with `packing`, so that a test can let events fall out.
    #[must_use]
    pub fn with_packing(mut self, packing: PackFn) -> Self {
        self.carrier.packing = packing;
        self
    }

    /// Handles whatever Lambda hands over, as JSON text: an event of a subscription, a replay, or a
    /// batch of the queue before this function.
    pub async fn answer(
        &mut self,
        event: &str,
        deadline_epoch_ms: u64,
    ) -> Result<Reply, HandoffError> {
        match SqsBatch::parse(event) {
            Some(batch) => Ok(Reply::Batch(self.handle_batch(&batch, deadline_epoch_ms).await)),
            None => self.handle(event, deadline_epoch_ms).await.map(Reply::Event),
        }
    }

    /// Handles one event, given as the JSON text that Lambda hands over. `Ok` means that the
    /// stream, the dead-letter queue or the quarantine has every log event of it, or that it was
    /// filtered.
    pub async fn handle(
        &mut self,
        event: &str,
        deadline_epoch_ms: u64,
    ) -> Result<Answer, HandoffError> {
        let arrived_ms = self.carrier.ports.clock.epoch_ms();
        let deadline = Deadline::new(arrived_ms, deadline_epoch_ms);
        let mut report = Report::new(arrived_ms);
        let carried = self.carry(event, &mut report, deadline, Remainder::HandedOver).await;
        match carried {
            Ok(Carried::NotForwarded(events)) => {
                return Ok(Answer {
                    events_in: events,
                    events_filtered: events,
                    ..Answer::default()
                });
            }
            Ok(_) => {}
            Err(_) => report.hand_over_failed(),
        }
        report.emit(&self.carrier.config, &self.carrier.ports.metrics);
        carried.map(|_| report.answer())
    }

    /// Handles a batch of the queue before this function, one message after the other, and names those
    /// that are to come again: whole, because the queue has nothing but the message. Every log event of
    /// the others is in the stream or in quarantine, or was filtered.
    pub async fn handle_batch(
        &mut self,
        batch: &SqsBatch<'_>,
        deadline_epoch_ms: u64,
    ) -> BatchResponse {
        let arrived_ms = self.carrier.ports.clock.epoch_ms();
        let deadline = Deadline::new(arrived_ms, deadline_epoch_ms);
        let mut report = Report::new(arrived_ms);
        let mut is_to_be_told = false;
        let mut comes_again = Vec::new();
        for message in &batch.messages {
            // What there is no time for comes again untouched.
            let carried = if self.carrier.ports.clock.epoch_ms() < deadline.work_until_ms() {
                is_to_be_told = true;
                self.carry(&message.body, &mut report, deadline, Remainder::ComesAgain).await
            } else {
                Ok(Carried::ComesAgain)
            };
            match carried {
                Ok(Carried::Settled | Carried::NotForwarded(_)) => {}
                Ok(Carried::ComesAgain) => comes_again.push(message.id.clone().into_owned()),
                Err(error) => {
                    warn!(message = %sluice::quote(&message.id), %error, "payload will be retried");
                    report.hand_over_failed();
                    comes_again.push(message.id.clone().into_owned());
                }
            }
        }
        if is_to_be_told && report.has_news() {
            report.emit(&self.carrier.config, &self.carrier.ports.metrics);
        }
        comes_again.into_iter().collect()
    }

    /// Carries one event as far as it goes.
    async fn carry(
        &mut self,
        event: &str,
        report: &mut Report,
        deadline: Deadline,
        remainder: Remainder,
    ) -> Result<Carried, HandoffError> {
        let Self { decoder, carrier } = self;
        let mut invocation = Invocation { now_ms: report.arrived_ms(), replay: None };
        let payload = SubscriptionEvent::parse(event.as_bytes()).and_then(|event| {
            invocation.replay = Replay::of(&event);
            decoder.decode_data(&event.data)
        });
        match payload {
            Err(error) => {
                carrier.hand_over_whole(event, &error, report, deadline, invocation).await
            }
            Ok(payload) if payload.message_type == MessageType::Control => {
                report.control_messages += 1;
                Ok(Carried::Settled)
            }
            Ok(payload) if carrier.lets_go(&payload) => {
                Ok(Carried::NotForwarded(payload.events() as u64))
            }
            Ok(payload) => carrier.deliver(&payload, report, deadline, invocation, remainder).await,
        }
    }
}

impl<P, Q, C, M> Carrier<P, Q, C, M>
where
    P: PutRecords,
    Q: SendMessage,
    C: Clock,
    M: EmitMetrics,
{
    /// Hands over an event that cannot be decoded.
    async fn hand_over_whole(
        &mut self,
        event: &str,
        error: &DecodeError,
        report: &mut Report,
        deadline: Deadline,
        invocation: Invocation,
    ) -> Result<Carried, HandoffError> {
        report.undecodable += 1;
        let (reason, detail) = (Reason::from(error), error.to_string());
        let dead_letters = DeadLetter::undecodable(event, reason, &detail, invocation).messages();
        let (hand_over, rng) = self.hand_over(deadline);
        report.handed_over(hand_over.send_all(rng, &dead_letters, invocation).await?);
        Ok(Carried::Settled)
    }

    /// Whether the payload is of a log group of Sluice itself. One line in an environment's life says
    /// so: a line for each payload would feed a loop. The count waits for the next report.
    fn lets_go(&mut self, payload: &Payload<'_>) -> bool {
        let log_group = payload.log_group.value();
        if !is_own(&log_group, self.config.log_group_name.as_deref()) {
            return false;
        }
        if !self.own_log_group_seen {
            self.own_log_group_seen = true;
            warn!(
                log_group = %sluice::quote(&log_group),
                "a log group of Sluice is subscribed to this function: its events are not \
                 forwarded; exclude {OWN_LOG_GROUPS} from the subscription, it bills without end"
            );
        }
        self.unforwarded += payload.events() as u64;
        true
    }

    /// Puts the payload into the stream, and hands over what the stream does not take.
    async fn deliver(
        &mut self,
        payload: &Payload<'_>,
        report: &mut Report,
        deadline: Deadline,
        invocation: Invocation,
        remainder: Remainder,
    ) -> Result<Carried, HandoffError> {
        let batch = Batch::transform(self.transform.as_ref(), payload);
        let packing = self.pack(payload, &batch);
        report.saw(payload, &batch, &packing);
        report.unforwarded += std::mem::take(&mut self.unforwarded);

        let (items, records): (Vec<_>, Vec<Record>) =
            packing.records.into_iter().map(|packed| (packed.items, packed.record)).unzip();
        let put = put_all(
            &self.ports.stream,
            &self.ports.clock,
            &mut self.pacer,
            &mut self.rng,
            &self.policy,
            &records,
            deadline.work_until_ms(),
        )
        .await;
        let undelivered: Vec<usize> = put
            .remaining
            .iter()
            .flat_map(|&record| batch.items[items[record].clone()].iter().map(|item| item.event))
            .collect();
        report.put(&put, &records, payload, &batch, &items, self.ports.clock.epoch_ms());

        if remainder == Remainder::ComesAgain && !undelivered.is_empty() {
            // What can never be delivered comes again, too, and goes to the quarantine once.
            let (reason, detail) = why_undelivered(&put);
            let left = undelivered.len();
            warn!(reason = reason.code(), detail, log_events = left, "payload will be retried");
            return Ok(Carried::ComesAgain);
        }
        let undeliverable =
            decide_undeliverable(payload, &batch, &packing.too_large, undelivered, &put);
        let letters = dead_letters(payload, &undeliverable, invocation);
        let (hand_over, rng) = self.hand_over(deadline);
        let handed_over = hand_over.send_all(rng, &letters, invocation).await;

        let has_quarantine = self.ports.quarantine.is_some();
        let outcome_of = |letter: &DeadLetter| match &handed_over {
            Err(_) => Outcome::NotSettled,
            Ok(_) => match decide_destination(letter, invocation, has_quarantine) {
                Destination::Quarantine => Outcome::Quarantined,
                Destination::DeadLetterQueue { .. } => Outcome::DeadLettered,
            },
        };
        let outcomes = outcomes(payload, &batch, &items, &undeliverable, &letters, outcome_of);
        let is_replay = invocation.replay.is_some();
        report.settled(payload, &outcomes, is_replay, self.ports.clock.epoch_ms());
        report.handed_over(handed_over?);
        Ok(Carried::Settled)
    }

    fn pack(&mut self, payload: &Payload<'_>, batch: &Batch) -> Packing {
        match self.config.partition_by {
            PartitionBy::Even => {
                (self.packing)(&mut self.packer, batch, &mut || self.spread.next_key())
            }
            PartitionBy::LogStream => {
                let key =
                    spread::log_stream_key(&payload.log_group.value(), &payload.log_stream.value());
                (self.packing)(&mut self.packer, batch, &mut || key.clone())
            }
        }
    }

    fn hand_over(&mut self, deadline: Deadline) -> (HandOver<'_, Q, C>, &mut Rng) {
        let Ports { queue, quarantine, clock, .. } = &self.ports;
        let deadline_ms = deadline.end_ms();
        let (queue, quarantine) = (queue.as_ref(), quarantine.as_ref());
        (HandOver { queue, quarantine, clock, deadline_ms }, &mut self.rng)
    }
}
