"""The autoscaling stack: the real scaling functions under the real template."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engines as local
import pytest
import stack
from cfnlint.decode import cfn_yaml
from conftest import Launch
from engines import ROOT
from stack import AUTOSCALING, Scaling

LaunchScaling = Callable[..., Scaling]
_names = itertools.count(1)
SECONDS_MAX = 20
# One shard at 80 % over a minute.
SHARD_BYTES, SHARD_RECORDS = 48_000_000, 48_000


@pytest.fixture(scope="session")
def scaling_binaries(functions: dict[str, Path]) -> tuple[Path, Path]:
    return functions["scale-up"], functions["scale-down"]


@pytest.fixture
def scale(engines: local.Engines, scaling_binaries: tuple[Path, Path]) -> LaunchScaling:
    """Launches autoscaling.yaml around a new stream: `scale(shards=2, processor="name", ShardCountMax=8)`."""

    def launch_one(shards: int = 2, processors: str = "", **parameters: Any) -> Scaling:
        name = f"scaling-{next(_names)}"
        stack.create_stream(engines, name, shards)
        chosen = {"StreamName": name, "ShardCountInitial": shards, "ShardCountDefault": shards, "ShardCountMax": 16}
        return stack.launch_scaling(
            engines, *scaling_binaries, f"{name}-autoscaling", {**chosen, "ProcessorFunctions": processors, **parameters}
        )

    return launch_one


def open_shards(engines: local.Engines, scaling: Scaling) -> int:
    summary = engines.client("kinesis").describe_stream_summary(StreamName=scaling.stream_name)
    return int(summary["StreamDescriptionSummary"]["OpenShardCount"])


def tags(engines: local.Engines, scaling: Scaling) -> dict[str, str]:
    listed = engines.client("kinesis").list_tags_for_stream(StreamName=scaling.stream_name)["Tags"]
    return {tag["Key"]: tag["Value"] for tag in listed}


def thresholds(engines: local.Engines, scaling: Scaling) -> dict[str, float]:
    names = [f"{scaling.stack}-incoming-bytes", f"{scaling.stack}-incoming-records", f"{scaling.stack}-refused-records"]
    described = engines.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    return {alarm["AlarmName"].removeprefix(f"{scaling.stack}-"): alarm["Threshold"] for alarm in described}


def concurrency(engines: local.Engines, function: str) -> int | None:
    answer = engines.client("lambda").get_function_concurrency(FunctionName=function)
    return answer.get("ReservedConcurrentExecutions")


def world(engines: local.Engines, scaling: Scaling, processor: str | None = None) -> dict[str, Any]:
    """Everything that a scaling function may change."""
    return {
        "shards": open_shards(engines, scaling),
        "tags": tags(engines, scaling),
        "thresholds": thresholds(engines, scaling),
        "concurrency": concurrency(engines, processor) if processor else None,
    }


def becomes(look: Callable[[], Any], wanted: Any) -> None:
    """Fails unless `look` sees `wanted` before long: the stream engine reshards in a fifth of a second."""
    deadline = time.monotonic() + SECONDS_MAX
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, f"{seen}, not {wanted}"
        time.sleep(0.1)


def set_alarm(engines: local.Engines, scaling: Scaling, alarm: str, state: str) -> None:
    engines.client("cloudwatch").set_alarm_state(AlarmName=f"{scaling.stack}-{alarm}", StateValue=state, StateReason="test")


def reconcile(engines: local.Engines, scaling: Scaling) -> None:
    engines.fire_schedule(f"{scaling.stack}-reconcile")
    stack.settle(engines)


def wait_active(engines: local.Engines, scaling: Scaling) -> None:
    kinesis = engines.client("kinesis")
    becomes(
        lambda: kinesis.describe_stream_summary(StreamName=scaling.stream_name)["StreamDescriptionSummary"]["StreamStatus"],
        "ACTIVE",
    )


def test_an_alarm_doubles_the_shards_and_the_next_reconcile_lets_concurrency_and_thresholds_follow(
    engines: local.Engines, launch: Launch, scale: LaunchScaling
) -> None:
    processor = launch().function_name
    scaling = scale(shards=2, processors=processor)
    # The first reconcile sets what the template cannot compute.
    reconcile(engines, scaling)
    settled = {"incoming-bytes": 2 * SHARD_BYTES, "incoming-records": 2 * SHARD_RECORDS, "refused-records": 0}
    assert thresholds(engines, scaling) == settled
    assert concurrency(engines, processor) == 2
    assert engines.cloudwatch()["refused_actions"] == 0

    # The alarm goes off, through its own action: five shards' worth are asked for.
    report_load(engines, scaling, processor, records_a_second=4_000)
    set_alarm(engines, scaling, "incoming-records", "ALARM")
    becomes(lambda: open_shards(engines, scaling), 4)
    stack.settle(engines)
    assert int(tags(engines, scaling)["sluice/goal"]) >= 4
    assert len(tags(engines, scaling)["sluice/reshards"].split()) == 1
    assert engines.cloudwatch()["alarms"][f"{scaling.stack}-incoming-records"] == "INSUFFICIENT_DATA", "armed again"
    assert concurrency(engines, processor) == 2, "not before the shards are there"

    wait_active(engines, scaling)
    reconcile(engines, scaling)
    assert concurrency(engines, processor) == 4
    assert thresholds(engines, scaling)["incoming-bytes"] == 4 * SHARD_BYTES


def report_load(engines: local.Engines, scaling: Scaling, processor: str, records_a_second: int) -> None:
    """Last minute's load, as the processor's own EMF line."""
    logs = engines.client("logs")
    group, name = f"/test/{scaling.stack}", "load"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=name)
    now_ms = round(time.time() * 1000)
    last_minute_ms = (now_ms // 60_000 - 1) * 60_000 + 1_000
    line = emf(last_minute_ms, scaling.stream_name, processor, records_a_second * 60)
    logs.put_log_events(logGroupName=group, logStreamName=name, logEvents=[{"timestamp": now_ms, "message": line}])


def emf(at_ms: int, stream: str, function: str, records: int) -> str:
    return json.dumps(
        {
            "_aws": {
                "Timestamp": at_ms,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "Sluice",
                        "Dimensions": [["StreamName", "FunctionName"]],
                        "Metrics": [{"Name": "WantedRecords"}, {"Name": "WantedBytes"}],
                    }
                ],
            },
            "StreamName": stream,
            "FunctionName": function,
            "WantedRecords": records,
            "WantedBytes": records * 100,
        }
    )


def test_off_peak_halves_down_to_the_default_and_no_further(engines: local.Engines, launch: Launch, scale: LaunchScaling) -> None:
    processor = launch().function_name
    scaling = scale(shards=5, processors=processor, ShardCountDefault=2)
    reconcile(engines, scaling)
    for expected in (3, 2, 2):
        engines.fire_schedule(f"{scaling.stack}-off-peak")
        becomes(lambda: open_shards(engines, scaling), expected)
        stack.settle(engines)
        wait_active(engines, scaling)
        assert concurrency(engines, processor) == expected, "before the shards go"
        assert thresholds(engines, scaling)["incoming-records"] == expected * SHARD_RECORDS


def test_two_halves_are_merged_back_once_nothing_presses(engines: local.Engines, scale: LaunchScaling) -> None:
    scaling = scale(shards=2, ShardCountDefault=2)
    kinesis = engines.client("kinesis")
    first = kinesis.list_shards(StreamName=scaling.stream_name)["Shards"][0]
    middle = (int(first["HashKeyRange"]["EndingHashKey"]) + 1) // 2
    kinesis.split_shard(StreamName=scaling.stream_name, ShardToSplit=first["ShardId"], NewStartingHashKey=str(middle))
    becomes(lambda: open_shards(engines, scaling), 3)
    wait_active(engines, scaling)
    reconcile(engines, scaling)
    becomes(lambda: open_shards(engines, scaling), 2)
    wait_active(engines, scaling)
    open_ranges = {
        (one["HashKeyRange"]["StartingHashKey"], one["HashKeyRange"]["EndingHashKey"])
        for one in kinesis.list_shards(StreamName=scaling.stream_name)["Shards"]
        if "EndingSequenceNumber" not in one["SequenceNumberRange"]
    }
    assert tuple(first["HashKeyRange"][end] for end in ("StartingHashKey", "EndingHashKey")) in open_ranges
    assert "sluice/reshards" not in tags(engines, scaling) or not tags(engines, scaling)["sluice/reshards"].split()


def test_dry_run_changes_nothing(engines: local.Engines, launch: Launch, scale: LaunchScaling) -> None:
    processor = launch().function_name
    scaling = scale(shards=3, processors=processor, ShardCountDefault=1, ShardCountMin=1, DryRun="true")
    before = world(engines, scaling, processor)
    assert stack.wake(engines, scaling.scale_up, {"shardCount": 6}) is None
    assert stack.wake(engines, scaling.scale_up, {"wake": "reconcile"}) is None
    assert stack.wake(engines, scaling.scale_down, {"wake": "off-peak"}) is None
    assert world(engines, scaling, processor) == before
    decisions = stack.decisions(engines, scaling)
    assert any("go from 3 to 6 shards" in one["Decision"] for one in decisions), "it says what it would have done"


def test_a_person_and_a_plan_set_the_shards(engines: local.Engines, scale: LaunchScaling) -> None:
    scaling = scale(shards=2)
    assert stack.wake(engines, scaling.scale_up, {"shardCount": 3}) is None
    becomes(lambda: open_shards(engines, scaling), 3)
    wait_active(engines, scaling)
    assert stack.wake(engines, scaling.scale_up, {"wake": "floor", "shardCount": 5, "forMinutes": 60}) is None
    becomes(lambda: open_shards(engines, scaling), 5)
    wait_active(engines, scaling)
    assert stack.wake(engines, scaling.scale_down, {"wake": "off-peak"}) is None
    assert open_shards(engines, scaling) == 5, "the plan holds"


BAD_EVENTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "nothing": ({}, ("expected",)),
    "an unknown shape": ({"Records": [{"kinesis": {}}]}, ("expected",)),
    "an unknown wake": ({"wake": "up"}, ("expected",)),
    "goal 0": ({"shardCount": 0}, ("shardCount", "1 to 10000")),
    "goal -1": ({"shardCount": -1}, ("shardCount", "1 to 10000")),
    "goal 20,001": ({"shardCount": 20_001}, ("shardCount", "1 to 10000")),
    "a floor without an end": ({"wake": "floor", "shardCount": 4}, ("floor",)),
    "a floor over the maximum": (
        {"wake": "floor", "shardCount": 100, "forMinutes": 10}, ("100", "16"),
    ),
    "a person over the maximum": ({"shardCount": 100}, ("100", "16")),
    "an alarm for another stream": (
        {"source": "aws.cloudwatch", "alarmData": {"alarmName": "theirs", "state": {"value": "ALARM"}}},
        ("theirs",),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def bystander(engines: local.Engines, scaling_binaries: tuple[Path, Path]) -> Scaling:
    stack.create_stream(engines, "bystander", 2)
    scaling = stack.launch_scaling(engines, *scaling_binaries, "bystander-autoscaling", {"StreamName": "bystander", "ShardCountMax": 16})
    assert stack.wake(engines, scaling.scale_up, {"wake": "reconcile"}) is None
    return scaling


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_a_bad_event_is_refused_by_name_and_changes_nothing(engines: local.Engines, bystander: Scaling, name: str) -> None:
    event, words = BAD_EVENTS[name]
    before = world(engines, bystander)
    error = stack.wake(engines, bystander.scale_up, event)
    assert error is not None, "accepted"
    assert [word for word in words if word not in error] == [], error
    assert world(engines, bystander) == before


def test_without_its_stream_the_wake_up_fails_by_name_and_the_next_one_repairs(engines: local.Engines, scale: LaunchScaling) -> None:
    scaling = scale(shards=2)
    stack.delete_stream(engines, scaling.stream_name)
    before = thresholds(engines, scaling)
    error = stack.wake(engines, scaling.scale_up, {"wake": "reconcile"})
    assert error is not None and scaling.stream_name in error and "ResourceNotFoundException" in error
    assert thresholds(engines, scaling) == before
    stack.create_stream(engines, scaling.stream_name, 3)
    assert stack.wake(engines, scaling.scale_up, {"wake": "reconcile"}) is None
    assert thresholds(engines, scaling)["incoming-records"] == 3 * SHARD_RECORDS


def test_an_on_demand_stream_is_left_alone_by_name(engines: local.Engines, scale: LaunchScaling) -> None:
    scaling = scale(shards=2)
    kinesis = engines.client("kinesis")
    arn = kinesis.describe_stream_summary(StreamName=scaling.stream_name)["StreamDescriptionSummary"]["StreamARN"]
    kinesis.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    before = world(engines, scaling)
    error = stack.wake(engines, scaling.scale_up, {"shardCount": 8})
    assert error is not None and "on-demand" in error.lower().replace("_", "-"), error
    assert world(engines, scaling) == before


def test_a_missing_processor_function_is_named_and_keeps_nothing_else_back(
    engines: local.Engines, launch: Launch, scale: LaunchScaling
) -> None:
    there = launch().function_name
    scaling = scale(shards=2, processors=f"{there}=0.5,not-there=0.5")
    assert stack.wake(engines, scaling.scale_up, {"wake": "reconcile"}) is None
    assert "there is no function not-there" in stack.decisions(engines, scaling)[-1]["Decision"]
    assert concurrency(engines, there) == 1
    assert thresholds(engines, scaling)["incoming-records"] == 2 * SHARD_RECORDS
    assert stack.wake(engines, scaling.scale_up, {"shardCount": 4}) is None
    becomes(lambda: open_shards(engines, scaling), 4)


def test_a_role_reaches_only_the_functions_that_are_named(engines: local.Engines, launch: Launch, scale: LaunchScaling) -> None:
    """Least privilege, as far as MiniStack enforces it: Lambda's part."""
    named, other = launch().function_name, launch().function_name
    scaling = scale(shards=2, processors=f"{named}=0.5")
    functions = engines.client("lambda")
    variables = functions.get_function_configuration(FunctionName=scaling.scale_up)["Environment"]["Variables"]
    assert variables["PROCESSOR_FUNCTIONS"] == f"{named}=0.5"
    assert stack.wake(engines, scaling.scale_up, {"wake": "reconcile"}) is None
    assert concurrency(engines, named) == 1, "half of two"
    functions.update_function_configuration(
        FunctionName=scaling.scale_up, Environment={"Variables": {**variables, "PROCESSOR_FUNCTIONS": other}}
    )
    error = stack.wake(engines, scaling.scale_up, {"wake": "reconcile"})
    assert error is not None and "AccessDenied" in error, error


