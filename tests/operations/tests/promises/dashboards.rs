//! Dashboards and alarms against the metrics that the functions really print, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use operations::{Shown, Widget, dashboards};
use sluice_cloud::cloudwatch::MetricName;

use crate::world::{
    World, all_alarms, archive, autoscaling, consumers_printed, everything_printed, log_processing,
    stream_replay,
};

/// Metrics of AWS that dashboards and alarms use: namespace, name, dimensions. Read in November 2026
/// in "Monitor Kinesis Data Streams with CloudWatch", "Types of metrics for Lambda functions",
/// "Available CloudWatch metrics for Amazon SQS", "Monitoring CloudWatch Logs with CloudWatch
/// metrics" and "Monitor Amazon Data Firehose with CloudWatch metrics".
const OF_AWS: &[(&str, &str, &[&str])] = &[
    ("AWS/Firehose", "DeliveryToS3.DataFreshness", &["DeliveryStreamName"]),
    ("AWS/Firehose", "DeliveryToS3.Success", &["DeliveryStreamName"]),
    ("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds", &["StreamName"]),
    ("AWS/Kinesis", "IncomingBytes", &["StreamName"]),
    ("AWS/Kinesis", "IncomingRecords", &["StreamName"]),
    ("AWS/Kinesis", "WriteProvisionedThroughputExceeded", &["StreamName"]),
    ("AWS/Lambda", "AsyncEventAge", &["FunctionName"]),
    ("AWS/Lambda", "AsyncEventsDropped", &["FunctionName"]),
    ("AWS/Lambda", "AsyncEventsReceived", &["FunctionName"]),
    ("AWS/Lambda", "ConcurrentExecutions", &["FunctionName"]),
    ("AWS/Lambda", "DeadLetterErrors", &["FunctionName"]),
    ("AWS/Lambda", "DestinationDeliveryFailures", &["FunctionName"]),
    ("AWS/Lambda", "Duration", &["FunctionName"]),
    ("AWS/Lambda", "Errors", &["FunctionName"]),
    ("AWS/Lambda", "Invocations", &["FunctionName"]),
    ("AWS/Lambda", "IteratorAge", &["FunctionName"]),
    ("AWS/Lambda", "OnFailureDestinationDeliveredEventCount", &["EventSourceMappingUUID"]),
    ("AWS/Lambda", "Throttles", &["FunctionName"]),
    ("AWS/Logs", "DeliveryErrors", &["DestinationType", "FilterName", "LogGroupName"]),
    ("AWS/Logs", "ForwardedLogEvents", &["DestinationType", "FilterName", "LogGroupName"]),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", &["QueueName"]),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", &["QueueName"]),
];

fn is_of_aws(namespace: &str, name: &str, dimensions: &[&str]) -> bool {
    OF_AWS.contains(&(namespace, name, dimensions))
}

fn names_of(dimensions: &[(String, String)]) -> Vec<&str> {
    dimensions.iter().map(|(name, _)| name.as_str()).collect()
}

/// Whether somebody publishes it.
fn is_emitted(metric: &MetricName, printed: &BTreeSet<MetricName>) -> bool {
    printed.contains(metric)
        || is_of_aws(&metric.namespace, &metric.name, &names_of(&metric.dimensions))
}

async fn printed() -> BTreeSet<MetricName> {
    let mut world = World::new(2);
    everything_printed(&mut world).await;
    consumers_printed(&world).await;
    world.own_metrics()
}

/// The dashboard of each stack.
fn all_dashboards() -> [Vec<Widget>; 4] {
    [log_processing(), autoscaling(), archive(), stream_replay()].map(|stack| dashboards(&stack))
}

fn all_widgets() -> Vec<Widget> {
    all_dashboards().into_iter().flatten().collect()
}

