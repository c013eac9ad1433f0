//! Promises of the replayer, against simulated queues. The processor's side is scripted; the real
//! one is behind it in `tests/chaos`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use dlq_replayer::{Config, Ports, ReplayError, Replayer, Report, Stop};
use fastrand::Rng;
use serde_json::{Value, json};
use sluice::delivery::{Answer, Reason};
use sluice::limits::SQS_MESSAGE_BYTES_MAX;
use sluice::ports::{
    Clock, ControlError, InvokeError, InvokeFunction, ReadConcurrency, ReceiveMessages,
};
use sluice_simulated::queue::{Mood, Queue, QueueFault};
use sluice_simulated::{MetricLines, VirtualClock};

const TIMEOUT_MS: u64 = 900_000;
const DAY: Duration = Duration::from_secs(86_400);

/// How the scripted processor takes one event.
enum Take {
    /// It answers this after so long.
    After(Duration, Value),
    /// It fails.
    Fails,
    /// No environment is free.
    Busy,
    /// There is no such function.
    Gone,
    /// Its answer never comes.
    Hangs,
}

type Script = Box<dyn FnMut(&Value) -> Take>;

struct World {
    clock: VirtualClock,
    queue: Queue,
    quarantine: Queue,
    metrics: MetricLines,
    reserved: Cell<Option<u32>>,
    script: RefCell<Script>,
    invoked: RefCell<Vec<Value>>,
    running: Cell<usize>,
    running_max: Cell<usize>,
    next_hops: RefCell<Vec<String>>,
}

fn answer(answer: Answer) -> Value {
    serde_json::to_value(answer).expect("JSON")
}

fn delivered() -> Value {
    answer(Answer { events_in: 1, events_delivered: 1, ..Answer::default() })
}

impl World {
    fn new(script: impl FnMut(&Value) -> Take + 'static) -> Rc<Self> {
        let clock = VirtualClock::begin();
        Rc::new(Self {
            clock,
            queue: Queue::new(clock),
            quarantine: Queue::new(clock),
            metrics: MetricLines::default(),
            reserved: Cell::new(Some(8)),
            script: RefCell::new(Box::new(script)),
            invoked: RefCell::default(),
            running: Cell::default(),
            running_max: Cell::default(),
            next_hops: RefCell::default(),
        })
    }

    fn answering(answer: Value) -> Rc<Self> {
        Self::new(move |_| Take::After(Duration::from_millis(100), answer.clone()))
    }

    fn put(&self, number: usize, reason: Option<Reason>) {
        let attributes = match reason {
            Some(reason) => BTreeMap::from([("Reason".to_owned(), reason.to_string())]),
            None => BTreeMap::from([("ErrorMessage".to_owned(), "timed out".to_owned())]),
        };
        self.queue.put(&body(number), attributes, 0);
    }

    fn fill(&self, count: usize) {
        (0..count).for_each(|number| self.put(number, Some(Reason::Deadline)));
    }

    async fn run(&self, event: &str) -> Result<Report, ReplayError> {
        self.run_with(config(), event).await
    }

    async fn run_with(&self, config: Config, event: &str) -> Result<Report, ReplayError> {
        let ports = Ports {
            queue: &self.queue,
            quarantine: &self.quarantine,
            functions: self,
            clock: self.clock,
            metrics: &self.metrics,
        };
        let deadline_ms = self.clock.epoch_ms() + TIMEOUT_MS;
        let result =
            Replayer::new(config, ports, Rng::with_seed(1)).handle(event, deadline_ms).await;
        assert!(self.clock.epoch_ms() < deadline_ms, "it ends before its deadline");
        result
    }

    fn visible(&self) -> usize {
        let hidden_ms = self.queue.hidden_for_ms(self.clock.epoch_ms());
        if hidden_ms == 0 { self.queue.stored().len() } else { 0 }
    }
}

impl InvokeFunction for &World {
    async fn invoke(
        &self,
        function: &str,
        event: &str,
        timeout: Duration,
    ) -> Result<String, InvokeError> {
        assert_eq!((function, timeout), ("log-processor", Duration::from_secs(75)));
        let event: Value = serde_json::from_str(event).expect("an event is JSON");
        self.invoked.borrow_mut().push(event.clone());
        let take = (self.script.borrow_mut())(&event);
        self.running.set(self.running.get() + 1);
        self.running_max.set(self.running_max.get().max(self.running.get()));
        let result = match take {
            Take::After(time, answer) => {
                self.clock.sleep(time).await;
                Ok(answer.to_string())
            }
            Take::Fails => Err(InvokeError::Failed {
                error_type: "Runtime.ExitError".to_owned(),
                message: "signal: killed".to_owned(),
            }),
            Take::Busy => Err(InvokeError::Throttled { detail: "Rate Exceeded.".to_owned() }),
            Take::Gone => Err(InvokeError::Unavailable {
                code: "ResourceNotFoundException".to_owned(),
                detail: "no such function".to_owned(),
            }),
            Take::Hangs => pending().await,
        };
        self.running.set(self.running.get() - 1);
        result
    }

