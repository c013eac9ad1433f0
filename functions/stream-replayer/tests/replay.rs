//! Promises of the stream replayer, against a simulated stream in virtual time.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{Either, select};
use serde_json::Value;
use sluice::limits::INVOKE_EVENT_BYTES_MAX;
use sluice::ports::{
    Clock, ControlError, DataPoint, InvokeError, InvokeFunction, MetricQuery, PutError, PutRecords,
    ReadError, ReadMetrics,
};
use sluice::records::{Record, replayed};
use sluice_simulated::stream::StoredRecord;
use sluice_simulated::{
    Fate, Fates, Fault, Life, MetricLines, Mortal, ReadFault, ReadLimits, Stream, StreamLimits,
    VirtualClock,
};
use stream_replayer::{Config, NoteResume, Ports, ReplayError, Replayer, Report, Stop, Trigger};

const MINUTE_MS: u64 = 60_000;
/// Few keys, so that each has many records whose order can be seen.
const KEYS: usize = 24;

type Script = Box<dyn FnMut(&Value) -> Result<String, InvokeError>>;

/// A record as the target function got it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    key: String,
    number: usize,
    epoch_ms: u64,
}

struct World {
    clock: VirtualClock,
    source: Stream,
    target: Stream,
    config: RefCell<Config>,
    timeout_ms: Cell<u64>,
    script: RefCell<Script>,
    got: RefCell<Vec<Got>>,
    running: Cell<usize>,
    running_max: Cell<usize>,
    next_hops: RefCell<VecDeque<String>>,
    notes: RefCell<Vec<String>>,
    metrics: MetricLines,
    incoming: RefCell<Vec<f64>>,
}

impl World {
    fn new(shards: usize) -> Rc<Self> {
        let clock = VirtualClock::begin();
        // The source takes the largest records that AWS allows, the target the usual ones.
        let limits = StreamLimits { record_bytes_max: 10 * 1_048_576, ..StreamLimits::default() };
        Rc::new(Self {
            clock,
            source: Stream::with_limits(clock, shards, limits),
            target: Stream::new(clock, 3),
            config: RefCell::new(config()),
            timeout_ms: Cell::new(900_000),
            script: RefCell::new(Box::new(|_| Ok(String::new()))),
            got: RefCell::default(),
            running: Cell::default(),
            running_max: Cell::default(),
            next_hops: RefCell::default(),
            notes: RefCell::default(),
            metrics: MetricLines::default(),
            incoming: RefCell::default(),
        })
    }

    fn set_script(&self, script: impl FnMut(&Value) -> Result<String, InvokeError> + 'static) {
        *self.script.borrow_mut() = Box::new(script);
    }

    /// Writes numbered records, so many a minute for so many minutes.
    async fn fill(&self, minutes: usize, a_minute: usize) {
        let begun = self.source.records().len();
        for minute in 0..minutes {
            let records: Vec<Record> = (0..a_minute)
                .map(|place| begun + minute * a_minute + place)
                .map(|number| Record {
                    partition_key: format!("key {}", number % KEYS),
                    data: number.to_string().into_bytes(),
                })
                .collect();
            let begin = self.clock.monotonic();
            for record in &records {
                let answer = (&self.source).put_records(&[record]).await.expect("taken");
                assert_eq!(answer, [None]);
            }
            let rest = Duration::from_millis(MINUTE_MS) - (self.clock.monotonic() - begin);
            self.clock.sleep(rest).await;
        }
    }

    /// Numbers of the records in a window.
    fn numbers(&self, window: (u64, u64), jitter_ms: u64) -> BTreeSet<usize> {
        let arrived_ms = |record: &StoredRecord| {
            record.epoch_ms + (record.sequence * 7_919).checked_rem(jitter_ms).unwrap_or_default()
        };
        let is_inside = |record: &&StoredRecord| (window.0..window.1).contains(&arrived_ms(record));
        self.source.records().iter().filter(is_inside).map(|r| number(&r.record.data)).collect()
    }

    async fn run(&self, event: &str) -> Result<Report, ReplayError> {
        self.live(event, &Rc::new(Life::default())).await.expect("nobody dies")
    }

