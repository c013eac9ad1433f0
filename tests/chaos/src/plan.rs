//! What a seed decides: the traffic, the configuration, and what goes wrong and when.

use std::fmt;

use fastrand::Rng;
use sluice::records::RecordFormat;
use sluice_simulated::Backlog;
use sluice_simulated::lambda::InvokeFault;
use sluice_simulated::queue::QueueFault;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Faults go on for so long after the last payload, so that replays meet them, too.
const AFTER_TRAFFIC_MS: u64 = 45 * MINUTE_MS;
/// Lambda gives an event up after three tries within three minutes, and deletes it when the
/// dead-letter queue does not take it either. No design survives a longer outage of both.
const QUEUES_DOWN_MS_MAX: u64 = 150_000;

/// What kind of trouble a seed brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Nothing goes wrong.
    Calm,
    /// One entry in a hundred is refused.
    PartialFailuresOfOnePercent,
    /// Three entries in ten are refused.
    PartialFailuresOfThirtyPercent,
    /// Every entry is refused for a while.
    PartialFailuresOfAll,
    /// Calls of every service fail with 500.
    Errors,
    /// Calls of every service never end.
    Timeouts,
    /// Calls take effect and their answers are lost.
    AnswersLost,
    /// The stream is down for a while, and the queues with it for a part of that.
    QueuesDownWithStream,
    /// CloudWatch Logs delivers payloads twice.
    PayloadsTwice,
    /// SQS delivers messages twice.
    MessagesTwice,
    /// Visibility expires in the middle of a replay.
    VisibilityExpires,
    /// Two replayers at once.
    TwoReplayers,
    /// Poison among good.
    Poison,
    /// The stream is deleted and made again.
    StreamMadeAgain,
    /// Throttled for three hours: by the stream, or by the processors' own concurrency.
    ThrottledForHours,
    /// Processors are killed.
    ProcessorsKilled,
    /// Replayers are killed.
    ReplayersKilled,
    /// Several of these.
    Mixed,
    /// Processors cannot keep up, and Lambda deletes events that wait for them.
    QueueDrops,
}

impl Family {
    /// All of them; seeds take turns.
    pub const ALL: [Self; 19] = [
        Self::Calm,
        Self::PartialFailuresOfOnePercent,
        Self::PartialFailuresOfThirtyPercent,
        Self::PartialFailuresOfAll,
        Self::Errors,
        Self::Timeouts,
        Self::AnswersLost,
        Self::QueuesDownWithStream,
        Self::PayloadsTwice,
        Self::MessagesTwice,
        Self::VisibilityExpires,
        Self::TwoReplayers,
        Self::Poison,
        Self::StreamMadeAgain,
        Self::ThrottledForHours,
        Self::ProcessorsKilled,
        Self::ReplayersKilled,
        Self::Mixed,
        Self::QueueDrops,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::PartialFailuresOfOnePercent => "partial failures of 1 %",
            Self::PartialFailuresOfThirtyPercent => "partial failures of 30 %",
            Self::PartialFailuresOfAll => "partial failures of 100 %",
            Self::Errors => "500s",
            Self::Timeouts => "timeouts",
            Self::AnswersLost => "answers lost",
            Self::QueuesDownWithStream => "SQS down with Kinesis",
            Self::PayloadsTwice => "payloads twice",
            Self::MessagesTwice => "messages twice",
            Self::VisibilityExpires => "visibility expires",
            Self::TwoReplayers => "two replayers",
            Self::Poison => "poison among good",
            Self::StreamMadeAgain => "stream made again",
            Self::ThrottledForHours => "throttled for 3 hours",
            Self::ProcessorsKilled => "processors killed",
            Self::ReplayersKilled => "replayers killed",
            Self::Mixed => "mixed",
            Self::QueueDrops => "queue-drops",
        }
    }
}

/// A time, in milliseconds since the begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From then on,
    pub from_ms: u64,
    /// until then.
    pub to_ms: u64,
}

impl Window {
    /// Whether it is within.
    #[must_use]
    pub fn contains(self, ms: u64) -> bool {
        (self.from_ms..self.to_ms).contains(&ms)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_ms {
            u64::MAX => write!(out, "from {} s", self.from_ms / 1_000),
            to_ms => write!(out, "{} to {} s", self.from_ms / 1_000, to_ms / 1_000),
        }
    }
}