    async fn invoke_later(&self, function: &str, event: &str) -> Result<(), InvokeError> {
        assert_eq!(function, "dlq-replayer");
        self.next_hops.borrow_mut().push(event.to_owned());
        Ok(())
    }
}

impl ReadConcurrency for &World {
    async fn get_reserved_concurrency(&self, function: &str) -> Result<Option<u32>, ControlError> {
        assert_eq!(function, "log-processor");
        Ok(self.reserved.get())
    }
}

fn config() -> Config {
    Config {
        dead_letter_queue_url: "https://queue.example".to_owned(),
        quarantine_queue_url: "https://quarantine.example".to_owned(),
        processor_function: "log-processor".to_owned(),
        processor_timeout: Duration::from_secs(60),
        replay_attempts_max: 5,
        replay_parallelism: None,
        replay_hops_max: 16,
        function_name: "dlq-replayer".to_owned(),
    }
}

fn body(number: usize) -> String {
    format!(r#"{{"awslogs":{{"data":"{number}"}}}}"#)
}

fn number_of(event: &Value) -> usize {
    event["awslogs"]["data"].as_str().expect("text").parse().expect("a number")
}

#[tokio::test(start_paused = true)]
async fn what_succeeded_is_deleted_and_counted() {
    let world = World::answering(delivered());
    world.fill(25);
    world.put(25, None);
    let report = world.run("{}").await.expect("a run");
    assert_eq!(
        (report.replayed, report.failed, report.quarantined, report.left),
        (26, 0, 0, Some(0))
    );
    assert_eq!(report.stopped, Stop::QueueEmpty);
    assert_eq!(report.reasons["deadline"], 25);
    assert_eq!(report.reasons["processor-failed"], 1, "the raw event of Lambda's own queue");
    assert!(world.queue.stored().is_empty() && world.quarantine.stored().is_empty());
    let mut replayed: Vec<usize> = world.invoked.borrow().iter().map(number_of).collect();
    replayed.sort_unstable();
    assert_eq!(replayed, Vec::from_iter(0..26));
    assert_eq!(world.metrics.sum("DeadLettersReplayed"), 26);
    assert_eq!(world.metrics.sum("DeadLettersLeft"), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_before_the_processor_has_answered() {
    let world = World::new(|_| Take::Hangs);
    world.fill(3);
    let report = world.run("{}").await.expect("a run");
    assert_eq!((report.replayed, report.left), (0, Some(3)));
    assert_eq!(world.queue.stored().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn half_of_the_reserved_concurrency_works_at_once() {
    for (reserved, parallelism) in [(Some(8), 4), (Some(1), 1), (None, 10)] {
        let world = World::answering(delivered());
        world.reserved.set(reserved);
        world.fill(60);
        world.run("{}").await.expect("a run");
        assert_eq!(world.running_max.get(), parallelism);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_processor_is_left_alone() {
    let world = World::answering(delivered());
    world.reserved.set(Some(0));
    world.fill(3);
    let report = world.run("{}").await.expect("a run");
    assert_eq!((report.stopped, report.left), (Stop::ProcessorStopped, Some(3)));
    assert!(world.invoked.borrow().is_empty());
    assert!(!report.continues);
}

#[tokio::test(start_paused = true)]
async fn what_fails_stays_and_is_quarantined_after_its_last_attempt() {
    let world = World::new(|event| match number_of(event) {
        3 => Take::Fails,
        _ => Take::After(Duration::from_millis(100), delivered()),
    });
    world.fill(10);
    for day in 1..=5 {
        let report = world.run("{}").await.expect("a run");
        let is_last = day == 5;
        assert_eq!(world.queue.stored().len(), usize::from(!is_last), "day {day}");
        assert_eq!((report.failed, report.quarantined), (u64::from(!is_last), is_last.into()));
        if !is_last {
            assert_eq!(report.oldest_age_seconds / 86_400, day - 1);
        }
        world.clock.sleep(DAY).await;
    }
    let quarantined = world.quarantine.messages();
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0].body, body(3));
    assert_eq!(quarantined[0].reason, Reason::Deadline, "the first reason is kept");
    assert!(quarantined[0].detail.contains("signal: killed"), "{}", quarantined[0].detail);
    assert_eq!(quarantined[0].attempts, 5);
    let attempts: Vec<u64> = world
        .invoked
        .borrow()
        .iter()
        .filter(|event| number_of(event) == 3)
        .map(|event| event["sluiceReplay"]["attempt"].as_u64().expect("a number"))
        .collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn one_run_does_not_spend_an_attempt_twice() {
    let world = World::new(|_| Take::Fails);
    world.fill(1);
    world.run("{}").await.expect("a run");
    world.run("{}").await.expect("a run");
    assert_eq!(world.invoked.borrow().len(), 1, "it is hidden for an hour");
}

#[tokio::test(start_paused = true)]
async fn what_can_never_succeed_goes_straight_to_the_quarantine() {
    let world = World::answering(delivered());
    world.put(1, Some(Reason::CorruptGzip));
    world.queue.put("not even JSON", BTreeMap::new(), 0);
    let report = world.run("{}").await.expect("a run");
    assert_eq!((report.quarantined, report.left), (2, Some(0)));
    assert!(world.invoked.borrow().is_empty());
    let reasons: Vec<Reason> = world.quarantine.messages().iter().map(|l| l.reason).collect();
    assert_eq!(reasons, [Reason::CorruptGzip, Reason::NotAnAwslogsEvent]);
    assert_eq!(world.metrics.sum("DeadLettersQuarantined"), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_quarantine_refuses_stays_in_the_queue() {
    let world = World::answering(delivered());
    world.put(1, Some(Reason::CorruptGzip));
    world.quarantine.set_mood(Mood::Refuses);
    let report = world.run(r#"{"max": 1}"#).await.expect("a run");
    assert_eq!((report.quarantined, report.left), (0, Some(1)));
    world.quarantine.set_mood(Mood::Takes);
    // Its receipt runs out by itself: shown at once, the same run would only meet it again.
    world.clock.sleep(Duration::from_secs(120)).await;
    let report = world.run("{}").await.expect("a run");
    assert_eq!((report.quarantined, report.left), (1, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn what_the_processor_took_over_is_deleted_whatever_it_did_with_it() {
    let nine = Answer { events_in: 9, ..Answer::default() };
    let part =
        answer(Answer { events_delivered: 4, events_dead_lettered: 5, dead_letters: 1, ..nine });
    let poison =
        answer(Answer { events_delivered: 8, events_quarantined: 1, quarantined: 1, ..nine });
    let world = World::new(move |event| {
        let answer = if number_of(event) == 0 { part.clone() } else { poison.clone() };
        Take::After(Duration::from_millis(100), answer)
    });
    world.fill(2);
    let report = world.run("{}").await.expect("a run");
    assert_eq!((report.handed_back, report.failed, report.quarantined), (1, 1, 1));
    assert!(world.queue.stored().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_say_where_the_events_are_deletes_nothing() {
    for other in [Value::Null, json!({}), json!("ok"), json!({"statusCode": 200})] {
        let world = World::answering(other);
        world.fill(1);
        let report = world.run("{}").await.expect("a run");
        assert_eq!((report.replayed, report.failed, report.left), (0, 1, Some(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_stream_is_down_attempts_are_kept() {
    let nothing = answer(Answer {
        events_in: 1,
        events_dead_lettered: 1,
        dead_letters: 1,
        ..Answer::default()
    });
    let world = World::answering(nothing);
    world.fill(100);
    let report = world.run("{}").await.expect("a run");
    assert_eq!(report.stopped, Stop::NoProgress);
    assert!(!report.continues);
    assert!(world.invoked.borrow().len() <= 14, "{}", world.invoked.borrow().len());
}

#[tokio::test(start_paused = true)]
async fn a_message_stays_hidden_while_the_processor_works() {
    let world = World::new(|_| Take::After(Duration::from_secs(600), delivered()));
    world.fill(1);
    let other = async {
        world.clock.sleep(Duration::from_secs(5)).await;
        for _ in 0..29 {
            let seen = (&world.queue).receive_messages(10, DAY / 2, Duration::from_secs(20)).await;
            assert_eq!(seen, Ok(Vec::new()));
        }
    };
    let (report, ()) = tokio::join!(world.run("{}"), other);
    assert_eq!(report.expect("a run").replayed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_busy_processor_is_asked_again_and_nothing_counts_as_failed() {
    let mut asked = 0;
    let world = World::new(move |_| {
        asked += 1;
        match asked {
            1..=6 => Take::Busy,
            _ => Take::After(Duration::from_millis(100), delivered()),
        }
    });
    world.fill(2);
    let report = world.run("{}").await.expect("a run");
    assert_eq!((report.replayed, report.failed), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_busy_processor_never_saw_is_never_quarantined() {
    let world = World::new(|_| Take::Busy);
    world.fill(1);
    for _ in 0..9 {
        let report = world.run("{}").await.expect("a run");
        assert_eq!((report.failed, report.quarantined, report.left), (0, 0, Some(1)));
        world.clock.sleep(DAY).await;
    }
    *world.script.borrow_mut() = Box::new(|_| Take::After(Duration::ZERO, delivered()));
    assert_eq!(world.run("{}").await.expect("a run").replayed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_missing_processor_fails_the_run_and_leaves_everything() {
    let world = World::new(|_| Take::Gone);
    world.fill(20);
    let error = world.run("{}").await.expect_err("the run fails").to_string();
    assert!(error.contains("no such function"), "{error}");
    assert_eq!(world.visible(), 20);
    assert!(world.next_hops.borrow().is_empty());
    assert_eq!(world.metrics.sum("DeadLettersLeft"), 20);
}

#[tokio::test(start_paused = true)]
async fn when_time_runs_out_the_next_hop_goes_on() {
    let world = World::new(|_| Take::After(Duration::from_secs(30), delivered()));
    world.fill(200);
    let report = world.run(r#"{"max": 150, "hop": 3}"#).await.expect("a run");
    assert_eq!(report.stopped, Stop::OutOfTime);
    assert!(report.continues);
    assert_eq!(report.left, Some(200 - report.replayed), "nothing was broken off");
    let left = 150 - report.replayed;
    assert_eq!(*world.next_hops.borrow(), [format!(r#"{{"max":{left},"hop":4}}"#)]);
}

#[tokio::test(start_paused = true)]
async fn the_chain_ends_at_its_bound_and_without_progress() {
    for (event, config, take_seconds) in [
        (r#"{"hop": 16}"#, config(), 30),
        ("{}", Config { replay_hops_max: 0, ..config() }, 30),
        // The processor takes longer than its own timeout says, and than a whole hop.
        ("{}", config(), 1_000),
    ] {
        let world =
            World::new(move |_| Take::After(Duration::from_secs(take_seconds), delivered()));
        world.fill(200);
        let report = world.run_with(config, event).await.expect("a run");
        assert_eq!(report.stopped, Stop::OutOfTime);
        assert!(!report.continues && world.next_hops.borrow().is_empty(), "{event}");
        assert_eq!(report.left, Some(200 - report.replayed));
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_are_taken_than_asked_for() {
    let world = World::answering(delivered());
    world.fill(30);
    let report = world.run(r#"{"max": 13}"#).await.expect("a run");
    assert_eq!((report.replayed, report.left), (13, Some(17)));
    assert_eq!(report.stopped, Stop::MaxReached);
    assert!(!report.continues);
    assert_eq!(world.visible(), 17, "no other was touched");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_looks_and_moves_nothing() {
    let world = World::answering(delivered());
    world.fill(12);
    world.put(12, Some(Reason::CorruptGzip));
    world.clock.sleep(Duration::from_secs(3_600)).await;
    let report = world.run(r#"{"dryRun": true, "max": 100}"#).await.expect("a run");
    assert!(report.dry_run && !report.continues);
    assert_eq!((report.replayed, report.quarantined, report.left), (0, 0, Some(13)));
    assert_eq!((report.reasons["deadline"], report.reasons["corrupt-gzip"]), (12, 1));
    assert_eq!(report.oldest_age_seconds, 3_600);
    assert!(world.invoked.borrow().is_empty() && world.quarantine.stored().is_empty());
    assert_eq!(world.visible(), 13);
    let report = world.run(r#"{"dryRun": true, "max": 4}"#).await.expect("a run");
    assert_eq!(report.reasons.values().sum::<u64>(), 4);
}

#[tokio::test(start_paused = true)]
async fn two_at_once_replay_each_dead_letter_once() {
    let world = World::answering(delivered());
    world.fill(100);
    let (one, two) = tokio::join!(world.run("{}"), world.run("{}"));
    let replayed = one.expect("a run").replayed + two.expect("a run").replayed;
    assert_eq!((replayed, world.invoked.borrow().len()), (100, 100));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_does_not_answer_fails_the_run() {
    let world = World::answering(delivered());
    world.fill(1);
    world.queue.set_mood(Mood::Refuses);
    let error = world.run("{}").await.expect_err("the run fails");
    assert!(matches!(error, ReplayError::Queue(_)), "{error}");
    world.queue.set_mood(Mood::Takes);
    assert_eq!(world.run("{}").await.expect("a run").replayed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_fails_in_mid_run_costs_nothing_that_is_under_way() {
    let world = World::new(|_| Take::After(Duration::from_secs(30), delivered()));
    world.fill(4);
    world.queue.set_faults(|call| match (call.name, call.number) {
        ("ReceiveMessage", 1..) => QueueFault::Error,
        _ => QueueFault::None,
    });
    world.reserved.set(Some(20));
    let error = world.run("{}").await.expect_err("the run fails");
    assert!(matches!(error, ReplayError::Queue(_)), "{error}");
    assert!(world.queue.stored().is_empty(), "what was answered is deleted");
    assert_eq!(world.metrics.sum("DeadLettersReplayed"), 4);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_another_kind_is_refused() {
    let world = World::answering(delivered());
    world.fill(1);
    let error = world.run(r#"{"source": "aws.events"}"#).await.expect_err("the run fails");
    assert!(error.to_string().contains("source"), "{error}");
    assert_eq!(world.visible(), 1);
}

#[test]
fn every_bad_variable_is_named_at_once() {
    use sluice::config::EnvReader;
    let lookup = |name: &str| match name {
        "DEAD_LETTER_QUEUE_URL" => Some("queue".to_owned()),
        "PROCESSOR_FUNCTION" => Some("log-processor".to_owned()),
        "PROCESSOR_TIMEOUT_SECONDS" => Some("901".to_owned()),
        "REPLAY_ATTEMPTS_MAX" => Some("0".to_owned()),
        "REPLAY_PARALLELISM" => Some("-1".to_owned()),
        "REPLAY_HOPS_MAX" => Some("many".to_owned()),
        _ => None,
    };
    let mut env = EnvReader::new(&lookup);
    let config = Config::read(&mut env);
    let problems = env.finish(config).expect_err("nothing is right").0;
    let named = [
        "DEAD_LETTER_QUEUE_URL",
        "QUARANTINE_QUEUE_URL",
        "PROCESSOR_TIMEOUT_SECONDS",
        "REPLAY_ATTEMPTS_MAX",
        "REPLAY_PARALLELISM",
        "REPLAY_HOPS_MAX",
        "AWS_LAMBDA_FUNCTION_NAME",
    ];
    for name in named {
        assert_eq!(problems.iter().filter(|p| p.starts_with(name)).count(), 1, "{problems:?}");
    }
    assert_eq!(problems.len(), named.len(), "{problems:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_our_attributes_make_too_large_is_quarantined_whole() {
    // As Lambda sends it: no awslogs, so that no processor can take it, and just what SQS holds.
    let attributes = BTreeMap::from([("ErrorMessage".to_owned(), "timed out".to_owned())]);
    let room = SQS_MESSAGE_BYTES_MAX - "ErrorMessageStringtimed out".len();
    let body = format!("{{\"{}\":1}}", "x".repeat(room - 6));
    let world = World::answering(json!({}));
    world.queue.send(&body, attributes).await.expect("SQS takes it");
    let report = world.run("{}").await.expect("a run");
    assert_eq!(report.quarantined, 1);
    assert!(world.queue.stored().is_empty());
    let quarantined = world.quarantine.messages();
    assert!(quarantined.iter().all(|letter| letter.reason == Reason::NotAnAwslogsEvent));
    assert_eq!(quarantined.len(), 1, "it compresses, so that one part holds it");
    let held: Value = serde_json::from_str(&quarantined[0].body).expect("JSON");
    assert_eq!(held["bytes"], json!(body.len()));
    assert_eq!((&held["part"], &held["parts"]), (&json!(1), &json!(1)));

    // Should somebody send a part back, it is quarantined again as it is, and never replayed.
    let letter = &quarantined[0];
    let attributes = letter.to_message(0).attributes;
    let attributes = attributes.into_iter().map(|one| (one.name.to_owned(), one.value));
    world.queue.put(&letter.body, attributes.collect(), 0);
    world.run("{}").await.expect("a run");
    assert_eq!(world.quarantine.messages().last(), Some(letter));
    assert!(world.invoked.borrow().is_empty());
}
