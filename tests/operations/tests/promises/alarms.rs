//! Each alarm of every template goes off when it should, and only then.
//!
//! The metrics are published as AWS and the functions publish them; that the functions print those
//! that are theirs is what `dashboards.rs` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use operations::TemplateAlarm;
use sluice::scaling::AlarmState;
use sluice_simulated::clock::BEGIN_EPOCH_MS;
use sluice_simulated::cloudwatch::{MINUTE_MS, MetricName, MetricStore, Unpublished};

use crate::world::{
    ANSWERS, ARCHIVER, LOG_PROCESSING, PROCESSOR, STREAM, STREAM_REPLAYER, all_alarms,
    log_processing_with_queue,
};

/// A minute's metrics.
struct Minute<'a> {
    store: &'a mut MetricStore,
    begin_ms: u64,
}

impl Minute<'_> {
    fn put(&mut self, namespace: &str, name: &str, dimensions: &[(&str, &str)], value: f64) {
        let metric = MetricName::new(namespace, name, dimensions);
        // Seen up to a minute after its end; what has a resolution of a second is seen at once.
        let late_ms = if name.starts_with("Wanted") { 15_000 } else { 2 * MINUTE_MS };
        self.store.publish(&metric, self.begin_ms, value, self.begin_ms + late_ms);
    }

    fn processor(&mut self, name: &str, value: f64) {
        let dimensions = [("StreamName", STREAM), ("FunctionName", PROCESSOR)];
        self.put("Sluice", name, &dimensions, value);
    }

    fn scaler(&mut self, name: &str, value: f64) {
        self.put("Sluice", name, &[("StreamName", STREAM)], value);
    }

    fn stream(&mut self, name: &str, value: f64) {
        self.put("AWS/Kinesis", name, &[("StreamName", STREAM)], value);
    }

    fn lambda(&mut self, function: &str, name: &str, value: f64) {
        self.put("AWS/Lambda", name, &[("FunctionName", function)], value);
    }

    fn queue(&mut self, queue: &str, name: &str, value: f64) {
        self.put("AWS/SQS", name, &[("QueueName", queue)], value);
    }

    fn firehose(&mut self, name: &str, value: f64) {
        let dimensions = [("DeliveryStreamName", "sluice-archiver-arrival")];
        self.put("AWS/Firehose", name, &dimensions, value);
    }

    fn mapping(&mut self, name: &str, value: f64) {
        let dimensions = [("EventSourceMappingUUID", "archive-Mapping")];
        self.put("AWS/Lambda", name, &dimensions, value);
    }

    fn delivery_errors(&mut self, log_group: &str, value: f64) {
        let dimensions =
            [("LogGroupName", log_group), ("DestinationType", "Lambda"), ("FilterName", PROCESSOR)];
        self.put("AWS/Logs", "DeliveryErrors", &dimensions, value);
    }

    /// Four shards that take 2.4 MB/s and 2,400 records/s.
    fn room_on_four_shards(&mut self) {
        self.scaler("OpenShards", 4.0);
        self.stream("IncomingBytes", 2_400_000.0 * 60.0);
        self.stream("IncomingRecords", 2_400.0 * 60.0);
    }
}

