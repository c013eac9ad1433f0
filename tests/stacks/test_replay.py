"""The failure path: what could not be delivered is replayed, what cannot be is kept apart, and each function may do its own
part alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import engines as local
import pytest
import stack
from cfnlint.decode import cfn_yaml
from compare import events_in
from conftest import Launch, now_ms, payload_event, write_logs
from read_back import Event
from stack import LOG_PROCESSING, StackError
from test_failures import BAD_PAYLOADS, as_list, delivered

Replaying = Callable[..., stack.Pipeline]


@pytest.fixture
def replaying(launch: Launch, functions: dict[str, Path]) -> Replaying:
    """Launches the stack with its replayer: `replaying(shards=1, ReplayAttemptsMax=2, …)`."""
    return lambda shards=1, **parameters: launch(shards, functions["dlq-replayer"], **parameters)


def dead_letter(engines: local.Engines, pipeline: stack.Pipeline, messages: list[str]) -> None:
    """Has the processor dead-letter these, without its stream."""
    if stack.stream_exists(engines, pipeline.stream_name):
        stack.delete_stream(engines, pipeline.stream_name)
    assert stack.invoke(engines, pipeline, payload_event(messages), wait=True)["error"] is None


def waiting(engines: local.Engines, queue_url: str) -> dict[str, int]:
    """Messages of a queue: visible, in somebody's hands, and delayed."""
    names = {
        "visible": "ApproximateNumberOfMessages",
        "hidden": "ApproximateNumberOfMessagesNotVisible",
        "delayed": "ApproximateNumberOfMessagesDelayed",
    }
    asked = engines.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=list(names.values()))
    return {name: int(asked["Attributes"][attribute]) for name, attribute in names.items()}


def looked_at(engines: local.Engines, queue_url: str) -> list[dict[str, str]]:
    return [letter["attributes"] for letter in stack.looked_at(engines, queue_url)]


EMPTY = {"visible": 0, "hidden": 0, "delayed": 0}


def test_both_kinds_of_dead_letter_are_replayed_and_the_queue_is_empty(engines: local.Engines, replaying: Replaying) -> None:
    engines.client("logs").create_log_group(logGroupName="/t/replayed")
    pipeline = replaying(LogGroupNames="/t/replayed")
    stack.delete_stream(engines, pipeline.stream_name)
    sent = Counter(write_logs(engines, "/t/replayed", "remainder", [f"line {number} ü 😀" for number in range(300)]))
    stack.settle(engines)
    # Without a queue of its own the processor fails, and Lambda itself keeps the raw event.
    stack.set_variables(engines, pipeline.function_name, DEAD_LETTER_QUEUE_URL=None)
    sent += Counter(write_logs(engines, "/t/replayed", "raw", [f"line {number}" for number in range(50)]))
    stack.settle(engines)
    stack.set_variables(engines, pipeline.function_name, DEAD_LETTER_QUEUE_URL=pipeline.dead_letter_queue_url)
    kinds = {"Reason" if "Reason" in letter else "raw" for letter in looked_at(engines, pipeline.dead_letter_queue_url)}
    assert kinds == {"Reason", "raw"}
    stack.create_stream(engines, pipeline.stream_name, 1)

    report = stack.replay(engines, pipeline, {"max": 2})
    assert {name: report[name] for name in ("replayed", "failed", "quarantined", "left", "continues")} == {
        "replayed": 2, "failed": 0, "quarantined": 0, "left": 0, "continues": False
    }  # fmt: skip
    assert delivered(engines, pipeline) == sent
    assert waiting(engines, pipeline.dead_letter_queue_url) == EMPTY
    (emf,) = stack.metrics(stack.function_log(engines, pipeline, pipeline.replayer))
    assert (emf["DeadLettersReplayed"], emf["DeadLettersLeft"], emf["FunctionName"]) == (2, 0, pipeline.replayer)