/// What goes wrong with a PutRecords call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StreamTrouble {
    /// This share of the entries is refused as internal failures.
    Refuses(f64),
    /// The last entry is refused as an internal failure.
    RefusesLast,
    /// The call is throttled as a whole.
    Throttles,
    /// It fails with 500; nothing is written.
    Error,
    /// It never ends; nothing is written.
    Hangs,
    /// Everything is written, and the answer is lost.
    AnswerLost,
    /// Everything is written, and it never ends.
    WrittenAndHangs,
    /// Everything is written, and the answer has one item too few.
    ShortAnswer,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The log processor.
    Processor,
    /// The replayer.
    Replayer,
}

/// Something that goes wrong. Chances are those of one call, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    /// With PutRecords.
    Stream(Window, f64, StreamTrouble),
    /// With the calls of both queues.
    Queues(Window, f64, QueueFault),
    /// With the calls of Lambda's API.
    Lambda(Window, f64, InvokeFault),
    /// There is no stream.
    StreamGone(Window),
    /// The processors' reserved concurrency is zero.
    ProcessorsStopped(Window),
    /// An execution environment dies in a call, before or after its effect.
    Kill(Role, f64),
    /// An execution environment dies at any moment of an invocation; the chance is that of one
    /// invocation.
    KillAtAnyMoment(Role, f64),
    /// A payload is handed over twice; the chance is that of one payload.
    PayloadTwice(f64),
    /// What a replayer receives shows again so many times too early.
    VisibilityDividedBy(u32),
    /// Lambda treats a queue that processors cannot keep up with like this.
    Backlog(Backlog),
}

impl Trouble {
    /// Whether an event may arrive twice because of it, whatever the functions do. Calls that fail
    /// at times do not count: the adapters try again.
    #[must_use]
    pub fn injects_duplicates(&self) -> bool {
        match self {
            Self::Stream(_, _, what) => matches!(
                what,
                StreamTrouble::AnswerLost
                    | StreamTrouble::WrittenAndHangs
                    | StreamTrouble::ShortAnswer
            ),
            // What a call has delivered of a payload before the queue is down for the rest is
            // delivered again: Lambda has but the whole payload, and that is all that is left.
            Self::Queues(_, chance, QueueFault::Error | QueueFault::Hang) => *chance >= 1.0,
            Self::Queues(..) => true,
            Self::Lambda(_, _, what) => *what == InvokeFault::AnswerLost,
            Self::StreamGone(_) | Self::ProcessorsStopped(_) | Self::Backlog(_) => false,
            Self::Kill(..)
            | Self::KillAtAnyMoment(..)
            | Self::PayloadTwice(_)
            | Self::VisibilityDividedBy(_) => true,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(window, chance, what) => {
                write!(out, "stream {what:?} {chance:.3} {window}")
            }
            Self::Queues(window, chance, what) => {
                write!(out, "queues {what:?} {chance:.3} {window}")
            }
            Self::Lambda(window, chance, what) => {
                write!(out, "lambda {what:?} {chance:.3} {window}")
            }
            Self::StreamGone(window) => write!(out, "no stream {window}"),
            Self::ProcessorsStopped(window) => write!(out, "no processors {window}"),
            Self::Kill(role, chance) => write!(out, "{role:?} killed {chance:.3}"),
            Self::KillAtAnyMoment(role, chance) => {
                write!(out, "{role:?} killed at any moment {chance:.3}")
            }
            Self::PayloadTwice(chance) => write!(out, "payloads twice {chance:.3}"),
            Self::VisibilityDividedBy(by) => write!(out, "visibility divided by {by}"),
            Self::Backlog(Backlog { events, fill_min, deleted }) => write!(
                out,
                "Lambda reads more slowly from {events:.0} events on, down to {fill_min:.2}, and \
                 deletes {deleted:.3}"
            ),
        }
    }
}