    /// One invocation; `None` when it died.
    async fn live(&self, event: &str, life: &Rc<Life>) -> Option<Result<Report, ReplayError>> {
        let ports = Ports {
            source: Mortal::new(&self.source, life),
            streams: Mortal::new(&self.target, life),
            functions: Mortal::new(self, life),
            cloudwatch: Mortal::new(self, life),
            clock: self.clock,
            metrics: &self.metrics,
            notes: self,
        };
        let deadline_ms = self.clock.epoch_ms() + self.timeout_ms.get();
        let replayer = Replayer::new(self.config.borrow().clone(), ports, Rng::with_seed(1));
        let handled = pin!(replayer.handle(event, deadline_ms));
        match select(handled, pin!(life.ended())).await {
            Either::Left((result, _)) => {
                assert!(self.clock.epoch_ms() < deadline_ms, "it ends before its deadline");
                Some(result)
            }
            Either::Right(_) => None,
        }
    }

    /// The event and every hop that follows.
    async fn run_all(&self, event: &str) -> Vec<Report> {
        let mut reports = vec![self.run(event).await.expect("a run")];
        while let Some(next) = self.next_hop() {
            reports.push(self.run(&next).await.expect("a run"));
        }
        reports
    }

    fn next_hop(&self) -> Option<String> {
        self.next_hops.borrow_mut().pop_front()
    }

    /// What the function got.
    fn got_numbers(&self) -> Vec<usize> {
        self.got.borrow().iter().map(|got| got.number).collect()
    }

    /// What the target stream got, as if a function had.
    fn got_by_stream(&self) -> Vec<Got> {
        let got = |stored: &StoredRecord| {
            let key = stored.record.partition_key.strip_prefix("replayed:").expect("the mark");
            Got {
                key: key.to_owned(),
                number: number(&stored.record.data),
                epoch_ms: stored.epoch_ms,
            }
        };
        self.target.records().iter().map(got).collect()
    }
}

impl InvokeFunction for &World {
    async fn invoke(
        &self,
        function: &str,
        event: &str,
        _timeout: Duration,
    ) -> Result<String, InvokeError> {
        assert_eq!(function, "archiver");
        if event.len() > INVOKE_EVENT_BYTES_MAX {
            return Err(InvokeError::Refused {
                code: "RequestTooLargeException".to_owned(),
                detail: format!("{} bytes", event.len()),
            });
        }
        let event: Value = serde_json::from_str(event).expect("an event is JSON");
        self.running.set(self.running.get() + 1);
        self.running_max.set(self.running_max.get().max(self.running.get()));
        self.clock.sleep(Duration::from_millis(20)).await;
        let answer = (self.script.borrow_mut())(&event);
        self.running.set(self.running.get() - 1);
        if answer.is_ok() {
            assert_eq!(event["replayed"], true);
            for record in event["Records"].as_array().expect("records") {
                assert_eq!(record["replayed"], true);
                self.got.borrow_mut().push(got(record, self.clock.epoch_ms()));
            }
        }
        answer
    }

    async fn invoke_later(&self, function: &str, event: &str) -> Result<(), InvokeError> {
        assert_eq!(function, "stream-replayer");
        self.next_hops.borrow_mut().push_back(event.to_owned());
        Ok(())
    }
}

impl ReadMetrics for &World {
    async fn get_metrics(
        &self,
        queries: &[MetricQuery],
        from_ms: u64,
        _to_ms: u64,
    ) -> Result<Vec<Vec<DataPoint>>, ControlError> {
        assert_eq!(queries[0].name, "IncomingRecords");
        let points = self.incoming.borrow();
        let point = |(minute, &value): (usize, &f64)| DataPoint {
            epoch_ms: from_ms + minute as u64 * MINUTE_MS,
            value,
        };
        let records: Vec<DataPoint> = points.iter().enumerate().map(point).collect();
        let bytes =
            records.iter().map(|point| DataPoint { value: point.value * 10.0, ..*point }).collect();
        Ok(vec![records, bytes])
    }
}

impl NoteResume for &World {
    fn note(&self, event: &str) {
        self.notes.borrow_mut().push(event.to_owned());
    }
}

fn config() -> Config {
    Config {
        stream_name: "logs".to_owned(),
        records_per_second: 1_000,
        bytes_per_second: 1_000_000,
        shards_at_once: 8,
        target_timeout: Duration::from_secs(60),
        target_attempts_max: 10,
        replay_hops_max: 16,
        function_name: "stream-replayer".to_owned(),
    }
}