def test_the_schedule_replays_what_is_there(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying()
    dead_letter(engines, pipeline, ["one", "two"])
    stack.create_stream(engines, pipeline.stream_name, 1)
    assert pipeline.replayer is not None
    engines.fire_schedule(pipeline.replayer.replace("-dlq-replayer", "-replay"))
    stack.settle(engines)
    assert sorted(event.message for event in delivered(engines, pipeline)) == [b"one", b"two"]
    assert waiting(engines, pipeline.dead_letter_queue_url) == EMPTY


def test_what_fails_time_and_again_is_quarantined_with_its_history(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying(ReplayAttemptsMax=3)
    before_ms = now_ms()
    dead_letter(engines, pipeline, ["never", "arrives"])
    assert stack.replay(engines, pipeline, {"max": 1})["failed"] == 1
    assert waiting(engines, pipeline.dead_letter_queue_url) == {**EMPTY, "delayed": 1}, "not again in this run"
    engines.let_wait_pass(pipeline.dead_letter_queue_url)
    (first,) = looked_at(engines, pipeline.dead_letter_queue_url)
    assert (first["Reason"], first["Attempts"], first["LogEvents"]) == ("stream-unavailable", "1", "2")
    assert before_ms <= int(first["DeadLetteredAt"]) <= now_ms()

    # The look above was a receipt, and receipts are what SQS lets one count.
    assert stack.replay(engines, pipeline, {"max": 1})["quarantined"] == 1
    assert waiting(engines, pipeline.dead_letter_queue_url) == EMPTY
    (last,) = stack.quarantined(engines, pipeline)
    assert last["attributes"] == {**first, "Attempts": "3"}
    assert [event.message for event in events_in(json.loads(last["body"]))] == [b"never", b"arrives"]


def test_a_processor_that_fails_leaves_the_message_in_the_queue_for_later(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying()
    dead_letter(engines, pipeline, ["late"])
    stack.create_stream(engines, pipeline.stream_name, 1)
    stack.set_variables(engines, pipeline.function_name, TRANSFORM="no-such-transform")
    report = stack.replay(engines, pipeline, {"max": 1})
    assert (report["failed"], report["replayed"], report["left"]) == (1, 0, 1)
    assert waiting(engines, pipeline.dead_letter_queue_url) == {**EMPTY, "hidden": 1}
    stack.set_variables(engines, pipeline.function_name, TRANSFORM="envelope")
    engines.let_wait_pass(pipeline.dead_letter_queue_url)
    assert stack.replay(engines, pipeline, {"max": 1})["replayed"] == 1
    assert [event.message for event in delivered(engines, pipeline)] == [b"late"]


def test_poison_among_good_goes_to_quarantine_and_the_good_into_the_stream(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying()
    dead_letter(engines, pipeline, ["good"])
    stack.create_stream(engines, pipeline.stream_name, 1)
    sqs = engines.client("sqs")
    # Not the processor's way, but a person's, or an older version's.
    for body in (json.dumps(BAD_PAYLOADS["not gzip"]), "not even JSON"):
        sqs.send_message(QueueUrl=pipeline.dead_letter_queue_url, MessageBody=body)
    report = stack.replay(engines, pipeline, {"max": 3})
    assert (report["replayed"], report["quarantined"], report["left"]) == (1, 2, 0)
    assert [event.message for event in delivered(engines, pipeline)] == [b"good"]
    reasons = sorted(letter["attributes"]["Reason"] for letter in stack.quarantined(engines, pipeline))
    assert reasons == ["not-an-awslogs-event", "not-gzip"]


def test_a_dry_run_moves_nothing(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying()
    dead_letter(engines, pipeline, ["stays"])
    stack.create_stream(engines, pipeline.stream_name, 1)
    report = stack.replay(engines, pipeline, {"max": 10, "dryRun": True})
    assert (report["replayed"], report["left"], report["dryRun"]) == (0, 1, True)
    assert delivered(engines, pipeline) == Counter()
    assert waiting(engines, pipeline.dead_letter_queue_url) == {**EMPTY, "visible": 1}


def test_a_replay_that_runs_out_of_time_wakes_itself_until_the_queue_is_empty(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying(RecordFormat="single", TimeoutSeconds=10)
    # A record an event: a shard's worth each, which the processor paces to a second.
    messages = [[f"{letter} {number}" for number in range(950)] for letter in range(6)]
    for events in messages:
        dead_letter(engines, pipeline, events)
    stack.create_stream(engines, pipeline.stream_name, 1)
    assert pipeline.replayer is not None
    engines.client("lambda").update_function_configuration(FunctionName=pipeline.replayer, Timeout=5)
    report = stack.replay(engines, pipeline)
    assert (report["continues"], report["hop"], report["stopped"]) == (True, 0, "out-of-time")
    stack.settle(engines)
    arrived = Counter(event.message.decode() for event in delivered_single(engines, pipeline))
    assert arrived == Counter(text for events in messages for text in events)
    assert waiting(engines, pipeline.dead_letter_queue_url) == EMPTY
    runs = stack.metrics(stack.function_log(engines, pipeline, pipeline.replayer))
    assert len(runs) >= 3, "more than one hop"
    assert sum(run["DeadLettersReplayed"] for run in runs) == len(messages)
    assert engines.client("lambda").get_function_recursion_config(FunctionName=pipeline.replayer)["RecursiveLoop"] == "Allow"


def delivered_single(engines: local.Engines, pipeline: stack.Pipeline) -> Counter[Event]:
    from compare import Arrivals
    from read_back import records

    arrivals = Arrivals()
    arrivals.take(records(engines, pipeline.stream_name), "single", "envelope")
    return arrivals.events


def test_the_hops_are_bounded(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying(RecordFormat="single", TimeoutSeconds=10, ReplayHopsMax=0)
    for letter in range(5):
        dead_letter(engines, pipeline, [f"{letter} {number}" for number in range(950)])
    stack.create_stream(engines, pipeline.stream_name, 1)
    engines.client("lambda").update_function_configuration(FunctionName=pipeline.replayer, Timeout=5)
    report = stack.replay(engines, pipeline)
    assert (report["continues"], report["stopped"]) == (False, "out-of-time")
    assert report["left"] > 0


def test_the_replayers_role_may_do_its_part_and_nothing_else(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying()
    assert pipeline.replayer is not None
    role = engines.client("lambda").get_function_configuration(FunctionName=pipeline.replayer)["Role"].rsplit("/", 1)[-1]
    iam = engines.client("iam")
    statements = [
        statement
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]
        for statement in iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]["Statement"]
    ]
    granted = {
        (action, resource.rsplit(":", 1)[-1] if ":log-group:" not in resource else "log")
        for statement in statements
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }
    dead_letters, quarantine = (url.rsplit("/", 1)[-1] for url in (pipeline.dead_letter_queue_url, pipeline.quarantine_queue_url))
    assert granted == {
        ("sqs:ReceiveMessage", dead_letters),
        ("sqs:DeleteMessage", dead_letters),
        ("sqs:ChangeMessageVisibility", dead_letters),
        ("sqs:GetQueueAttributes", dead_letters),
        ("sqs:SendMessage", quarantine),
        ("lambda:InvokeFunction", pipeline.function_name),
        ("lambda:InvokeFunction", pipeline.replayer),
        ("lambda:GetFunctionConcurrency", pipeline.function_name),
        ("logs:CreateLogStream", "log"),
        ("logs:PutLogEvents", "log"),
    }
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []


@pytest.mark.parametrize("instead", ["another processor", "the queues exchanged"])
def test_the_replayer_reaches_only_its_own_function_and_queues(
    engines: local.Engines, replaying: Replaying, launch: Launch, instead: str
) -> None:
    pipeline = replaying()
    dead_letter(engines, pipeline, ["mine"])
    assert pipeline.replayer is not None
    if instead == "another processor":
        stack.set_variables(engines, pipeline.replayer, PROCESSOR_FUNCTION=launch().function_name)
    else:
        stack.set_variables(
            engines,
            pipeline.replayer,
            DEAD_LETTER_QUEUE_URL=pipeline.quarantine_queue_url,
            QUARANTINE_QUEUE_URL=pipeline.dead_letter_queue_url,
        )
    with pytest.raises(StackError, match="AccessDenied"):
        stack.replay(engines, pipeline, {"max": 1})
    engines.let_wait_pass(pipeline.dead_letter_queue_url)
    assert len(stack.dead_letters(engines, pipeline)) == 1, "still there"


def test_sqs_itself_moves_what_kills_every_replay(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying()
    sqs = engines.client("sqs")
    attributes = {
        url: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        for url in (pipeline.dead_letter_queue_url, pipeline.quarantine_queue_url)
    }
    redrive = json.loads(attributes[pipeline.dead_letter_queue_url]["RedrivePolicy"])
    allow = json.loads(attributes[pipeline.quarantine_queue_url]["RedriveAllowPolicy"])
    assert redrive["deadLetterTargetArn"] == attributes[pipeline.quarantine_queue_url]["QueueArn"]
    assert allow == {"redrivePermission": "byQueue", "sourceQueueArns": [pipeline.dead_letter_queue_arn]}
    limits = cfn_yaml.load(str(LOG_PROCESSING))["Parameters"]["ReplayAttemptsMax"]
    assert redrive["maxReceiveCount"] >= limits["MaxValue"], "the replayer's own count comes first, with its reason"
    for one in attributes.values():
        assert (one["MessageRetentionPeriod"], one["SqsManagedSseEnabled"]) == (str(14 * 24 * 3600), "true")
    dead_letter(engines, pipeline, ["a killer"])
    for _ in range(redrive["maxReceiveCount"] + 1):
        looked_at(engines, pipeline.dead_letter_queue_url)
    assert len(stack.quarantined(engines, pipeline)) == 1


def test_a_key_of_ones_own_encrypts_both_queues_and_both_roles_may_use_it(engines: local.Engines, replaying: Replaying) -> None:
    key = engines.client("kms").create_key()["KeyMetadata"]["Arn"]
    pipeline = replaying(QueueKmsKeyArn=key)
    sqs, functions, iam = engines.client("sqs"), engines.client("lambda"), engines.client("iam")
    for url in (pipeline.dead_letter_queue_url, pipeline.quarantine_queue_url):
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert attributes["KmsMasterKeyId"] == key
        assert "SqsManagedSseEnabled" not in attributes
    for function in (pipeline.function_name, pipeline.replayer):
        role = functions.get_function_configuration(FunctionName=function)["Role"].rsplit("/", 1)[-1]
        granted = [
            statement
            for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]
            for statement in iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]["Statement"]
            if "kms" in str(statement["Action"])
        ]
        assert [(sorted(one["Action"]), one["Resource"]) for one in granted] == [(["kms:Decrypt", "kms:GenerateDataKey"], key)]
        assert "sqs." in granted[0]["Condition"]["StringEquals"]["kms:ViaService"]


def test_without_its_code_there_is_no_replayer(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    assert pipeline.replayer is None
    name = pipeline.function_name.removesuffix("-log-processor") + "-log-processing"
    schedules = engines.client("scheduler").list_schedules()["Schedules"]
    assert [one["Name"] for one in schedules if one["Name"].startswith(f"{name}-")] == []
    alarms = engines.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{name}-")["MetricAlarms"]
    assert {alarm["AlarmName"].removeprefix(f"{name}-") for alarm in alarms} == {
        "dead-letters-old", "quarantine-not-empty", "events-old", "events-dropped", "dead-letter-errors", "lag",
        "delivery-slow", "processor-failing",
    }  # fmt: skip


def test_without_a_schedule_it_is_replayed_on_demand_only(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying(ReplaySchedule="")
    assert pipeline.replayer is not None
    name = pipeline.replayer.removesuffix("-dlq-replayer")
    schedules = engines.client("scheduler").list_schedules()["Schedules"]
    assert [one["Name"] for one in schedules if one["Name"].startswith(f"{name}-")] == []
    roles = [role["RoleName"] for role in engines.client("iam").list_roles()["Roles"]]
    assert [role for role in roles if role.startswith(f"{name}-ReplayScheduleRole")] == []


def test_a_failed_wake_up_gets_one_more_try(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying()
    invoke = engines.client("lambda").get_function_event_invoke_config(FunctionName=pipeline.replayer, Qualifier="$LATEST")
    assert (invoke["MaximumEventAgeInSeconds"], invoke["MaximumRetryAttempts"]) == (3600, 1)
    assert cfn_yaml.load(str(LOG_PROCESSING))["Resources"]["Replayer"]["Properties"]["RecursiveLoop"] == "Allow"


ALARMS = {
    "dead-letters-old": ("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", 26 * 3600),
    "dead-letters-returning": ("Sluice", "OldestDeadLetterAge", "FunctionName", 26 * 3600),
    "quarantine-not-empty": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", 0),
    "dlq-replayer-failed": ("AWS/Lambda", "Errors", "FunctionName", 0),
    "events-old": ("AWS/Lambda", "AsyncEventAge", "FunctionName", 3_600_000),
    "events-dropped": ("AWS/Lambda", "AsyncEventsDropped", "FunctionName", 0),
    "dead-letter-errors": ("AWS/Lambda", "DeadLetterErrors", "FunctionName", 0),
    "processor-failing": ("AWS/Lambda", "Errors", "FunctionName", 0),
    "lag": ("AWS/Lambda", "AsyncEventAge", "FunctionName", 30_000),
    "delivery-slow": ("Sluice", "ProcessingTime", "StreamName", 30_000),
}


def test_every_alarm_watches_the_right_metric_and_tells_the_operator(engines: local.Engines, replaying: Replaying) -> None:
    topic = "arn:aws:sns:eu-central-1:000000000000:operators"
    pipeline = replaying(NotifyTopicArn=topic, TimeZone="Europe/Berlin")
    assert pipeline.replayer is not None
    name = pipeline.replayer.removesuffix("-dlq-replayer")
    alarms = {
        alarm["AlarmName"].removeprefix(f"{name}-"): alarm
        for alarm in engines.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{name}-")["MetricAlarms"]
    }
    watched = {
        alarm: (one["Namespace"], one["MetricName"], one["Dimensions"][0]["Name"], one["Threshold"]) for alarm, one in alarms.items()
    }
    assert watched == ALARMS
    values = {alarm: one["Dimensions"][0]["Value"] for alarm, one in alarms.items()}
    dead_letters, quarantine = (url.rsplit("/", 1)[-1] for url in (pipeline.dead_letter_queue_url, pipeline.quarantine_queue_url))
    assert values == {
        "dead-letters-old": dead_letters,
        "dead-letters-returning": pipeline.replayer,
        "quarantine-not-empty": quarantine,
        "dlq-replayer-failed": pipeline.replayer,
        "events-old": pipeline.function_name,
        "events-dropped": pipeline.function_name,
        "dead-letter-errors": pipeline.function_name,
        "processor-failing": pipeline.function_name,
        "lag": pipeline.function_name,
        "delivery-slow": pipeline.stream_name,
    }
    assert all(alarm["AlarmActions"] == [topic] for alarm in alarms.values())
    schedule = cfn_yaml.load(str(LOG_PROCESSING))["Resources"]["ReplayWakeUp"]["Properties"]
    # MiniStack's CloudFormation drops the zone.
    assert schedule["ScheduleExpressionTimezone"] == {"Ref": "TimeZone"}
    assert engines.client("scheduler").get_schedule(Name=f"{name}-replay")["Target"]["Input"] == "{}"


def test_a_metric_that_an_alarm_watches_is_one_that_the_replayer_emits(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying()
    dead_letter(engines, pipeline, ["old"])
    time.sleep(1.1)
    report = stack.replay(engines, pipeline, {"max": 1})
    assert report["oldestAgeSeconds"] >= 1
    (line,) = stack.metrics(stack.function_log(engines, pipeline, pipeline.replayer))
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Sluice", [["FunctionName"]])
    units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert units["OldestDeadLetterAge"] == "Seconds"
    assert line["OldestDeadLetterAge"] == report["oldestAgeSeconds"]