#[tokio::test(start_paused = true)]
async fn no_widget_shows_what_nobody_emits() {
    let printed = printed().await;
    for widget in all_widgets() {
        assert_eq!(widget.unknown, [] as [&str; 0], "{}", widget.title);
        assert!(!widget.shown.is_empty(), "{} shows nothing", widget.title);
        for shown in &widget.shown {
            let is_there = match shown {
                Shown::Metric(metric, _) => is_emitted(metric, &printed),
                Shown::Search(namespace, dimensions, name) => {
                    let dimensions: Vec<&str> = dimensions.iter().map(String::as_str).collect();
                    is_of_aws(namespace, name, &dimensions)
                }
            };
            assert!(is_there, "{}: {shown:?}", widget.title);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_alarm_waits_for_what_nobody_emits() {
    let printed = printed().await;
    for (name, alarm) in all_alarms() {
        for (metric, _) in alarm.metrics() {
            assert!(is_emitted(metric, &printed), "{name}: {metric:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_metric_is_on_a_dashboard() {
    let shown: BTreeSet<MetricName> = all_widgets()
        .into_iter()
        .flat_map(|widget| widget.shown)
        .filter_map(|shown| match shown {
            Shown::Metric(metric, _) => Some(metric),
            Shown::Search(..) => None,
        })
        .collect();
    for metric in printed().await {
        assert!(shown.contains(&metric), "no widget shows {metric:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_metric_is_documented_and_no_other() {
    let printed = printed().await;
    let documented = documented();
    let names: BTreeSet<&str> = printed.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(documented.iter().map(String::as_str).collect::<BTreeSet<_>>(), names);
}

/// The metrics in the first column of the table under "Metrics" in docs/architecture.md.
fn documented() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/architecture.md");
    let text = std::fs::read_to_string(path).expect("docs/architecture.md");
    let (_, section) = text.split_once("\n### Metrics\n").expect("a section on metrics");
    let section = section.split("\n#").next().expect("a section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| row.split(" | ").next().expect("a cell"));
    let names = cells.flat_map(|cell| cell.split(", ").collect::<Vec<_>>());
    names.map(|name| name.trim_matches('`').to_owned()).collect()
}

/// What the operator asks of the dashboards, and the metrics that answer it.
#[test]
fn the_dashboards_show_the_whole() {
    let shown: BTreeSet<String> = all_widgets()
        .into_iter()
        .flat_map(|widget| widget.shown)
        .map(|shown| match shown {
            Shown::Metric(metric, _) => metric.name,
            Shown::Search(_, _, name) => name,
        })
        .collect();
    let wanted = BTreeMap::from([
        ("forwarded against delivered", &["ForwardedLogEvents", "EventsDelivered"][..]),
        ("shards and processors", &["OpenShards", "ConcurrencyLimit", "ConcurrentExecutions"]),
        ("load", &["Utilization", "WantedBytes", "WantedRecords", "RecordsThrottled"]),
        ("lag", &["LagIn", "LagOut", "ProcessingTime", "AsyncEventAge"]),
        ("loss", &["EventTimeIn", "EventTimeDelivered"]),
        ("what could not be delivered", &["DeadLettersLeft", "ApproximateNumberOfMessagesVisible"]),
        ("reshard calls", &["ReshardsLeft"]),
        ("cost", &["PutUnits", "Duration"]),
        ("archive", &["EventsArchived", "IteratorAge", "DeliveryToS3.DataFreshness"]),
        ("replay", &["RecordsReplayed", "ReplayWindowLeft", "ReplaysStopped", "ReplaySetAside"]),
    ]);
    for (what, names) in wanted {
        for name in names {
            assert!(shown.contains(*name), "{what}: no widget shows {name}");
        }
    }
}

#[test]
fn widgets_lie_side_by_side() {
    for widgets in all_dashboards() {
        assert!(!widgets.is_empty());
        for (place, one) in widgets.iter().enumerate() {
            assert!(one.columns.1 <= 24, "{} is too far right", one.title);
            for other in &widgets[place + 1..] {
                let meet = |one: (u64, u64), other: (u64, u64)| one.0 < other.1 && other.0 < one.1;
                let overlap = meet(one.columns, other.columns) && meet(one.rows, other.rows);
                assert!(!overlap, "{} lies on {}", one.title, other.title);
            }
        }
    }
}

#[test]
fn without_code_the_autoscaling_stack_is_the_stream_alone() {
    let stack = operations::Template::read("autoscaling.yaml").launch("alone", &[]);
    let kinds: Vec<&str> = stack.resources.values().map(|resource| &*resource.kind).collect();
    assert_eq!(kinds, ["AWS::Kinesis::Stream"]);
}
