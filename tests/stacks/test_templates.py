"""The templates: clean, alone, and closed against the loop that bills without end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engines as local
import pytest
import stack
from awscli.customizations.cloudformation.yamlhelper import yaml_parse
from cfnlint.decode import cfn_yaml
from conftest import Launch, write_logs
from engines import ROOT
from stack import ARCHIVE, AUTOSCALING, LOG_PROCESSING, OVERVIEW, STREAM_REPLAY, StackError

sys.path.insert(0, str(ROOT / "infra"))
from compact import compact
from template import Resource, Template

TEMPLATES = [ARCHIVE, AUTOSCALING, LOG_PROCESSING, OVERVIEW, STREAM_REPLAY]
HOLDS_DATA = ("AWS::Kinesis::Stream", "AWS::S3::Bucket", "AWS::SQS::Queue")
GUARDS_DATA = ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_cfn_lint_is_clean(template: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "from cfnlint.runner import main; main()", template], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_what_checkov_skips_says_why_at_its_resource(template: Path) -> None:
    """`make lint` runs it. A skip for a whole template, or one without a reason, would hide what comes later."""
    lines = template.read_text().splitlines()
    for at, line in enumerate(lines):
        if "checkov:" in line:
            assert re.fullmatch(r"    # checkov:skip=CKV_AWS_\d+:.{40,}", line), line
            assert any(re.fullmatch(r"  [A-Za-z0-9]+:", above) for above in lines[at - 2 : at]), line


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
def test_what_holds_data_outlives_its_stack_but_not_a_launch_that_failed(template: Path) -> None:
    for name, resource in cfn_yaml.load(str(template))["Resources"].items():
        if isinstance(resource, dict) and resource["Type"] in HOLDS_DATA + GUARDS_DATA:
            policies = resource["DeletionPolicy"], resource["UpdateReplacePolicy"]
            assert policies == ("RetainExceptOnCreate", "Retain"), name


def statements(template: Path) -> Iterator[dict[str, Any]]:
    """Every statement that a role of the template has, under whatever condition."""

    def found(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            if "Effect" in value and "Principal" not in value:
                yield value
            value = list(value.values())
        if isinstance(value, list):
            for one in value:
                yield from found(one)

    yield from found(cfn_yaml.load(str(template))["Resources"])


# AWS's service authorization reference names no resource type for these; Lambda checks the EC2 actions on every resource.
WITHOUT_RESOURCE = {
    "kinesis:UpdateShardCount", "kinesis:EnableEnhancedMonitoring", "kinesis:DisableEnhancedMonitoring",
    "cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData", "lambda:GetAccountSettings", "lambda:ListEventSourceMappings",
    "xray:PutTraceSegments", "xray:PutTelemetryRecords",
    "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
}  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_only_actions_without_a_resource_are_allowed_on_every_resource(template: Path) -> None:
    for statement in statements(template):
        if statement["Effect"] == "Allow":
            actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
            is_wild = statement["Resource"] == "*"
            assert [action for action in actions if is_wild != (action in WITHOUT_RESOURCE)] == [], statement["Sid"]


def test_a_scaling_function_changes_only_mappings_of_the_functions_that_follow() -> None:
    followers = {one["Sid"]: one for one in statements(AUTOSCALING) if one.get("Sid") in ("MoveItsConcurrency", "MoveItsMapping")}
    its_function = followers["MoveItsConcurrency"]["Resource"]
    assert followers["MoveItsMapping"]["Condition"] == {"ArnEquals": {"lambda:FunctionArn": its_function}}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_wildcard_has_its_reason_beside_it(template: Path) -> None:
    lines = template.read_text().splitlines()
    for at, line in enumerate(lines):
        if line.strip() == 'Resource: "*"':
            sid = next(before for before in range(at, 0, -1) if "Sid:" in lines[before])
            # Between the statement and the one before, or inside it.
            above = next(before for before in range(sid - 1, 0, -1) if "Resource:" in lines[before] or "Statement:" in lines[before])
            is_denied = "Effect: Deny" in lines[sid + 1]
            assert is_denied or any(one.strip().startswith("# ") for one in lines[above:at]), f"{template.name}:{sid + 1}"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_function_that_is_traced_may_send_traces_before_it_is_created(template: Path) -> None:
    """Lambda refuses to create it otherwise. Its role is there before it, a policy of its own need not be."""
    resources = cfn_yaml.load(str(template))["Resources"]
    policies = [one for one in resources.values() if isinstance(one, dict) and one["Type"] == "AWS::IAM::Policy"]
    for name, function in resources.items():
        if not isinstance(function, dict) or "TracingConfig" not in function.get("Properties", {}):
            continue
        role = function["Properties"]["Role"]["Fn::GetAtt"][0]
        waits_for = [function["DependsOn"]] if isinstance(function.get("DependsOn"), str) else function.get("DependsOn", [])
        there = [resources[role]["Properties"]["Policies"]] + [resources[policy] for policy in waits_for]
        assert "xray:PutTraceSegments" in str(there), name
    assert all("DependsOn" not in policy for policy in policies)


def properties_of(template: Path, of_type: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in cfn_yaml.load(str(template))["Resources"].items():
        if isinstance(resource, dict) and resource["Type"] == of_type:
            yield name, resource["Properties"]


def chosen(condition: str, parameter: str) -> dict[str, Any]:
    return {"Fn::If": [condition, {"Ref": parameter}, {"Ref": "AWS::NoValue"}]}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_what_a_bank_asks_reaches_every_resource(template: Path) -> None:
    for name, role in properties_of(template, "AWS::IAM::Role"):
        assert role["Path"] == {"Ref": "RolePath"}, name
        assert role["PermissionsBoundary"] == chosen("HasPermissionsBoundary", "PermissionsBoundaryArn"), name
    for name, log_group in properties_of(template, "AWS::Logs::LogGroup"):
        assert log_group["KmsKeyId"] == chosen("HasLogGroupKmsKey", "LogGroupKmsKeyArn"), name
        assert log_group["RetentionInDays"] == {"Ref": "LogRetentionDays"}, name
    for name, function in properties_of(template, "AWS::Lambda::Function"):
        assert function["KmsKeyArn"] == chosen("HasEnvironmentKmsKey", "EnvironmentKmsKeyArn"), name
        assert function["CodeSigningConfigArn"] == chosen("HasCodeSigning", "CodeSigningConfigArn"), name
        fips = function["Environment"]["Variables"]["AWS_USE_FIPS_ENDPOINT"]
        assert fips == {"Fn::If": ["HasFips", "true", {"Ref": "AWS::NoValue"}]}, name
    for name, alarm in properties_of(template, "AWS::CloudWatch::Alarm"):
        # Those that wake scale-up tell nobody.
        if alarm["AlarmActions"] != [{"Fn::GetAtt": ["ScaleUp", "Arn"]}]:
            assert alarm["OKActions"]["Fn::If"][0] == "HasOkActions", name


@pytest.mark.parametrize("template", [one for one in TEMPLATES if one != OVERVIEW], ids=lambda path: path.name)
def test_only_a_standard_topic_can_be_told(template: Path) -> None:
    """Nothing says that an alarm can publish to a .fifo topic, and it would fail without a word."""
    pattern = re.compile(cfn_yaml.load(str(template))["Parameters"]["NotifyTopicArn"]["AllowedPattern"])
    topic = "arn:aws:sns:eu-central-1:111122223333:operators"
    assert pattern.fullmatch(topic) and pattern.fullmatch("")
    assert pattern.fullmatch(f"{topic}.fifo") is None


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_the_runbooks_address_can_break_no_text(template: Path) -> None:
    """It goes into JSON, Markdown and the alarms' texts, which add the entry's name to it."""
    pattern = re.compile(cfn_yaml.load(str(template))["Parameters"]["RunbookUrl"]["AllowedPattern"])
    for good in ("docs/runbook.md", "https://wiki.example/sluice/runbook?v=2", "http://intranet/runbook"):
        assert pattern.fullmatch(good), good
    for bad in ("", "runbook", "javascript:x", 'https://a"b', "https://a\\b", "https://a b", "https://a)b", "https://a#b", "https://a>b"):
        assert pattern.fullmatch(bad) is None, bad


@pytest.mark.parametrize("template", [AUTOSCALING, LOG_PROCESSING, STREAM_REPLAY], ids=lambda path: path.name)
def test_nothing_is_reserved_where_the_account_cannot(template: Path) -> None:
    document = cfn_yaml.load(str(template))
    assert document["Parameters"]["ReserveConcurrency"]["Default"] == "true"
    functions = {
        name: resource["Properties"]
        for name, resource in document["Resources"].items()
        if isinstance(resource, dict) and resource["Type"] == "AWS::Lambda::Function"
    }
    assert functions
    # A limit on the forwarder would make payloads wait in Lambda's queue, which it is there to avoid.
    assert "ReservedConcurrentExecutions" not in functions.pop("Forwarder", {})
    can_reserve = {"Fn::Equals": [{"Ref": "ReserveConcurrency"}, "true"]}
    for name, properties in functions.items():
        condition, reserved, none = properties["ReservedConcurrentExecutions"]["Fn::If"]
        # More conditions may be joined to it.
        rule = document["Conditions"][condition]
        required = [document["Conditions"].get(one.get("Condition")) for one in rule.get("Fn::And", [])] + [rule]
        assert can_reserve in required, name
        assert reserved in (1, {"Ref": "ReservedConcurrency"}), name
        assert none == {"Ref": "AWS::NoValue"}, name


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_alarm_says_what_missing_data_means(template: Path) -> None:
    for name, resource in cfn_yaml.load(str(template))["Resources"].items():
        if isinstance(resource, dict) and resource["Type"] == "AWS::CloudWatch::Alarm":
            assert resource["Properties"].get("TreatMissingData"), name


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_log_group_goes_with_its_stack_and_nobody_makes_it_again(template: Path) -> None:
    assert "logs:CreateLogGroup" not in template.read_text()
    for name, resource in cfn_yaml.load(str(template))["Resources"].items():
        if isinstance(resource, dict) and resource["Type"] == "AWS::Logs::LogGroup":
            assert resource["DeletionPolicy"] == "Delete", name


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
    invoke = engines.client("lambda").get_function_event_invoke_config(FunctionName=pipeline.function_name, Qualifier="$LATEST")
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


def bodies(template: str) -> list[list[str]]:
    """The strings and the other characters of dashboards' bodies, blanks between them left out."""
    resources = yaml_parse(template)["Resources"].values()
    found = [one["Properties"] for one in resources if isinstance(one, dict) and one["Type"] == "AWS::CloudWatch::Dashboard"]
    return [re.findall(r'"(?:[^"\\]|\\.)*"|[^\s"]', one["DashboardBody"]["Fn::Sub"][0]) for one in found]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_compacted_template_says_the_same(template: Path, tmp_path: Path) -> None:
    text = template.read_text()
    short = compact(text)
    assert len(short.encode()) < 0.92 * len(text.encode())
    assert bodies(short) == bodies(text)

    def without_bodies(text: str) -> Any:
        parsed = yaml_parse(text)
        parsed.pop("Metadata", None)
        for resource in parsed["Resources"].values():
            if isinstance(resource, dict) and resource["Type"] == "AWS::CloudWatch::Dashboard":
                resource["Properties"]["DashboardBody"]["Fn::Sub"][0] = ""
        return parsed

    assert without_bodies(short) == without_bodies(text)
    written = tmp_path / "compact.json"
    written.write_text(short)
    done = subprocess.run([sys.executable, "-c", "from cfnlint.runner import main; main()", written], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_blanks_within_a_dashboards_texts_stay() -> None:
    body = '{"a b": [1,\n 2], "c": "say \\"x  y\\" ${Name}, z"}'
    resources = {"D": {"Type": "AWS::CloudWatch::Dashboard", "Properties": {"DashboardBody": {"Fn::Sub": [body, {}]}}}}
    short = json.loads(compact(json.dumps({"Resources": resources})))
    assert short["Resources"]["D"]["Properties"]["DashboardBody"]["Fn::Sub"][0] == ('{"a b":[1,2],"c":"say \\"x  y\\" ${Name}, z"}')


def test_the_stream_alone_launches_without_a_bucket(engines: local.Engines) -> None:
    """A larger template would have to be uploaded first, and without code there is nowhere to upload it."""
    assert len(compact(AUTOSCALING.read_text()).encode()) <= stack.TEMPLATE_BYTES_MAX
    made = make(engines, "deploy-autoscaling", "AUTOSCALING_STACK=no-bucket", "PARAMETERS=StreamName=no-bucket")
    assert "no BUCKET=" in made
    assert resource_types(engines, "no-bucket") == ["AWS::Kinesis::Stream"]


def make(engines: local.Engines, *arguments: str) -> str:
    """Runs make against the engines."""
    done = local.make(*arguments, AWS_ENDPOINT_URL=engines.endpoint)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dashboard(engines: local.Engines, stack: str) -> list[dict[str, Any]]:
    body = engines.client("cloudwatch").get_dashboard(DashboardName=f"{stack}-{local.REGION}")["DashboardBody"]
    return list(json.loads(body)["widgets"])


def test_the_overview_is_made_of_the_stacks_that_are_there(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    prefix = pipeline.function_name.removesuffix("-log-processor")
    name = f"{prefix}-overview"
    make(engines, "deploy-overview", f"OVERVIEW_STACK={name}", f"LOG_PROCESSING_STACK={prefix}-log-processing",
         "AUTOSCALING_STACK=not-there", "ARCHIVE_STACK=not-there", "STREAM_REPLAY_STACK=not-there",
         f"PARAMETERS=StreamName={pipeline.stream_name}")  # fmt: skip
    widgets = dashboard(engines, name)
    (alarms,) = [widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm"]
    there = engines.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{prefix}-log-processing-")["MetricAlarms"]
    assert len(there) > 5
    assert {alarm["AlarmArn"] for alarm in there} <= set(alarms)
    assert all(f":alarm:{prefix}-log-processing-" in arn for arn in alarms), "and of no other stack"
    assert [widget for widget in widgets if widget["type"] == "log"] == [], "who does not scale has no decisions"
    text = json.dumps(widgets)
    for queue in (pipeline.dead_letter_queue_url, pipeline.quarantine_queue_url):
        assert f'"QueueName", "{queue.rsplit("/", 1)[-1]}"' in text
    assert f'"{pipeline.function_name}"' in text


def test_the_alarms_on_a_dashboard_are_those_of_its_stack(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    name = f"{pipeline.function_name.removesuffix('-log-processor')}-log-processing"
    shown = [arn for widget in dashboard(engines, name) if widget["type"] == "alarm" for arn in widget["properties"]["alarms"]]
    there = engines.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{name}-")["MetricAlarms"]
    assert sorted(shown) == sorted(alarm["AlarmArn"] for alarm in there)


def launched(**parameters: str) -> dict[str, Resource]:
    """The resources that log-processing consists of with these parameters."""
    given = {"CodeS3Bucket": "code", "CodeS3Key": "p.zip", "CodeS3KeyDlqReplayer": "r.zip", "LogGroupNames": "/app/web", **parameters}
    pseudo = {"AWS::StackName": "s", "AWS::Region": "eu-west-1", "AWS::AccountId": "111122223333", "AWS::Partition": "aws"}
    return {one.logical_id: one for one in Template(LOG_PROCESSING).resources(given, pseudo)}


def test_a_buffer_queue_is_there_only_when_it_is_asked_for() -> None:
    plain, buffered = launched(), launched(Buffer="queue")
    more = {"BufferQueue", "BufferQueuePolicy", "ForwarderLogGroup", "ForwarderRole", "Forwarder", "BufferMapping",
            "BufferLagAlarm", "BufferOldAlarm", "ForwarderFailingAlarm", "ForwarderHeldBackAlarm"}  # fmt: skip
    assert buffered.keys() - plain.keys() == more and plain.keys() <= buffered.keys()
    assert plain["Processor"].properties["ReservedConcurrentExecutions"] == "2"
    # The mapping is the limit then. A second one would only spend receipts of messages that find no processor.
    assert "ReservedConcurrentExecutions" not in buffered["Processor"].properties
    assert buffered["Replayer"].properties["Environment"]["Variables"]["REPLAY_PARALLELISM"] == 1


def test_a_buffer_queues_mapping_takes_what_lambda_allows() -> None:
    for reserved, maximum, enabled in (("0", 2, False), ("1", 2, True), ("2", "2", True), ("64", "64", True)):
        mapping = launched(Buffer="queue", ReservedConcurrency=reserved)["BufferMapping"].properties
        assert (mapping["ScalingConfig"]["MaximumConcurrency"], mapping["Enabled"]) == (maximum, enabled), reserved
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


@pytest.mark.parametrize("timeout", [10, 60, 900])
def test_a_message_stays_hidden_six_times_as_long_as_it_may_take(timeout: int) -> None:
    """Lambda refuses a mapping of a queue below the timeout, AWS advises six times it, and SQS takes 12 hours at the most."""
    queue = launched(Buffer="queue", TimeoutSeconds=str(timeout))["BufferQueue"].properties
    assert 6 * timeout <= int(queue["VisibilityTimeout"]) <= 43_200
    assert queue["MessageRetentionPeriod"] == 1_209_600
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5