fn number(data: &[u8]) -> usize {
    String::from_utf8_lossy(data).trim_start().parse().expect("a number")
}

fn got(record: &Value, epoch_ms: u64) -> Got {
    let data = record["kinesis"]["data"].as_str().expect("data");
    let data = base64_simd::STANDARD.decode_to_vec(data).expect("base64");
    let key = record["kinesis"]["partitionKey"].as_str().expect("a key").to_owned();
    Got { key, number: number(&data), epoch_ms }
}

impl World {
    /// Writes one record of this size under the key of a number.
    async fn write_large(&self, number: usize, bytes: usize) {
        let mut data = vec![b' '; bytes];
        data.extend_from_slice(number.to_string().as_bytes());
        let record = Record { partition_key: format!("key {}", number % KEYS), data };
        let answer = (&self.source).put_records(&[&record]).await.expect("a call");
        assert_eq!(answer, [None]);
        // Until the shard has room again.
        self.clock.sleep(Duration::from_secs(10)).await;
    }
}

fn failed() -> InvokeError {
    InvokeError::Failed { error_type: "Error".to_owned(), message: "no".to_owned() }
}

const FUNCTION: &str = "function:archiver";
const STREAM: &str = "stream:copy";

/// Minutes of the simulation's first hours as a window, and the event that replays it.
fn event(target: &str, from_minute: u64, until_minute: u64, more: &str) -> ((u64, u64), String) {
    let time = |minute: u64| format!("2026-11-21T{:02}:{:02}:00Z", minute / 60, minute % 60);
    let (from, until) = (time(from_minute), time(until_minute));
    let event = format!(r#"{{"from":"{from}","until":"{until}","target":"{target}"{more}}}"#);
    let trigger = Trigger::parse(&event).expect("a wake-up");
    ((trigger.from.0, trigger.until.0), event)
}

/// Everything of the window came, nothing else, and each key's records in the order in which they
/// had come; what is repeated is repeated in order from where it was interrupted.
fn assert_carried(expected: &BTreeSet<usize>, got: &[Got]) {
    assert!(!expected.is_empty());
    let numbers: BTreeSet<usize> = got.iter().map(|got| got.number).collect();
    assert_eq!(numbers.symmetric_difference(expected).next(), None);
    let mut latest: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for got in got.iter().filter(|got| seen.insert(got.number)) {
        if let Some(before) = latest.insert(&got.key, got.number) {
            assert!(before < got.number, "{} after {before}", got.number);
        }
    }
}

fn assert_carried_once(expected: &BTreeSet<usize>, got: &[Got]) {
    assert_carried(expected, got);
    assert_eq!(got.len(), expected.len(), "nothing twice");
}

#[tokio::test(start_paused = true)]
async fn a_window_comes_once_and_marked_and_in_order() {
    let world = World::new(3);
    world.fill(40, 30).await;
    let (window, event) = event(FUNCTION, 10, 20, "");
    let report = world.run(&event).await.expect("a run");
    assert_carried_once(&world.numbers(window, 0), &world.got.borrow());
    assert_eq!((report.records, report.stopped, report.shards_left), (300, Stop::Done, 0));
    assert_eq!((report.continues, report.resume), (false, None));
    assert_eq!(report.reached.0, window.1);
    assert_eq!(world.metrics.sum("RecordsReplayed"), 300);
    assert_eq!(world.metrics.sum("ReplaysStopped"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_gets_the_same_bytes_under_a_marked_key_where_the_key_alone_would_lie() {
    let world = World::new(3);
    world.fill(30, 30).await;
    let (window, event) = event(STREAM, 5, 25, "");
    let report = world.run(&event).await.expect("a run");
    assert_carried_once(&world.numbers(window, 0), &world.got_by_stream());
    assert_eq!((report.records, report.unmarked), (600, 0));
    for stored in world.target.records() {
        let hash = replayed::hash_key(&stored.record.partition_key);
        assert_eq!(world.target.shards().number_of(hash), stored.shard);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_resharded_ten_times_keeps_each_keys_order() {
    for target in [FUNCTION, STREAM] {
        let world = World::new(2);
        for shards in [4, 3, 6, 12, 7, 5, 3, 2, 4, 2] {
            world.fill(5, 60).await;
            let now_ms = world.clock.epoch_ms();
            world.source.update_shard_count(shards, now_ms).expect("a reshard");
        }
        world.fill(5, 60).await;
        // So slow that parents and children would lie between each other.
        let (window, event) = event(target, 3, 52, r#","recordsPerSecond":100"#);
        let report = world.run(&event).await.expect("a run");
        assert!(report.shards > 30, "{} shards", report.shards);
        let got = if target == STREAM { world.got_by_stream() } else { world.got.take() };
        assert_carried_once(&world.numbers(window, 0), &got);
    }
}

#[tokio::test(start_paused = true)]
async fn arrival_times_that_go_back_and_forth_leave_nothing_out_at_either_end() {
    let world = World::new(2);
    let limits = ReadLimits { arrival_jitter_ms: 4_000, ..ReadLimits::default() };
    world.source.set_read_limits(limits);
    world.fill(20, 600).await;
    let (window, event) = event(FUNCTION, 5, 10, "");
    world.run(&event).await.expect("a run");
    assert_carried_once(&world.numbers(window, 4_000), &world.got.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_window_that_ends_now_and_a_stretch_without_records_come_to_an_end() {
    let world = World::new(2);
    world.fill(2, 30).await;
    world.clock.sleep(Duration::from_secs(6 * 3_600)).await;
    world.fill(1, 30).await;
    let (window, event) = event(FUNCTION, 0, 363, "");
    assert_eq!(window.1, world.clock.epoch_ms());
    let report = world.run(&event).await.expect("a run");
    assert_eq!((report.records, report.stopped), (90, Stop::Done));
}

#[tokio::test(start_paused = true)]
async fn an_iterator_that_expires_while_the_target_is_busy_is_got_anew() {
    let world = World::new(1);
    world.fill(50, 60).await;
    let clock = world.clock;
    let busy_until_ms = clock.epoch_ms() + 7 * MINUTE_MS;
    world.set_script(move |_| match clock.epoch_ms() < busy_until_ms {
        true => Err(InvokeError::Throttled { detail: "Rate Exceeded.".to_owned() }),
        false => Ok(String::new()),
    });
    let (window, event) = event(FUNCTION, 0, 50, "");
    let report = world.run(&event).await.expect("a run");
    assert_carried_once(&world.numbers(window, 0), &world.got.borrow());
    assert!(report.target_retries > 10);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_fails_half_of_the_time_gets_everything() {
    let world = World::new(3);
    world.fill(30, 60).await;
    let rng = RefCell::new(Rng::with_seed(7));
    world.set_script(move |_| if rng.borrow_mut().bool() { Err(failed()) } else { Ok("1".into()) });
    let (window, to_function) = event(FUNCTION, 0, 30, r#","recordsPerSecond":100"#);
    let reports = world.run_all(&to_function).await;
    assert_carried_once(&world.numbers(window, 0), &world.got.borrow());
    assert!(reports[0].target_retries > 10);

    let rng = RefCell::new(Rng::with_seed(7));
    world.target.set_faults(move |call| {
        let mut rng = rng.borrow_mut();
        match rng.u8(..4) {
            0 => Fault::Error(PutError::Transient { code: "x".into(), detail: "y".into() }),
            1 => Fault::RefuseEntries((0..call.entries).filter(|_| rng.bool()).collect()),
            _ => Fault::None,
        }
    });
    let (window, to_stream) = event(STREAM, 0, 30, "");
    world.run_all(&to_stream).await;
    let got: Vec<usize> = world.got_by_stream().iter().map(|got| got.number).collect();
    assert_eq!(BTreeSet::from_iter(got.clone()), world.numbers(window, 0));
    assert_eq!(got.len(), 1_800, "only refused entries go again");
}

#[tokio::test(start_paused = true)]
async fn what_a_function_reports_as_failed_comes_again_from_the_first_on() {
    let world = World::new(1);
    world.fill(10, 30).await;
    let failures = Cell::new(0);
    world.set_script(move |event| {
        let records = event["Records"].as_array().expect("records");
        let middle = &records[records.len() / 2]["kinesis"]["sequenceNumber"];
        failures.set(failures.get() + 1);
        match failures.get() % 2 {
            0 => Ok(r#"{"batchItemFailures":[]}"#.to_owned()),
            _ => Ok(format!(r#"{{"batchItemFailures":[{{"itemIdentifier":{middle}}}]}}"#)),
        }
    });
    let (window, event) = event(FUNCTION, 0, 10, "");
    let report = world.run(&event).await.expect("a run");
    assert_carried(&world.numbers(window, 0), &world.got.borrow());
    assert_eq!(report.records, 300);
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_by_itself_until_it_is_done() {
    for target in [FUNCTION, STREAM] {
        let world = World::new(3);
        world.fill(60, 100).await;
        let (window, event) = event(target, 0, 60, r#","recordsPerSecond":3"#);
        let reports = world.run_all(&event).await;
        assert!(reports.len() >= 3, "{} hops", reports.len());
        for (hop, report) in reports.iter().enumerate() {
            let is_last = hop + 1 == reports.len();
            assert_eq!((report.hop as usize, report.continues), (hop, !is_last));
            assert_eq!(report.stopped, if is_last { Stop::Done } else { Stop::OutOfTime });
        }
        assert_eq!(reports.last().map(|report| report.records_in_all), Some(6_000));
        let got = if target == STREAM { world.got_by_stream() } else { world.got.take() };
        assert_carried_once(&world.numbers(window, 0), &got);
    }
}

#[tokio::test(start_paused = true)]
async fn the_chain_is_bounded_and_a_person_goes_on_with_the_answer() {
    let world = World::new(2);
    world.config.borrow_mut().replay_hops_max = 1;
    world.fill(60, 100).await;
    let (window, event) = event(FUNCTION, 0, 60, r#","recordsPerSecond":2"#);
    let reports = world.run_all(&event).await;
    assert_eq!(reports.len(), 2);
    assert_eq!(world.metrics.sum("ReplaysStopped"), 1);
    let mut resume = reports[1].resume.clone().expect("where it goes on");
    assert_eq!(resume.hop, 0);
    resume.records_per_second = Some(1_000);
    let reports = world.run_all(&resume.to_text()).await;
    assert_eq!(reports.last().map(|report| report.stopped), Some(Stop::Done));
    assert_carried_once(&world.numbers(window, 0), &world.got.borrow());
}

#[tokio::test(start_paused = true)]
async fn the_target_gets_no_more_a_second_than_was_chosen() {
    for (more, most) in [(r#","recordsPerSecond":40"#, 50), (r#","bytesPerSecond":400"#, 60)] {
        let world = World::new(4);
        world.fill(10, 240).await;
        let (window, event) = event(FUNCTION, 0, 10, more);
        world.run(&event).await.expect("a run");
        let got = world.got.borrow();
        assert_carried_once(&world.numbers(window, 0), &got);
        for first in got.iter() {
            let within = first.epoch_ms..first.epoch_ms + 1_000;
            let count = got.iter().filter(|got| within.contains(&got.epoch_ms)).count();
            assert!(count <= most + 10, "{count} in a second");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_shards_are_read_at_once_and_no_shard_more_often_than_it_may_be() {
    let world = World::new(8);
    world.config.borrow_mut().shards_at_once = 2;
    world.fill(20, 200).await;
    let calls_ms = Rc::new(RefCell::new(Vec::new()));
    let calls = Rc::clone(&calls_ms);
    world.source.set_read_faults(move |call| {
        if call.name == "GetRecords" {
            calls.borrow_mut().push(call.epoch_ms);
        }
        ReadFault::None
    });
    let (window, event) = event(FUNCTION, 0, 20, "");
    world.run(&event).await.expect("a run");
    assert_carried_once(&world.numbers(window, 0), &world.got.borrow());
    assert!(world.running_max.get() <= 2);
    let calls_ms = calls_ms.borrow();
    for &first in calls_ms.iter() {
        let within = calls_ms.iter().filter(|&&at| (first..first + 1_000).contains(&at)).count();
        assert!(within <= 2 * 5, "{within} calls of two shards");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_slow_to_answer_is_asked_again() {
    let world = World::new(2);
    world.fill(10, 60).await;
    // An expired iterator is an answer of GetRecords alone.
    world.source.set_read_faults({
        let rng = RefCell::new(Rng::with_seed(3));
        move |call| {
            let text = || "x".to_owned();
            match rng.borrow_mut().u8(..6) {
                0 => ReadFault::Error(ReadError::Throttled { code: text(), detail: text() }),
                1 => ReadFault::Error(ReadError::Unknown { code: text(), detail: text() }),
                2 if call.name == "GetRecords" => ReadFault::Error(ReadError::IteratorExpired),
                _ => ReadFault::None,
            }
        }
    });
    let (window, event) = event(FUNCTION, 0, 10, "");
    world.run(&event).await.expect("a run");
    assert_carried_once(&world.numbers(window, 0), &world.got.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_gone_is_an_error_that_says_where_to_go_on() {
    let world = World::new(2);
    world.fill(20, 60).await;
    world.set_script(|_| {
        Err(InvokeError::Unavailable { code: "ResourceNotFound".into(), detail: "gone".into() })
    });
    let (window, event) = event(FUNCTION, 0, 20, "");
    let error = world.run(&event).await.expect_err("a failure").to_string();
    assert!(error.contains("gone") && error.contains("to continue, send {"), "{error}");
    assert_eq!(world.metrics.sum("ReplaysStopped"), 1);
    let resume = &error[error.find("{\"from").expect("an event")..];
    world.set_script(|_| Ok(String::new()));
    world.run(resume).await.expect("a run");
    assert_carried_once(&world.numbers(window, 0), &world.got.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_fails_later_is_tried_again_by_the_next_hop_from_there() {
    let world = World::new(1);
    world.fill(20, 60).await;
    let calls = Cell::new(0);
    world.set_script(move |_| {
        calls.set(calls.get() + 1);
        if (3..60).contains(&calls.get()) { Err(failed()) } else { Ok(String::new()) }
    });
    let (window, event) = event(FUNCTION, 0, 20, "");
    let reports = world.run_all(&event).await;
    assert_eq!((reports[0].stopped, reports[0].continues), (Stop::Failed, true));
    assert!(reports[0].failure.as_ref().is_some_and(|why| why.contains("failed 10 times")));
    assert_carried_once(&world.numbers(window, 0), &world.got.borrow());
}

/// Which of the numbers a script's event holds.
fn numbers_in(event: &Value) -> Vec<usize> {
    let records = event["Records"].as_array().expect("records");
    records.iter().map(|record| got(record, 0).number).collect()
}

/// Everything but these came once, and these are named.
fn assert_set_aside(world: &World, window: (u64, u64), reports: &[Report], aside: &[usize]) {
    let mut expected = world.numbers(window, 0);
    for number in aside {
        assert!(expected.remove(number), "{number}");
    }
    let got: BTreeSet<usize> = world.got_numbers().into_iter().collect();
    assert_eq!(got, expected);
    let last = reports.last().expect("a run");
    assert_eq!((last.stopped, last.shards_left), (Stop::Done, 0));
    assert_eq!(last.set_aside_in_all, aside.len() as u64);
    assert_eq!(world.metrics.sum("ReplaySetAside"), aside.len() as u64);
    let named: BTreeSet<String> = reports
        .iter()
        .flat_map(|report| &report.set_aside_records)
        .map(|record| record.sequence_number.trim_start_matches('0').to_owned())
        .collect();
    assert_eq!(named.len(), aside.len(), "{named:?}");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_no_invocation_can_hold_is_set_aside_and_the_rest_comes() {
    let world = World::new(1);
    world.fill(1, 60).await;
    world.write_large(60, 4_800_000).await;
    world.fill(1, 30).await;
    let (window, event) = event(FUNCTION, 0, 3, "");
    world.clock.sleep(Duration::from_secs(120)).await;
    let reports = world.run_all(&event).await;
    assert_set_aside(&world, window, &reports, &[60]);
    let named = &reports[0].set_aside_records[0];
    assert!(named.why.contains("RequestTooLargeException"), "{named:?}");
    assert!(named.shard.starts_with("shardId-"), "{named:?}");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_the_target_stream_does_not_take_is_set_aside_and_the_rest_comes() {
    let world = World::new(1);
    world.fill(1, 60).await;
    world.write_large(60, 1_100_000).await;
    world.write_large(61, 1_100_000).await;
    world.fill(1, 30).await;
    world.clock.sleep(Duration::from_secs(120)).await;
    let (window, event) = event(STREAM, 0, 3, "");
    let reports = world.run_all(&event).await;
    *world.got.borrow_mut() = world.got_by_stream();
    assert_set_aside(&world, window, &reports, &[60, 61]);
    assert_eq!(world.got_numbers().len(), 90, "none came twice");
}

#[tokio::test(start_paused = true)]
async fn records_that_a_function_always_fails_on_are_set_aside_wherever_they_lie() {
    for poison in [&[0][..], &[59], &[7, 8], &[0, 1, 2], &[3, 30, 57], &[0, 59]] {
        let world = World::new(1);
        world.fill(2, 30).await;
        world.set_script(move |event| match numbers_in(event).iter().any(|n| poison.contains(n)) {
            true => Err(failed()),
            false => Ok(String::new()),
        });
        let (window, event) = event(FUNCTION, 0, 2, "");
        let reports = world.run_all(&event).await;
        assert_set_aside(&world, window, &reports, poison);
        let why = &reports[0].set_aside_records[0].why;
        assert!(why.contains("failed 10 times"), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_that_fails_on_everything_stops_the_run_and_nothing_is_set_aside() {
    let world = World::new(2);
    world.fill(2, 60).await;
    world.set_script(|_| Err(failed()));
    let (window, event) = event(FUNCTION, 0, 2, "");
    let error = world.run(&event).await.expect_err("a failure").to_string();
    assert!(error.contains("failed 10 times"), "{error}");
    assert_eq!(world.metrics.sum("ReplaySetAside"), 0);
    let resume = &error[error.find("{\"from").expect("an event")..];
    world.set_script(|_| Ok(String::new()));
    world.run(resume).await.expect("a run");
    assert_carried_once(&world.numbers(window, 0), &world.got.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_refuses_every_record_stops_the_run() {
    let world = World::new(1);
    world.fill(10, 60).await;
    world.set_script(|_| {
        Err(InvokeError::Refused { code: "InvalidRequestContent".into(), detail: "no".into() })
    });
    let (_, event) = event(FUNCTION, 0, 10, r#","recordsPerSecond":1000"#);
    let report = world.run(&event).await.expect("a run");
    assert_eq!((report.stopped, report.set_aside), (Stop::Failed, 100));
    assert_eq!(report.set_aside_records.len(), 20, "the log has the others");
}

#[tokio::test(start_paused = true)]
async fn a_resume_passes_over_what_was_set_aside() {
    let world = World::new(1);
    world.fill(1, 30).await;
    world.write_large(30, 4_800_000).await;
    world.fill(6, 60).await;
    world.timeout_ms.set(60_000);
    world.config.borrow_mut().target_timeout = Duration::from_secs(1);
    let (window, event) = event(FUNCTION, 0, 8, r#","recordsPerSecond":4"#);
    world.clock.sleep(Duration::from_secs(60)).await;
    let reports = world.run_all(&event).await;
    assert!(reports.len() > 1, "several hops");
    assert_set_aside(&world, window, &reports, &[30]);
    assert_carried_once(
        &world.numbers(window, 0).into_iter().filter(|&n| n != 30).collect(),
        &world.got.borrow(),
    );
}

#[tokio::test(start_paused = true)]
async fn the_stream_gets_its_own_records_again_only_by_name_and_only_those() {
    let world = World::new(1);
    world.fill(5, 60).await;
    let (_, refused) = event("stream:logs", 0, 5, "");
    let error = world.run(&refused).await.expect_err("not asked for").to_string();
    assert!(error.contains("allowSameStream"), "{error}");
    let clock = world.clock;
    let (_, allowed) = event("stream:logs", 0, 5, r#","allowSameStream":"logs""#);
    let ports = Ports {
        source: &world.source,
        streams: &world.source,
        functions: &*world,
        cloudwatch: &*world,
        clock,
        metrics: &world.metrics,
        notes: &*world,
    };
    let replayer = Replayer::new(config(), ports, Rng::with_seed(1));
    let report = replayer.handle(&allowed, clock.epoch_ms() + 900_000).await.expect("a run");
    assert_eq!((report.records, report.stopped), (300, Stop::Done));
    assert_eq!(world.source.records().len(), 600);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_is_to_do_and_moves_nothing() {
    let world = World::new(2);
    world.fill(10, 60).await;
    *world.incoming.borrow_mut() = vec![60.0; 10];
    let (_, event) = event(FUNCTION, 0, 10, r#","recordsPerSecond":2,"dryRun":true"#);
    let report = world.run(&event).await.expect("a run");
    let estimate = report.estimate.expect("an estimate");
    assert_eq!((estimate.records, estimate.bytes, estimate.seconds), (600, 6_000, 300));
    assert_eq!((report.records, report.shards, report.stopped), (0, 2, Stop::DryRun));
    assert!(world.got.borrow().is_empty() && world.next_hop().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_filter_leaves_out_what_it_should_and_says_how_much() {
    let world = World::new(1);
    world.fill(10, 60).await;
    let (_, event) = event(FUNCTION, 0, 10, r#","filter":{"contains":"7"}"#);
    let report = world.run(&event).await.expect("a run");
    let expected: Vec<usize> = (0..600).filter(|n| n.to_string().contains('7')).collect();
    assert_eq!(world.got_numbers(), expected);
    assert_eq!(report.filtered, 600 - expected.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn a_window_from_before_retention_is_refused_and_a_late_resume_is_told_of() {
    let world = World::new(1);
    world.fill(10, 60).await;
    let limits = ReadLimits { retention_ms: 15 * MINUTE_MS, ..ReadLimits::default() };
    world.source.set_read_limits(limits);
    world.config.borrow_mut().replay_hops_max = 0;
    let (_, event) = event(FUNCTION, 0, 10, r#","recordsPerSecond":1"#);
    world.timeout_ms.set(60_000);
    let resume = world.run(&event).await.expect("a run").resume.expect("more to do");
    world.clock.sleep(Duration::from_millis(10 * MINUTE_MS)).await;
    let error = world.run(&event).await.expect_err("gone").to_string();
    assert!(error.contains("nothing before 2026-11-21T00:0"), "{error}");
    world.timeout_ms.set(900_000);
    let report = world.run(&resume.to_text()).await.expect("a run");
    assert!(report.may_have_expired);
}

/// Whoever goes on after a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heir {
    /// Lambda, with the same event.
    Lambda,
    /// A person, with the last note.
    Person,
}

/// A replay of four hops whose function dies in one call; returns how many calls there were.
async fn killed_in(target: &str, heir: Heir, death: Option<(usize, Fate)>) -> usize {
    let world = World::new(2);
    world.fill(2, 40).await;
    world.source.update_shard_count(3, world.clock.epoch_ms()).expect("a reshard");
    world.fill(3, 40).await;
    world.timeout_ms.set(30_000);
    world.config.borrow_mut().target_timeout = Duration::from_secs(1);
    world.config.borrow_mut().shards_at_once = 2;
    let (window, event) = event(target, 1, 5, r#","recordsPerSecond":4"#);
    let fates = Fates::kind();
    fates.set_plan(move |call| match death {
        Some((number, fate)) if call.number == number => fate,
        _ => Fate::Lives,
    });
    world.next_hops.borrow_mut().push_back(event);
    while let Some(event) = world.next_hop() {
        let life = Rc::new(Life::new(Rc::clone(&fates)));
        match world.live(&event, &life).await {
            Some(result) => assert!(result.expect("a run").resume.is_none()),
            None if heir == Heir::Lambda => world.next_hops.borrow_mut().push_front(event),
            None => {
                // The note of an earlier hop is as good as its event, and a note within this one
                // is better.
                let hop = Trigger::parse(&event).expect("a wake-up").resume;
                let noted = world.notes.borrow().last().cloned().filter(|note| {
                    let noted = Trigger::parse(note).expect("a wake-up").resume;
                    noted.map(|noted| noted.records) > hop.map(|hop| hop.records)
                });
                world.next_hops.borrow_mut().push_front(noted.unwrap_or(event));
            }
        }
    }
    let got = if target == STREAM { world.got_by_stream() } else { world.got.take() };
    assert_carried(&world.numbers(window, 0), &got);
    assert!(!world.notes.borrow().is_empty());
    fates.calls().len()
}

#[tokio::test(start_paused = true)]
async fn killed_in_any_call_it_carries_everything_in_order_after_all() {
    for target in [FUNCTION, STREAM] {
        let calls = killed_in(target, Heir::Lambda, None).await;
        assert!(calls > 100, "{calls} calls");
        for number in 0..calls {
            for (place, fate) in [Fate::DiesBefore, Fate::DiesAfter].into_iter().enumerate() {
                let heir = [Heir::Lambda, Heir::Person][(number + place) % 2];
                killed_in(target, heir, Some((number, fate))).await;
            }
        }
    }
}