type Feed = fn(&mut Minute<'_>);

struct Case {
    alarm: &'static str,
    /// What sets it off.
    trouble: Feed,
    /// Minutes of trouble until it goes off.
    within: RangeInclusive<u64>,
    /// What does not.
    calm: &'static [Feed],
}

const DEAD_LETTERS: &str = "sluice-dead-letters-u";
const QUARANTINE: &str = "carry-QuarantineQueue";
const REPLAYER: &str = "carry-dlq-replayer";
const FORWARDER: &str = "carry-Forwarder";
const BUFFER: &str = "carry-BufferQueue";
const ON_FAILURE: &str = "archive-OnFailureQueue";

const CASES: &[Case] = &[
    Case {
        alarm: "lag",
        trouble: |m| m.lambda(PROCESSOR, "AsyncEventAge", 30_001.0),
        within: 5..=8,
        calm: &[
            |m| m.lambda(PROCESSOR, "AsyncEventAge", 30_000.0),
            // VPC flow logs, a source that caught up, a replay: old when they came.
            |m| m.processor("LagOut", 86_400_000.0),
        ],
    },
    Case {
        alarm: "delivery-slow",
        trouble: |m| m.processor("ProcessingTime", 30_001.0),
        within: 5..=8,
        calm: &[
            |m| m.processor("ProcessingTime", 30_000.0),
            |m| m.processor("LagOut", 86_400_000.0),
        ],
    },
    Case {
        alarm: "loss",
        trouble: |m| {
            m.processor("EventsIn", 1_000.0);
            m.processor("EventsLost", 11.0);
        },
        within: 1..=3,
        calm: &[
            // One in a hundred is not more than one in a hundred.
            |m| {
                m.processor("EventsIn", 1_000.0);
                m.processor("EventsLost", 10.0);
            },
            // What happened when is no matter of the alarm's.
            |m| {
                m.processor("EventsIn", 1_000.0);
                m.processor("EventsLost", 0.0);
                m.processor("EventTimeIn", 1_000.0);
            },
        ],
    },
    Case {
        alarm: "queue-loss",
        trouble: |m| {
            m.lambda(PROCESSOR, "AsyncEventsReceived", 100.0);
            m.lambda(PROCESSOR, "Invocations", 90.0);
            m.lambda(PROCESSOR, "AsyncEventAge", 1_000.0);
        },
        // Three hours.
        within: 120..=185,
        calm: &[
            // One of them each twice, some given up, and replays.
            |m| {
                m.lambda(PROCESSOR, "AsyncEventsReceived", 100.0);
                m.lambda(PROCESSOR, "Invocations", 120.0);
                m.lambda(PROCESSOR, "Errors", 20.0);
                m.lambda(PROCESSOR, "AsyncEventsDropped", 10.0);
                m.lambda(PROCESSOR, "AsyncEventAge", 1_000.0);
                m.put("Sluice", "DeadLettersAnswered", &[("FunctionName", REPLAYER)], 10.0);
            },
            |m| m.lambda(PROCESSOR, "Invocations", 10.0),
        ],
    },
    Case {
        alarm: "hot-shard",
        trouble: |m| {
            m.room_on_four_shards();
            m.processor("RecordsThrottled", 20_000.0);
        },
        within: 5..=8,
        calm: &[
            |m| m.room_on_four_shards(),
            |m| {
                m.room_on_four_shards();
                m.processor("RecordsThrottled", 10_000.0);
            },
            // The stream is full: that is no secret.
            |m| {
                m.scaler("OpenShards", 2.0);
                m.stream("IncomingBytes", 1_900_000.0 * 60.0);
                m.stream("IncomingRecords", 100.0 * 60.0);
                m.processor("RecordsThrottled", 20_000.0);
            },
        ],
    },
    Case {
        alarm: "processor-failing",
        trouble: |m| m.lambda(PROCESSOR, "Errors", 1.0),
        within: 1..=10,
        calm: &[|m| m.lambda(PROCESSOR, "Errors", 0.0)],
    },
    Case {
        alarm: "DeliveryErrorsappweb",
        trouble: |m| m.delivery_errors("/app/web", 1.0),
        within: 1..=3,
        calm: &[|m| m.delivery_errors("/app/worker", 1.0)],
    },
    Case {
        alarm: "DeliveryErrorsappworker",
        trouble: |m| m.delivery_errors("/app/worker", 1.0),
        within: 1..=3,
        calm: &[|m| m.delivery_errors("/app/web", 1.0)],
    },
    Case {
        alarm: "events-old",
        trouble: |m| m.lambda(PROCESSOR, "AsyncEventAge", 3_600_001.0),
        within: 1..=10,
        calm: &[|m| m.lambda(PROCESSOR, "AsyncEventAge", 3_600_000.0)],
    },
    Case {
        alarm: "events-dropped",
        trouble: |m| m.lambda(PROCESSOR, "AsyncEventsDropped", 1.0),
        within: 1..=10,
        calm: &[|m| m.lambda(REPLAYER, "AsyncEventsDropped", 1.0)],
    },
    Case {
        alarm: "dead-letter-errors",
        trouble: |m| m.lambda(PROCESSOR, "DeadLetterErrors", 1.0),
        within: 1..=3,
        calm: &[|m| m.lambda(PROCESSOR, "DeadLetterErrors", 0.0)],
    },
    Case {
        alarm: "buffer-lag",
        trouble: |m| m.queue(BUFFER, "ApproximateAgeOfOldestMessage", 31.0),
        within: 5..=8,
        calm: &[
            |m| m.queue(BUFFER, "ApproximateAgeOfOldestMessage", 30.0),
            |m| m.queue(DEAD_LETTERS, "ApproximateAgeOfOldestMessage", 31.0),
        ],
    },
    Case {
        alarm: "buffer-old",
        trouble: |m| m.queue(BUFFER, "ApproximateAgeOfOldestMessage", 3_601.0),
        within: 1..=10,
        calm: &[|m| m.queue(BUFFER, "ApproximateAgeOfOldestMessage", 3_600.0)],
    },
    Case {
        alarm: "forwarder-failing",
        trouble: |m| m.lambda(FORWARDER, "Errors", 1.0),
        within: 1..=3,
        calm: &[|m| m.lambda(FORWARDER, "Errors", 0.0), |m| m.lambda(PROCESSOR, "Errors", 1.0)],
    },
    Case {
        alarm: "forwarder-held-back",
        trouble: |m| m.lambda(FORWARDER, "Throttles", 1.0),
        within: 5..=8,
        // Before a queue the processor is held back all the time.
        calm: &[
            |m| m.lambda(FORWARDER, "Throttles", 0.0),
            |m| m.lambda(PROCESSOR, "Throttles", 9.0),
        ],
    },
    Case {
        alarm: "dead-letters-old",
        trouble: |m| m.queue(DEAD_LETTERS, "ApproximateAgeOfOldestMessage", 93_601.0),
        within: 1..=10,
        calm: &[|m| m.queue(DEAD_LETTERS, "ApproximateAgeOfOldestMessage", 93_600.0)],
    },
    Case {
        alarm: "dead-letters-returning",
        trouble: |m| {
            m.put("Sluice", "OldestDeadLetterAge", &[("FunctionName", REPLAYER)], 93_601.0)
        },
        within: 1..=65,
        calm: &[|m| m.put("Sluice", "OldestDeadLetterAge", &[("FunctionName", REPLAYER)], 0.0)],
    },
    Case {
        alarm: "quarantine-not-empty",
        trouble: |m| m.queue(QUARANTINE, "ApproximateNumberOfMessagesVisible", 1.0),
        within: 1..=10,
        calm: &[|m| m.queue(QUARANTINE, "ApproximateNumberOfMessagesVisible", 0.0)],
    },
    Case {
        alarm: "dlq-replayer-failed",
        trouble: |m| m.lambda(REPLAYER, "Errors", 1.0),
        within: 1..=65,
        calm: &[|m| m.lambda(REPLAYER, "Errors", 0.0)],
    },
    Case {
        alarm: "utilization",
        trouble: |m| m.scaler("Utilization", 101.0),
        within: 10..=13,
        calm: &[|m| m.scaler("Utilization", 100.0)],
    },
    Case {
        alarm: "reshards-left",
        trouble: |m| m.scaler("ReshardsLeft", 1.0),
        within: 1..=3,
        calm: &[|m| m.scaler("ReshardsLeft", 2.0)],
    },
    Case {
        alarm: "scale-up-failing",
        trouble: |m| m.lambda("scale-scale-up", "Errors", 1.0),
        within: 10..=17,
        calm: &[|m| m.lambda("scale-scale-up", "Errors", 0.0)],
    },
    Case {
        alarm: "scale-down-failing",
        trouble: |m| m.lambda("scale-scale-down", "Errors", 1.0),
        within: 1..=65,
        calm: &[|m| m.lambda("scale-scale-down", "Errors", 0.0)],
    },
    Case {
        alarm: "incoming-bytes",
        trouble: |m| m.stream("IncomingBytes", 48_000_001.0),
        within: 1..=3,
        calm: &[|m| m.stream("IncomingBytes", 48_000_000.0)],
    },
    Case {
        alarm: "incoming-records",
        trouble: |m| m.stream("IncomingRecords", 48_001.0),
        within: 1..=3,
        calm: &[|m| m.stream("IncomingRecords", 48_000.0)],
    },
    Case {
        alarm: "refused-records",
        trouble: |m| m.stream("WriteProvisionedThroughputExceeded", 1.0),
        within: 1..=3,
        calm: &[|m| m.stream("WriteProvisionedThroughputExceeded", 0.0)],
    },
    Case {
        alarm: "wanted-bytes-fast",
        trouble: |m| m.processor("WantedBytes", 8_000_001.0),
        within: 1..=3,
        calm: &[|m| m.processor("WantedBytes", 8_000_000.0)],
    },
    Case {
        alarm: "archiver-behind",
        trouble: |m| m.lambda(ARCHIVER, "IteratorAge", 3_600_001.0),
        within: 1..=10,
        calm: &[|m| m.lambda(ARCHIVER, "IteratorAge", 3_600_000.0)],
    },
    Case {
        alarm: "archiver-failing",
        trouble: |m| m.lambda(ARCHIVER, "Errors", 1.0),
        within: 1..=10,
        calm: &[|m| m.lambda(ARCHIVER, "Errors", 0.0), |m| m.lambda(PROCESSOR, "Errors", 1.0)],
    },
    Case {
        alarm: "on-failure-not-empty",
        trouble: |m| m.queue(ON_FAILURE, "ApproximateNumberOfMessagesVisible", 1.0),
        within: 1..=10,
        calm: &[|m| m.queue(ON_FAILURE, "ApproximateNumberOfMessagesVisible", 0.0)],
    },
    Case {
        alarm: "given-up",
        trouble: |m| m.mapping("OnFailureDestinationDeliveredEventCount", 1.0),
        within: 1..=10,
        calm: &[|m| m.mapping("OnFailureDestinationDeliveredEventCount", 0.0)],
    },
    Case {
        alarm: "on-failure-errors",
        trouble: |m| m.lambda(ARCHIVER, "DestinationDeliveryFailures", 1.0),
        within: 1..=10,
        calm: &[|m| m.lambda(ARCHIVER, "DestinationDeliveryFailures", 0.0)],
    },
    Case {
        alarm: "not-delivered",
        // One object of ten that S3 refuses.
        trouble: |m| {
            for object in 0..10 {
                m.firehose("DeliveryToS3.Success", if object == 7 { 0.0 } else { 1.0 });
            }
        },
        within: 1..=10,
        calm: &[|m| m.firehose("DeliveryToS3.Success", 1.0)],
    },
    Case {
        alarm: "firehose-behind",
        trouble: |m| m.firehose("DeliveryToS3.DataFreshness", 3_601.0),
        within: 1..=10,
        calm: &[
            |m| m.firehose("DeliveryToS3.DataFreshness", 3_600.0),
            // What BufferSeconds makes of it.
            |m| m.firehose("DeliveryToS3.DataFreshness", 900.0),
        ],
    },
    Case {
        alarm: "replay-stopped",
        trouble: |m| {
            m.put("Sluice", "ReplaysStopped", &[("FunctionName", STREAM_REPLAYER)], 1.0);
        },
        within: 1..=10,
        calm: &[|m| m.put("Sluice", "ReplaysStopped", &[("FunctionName", STREAM_REPLAYER)], 0.0)],
    },
    Case {
        alarm: "replay-set-aside",
        trouble: |m| {
            m.put("Sluice", "ReplaySetAside", &[("FunctionName", STREAM_REPLAYER)], 1.0);
        },
        within: 1..=10,
        calm: &[|m| m.put("Sluice", "ReplaySetAside", &[("FunctionName", STREAM_REPLAYER)], 0.0)],
    },
    Case {
        alarm: "stream-replayer-failed",
        trouble: |m| m.lambda(STREAM_REPLAYER, "Errors", 1.0),
        within: 1..=10,
        calm: &[|m| m.lambda(STREAM_REPLAYER, "Errors", 0.0)],
    },
];

/// The minutes at which the state of an alarm changed. `feed` gives each minute's metrics.
fn changes(
    alarm: &TemplateAlarm,
    unpublished: Unpublished,
    minutes: u64,
    feed: impl Fn(u64) -> Feed,
) -> Vec<(u64, AlarmState)> {
    let mut store = MetricStore::default();
    store.unpublished = unpublished;
    let mut state = AlarmState::Ok;
    let mut changes = Vec::new();
    for minute in 0..minutes {
        let begin_ms = BEGIN_EPOCH_MS + minute * MINUTE_MS;
        feed(minute)(&mut Minute { store: &mut store, begin_ms });
        // A high-resolution alarm is evaluated within the minute, too.
        for slot in 1..=6 {
            let now_ms = begin_ms + slot * MINUTE_MS / 6;
            if slot < 6 && alarm.rule.period_seconds >= 60 {
                continue;
            }
            let next = alarm.rule.evaluate(&store, state, now_ms);
            if next != state {
                changes.push((minute + 1, next));
                state = next;
            }
        }
    }
    changes
}

const TROUBLE: RangeInclusive<u64> = 60..=139;
const MINUTES: u64 = 600;

#[test]
fn every_alarm_goes_off_in_trouble_and_off_again_afterwards() {
    let alarms = all_alarms();
    for (case, unpublished) in CASES.iter().flat_map(|case| ANSWERS.map(|answer| (case, answer))) {
        let feed = |minute| if TROUBLE.contains(&minute) { case.trouble } else { case.calm[0] };
        let rule = &alarms[case.alarm].rule;
        let seen = (rule.evaluation_periods + 8) * rule.period_seconds / 60;
        let minutes = MINUTES.max(TROUBLE.end() + seen);
        let found = changes(&alarms[case.alarm], unpublished, minutes, feed);
        let [(went_off, AlarmState::Alarm), .., (over, AlarmState::Ok)] = found[..] else {
            panic!("{}: {found:?}", case.alarm)
        };
        let after = went_off - TROUBLE.start();
        assert!(case.within.contains(&after), "{}: after {after} minutes", case.alarm);
        assert!(over > *TROUBLE.end() - 15, "{}: over at {over}", case.alarm);
    }
}

#[test]
fn no_alarm_goes_off_when_all_is_well_or_silent() {
    let alarms = all_alarms();
    let silence: Feed = |_| {};
    for (case, unpublished) in CASES.iter().flat_map(|case| ANSWERS.map(|answer| (case, answer))) {
        for (number, calm) in case.calm.iter().chain([&silence]).enumerate() {
            let found = changes(&alarms[case.alarm], unpublished, 150, |_| *calm);
            assert_eq!(found, [], "{}, calm {number}", case.alarm);
        }
    }
}

#[test]
fn every_alarm_is_tried_here() {
    let tried: BTreeSet<&str> = CASES.iter().map(|case| case.alarm).collect();
    let alarms = all_alarms();
    let there: BTreeSet<&str> = alarms.keys().map(String::as_str).collect();
    assert_eq!(tried, there);
}

/// With a buffer queue Lambda's queue is before the forwarder, and alarms on the processor's, which stays empty, would
/// be silent whatever happened.
#[test]
fn the_alarms_on_lambdas_queue_watch_the_function_that_is_subscribed() {
    let buffered = operations::alarms(&log_processing_with_queue(), LOG_PROCESSING);
    let of_queue =
        ["AsyncEventAge", "AsyncEventsDropped", "AsyncEventsReceived", "DeadLetterErrors"];
    let mut watched = BTreeSet::new();
    for (alarms, function) in [(&buffered, FORWARDER), (&all_alarms(), PROCESSOR)] {
        for metric in alarms.values().flat_map(TemplateAlarm::metrics).map(|(metric, _)| metric) {
            if let Some(name) = of_queue.iter().find(|name| **name == metric.name) {
                let of_function = ("FunctionName".to_owned(), function.to_owned());
                assert_eq!(metric.dimensions, [of_function], "{name}");
                watched.insert((*name, function));
            }
        }
    }
    assert_eq!(watched.len(), 2 * of_queue.len(), "{watched:?}");
}

/// A replay passes no forwarder.
#[test]
fn replays_hide_no_loss_in_the_forwarders_queue() {
    let buffered = operations::alarms(&log_processing_with_queue(), LOG_PROCESSING);
    let lost: Feed = |m| {
        m.lambda(FORWARDER, "AsyncEventsReceived", 100.0);
        m.lambda(FORWARDER, "Invocations", 90.0);
        m.lambda(FORWARDER, "AsyncEventAge", 1_000.0);
        m.lambda(PROCESSOR, "Invocations", 1_000.0);
    };
    let replaying: Feed = |m| {
        m.lambda(FORWARDER, "AsyncEventsReceived", 100.0);
        m.lambda(FORWARDER, "Invocations", 100.0);
        m.lambda(FORWARDER, "AsyncEventAge", 1_000.0);
        m.put("Sluice", "DeadLettersAnswered", &[("FunctionName", REPLAYER)], 50.0);
    };
    for unpublished in ANSWERS {
        let told = changes(&buffered["queue-loss"], unpublished, 400, |_| lost);
        assert!(matches!(told[..], [(_, AlarmState::Alarm)]), "{unpublished:?}: {told:?}");
        assert_eq!(changes(&buffered["queue-loss"], unpublished, 400, |_| replaying), []);
    }
}

#[test]
fn every_alarm_tells_somebody() {
    let silent: BTreeMap<_, _> =
        all_alarms().into_iter().filter(|(_, alarm)| alarm.actions.is_empty()).collect();
    assert!(silent.is_empty(), "{:?}", silent.keys());
}

#[test]
fn without_metric_math_just_those_alarms_are_left_out() {
    use operations::{Template, alarms};
    let parameters = [
        ("CodeS3Bucket", "code"),
        ("CodeS3Key", "log-processor.zip"),
        ("CodeS3KeyDlqReplayer", "dlq-replayer.zip"),
        ("LogGroupNames", "/app/web,/app/worker"),
    ];
    let template = Template::read("log-processing.yaml");
    let all = alarms(&template.launch("carry", &parameters), "carry");
    let local = [&parameters[..], &[("MetricMathAlarms", "false")]].concat();
    let plain = alarms(&template.launch("carry", &local), "carry");
    let left_out: Vec<&String> = all.keys().filter(|name| !plain.contains_key(*name)).collect();
    assert_eq!(left_out, ["hot-shard", "loss", "queue-loss"]);
    assert!(plain.values().all(|alarm| alarm.rule.queries.len() == 1));
}

/// Nobody reports the shards then.
#[test]
fn a_hot_shard_is_told_without_an_autoscaling_stack_as_well() {
    let hot: Feed = |m| {
        m.stream("IncomingBytes", 1_000_000.0 * 60.0);
        m.stream("IncomingRecords", 1_000.0 * 60.0);
        m.processor("RecordsThrottled", 20_000.0);
    };
    for unpublished in ANSWERS {
        let told = changes(&all_alarms()["hot-shard"], unpublished, 30, |_| hot);
        assert!(matches!(told[..], [(5..=8, AlarmState::Alarm)]), "{unpublished:?}: {told:?}");
    }
}
