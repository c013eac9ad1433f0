"""The templates: clean, alone, and closed against the loop that bills without end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import engines as local
import pytest
import stack
from cfnlint.decode import cfn_yaml
from conftest import Launch, write_logs
from stack import ARCHIVE, AUTOSCALING, LOG_PROCESSING, STREAM_REPLAY, StackError

TEMPLATES = [ARCHIVE, AUTOSCALING, LOG_PROCESSING, STREAM_REPLAY]
HOLDS_DATA = ("AWS::Kinesis::Stream", "AWS::S3::Bucket", "AWS::SQS::Queue")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_cfn_lint_is_clean(template: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "from cfnlint.runner import main; main()", template], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_parameter_is_grouped_labelled_and_described(template: Path) -> None:
    document = cfn_yaml.load(str(template))
    interface = document["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(document["Parameters"])
    assert sorted(interface["ParameterLabels"]) == sorted(document["Parameters"])
    assert [name for name, parameter in document["Parameters"].items() if not parameter.get("Description")] == []
    assert "Export" not in template.read_text()


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_what_holds_data_outlives_its_stack(template: Path) -> None:
    for name, resource in cfn_yaml.load(str(template))["Resources"].items():
        if isinstance(resource, dict) and resource["Type"] in HOLDS_DATA:
            assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain"), name


def resource_types(engines: local.Engines, name: str) -> list[str]:
    resources = engines.client("cloudformation").list_stack_resources(StackName=name)["StackResourceSummaries"]
    return [resource["ResourceType"] for resource in resources]


def test_autoscaling_creates_a_stream(engines: local.Engines) -> None:
    outputs = stack.deploy(engines, AUTOSCALING, "alone", {"StreamName": "alone", "ShardCountInitial": 3})
    assert outputs["StreamName"] == "alone"
    assert outputs["StreamArn"].endswith(":stream/alone")
    assert [kind for kind in resource_types(engines, "alone") if kind != "AWS::Kinesis::Stream"] == [], "without code, the stream alone"


def test_autoscaling_takes_an_existing_stream_and_makes_none(engines: local.Engines) -> None:
    outputs = stack.deploy(engines, AUTOSCALING, "existing", {"ExistingStreamName": "theirs"})
    assert outputs["StreamName"] == "theirs"
    assert outputs["StreamArn"].endswith(":stream/theirs")
    resources = engines.client("cloudformation").list_stack_resources(StackName="existing")["StackResourceSummaries"]
    assert [resource["ResourceType"] for resource in resources if "Kinesis" in resource["ResourceType"]] == []


def test_log_processing_launches_without_a_log_group(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    assert pipeline.log_group == f"/sluice/{pipeline.function_name}"
    queue = engines.client("sqs").get_queue_attributes(QueueUrl=pipeline.dead_letter_queue_url, AttributeNames=["All"])
    assert queue["Attributes"]["MessageRetentionPeriod"] == str(14 * 24 * 3600)
    assert queue["Attributes"]["SqsManagedSseEnabled"] == "true"
    invoke = engines.client("lambda").get_function_event_invoke_config(
        FunctionName=pipeline.function_name, Qualifier="$LATEST"
    )
    assert (invoke["MaximumEventAgeInSeconds"], invoke["MaximumRetryAttempts"]) == (21_600, 2)


def test_one_list_subscribes_several_log_groups(engines: local.Engines, launch: Launch) -> None:
    logs = engines.client("logs")
    groups = ["/t/list/one", "/t/list/two-2", "t_list.three#3"]
    for group in groups:
        logs.create_log_group(logGroupName=group)
    pipeline = launch(LogGroupNames=",".join(groups), FilterPattern="")
    for group in groups:
        filters = logs.describe_subscription_filters(logGroupName=group)["subscriptionFilters"]
        assert [entry["filterName"] for entry in filters] == [pipeline.function_name]


@pytest.mark.parametrize("names", ["/sluice/{function}", "/t/fine,/sluice/{function}", "/sluice/another-function"])
def test_the_processors_own_log_group_is_refused(engines: local.Engines, launch: Launch, names: str) -> None:
    with pytest.raises(StackError, match="Sluice's own logs|LogGroupNames"):
        launch(LogGroupNames=names.format(function="x-log-processor"))


def test_the_pattern_itself_refuses_every_own_log_group() -> None:
    """CloudFormation evaluates AllowedPattern, so the pattern must be right whatever an engine does with it."""
    document = cfn_yaml.load(str(LOG_PROCESSING))
    pattern = re.compile(document["Parameters"]["LogGroupNames"]["AllowedPattern"])
    own = document["Resources"]["ProcessorLogGroup"]["Properties"]["LogGroupName"]["Fn::Sub"]
    assert pattern.fullmatch(own.replace("${FunctionName}", "sluice-log-processor")) is None
    assert pattern.fullmatch("/sluice/") is None
    for good in ("", "/aws/lambda/orders", "/sluice-like/app", "sluice/app", "a.b_c#d-1"):
        assert pattern.fullmatch(good), good
    for bad in ("with blank", "star*", "a" * 513):
        assert pattern.fullmatch(bad) is None, bad


def test_names_alike_but_for_punctuation_are_refused_together(engines: local.Engines, launch: Launch) -> None:
    """A logical ID holds letters and digits alone, so both would be SubscriptiontAlike; never one in silence."""
    for group in ("/t/alike", "/ta/like"):
        engines.client("logs").create_log_group(logGroupName=group)
    with pytest.raises(StackError, match="Subscriptiontalike"):
        launch(LogGroupNames="/t/alike,/ta/like")


def test_the_subscription_waits_for_the_permission() -> None:
    loop = cfn_yaml.load(str(LOG_PROCESSING))["Resources"]["Fn::ForEach::Subscriptions"]
    subscription = loop[2]["Subscription&{LogGroupName}"]
    assert "ProcessorPermission" in subscription["DependsOn"]


def test_a_filter_pattern_keeps_the_rest_away(engines: local.Engines, launch: Launch) -> None:
    from compare import Arrivals
    from read_back import records

    engines.client("logs").create_log_group(logGroupName="/t/filtered")
    pipeline = launch(LogGroupNames="/t/filtered", FilterPattern="ERROR")
    written = write_logs(engines, "/t/filtered", "s", ["ERROR one", "INFO two", "ERROR three"])
    stack.settle(engines)
    arrivals = Arrivals()
    arrivals.take(records(engines, pipeline.stream_name), "kpl", "envelope")
    assert sorted(arrivals.events) == sorted([written[0], written[2]])


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_alarm_says_what_follows(template: Path) -> None:
    for name, resource in cfn_yaml.load(str(template))["Resources"].items():
        if isinstance(resource, dict) and resource["Type"] == "AWS::CloudWatch::Alarm":
            properties = resource["Properties"]
            # Local engines refuse metric math, so one parameter leaves out those that are made of it.
            assert ("Metrics" in properties) == (resource.get("Condition") == "HasMetricMathAlarms"), name
            assert len(str(properties["AlarmDescription"])) > 120, name
            assert properties.get("AlarmActions"), name
            if template == LOG_PROCESSING:
                # When: what is dead is deleted after so many days, what waits is given up after so many hours.
                assert re.search(r"14 days|six hours|for good", str(properties["AlarmDescription"])), name


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_number_has_a_range_and_says_it(template: Path) -> None:
    for name, parameter in cfn_yaml.load(str(template))["Parameters"].items():
        if parameter["Type"] == "Number":
            bounds = parameter.get("AllowedValues") or [parameter["MinValue"], parameter["MaxValue"]]
            said = str(parameter["Description"]).replace(",", "")
            assert all(str(bound) in said for bound in (bounds[0], bounds[-1])), f"{name}: {bounds}"


def test_the_stream_alone_launches_without_a_bucket() -> None:
    """A larger template would have to be uploaded first, and without code there is nowhere to upload it."""
    assert AUTOSCALING.stat().st_size <= stack.TEMPLATE_BYTES_MAX
