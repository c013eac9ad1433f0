//! Dashboards and alarms against the metrics that the functions really print, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use operations::{Kind, Shown, Stack, Template, Widget, alarms, dashboards};
use sluice_simulated::cloudwatch::MetricName;

use crate::world::{
    ARCHIVE, AUTOSCALING, LOG_PROCESSING, STREAM_REPLAY, TOPIC, World, all_alarms, archive,
    autoscaling, consumers_printed, everything_printed, log_processing, log_processing_with_queue,
    overview, overview_parameters, stream_replay,
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

/// The dashboard of each stack, and the overview of all.
fn all_dashboards() -> [Vec<Widget>; 6] {
    let stacks = [
        log_processing(),
        autoscaling(),
        archive(),
        stream_replay(),
        overview(),
        log_processing_with_queue(),
    ];
    stacks.map(|stack| dashboards(&stack))
}

fn all_widgets() -> Vec<Widget> {
    all_dashboards().into_iter().flatten().collect()
}

#[tokio::test(start_paused = true)]
async fn no_widget_shows_what_nobody_emits() {
    let printed = printed().await;
    for widget in all_widgets() {
        assert_eq!(widget.unknown, [] as [&str; 0], "{}", widget.title);
        let is_empty = widget.kind == Kind::Metric && widget.shown.is_empty();
        assert!(!is_empty, "{} shows nothing", widget.title);
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
        ("loss", &["EventsLost", "EventTimeIn", "EventTimeDelivered"]),
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

/// The names in the alarm widgets of a dashboard.
fn alarms_on(widgets: &[Widget]) -> Vec<String> {
    let lists = widgets.iter().filter_map(|widget| match &widget.kind {
        Kind::Alarms(names) => Some(names),
        _ => None,
    });
    lists.flatten().cloned().collect()
}

/// Alarms that a loop makes, one a log group, have no name that a dashboard could know.
fn is_of_a_log_group(alarm: &str) -> bool {
    alarm.starts_with("DeliveryErrors")
}

fn alarms_of(stack: &Stack, name: &str) -> BTreeSet<String> {
    let names = alarms(stack, name).into_keys().filter(|alarm| !is_of_a_log_group(alarm));
    names.map(|alarm| format!("{name}-{alarm}")).collect()
}

/// Every alarm of the stack once.
fn is_complete(stack: &Stack, name: &str) {
    let shown = alarms_on(&dashboards(stack));
    assert_eq!(shown.iter().cloned().collect::<BTreeSet<_>>(), alarms_of(stack, name));
    assert_eq!(shown.len(), alarms_of(stack, name).len(), "{name}: one is there twice");
}

#[test]
fn a_dashboard_shows_every_alarm_of_its_stack() {
    is_complete(&log_processing(), LOG_PROCESSING);
    is_complete(&log_processing_with_queue(), LOG_PROCESSING);
    is_complete(&autoscaling(), AUTOSCALING);
    is_complete(&archive(), ARCHIVE);
    is_complete(&stream_replay(), STREAM_REPLAY);
}

#[test]
fn a_dashboard_shows_no_alarm_that_is_left_out() {
    let code = [("CodeS3Bucket", "code"), ("CodeS3Key", "processor.zip")];
    let plain = [&code[..], &[("MetricMathAlarms", "false")]].concat();
    is_complete(&Template::read("log-processing.yaml").launch("few", &plain), "few");
    let code =
        [("CodeS3Bucket", "code"), ("CodeS3KeyScaleUp", "up"), ("CodeS3KeyScaleDown", "down")];
    let plain = [&code[..], &[("OffPeakSchedule", "")]].concat();
    is_complete(&Template::read("autoscaling.yaml").launch("few", &plain), "few");
}

#[test]
fn the_overview_shows_every_alarm_that_tells_a_person() {
    let stacks = [
        (log_processing_with_queue(), LOG_PROCESSING),
        (autoscaling(), AUTOSCALING),
        (archive(), ARCHIVE),
        (stream_replay(), STREAM_REPLAY),
    ];
    let mut telling = BTreeSet::new();
    for (stack, name) in &stacks {
        let of_stack = alarms(stack, name).into_iter();
        let told = of_stack.filter(|(_, alarm)| alarm.actions.iter().any(|to| to == TOPIC));
        telling.extend(
            told.map(|(alarm, _)| alarm)
                .filter(|alarm| !is_of_a_log_group(alarm))
                .map(|alarm| format!("{name}-{alarm}")),
        );
    }
    let shown = alarms_on(&dashboards(&overview()));
    assert_eq!(shown.iter().cloned().collect::<BTreeSet<_>>(), telling);
    assert_eq!(shown.len(), telling.len(), "one is there twice");
}

#[test]
fn the_overview_shows_nothing_of_a_stack_that_is_not_named() {
    let template = Template::read("overview.yaml");
    for (left_out, prefix) in [
        ("LogProcessingStack", LOG_PROCESSING),
        ("AutoscalingStack", AUTOSCALING),
        ("ArchiveStack", ARCHIVE),
        ("StreamReplayStack", STREAM_REPLAY),
    ] {
        let parameters = overview_parameters()
            .map(|(name, value)| if name == left_out { (name, "") } else { (name, value) });
        let widgets = dashboards(&template.launch("overview", &parameters));
        let shown = alarms_on(&widgets);
        assert!(!shown.is_empty());
        assert!(!shown.iter().any(|alarm| alarm.starts_with(&format!("{prefix}-"))), "{prefix}");
        let has_decisions = widgets.iter().any(|widget| matches!(widget.kind, Kind::Log(_)));
        assert_eq!(has_decisions, left_out != "AutoscalingStack");
    }
    let few = template.launch("overview", &[]);
    assert!(!alarms_on(&dashboards(&few)).is_empty());
}

#[test]
fn the_first_row_has_alarms_and_says_where_the_runbook_is() {
    for widgets in all_dashboards() {
        let first: Vec<&Widget> = widgets.iter().filter(|widget| widget.rows.0 == 0).collect();
        assert!(first.iter().any(|widget| matches!(widget.kind, Kind::Alarms(_))));
        let texts = first.iter().filter_map(|widget| match &widget.kind {
            Kind::Text(markdown) => Some(markdown),
            _ => None,
        });
        let texts: Vec<&String> = texts.collect();
        assert_eq!(texts.len(), 1);
        assert!(texts[0].contains("runbook (docs/runbook.md)"), "{}", texts[0]);
        let width: u64 = first.iter().map(|widget| widget.columns.1 - widget.columns.0).sum();
        assert_eq!(width, 24);
    }
}

#[test]
fn a_runbook_of_ones_own_is_linked() {
    let url = "https://wiki.example/sluice/runbook";
    let code = [
        ("CodeS3Bucket", "code"),
        ("CodeS3Key", "zip"),
        ("CodeS3KeyScaleUp", "up"),
        ("CodeS3KeyScaleDown", "down"),
    ];
    for (name, code) in [
        ("log-processing.yaml", &code[..2]),
        ("autoscaling.yaml", &[code[0], code[2], code[3]]),
        ("archive.yaml", &code[..2]),
        ("stream-replay.yaml", &code[..2]),
        ("overview.yaml", &[]),
    ] {
        let stack = Template::read(name).launch("s", &[code, &[("RunbookUrl", url)]].concat());
        let is_linked = |widget: &Widget| match &widget.kind {
            Kind::Text(markdown) => markdown.contains(&format!("[runbook]({url})")),
            _ => false,
        };
        assert!(dashboards(&stack).iter().any(is_linked), "{name}");
        for (alarm, of_stack) in alarms(&stack, "s") {
            assert!(of_stack.description.contains(&format!("Runbook: {url}#")), "{alarm}");
        }
    }
}

/// The row below the alarms, by dashboard.
#[test]
fn what_a_person_must_act_on_comes_next() {
    let wanted: [&[&str]; 5] = [
        &["EventsLost", "ApproximateNumberOfMessagesVisible", "OldestDeadLetterAge", "LagOut"],
        &["Utilization", "ReshardsLeft", "ProcessingTime"],
        &["ApproximateNumberOfMessagesVisible", "IteratorAge", "DeliveryToS3.Success"],
        &["ReplaysStopped", "Errors", "ReplayWindowLeft"],
        &["EventsLost", "ApproximateNumberOfMessagesVisible", "LagOut", "AsyncEventAge"],
    ];
    for (widgets, wanted) in all_dashboards().iter().zip(wanted) {
        let second = widgets.iter().map(|widget| widget.rows.0).filter(|row| *row > 0).min();
        let shown: BTreeSet<&str> = widgets
            .iter()
            .filter(|widget| Some(widget.rows.0) == second)
            .flat_map(|widget| &widget.shown)
            .map(|shown| match shown {
                Shown::Metric(metric, _) => metric.name.as_str(),
                Shown::Search(_, _, name) => name,
            })
            .collect();
        for name in wanted {
            assert!(shown.contains(name), "{name} is not among {shown:?}");
        }
    }
}

#[test]
fn queries_read_log_groups_that_are_there() {
    let stacks = [log_processing_with_queue(), autoscaling(), archive(), stream_replay()];
    let groups: BTreeSet<String> = stacks
        .iter()
        .flat_map(|stack| stack.resources.values())
        .filter(|resource| resource.kind == "AWS::Logs::LogGroup")
        .map(|group| group.properties["LogGroupName"].as_str().expect("a name").to_owned())
        .collect();
    for widgets in all_dashboards() {
        let queries = widgets.iter().filter_map(|widget| match &widget.kind {
            Kind::Log(query) => Some(query),
            _ => None,
        });
        let queries: Vec<&String> = queries.collect();
        assert_eq!(queries.len(), 1);
        let mut steps = queries[0].split('|').map(str::trim);
        let sources: Vec<&str> = steps
            .by_ref()
            .take_while(|step| step.starts_with("SOURCE "))
            .map(|step| step["SOURCE ".len()..].trim_matches('\''))
            .collect();
        assert!(!sources.is_empty());
        for source in sources {
            assert!(groups.contains(source), "{source} is not among {groups:?}");
        }
        assert!(queries[0].ends_with("| limit 50"), "a query that is opened is bounded");
    }
}

#[test]
fn a_stack_without_a_replayer_reads_no_log_of_one() {
    let code = [("CodeS3Bucket", "code"), ("CodeS3Key", "processor.zip")];
    let stack = Template::read("log-processing.yaml").launch("few", &code);
    for widget in dashboards(&stack) {
        if let Kind::Log(query) = widget.kind {
            assert!(!query.contains("dlq-replayer"), "{query}");
        }
    }
}

/// What CloudWatch takes. (Its quotas, "Dashboards"; "Dashboard body structure and syntax"; Nov 2026)
#[test]
fn dashboards_are_within_the_limits_of_cloudwatch() {
    for widgets in all_dashboards() {
        assert!(widgets.len() <= 500);
        assert!(widgets.iter().map(|widget| widget.shown.len()).sum::<usize>() <= 2_500);
        for widget in widgets {
            assert!(widget.shown.len() <= 500, "{}", widget.title);
            if let Kind::Alarms(names) = &widget.kind {
                assert!((1..=100).contains(&names.len()), "{}", widget.title);
            }
        }
    }
}

#[test]
fn without_code_the_autoscaling_stack_is_the_stream_alone() {
    let stack = Template::read("autoscaling.yaml").launch("alone", &[]);
    let kinds: Vec<&str> = stack.resources.values().map(|resource| &*resource.kind).collect();
    assert_eq!(kinds, ["AWS::Kinesis::Stream"]);
}