/// Everything that a seed decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The kind of trouble.
    pub family: Family,
    /// Log events, at least; poison payloads count as one each.
    pub events: usize,
    /// Log events of a payload at the least,
    pub payload_events_min: usize,
    /// and at the most.
    pub payload_events_max: usize,
    /// Payloads come for so long.
    pub traffic_ms: u64,
    /// How events lie in records.
    pub record_format: RecordFormat,
    /// Bytes that a record is filled up to.
    pub record_bytes_target: usize,
    /// Shards of the stream.
    pub shards: usize,
    /// Reserved concurrency of the processor.
    pub processors: u32,
    /// `PUT_ATTEMPTS_MAX`.
    pub put_attempts_max: u32,
    /// `REPLAY_ATTEMPTS_MAX`.
    pub replay_attempts_max: u32,
    /// A replay is asked for this often.
    pub replay_every_ms: u64,
    /// Reserved concurrency of the replayer, and how many are asked for at once.
    pub replayers: u32,
    /// `maxReceiveCount` of the dead-letter queue.
    pub receive_count_max: u32,
    /// Share of payloads that nobody can decode.
    pub poison: f64,
    /// Share of events that the transform leaves out.
    pub filtered: f64,
    /// Share of events that the transform fails on.
    pub failing: f64,
    /// Events that no record can hold.
    pub huge: usize,
    /// CloudWatch Logs first asks whether the function can be reached.
    pub control_message: bool,
    /// What goes wrong.
    pub troubles: Vec<Trouble>,
}