def test_the_roles_may_make_the_calls_that_the_code_makes_and_no_others() -> None:
    aws = ROOT / "shared" / "aws" / "src"
    code = "".join((aws / name).read_text() for name in ("control_plane.rs", "functions.rs"))
    made = set(re.findall(r'(?:control_error\(|let call = )"(\w+)"', code))
    resources = cfn_yaml.load(str(AUTOSCALING))["Resources"]
    allowed: set[str] = set()
    for name in ("ScaleUpRole", "ScalingPolicy", "Fn::ForEach::Followers"):
        allowed |= set(re.findall(r"(?:kinesis|cloudwatch|lambda):([A-Z]\w+)", str(resources[name])))
    assert allowed - {"FunctionArn", "SourceFunctionArn"} == made


def test_only_auto_lets_scale_up_and_nobody_else_switch_the_metrics_of_each_shard() -> None:
    resources = cfn_yaml.load(str(AUTOSCALING))["Resources"]
    given = resources["ScaleUpRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    condition, switch, otherwise = next(one["Fn::If"] for one in given if "Fn::If" in one)
    assert (condition, otherwise) == ("SwitchesShardLevelMetrics", {"Ref": "AWS::NoValue"})
    assert switch["Action"] == [f"kinesis:{call}EnhancedMonitoring" for call in ("Enable", "Disable")]
    conditions = cfn_yaml.load(str(AUTOSCALING))["Conditions"]
    assert conditions["SwitchesShardLevelMetrics"] == {"Fn::Equals": [{"Ref": "ShardLevelMetrics"}, "auto"]}
    others = {name: one for name, one in resources.items() if name != "ScaleUpRole"}
    assert "EnhancedMonitoring" not in str(others)


def test_scale_up_switches_off_just_the_metrics_of_each_shard_that_it_switched_on(engines: local.Engines, scale: LaunchScaling) -> None:
    scaling, kinesis = scale(shards=2), engines.client("kinesis")
    theirs, ours = ["IncomingBytes", "OutgoingBytes"], ["IncomingRecords", "WriteProvisionedThroughputExceeded"]
    kinesis.enable_enhanced_monitoring(StreamName=scaling.stream_name, ShardLevelMetrics=theirs + ours)
    # As if a hot shard had been suspected for the last time two hours ago.
    note = f"{round(time.time()) - 7200} {round(time.time()) - 7200} {' '.join(ours)}"
    kinesis.add_tags_to_stream(StreamName=scaling.stream_name, Tags={"sluice/shard-metrics": note})
    reconcile(engines, scaling)
    summary = kinesis.describe_stream_summary(StreamName=scaling.stream_name)["StreamDescriptionSummary"]
    on = [metric for some in summary["EnhancedMonitoring"] for metric in some["ShardLevelMetrics"]]
    assert sorted(on) == theirs
    assert len(tags(engines, scaling)["sluice/shard-metrics"].split()) == 2, "two times and no metric"


def test_without_its_policy_a_function_may_nothing(engines: local.Engines, scale: LaunchScaling) -> None:
    """MiniStack enforces roles on CloudWatch, too: what the other tests see is allowed by the template."""
    scaling = scale(shards=2)
    functions, iam = engines.client("lambda"), engines.client("iam")
    role = functions.get_function_configuration(FunctionName=scaling.scale_up)["Role"].rsplit("/", 1)[-1]
    iam.delete_role_policy(RoleName=role, PolicyName="scale")
    error = stack.wake(engines, scaling.scale_up, {"wake": "reconcile"})
    assert error is not None and "DescribeAlarms" in error and "Denied" in error, error


def test_every_option_launches_and_a_plan_wakes_scale_up(engines: local.Engines, launch: Launch, scale: LaunchScaling) -> None:
    processor = launch().function_name
    scaling = scale(
        shards=2,
        processors=f"{processor}=0.5",
        FastAlarm="true",
        Floor1Schedule="cron(30 18 ? * SAT *)",
        Floor1ShardCount=3,
        Floor1Minutes=90,
        Floor2Schedule="at(2027-12-31T22:30:00)",
        TimeZone="Europe/Berlin",
        NotifyTopicArn="arn:aws:sns:eu-central-1:000000000000:operators",
        ShardLevelMetrics="true",
    )
    (fast,) = engines.client("cloudwatch").describe_alarms(AlarmNames=[f"{scaling.stack}-wanted-bytes-fast"])["MetricAlarms"]
    dimensions = {one["Name"]: one["Value"] for one in fast["Dimensions"]}
    assert dimensions == {"StreamName": scaling.stream_name, "FunctionName": processor}, "the name without its share"
    assert (fast["Period"], fast["AlarmActions"][0].rsplit(":", 1)[-1]) == (10, scaling.scale_up)
    schedules = engines.client("scheduler").list_schedules()["Schedules"]
    names = {one["Name"].removeprefix(f"{scaling.stack}-") for one in schedules if one["Name"].startswith(scaling.stack)}
    assert names == {"reconcile", "off-peak", "floor-1", "floor-2"}
    # MiniStack's CloudFormation drops the zone.
    for name in ("OffPeakWakeUp", "Floor1", "Floor2"):
        schedule = cfn_yaml.load(str(AUTOSCALING))["Resources"][name]["Properties"]
        assert schedule["ScheduleExpressionTimezone"] == {"Ref": "TimeZone"}
    engines.fire_schedule(f"{scaling.stack}-floor-1")
    becomes(lambda: open_shards(engines, scaling), 3)
    stack.settle(engines)
    assert tags(engines, scaling)["sluice/floor"].startswith("3 ")
    wait_active(engines, scaling)
    reconcile(engines, scaling)
    (fast,) = engines.client("cloudwatch").describe_alarms(AlarmNames=[fast["AlarmName"]])["MetricAlarms"]
    assert fast["Threshold"] == 3 * 8_000_000


def test_every_alarm_says_what_follows_and_every_one_on_the_stream_wakes_scale_up() -> None:
    resources = cfn_yaml.load(str(AUTOSCALING))["Resources"]
    alarms = {
        name: one["Properties"] for name, one in resources.items() if isinstance(one, dict) and one.get("Type") == "AWS::CloudWatch::Alarm"
    }
    assert len(alarms) == 8
    for name, properties in alarms.items():
        assert len(str(properties["AlarmDescription"])) > 80, name
        assert "Metrics" not in properties, f"{name}: one plain metric, that anyone can read"
        if properties["MetricName"] in ("Utilization", "ReshardsLeft"):
            # What scale-up itself reports must not wake it.
            assert properties["AlarmActions"] == {"Fn::If": ["HasNotifyTopic", [{"Ref": "NotifyTopicArn"}], {"Ref": "AWS::NoValue"}]}
        elif properties["Namespace"] != "AWS/Lambda":
            assert properties["AlarmActions"] == [{"Fn::GetAtt": ["ScaleUp", "Arn"]}], name
            assert properties["TreatMissingData"] == "notBreaching", name


def test_a_stack_update_leaves_what_the_scaler_has_set(
    engines: local.Engines, launch: Launch, scale: LaunchScaling, scaling_binaries: tuple[Path, Path]
) -> None:
    processor = launch().function_name
    scaling = scale(shards=2, processors=processor)
    assert stack.wake(engines, scaling.scale_up, {"shardCount": 4}) is None
    becomes(lambda: open_shards(engines, scaling), 4)
    wait_active(engines, scaling)
    reconcile(engines, scaling)
    before = world(engines, scaling, processor)
    assert before["thresholds"]["incoming-records"] == 4 * SHARD_RECORDS and before["concurrency"] == 4
    # Parameters of the functions' environment, of a schedule, and the default that the stream began with.
    stack.deploy(
        engines,
        AUTOSCALING,
        scaling.stack,
        {"LookBackMinutes": 20, "ShardCountDefault": 1, "OffPeakSchedule": "cron(0/10 2-3 * * ? *)", "LogRetentionDays": 7},
    )
    assert world(engines, scaling, processor) == before
    # Even an update that puts an alarm anew is repaired by the next reconcile.
    stack.deploy(engines, AUTOSCALING, scaling.stack, {"AlarmPeriodSeconds": 300})
    reconcile(engines, scaling)
    assert thresholds(engines, scaling)["incoming-records"] == 5 * 4 * SHARD_RECORDS
    # And so is a processor's concurrency that its own stack's update has put back.
    engines.client("lambda").put_function_concurrency(FunctionName=processor, ReservedConcurrentExecutions=2)
    reconcile(engines, scaling)
    assert concurrency(engines, processor) == 4


def test_the_stream_does_not_depend_on_what_people_change() -> None:
    """CloudFormation updates only resources whose properties changed: no scaling parameter may be one of the stream's."""
    stream = cfn_yaml.load(str(AUTOSCALING))["Resources"]["Stream"]["Properties"]
    assert stream["ShardCount"] == {"Ref": "ShardCountInitial"}
    assert "ShardCountInitial" not in str(
        {name: one for name, one in cfn_yaml.load(str(AUTOSCALING))["Resources"].items() if name != "Stream"}
    )