impl Plan {
    /// One payload of so many events, one processor, and nothing goes wrong; a frame for tests.
    #[must_use]
    pub fn still(events: usize) -> Self {
        Self {
            seed: 0,
            family: Family::Calm,
            events,
            payload_events_min: events,
            payload_events_max: events,
            traffic_ms: MINUTE_MS,
            record_format: RecordFormat::Single,
            record_bytes_target: 1_024,
            shards: 1,
            processors: 1,
            put_attempts_max: 2,
            replay_attempts_max: 5,
            replay_every_ms: 24 * HOUR_MS,
            replayers: 1,
            receive_count_max: 1_000,
            poison: 0.0,
            filtered: 0.0,
            failing: 0.0,
            huge: 0,
            control_message: false,
            troubles: Vec::new(),
        }
    }

    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64, events: usize) -> Self {
        // Neighbouring seeds give unlike plans.
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5106_ce00);
        let family = Family::ALL[(seed % Family::ALL.len() as u64) as usize];
        let formats = [RecordFormat::Single, RecordFormat::Kpl, RecordFormat::Gzip];
        let mut plan = Self {
            seed,
            family,
            events,
            payload_events_min: 1,
            payload_events_max: rng.usize(5..=80),
            traffic_ms: rng.u64(20..=90) * MINUTE_MS,
            record_format: formats[rng.usize(..formats.len())],
            record_bytes_target: rng.usize(1_024..=4_096),
            shards: rng.usize(1..=4),
            processors: rng.u32(1..=6),
            put_attempts_max: rng.u32(3..=10),
            replay_attempts_max: rng.u32(2..=6),
            replay_every_ms: rng.u64(15..=60) * MINUTE_MS,
            replayers: 1,
            receive_count_max: if rng.u8(..4) == 0 { rng.u32(5..=20) } else { 1_000 },
            poison: 0.0,
            filtered: if rng.bool() { 0.05 } else { 0.0 },
            failing: 0.0,
            huge: 0,
            control_message: true,
            troubles: Vec::new(),
        };
        if family == Family::Mixed {
            // What Lambda deletes is lost by design, so it has a family of its own.
            let mut others = Family::ALL.to_vec();
            others.retain(|other| {
                !matches!(other, Family::Calm | Family::Mixed | Family::QueueDrops)
            });
            rng.shuffle(&mut others);
            for other in &others[..rng.usize(3..=6)] {
                plan.bring(*other, &mut rng);
            }
        } else {
            plan.bring(family, &mut rng);
        }
        plan
    }

    /// Adds what a family brings.
    fn bring(&mut self, family: Family, rng: &mut Rng) {
        let whole = Window { from_ms: 0, to_ms: u64::MAX };
        let between = |rng: &mut Rng, low: f64, high: f64| low + rng.f64() * (high - low);
        match family {
            Family::Calm | Family::Mixed => {}
            Family::PartialFailuresOfOnePercent => {
                self.troubles.push(Trouble::Stream(whole, 1.0, StreamTrouble::Refuses(0.01)));
            }
            Family::PartialFailuresOfThirtyPercent => {
                self.put_attempts_max = rng.u32(2..=6);
                self.troubles.push(Trouble::Stream(whole, 1.0, StreamTrouble::Refuses(0.3)));
            }
            Family::PartialFailuresOfAll => {
                let window = self.window(rng, 10 * MINUTE_MS, 60 * MINUTE_MS);
                self.troubles.push(Trouble::Stream(window, 1.0, StreamTrouble::Refuses(1.0)));
            }
            Family::Errors => {
                let chance = between(rng, 0.05, 0.6);
                self.troubles.push(Trouble::Stream(whole, chance, StreamTrouble::Error));
                let chance = between(rng, 0.02, 0.2);
                self.troubles.push(Trouble::Lambda(whole, chance, InvokeFault::Error));
                let chance = between(rng, 0.02, 0.2);
                self.troubles.push(Trouble::Lambda(whole, chance, InvokeFault::Throttled));
                self.troubles.push(Trouble::Queues(whole, 0.05, QueueFault::Error));
                self.make_dead_letters(rng);
            }
            Family::Timeouts => {
                let chance = between(rng, 0.02, 0.2);
                self.troubles.push(Trouble::Stream(whole, chance, StreamTrouble::Hangs));
                self.troubles.push(Trouble::Lambda(whole, 0.05, InvokeFault::Hang));
                self.troubles.push(Trouble::Queues(whole, 0.02, QueueFault::Hang));
                self.make_dead_letters(rng);
            }
            Family::AnswersLost => {
                let chance = between(rng, 0.01, 0.2);
                let what = match rng.u8(..3) {
                    0 => StreamTrouble::AnswerLost,
                    1 => StreamTrouble::WrittenAndHangs,
                    _ => StreamTrouble::ShortAnswer,
                };
                self.troubles.push(Trouble::Stream(whole, chance, what));
                let chance = between(rng, 0.02, 0.2);
                self.troubles.push(Trouble::Lambda(whole, chance, InvokeFault::AnswerLost));
                let chance = between(rng, 0.02, 0.1);
                self.troubles.push(Trouble::Queues(whole, chance, QueueFault::AnswerLost));
                self.troubles.push(Trouble::Queues(whole, 0.02, QueueFault::EffectAndHang));
                self.make_dead_letters(rng);
            }
            Family::QueuesDownWithStream => {
                let window = self.window(rng, 10 * MINUTE_MS, 60 * MINUTE_MS);
                let what = match rng.u8(..4) {
                    0 => StreamTrouble::Throttles,
                    1 => StreamTrouble::Error,
                    2 => StreamTrouble::Hangs,
                    _ => StreamTrouble::Refuses(0.7),
                };
                self.troubles.push(Trouble::Stream(window, 1.0, what));
                let mut from_ms = window.from_ms;
                while from_ms < window.to_ms {
                    let to_ms = from_ms + rng.u64(MINUTE_MS..=QUEUES_DOWN_MS_MAX);
                    let what = if rng.bool() { QueueFault::Error } else { QueueFault::Hang };
                    self.troubles.push(Trouble::Queues(Window { from_ms, to_ms }, 1.0, what));
                    from_ms = to_ms + rng.u64(6 * MINUTE_MS..=20 * MINUTE_MS);
                }
            }
            Family::PayloadsTwice => {
                self.troubles.push(Trouble::PayloadTwice(between(rng, 0.01, 0.5)));
                self.make_dead_letters(rng);
            }
            Family::MessagesTwice => {
                let chance = between(rng, 0.1, 0.8);
                self.troubles.push(Trouble::Queues(whole, chance, QueueFault::DeliverTwice));
                self.replayers = rng.u32(1..=2);
                self.make_dead_letters(rng);
            }
            Family::VisibilityExpires => {
                self.troubles.push(Trouble::VisibilityDividedBy(rng.u32(20..=10_000)));
                self.troubles.push(Trouble::Stream(whole, 0.1, StreamTrouble::Hangs));
                self.replayers = 2;
                self.make_dead_letters(rng);
            }
            Family::TwoReplayers => {
                self.replayers = 2;
                self.make_dead_letters(rng);
            }
            Family::Poison => {
                self.poison = between(rng, 0.02, 0.3);
                self.failing = between(rng, 0.001, 0.02);
                self.huge = rng.usize(0..=2);
                self.make_dead_letters(rng);
            }
            Family::StreamMadeAgain => {
                let window = self.window(rng, MINUTE_MS, 40 * MINUTE_MS);
                self.troubles.push(Trouble::StreamGone(window));
            }
            Family::ThrottledForHours => {
                let window =
                    Window { from_ms: 20 * MINUTE_MS, to_ms: 20 * MINUTE_MS + 3 * HOUR_MS };
                self.traffic_ms = window.to_ms + 20 * MINUTE_MS;
                self.troubles.push(if rng.bool() {
                    Trouble::Stream(window, 1.0, StreamTrouble::Throttles)
                } else {
                    Trouble::ProcessorsStopped(window)
                });
            }
            Family::ProcessorsKilled => {
                self.troubles.push(Trouble::Kill(Role::Processor, between(rng, 0.01, 0.4)));
                let chance = between(rng, 0.0, 0.2);
                self.troubles.push(Trouble::KillAtAnyMoment(Role::Processor, chance));
                self.troubles.push(Trouble::Stream(whole, 1.0, StreamTrouble::Refuses(0.2)));
                self.make_dead_letters(rng);
            }
            Family::QueueDrops => {
                // Many small payloads, few processors, and a stream that keeps them waiting.
                self.processors = rng.u32(1..=2);
                self.payload_events_max = rng.usize(5..=15);
                self.traffic_ms = rng.u64(10..=20) * MINUTE_MS;
                self.put_attempts_max = rng.u32(8..=12);
                let backlog = Backlog {
                    events: f64::from(rng.u32(1..=10)),
                    fill_min: between(rng, 0.3, 1.0),
                    deleted: between(rng, 0.01, 0.2),
                };
                self.troubles.push(Trouble::Backlog(backlog));
                self.make_dead_letters(rng);
            }
            Family::ReplayersKilled => {
                self.troubles.push(Trouble::Kill(Role::Replayer, between(rng, 0.01, 0.3)));
                let chance = between(rng, 0.0, 0.5);
                self.troubles.push(Trouble::KillAtAnyMoment(Role::Replayer, chance));
                self.make_dead_letters(rng);
            }
        }
    }

    /// The stream throttles for a while, so that there is something to replay.
    fn make_dead_letters(&mut self, rng: &mut Rng) {
        let window = self.window(rng, 5 * MINUTE_MS, 20 * MINUTE_MS);
        self.troubles.push(Trouble::Stream(window, 1.0, StreamTrouble::Throttles));
    }

    /// A window of so many milliseconds that begins within the first half of the traffic.
    fn window(&self, rng: &mut Rng, shortest_ms: u64, longest_ms: u64) -> Window {
        let from_ms = rng.u64(0..=self.traffic_ms / 2);
        Window { from_ms, to_ms: from_ms + rng.u64(shortest_ms..=longest_ms) }
    }

    /// When nothing goes wrong any more.
    #[must_use]
    pub fn faults_end_ms(&self) -> u64 {
        self.traffic_ms + AFTER_TRAFFIC_MS
    }

    /// How Lambda treats a queue that processors cannot keep up with.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        let backlog = self.troubles.iter().find_map(|trouble| match trouble {
            Trouble::Backlog(backlog) => Some(*backlog),
            _ => None,
        });
        backlog.unwrap_or_default()
    }

    /// Whether events may arrive twice whatever the functions do.
    #[must_use]
    pub fn injects_duplicates(&self) -> bool {
        self.troubles.iter().any(Trouble::injects_duplicates)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "seed {}: {}; {} events, payloads of up to {}, over {} s; {:?}, {} bytes a record, {} \
             shards, {} processors, {} tries of a put; a replay every {} s, {} at once, {} attempts, \
             redrive after {}; poison {:.3}, filtered {:.3}, failing {:.3}, {} too large",
            self.seed,
            self.family.name(),
            self.events,
            self.payload_events_max,
            self.traffic_ms / 1_000,
            self.record_format,
            self.record_bytes_target,
            self.shards,
            self.processors,
            self.put_attempts_max,
            self.replay_every_ms / 1_000,
            self.replayers,
            self.replay_attempts_max,
            self.receive_count_max,
            self.poison,
            self.filtered,
            self.failing,
            self.huge,
        )?;
        for trouble in &self.troubles {
            write!(out, "; {trouble}")?;
        }
        Ok(())
    }
}
