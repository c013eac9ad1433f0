"""Preflight: each finding is provoked, on the local engines or, where they cannot play it, by a stubbed answer, and read."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import engines as local
import pytest
import running
from botocore.stub import Stubber
from conftest import engines_of_its_own
from engines import REGION, ROOT

sys.path.insert(0, str(ROOT / "infra"))
import preflight
from compact import compact
from preflight import Account, Finding, Launch, Preflight
from template import STACKS, UNKNOWN, Template

BUCKET = "preflight-code"
CODE = {
    "autoscaling": {"CodeS3KeyScaleUp": "up.zip", "CodeS3KeyScaleDown": "down.zip"},
    "log-processing": {"CodeS3Key": "processor.zip", "CodeS3KeyDlqReplayer": "replayer.zip"},
    "archive": {"CodeS3Key": "archiver.zip"},
    "stream-replay": {"CodeS3Key": "replayer.zip"},
}
_names = itertools.count(1)


@pytest.fixture(scope="module")
def engines(held: running.Held, functions: dict[str, Path]) -> Iterator[local.Engines]:
    """Of this module alone: the account's quotas and names are what it is about."""
    for started in engines_of_its_own(held, functions, "preflight"):
        started.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        for service in ("lambda", "scheduler"):
            trust = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
            document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
            started.client("iam").create_role(RoleName=service, AssumeRolePolicyDocument=document)
        yield started


@pytest.fixture
def name() -> str:
    return f"preflight-{next(_names)}"


def launch(stack: str, name: str, **parameters: Any) -> Launch:
    return Launch(stack, name, {"CodeS3Bucket": BUCKET, **CODE[stack], **{key: str(value) for key, value in parameters.items()}})


def client_of(engines: local.Engines, stubbed: dict[str, Any] | None = None, region: str = REGION) -> Callable[[str], Any]:
    return lambda service: (stubbed or {}).get(service) or engines.client(service)


def found(
    engines: local.Engines, *launches: Launch, bucket: str | None = None, stubbed: dict[str, Any] | None = None, region: str = REGION
) -> list[Finding]:
    return Preflight(Account(client_of(engines, stubbed), region), launches, bucket).run()


def only(findings: list[Finding], code: str) -> Finding:
    (one,) = [finding for finding in findings if finding.code == code]
    return one


def stub(engines: local.Engines, service: str, prepare: Callable[[Stubber], Any]) -> dict[str, Any]:
    """A client of the service that gives the answers prepared, in turn."""
    client = engines.client(service)
    stubber = Stubber(client)
    prepare(stubber)
    stubber.activate()
    return {service: client}


def environment(engines: local.Engines | None, **more: str) -> dict[str, str]:
    chosen = {"AWS_ENDPOINT_URL": engines.endpoint, "AWS_ENDPOINT_URL_KINESIS": engines.stream_endpoint} if engines else {}
    return {**local.plain_environment(**chosen), **more}


def run(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "infra" / "preflight.py", *arguments], capture_output=True, text=True, env=environment, cwd=ROOT
    )


def create_active(kinesis: Any, name: str, shards: int = 1) -> None:
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    while kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        time.sleep(0.05)


# Where nothing is in the way


def test_a_launch_with_nothing_in_its_way_has_no_finding_and_takes_seconds(engines: local.Engines, name: str) -> None:
    engines.client("logs").create_log_group(logGroupName=f"/{name}")
    began = time.monotonic()
    done = run(
        "autoscaling", "log-processing", "--bucket", BUCKET, "--parameters", f"LogGroupNames=/{name}", environment=environment(engines)
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "preflight: nothing stands in the way"), done.stdout + done.stderr
    assert time.monotonic() - began < 30


def test_a_look_leaves_nothing_behind(engines: local.Engines, name: str) -> None:
    s3 = engines.client("s3")
    found(engines, launch("autoscaling", name), bucket=BUCKET)
    assert not s3.list_objects_v2(Bucket=BUCKET).get("Contents")
    assert not s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads")
    assert not engines.client("cloudformation").list_stacks()["StackSummaries"]


# Who and where


def test_credentials_that_have_expired_stop(engines: local.Engines, name: str) -> None:
    stubbed = stub(engines, "sts", lambda it: it.add_client_error("get_caller_identity", "ExpiredToken", "expired", 403))
    (finding,) = found(engines, launch("autoscaling", name), stubbed=stubbed)
    assert (finding.severity, finding.what) == ("stops", "the credentials have expired")
    assert "aws sso login" in finding.remedy


def test_credentials_that_aws_does_not_take_stop(engines: local.Engines) -> None:
    done = run("autoscaling", environment=environment(engines, AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE", AWS_SECRET_ACCESS_KEY="no"))
    assert done.returncode == 1
    assert "AWS does not take the credentials (InvalidClientTokenId)" in " ".join(done.stdout.split()), done.stdout


def test_no_credentials_stop(engines: local.Engines) -> None:
    bare = environment(engines)
    del bare["AWS_ACCESS_KEY_ID"], bare["AWS_SECRET_ACCESS_KEY"]
    done = run("autoscaling", environment=bare)
    assert (done.returncode, "there are no credentials" in done.stdout) == (1, True), done.stdout + done.stderr


def test_no_region_stops(engines: local.Engines) -> None:
    bare = environment(engines)
    del bare["AWS_REGION"], bare["AWS_DEFAULT_REGION"]
    done = run("autoscaling", environment=bare)
    assert (done.returncode, "no region is set" in done.stdout) == (1, True), done.stdout + done.stderr


def test_a_profile_that_is_not_there_stops() -> None:
    done = run("autoscaling", environment=environment(None, AWS_PROFILE="nobody"))
    assert (done.returncode, "nobody" in done.stdout, "Traceback" in done.stderr) == (1, True, False), done.stdout + done.stderr


def test_a_misspelt_region_is_told_with_the_nearest(engines: local.Engines) -> None:
    done = run("autoscaling", environment=environment(engines, AWS_DEFAULT_REGION="eu-centrall-1", AWS_REGION="eu-centrall-1"))
    assert "the installed AWS SDK knows no region eu-centrall-1" in " ".join(done.stdout.split()), done.stdout
    assert "did you mean eu-central-1?" in done.stdout


def test_a_region_that_is_not_enabled_stops(engines: local.Engines, name: str) -> None:
    stubbed = {
        **stub(engines, "sts", lambda it: it.add_client_error("get_caller_identity", "InvalidClientTokenId", "invalid", 403)),
        **stub(
            engines,
            "account",
            lambda it: it.add_response("get_region_opt_status", {"RegionName": "af-south-1", "RegionOptStatus": "DISABLED"}),
        ),
    }
    (finding,) = found(engines, launch("autoscaling", name), stubbed=stubbed, region="af-south-1")
    assert finding.what == "the region af-south-1 is not enabled in this account"
    assert finding.remedy.startswith("aws account enable-region --region-name af-south-1")


def test_a_region_that_lacks_a_service_stops(engines: local.Engines, name: str) -> None:
    with_hole = environment(engines, AWS_ENDPOINT_URL_SCHEDULER="http://127.0.0.1:9")
    done = run(f"autoscaling={name}", "--bucket", BUCKET, "--json", environment=with_hole)
    told = [one for one in json.loads(done.stdout)["findings"] if one["code"] == "region-lacks-service"]
    assert done.returncode == 1
    assert [one["what"].split(":")[0] for one in told] == [f"EventBridge Scheduler does not answer in {REGION}"]


def test_a_missing_permission_is_a_warning_that_names_it_once(engines: local.Engines, name: str) -> None:
    iam = engines.client("iam")
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    poor = environment(engines, AWS_ACCESS_KEY_ID=key["AccessKeyId"], AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"])
    done = run(f"log-processing={name}", "--bucket", BUCKET, "--parameters", "LogGroupNames=/a,/b", "--json", environment=poor)
    told = [one for one in json.loads(done.stdout)["findings"] if one["code"] == "not-checked"]
    assert {one["severity"] for one in told} == {"warns"}
    permissions = [one["what"].rpartition("needs permission ")[2] for one in told]
    assert len(set(permissions)) == len(permissions)
    assert {"cloudformation:DescribeStacks", "logs:DescribeLogGroups", "cloudwatch:DescribeAlarms"} <= set(permissions), told
    assert "could not check the log group /a, the log group /b" in next(one["what"] for one in told if "DescribeLogGroups" in one["what"])


def test_an_answer_that_nobody_expects_is_a_warning_and_no_crash(engines: local.Engines, name: str) -> None:
    stubbed = stub(engines, "kinesis", lambda it: it.add_client_error("describe_limits", "InternalFailure", "try later", 500))
    finding = only(
        [one for one in found(engines, launch("autoscaling", name), stubbed=stubbed) if "quota of shards" in one.what], "not-checked"
    )
    assert finding.what == "could not check the quota of shards: InternalFailure: try later"


# Quotas


def test_a_small_quota_of_lambda_stops_and_names_the_request(engines: local.Engines, name: str) -> None:
    limits = {"AccountLimit": {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}}

    def small(it: Stubber) -> None:
        it.add_response("get_account_settings", limits)
        for _ in range(2):
            it.add_client_error("get_function_concurrency", "ResourceNotFoundException", "none", 404)

    stubbed = stub(engines, "lambda", small)
    finding = only(found(engines, launch("autoscaling", name), stubbed=stubbed), "lambda-concurrency")
    assert finding.severity == "stops"
    assert (
        f"{name}-scale-up reserves 1" in finding.what and "keeps 100 of the account's 10 concurrent executions unreserved" in finding.what
    )
    assert "request-service-quota-increase --service-code lambda --quota-code L-B99A9384 --desired-value 1000" in finding.remedy


def test_an_account_near_its_quota_of_lambda_stops_by_one(engines: local.Engines, functions_zip: bytes, name: str) -> None:
    """The engine's account has 1,000: with 898 reserved, two more still fit, three do not."""
    functions = engines.client("lambda")
    functions.create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Handler="bootstrap",
        Role="arn:aws:iam::000000000000:role/lambda",
        Code={"ZipFile": functions_zip},
    )
    try:
        functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=898)
        codes = [one.code for one in found(engines, launch("autoscaling", name))]
        assert "lambda-concurrency" not in codes
        stopped = found(engines, launch("log-processing", name, ReservedConcurrency=2))
        assert only(stopped, "lambda-concurrency").severity == "stops"
    finally:
        functions.delete_function(FunctionName=name)


@pytest.fixture(scope="module")
def functions_zip() -> bytes:
    import io
    import zipfile

    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("bootstrap", "#!/bin/sh\n")
    return held.getvalue()


def test_a_quota_that_ends_below_the_peak_warns(engines: local.Engines, name: str) -> None:
    finding = only(found(engines, launch("autoscaling", name, ShardCountMax=400, ConcurrencyPerShard=4)), "lambda-concurrency-at-peak")
    assert finding.severity == "warns"
    assert "at ShardCountMax=400 the processors may reserve 1,600" in finding.what


@pytest.mark.parametrize(
    ("parameters", "severity", "told"),
    [
        ({"ShardCountInitial": 513, "ShardCountMax": 513}, "stops", "the stream cannot be created"),
        ({"ShardCountMax": 600}, "warns", "scaling ends at 512"),
        ({"ShardCountMax": 300}, "warns", "AWS counts short-lived shards of a reshard, too, up to 600"),
    ],
)
def test_a_quota_of_shards_that_is_too_small_is_told(
    engines: local.Engines, name: str, parameters: dict[str, int], severity: str, told: str
) -> None:
    """The engine's account has 512."""
    finding = only(found(engines, launch("autoscaling", name, StreamName=name, **parameters)), "shards")
    assert (finding.severity, told in finding.what) == (severity, True), finding
    assert "service-quotas" in finding.remedy


def test_the_quota_of_firehose_is_told_by_region(engines: local.Engines, name: str) -> None:
    stream = engines.client("kinesis")
    create_active(stream, name, 5)
    archive = launch("archive", name, StreamName=name, FunctionName=name)
    finding = only(found(engines, archive), "firehose")
    assert finding.severity == "warns" and f"takes 1 MiB/s in {REGION}" in finding.what and "5 MB/s" in finding.what
    assert "firehose" not in [one.code for one in found(engines, archive, region="us-east-1")], "5 MiB/s there"
    stream.delete_stream(StreamName=name)


def test_the_quota_of_alarms_is_told(engines: local.Engines, name: str) -> None:
    client = engines.client("cloudwatch")
    real = client.describe_alarms

    def many(**arguments: Any) -> Any:
        return real(**arguments) if "AlarmNames" in arguments else {"MetricAlarms": [{"AlarmName": str(at)} for at in range(4_995)]}

    client.describe_alarms = many
    finding = only(found(engines, launch("autoscaling", name), stubbed={"cloudwatch": client}), "alarms")
    assert finding.severity == "warns" and "the account has 4,995: AWS allows 5,000 a region" in finding.what
    assert "service-quotas" in finding.remedy


# Log groups


def test_log_groups_that_cannot_be_subscribed_stop_each_with_its_reason(engines: local.Engines, name: str) -> None:
    logs = engines.client("logs")
    for group, more in ((f"/{name}/full", {}), (f"/{name}/rare", {"logGroupClass": "INFREQUENT_ACCESS"}), (f"/{name}/free", {})):
        logs.create_log_group(logGroupName=group, **more)
    for number in (1, 2):
        logs.put_subscription_filter(
            logGroupName=f"/{name}/full", filterName=f"other-{number}", filterPattern="",
            destinationArn=f"arn:aws:lambda:{REGION}:000000000000:function:other",
        )  # fmt: skip
    logs.put_subscription_filter(
        logGroupName=f"/{name}/free",
        filterName="other",
        filterPattern="",
        destinationArn=f"arn:aws:lambda:{REGION}:000000000000:function:o",
    )
    groups = ",".join(f"/{name}/{one}" for one in ("full", "rare", "free", "none"))
    told = {
        one.code: one for one in found(engines, launch("log-processing", name, LogGroupNames=groups)) if one.code.startswith("log-group-")
    }
    assert {one.severity for one in told.values()} == {"stops"}
    assert told["log-group-missing"].what == f"the log group /{name}/none does not exist"
    assert told["log-group-missing"].remedy.startswith(f"aws logs create-log-group --log-group-name /{name}/none")
    assert (
        told["log-group-class"].what
        == f"the log group /{name}/rare is of class INFREQUENT_ACCESS, and only class STANDARD can be subscribed"
    )
    assert "has 2 subscription filters (other-1, other-2)" in told["log-group-filters"].what
    assert f"delete-subscription-filter --log-group-name /{name}/full --filter-name other-2" in told["log-group-filters"].remedy
    assert not any(f"/{name}/free" in one.what for one in told.values()), "one more filter fits"


def test_a_filter_of_the_stack_itself_takes_no_second_place(engines: local.Engines, name: str) -> None:
    logs = engines.client("logs")
    logs.create_log_group(logGroupName=f"/{name}")
    for filter_name in ("other", name):
        logs.put_subscription_filter(
            logGroupName=f"/{name}", filterName=filter_name, filterPattern="",
            destinationArn=f"arn:aws:lambda:{REGION}:000000000000:function:{name}",
        )  # fmt: skip
    codes = [one.code for one in found(engines, launch("log-processing", name, LogGroupNames=f"/{name}", FunctionName=name))]
    assert "log-group-filters" not in codes


# Names and states


def test_names_that_others_have_stop_each_with_its_remedy(engines: local.Engines, functions_zip: bytes, name: str) -> None:
    engines.client("lambda").create_function(
        FunctionName=f"{name}-scale-up",
        Runtime="provided.al2023",
        Handler="bootstrap",
        Role="arn:aws:iam::000000000000:role/lambda",
        Code={"ZipFile": functions_zip},
    )
    engines.client("scheduler").create_schedule(
        Name=f"{name}-reconcile", ScheduleExpression="rate(1 hour)", FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": f"arn:aws:lambda:{REGION}:000000000000:function:x", "RoleArn": "arn:aws:iam::000000000000:role/scheduler"},
    )  # fmt: skip
    engines.client("kinesis").create_stream(StreamName=name, ShardCount=1)
    cloudwatch = engines.client("cloudwatch")
    planned = Template.of("autoscaling").resources(launch("autoscaling", name).parameters, {"AWS::StackName": name, "AWS::Region": REGION})
    (dashboard,) = [one.name("DashboardName") for one in planned if one.type == "AWS::CloudWatch::Dashboard"]
    cloudwatch.put_dashboard(DashboardName=dashboard, DashboardBody='{"widgets": []}')
    cloudwatch.put_metric_alarm(
        AlarmName=f"{name}-utilization", Namespace="x", MetricName="x", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    engines.client("logs").create_log_group(logGroupName=f"/sluice/{name}-scale-down")
    told = [one for one in found(engines, launch("autoscaling", name, StreamName=name)) if one.code == "name-taken"]
    assert {one.severity for one in told} == {"stops"}
    by_noun = {one.what.removeprefix("there is a ").split(f" {name}")[0].split(" /sluice")[0]: one for one in told}
    assert set(by_noun) == {"function", "schedule", "stream", "dashboard", "alarm", "log group"}, told
    assert f"aws lambda delete-function --function-name {name}-scale-up" in by_noun["function"].remedy
    assert f"ExistingStreamName={name}" in by_noun["stream"].remedy
    assert "one list for all regions" in by_noun["dashboard"].what


def test_names_of_the_stack_itself_are_no_finding(engines: local.Engines, name: str) -> None:
    """An update finds its own queue, function and log group there."""
    cloudformation = engines.client("cloudformation")
    body = {"Resources": {"G": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": f"/sluice/{name}"}}}}
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(body))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    assert "name-taken" not in [one.code for one in found(engines, launch("archive", name, FunctionName=name, StreamName="none"))]
    assert "name-taken" in [one.code for one in found(engines, launch("archive", f"{name}-b", FunctionName=name, StreamName="none"))]
    cloudformation.delete_stack(StackName=name)


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        ("ROLLBACK_COMPLETE", "aws cloudformation delete-stack --stack-name {}"),
        ("CREATE_FAILED", "aws cloudformation delete-stack --stack-name {}"),
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback --stack-name {}"),
        ("DELETE_FAILED", "aws cloudformation describe-stack-events --stack-name {}"),
        ("UPDATE_IN_PROGRESS", "aws cloudformation wait stack-update-complete --stack-name {}"),
        ("DELETE_IN_PROGRESS", "aws cloudformation wait stack-delete-complete --stack-name {}"),
    ],
)
def test_a_stack_in_a_state_that_takes_no_launch_stops(engines: local.Engines, name: str, state: str, remedy: str) -> None:
    from datetime import UTC, datetime

    def prepare(it: Stubber) -> None:
        it.add_response("describe_stacks", {"Stacks": [{"StackName": name, "StackStatus": state, "CreationTime": datetime.now(UTC)}]})
        it.add_response("list_stack_resources", {"StackResourceSummaries": []})

    finding = only(
        found(engines, launch("archive", name, StreamName="none"), stubbed=stub(engines, "cloudformation", prepare)), "stack-state"
    )
    assert finding.severity == "stops" and f"the stack is {state}" in finding.what
    assert finding.remedy.startswith(remedy.format(name))


def test_a_stack_whose_first_launch_was_rolled_back_is_seen_on_the_engine(engines: local.Engines, name: str) -> None:
    cloudformation = engines.client("cloudformation")
    # Metric math, which the engine refuses.
    alarm = {
        "AlarmName": name,
        "Metrics": [{"Id": "e", "Expression": "1 + 1"}],
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    body = {"Resources": {"A": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm}}}
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(body))
    deadline = time.monotonic() + 20
    while (status := cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]) not in (
        "ROLLBACK_COMPLETE",
        "CREATE_COMPLETE",
    ):
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    assert status == "ROLLBACK_COMPLETE"
    finding = only(found(engines, launch("archive", name, StreamName="none")), "stack-state")
    assert finding.remedy == f"aws cloudformation delete-stack --stack-name {name}"


def test_a_name_that_grows_too_long_stops_with_its_length(engines: local.Engines) -> None:
    long = "a" * 120
    told = [one for one in found(engines, launch("log-processing", long, FunctionName="f" * 64)) if one.code == "name-length"]
    names = [
        resource
        for resource in Template.of("log-processing").resources(launch("log-processing", long).parameters, {"AWS::StackName": long})
    ]
    too_long = [one for one in names if one.type == "AWS::Lambda::Function" and len(one.name("FunctionName") or "") > 64]
    assert len([one for one in told if "function" in one.what]) == len(too_long)
    assert all("AWS takes 64" in one.what and "NamePrefix=" in one.remedy for one in told)
    assert [one for one in found(engines, launch("log-processing", long, NamePrefix="short")) if one.code == "name-length"] == []


def test_a_stack_name_that_cloudformation_refuses_stops(engines: local.Engines) -> None:
    assert only(found(engines, launch("archive", "9-starts-with-a-digit")), "stack-name").severity == "stops"


def test_two_stacks_of_one_launch_may_not_share_a_name(engines: local.Engines, name: str) -> None:
    both = [
        launch("archive", f"{name}-a", FunctionName=name, StreamName="s"),
        launch("stream-replay", f"{name}-b", FunctionName=name, StreamName="s"),
    ]
    told = [one for one in found(engines, *both) if one.code == "name-twice"]
    assert any(one.what == f"{name}-a has a function {name} as well" for one in told), told


# Parameters


def test_parameter_values_are_held_against_the_template(engines: local.Engines, name: str) -> None:
    groups = ",".join(f"/a-group-with-a-long-name/{number:04}" for number in range(140))
    given = {"LogGroupNames": groups, "RecordFormat": "parquet", "MemorySize": 64, "StreamNames": "x", "FunctionName": "a b"}
    told = {one.what.split(":")[0]: one for one in found(engines, launch("log-processing", name, **given)) if one.code == "parameter"}
    assert {one.severity for one in told.values()} == {"stops"}
    assert f"its value has {len(groups):,} bytes, and CloudFormation takes 4,096 at the most" in told["LogGroupNames"].what
    assert "it must be one of kpl, gzip, single" in told["RecordFormat"].what
    assert "it must lie between 128 and 10240" in told["MemorySize"].what
    assert "1 to 64 letters, digits, underscores and hyphens" in told["FunctionName"].what
    assert told["StreamNames"].remedy == "did you mean StreamName?"


def test_a_value_of_just_4096_bytes_passes(engines: local.Engines, name: str) -> None:
    exactly = "/" + "a" * 4095
    assert not any("4,096" in problem for _, problem in Template.of("log-processing").problems({"LogGroupNames": exactly}))
    assert any("4,096" in problem for _, problem in Template.of("log-processing").problems({"LogGroupNames": exactly + "a"}))


def test_a_parameter_that_no_template_has_is_refused_before_anything_is_asked() -> None:
    done = run("--bucket", BUCKET, "--parameters", "LogGroupName=/a", environment=environment(None))
    assert (done.returncode, "no template has a parameter LogGroupName" in done.stderr) == (2, True), done.stderr


# Streams, bucket, keys


def test_a_stream_that_is_not_there_stops_a_mapping_and_warns_the_others(engines: local.Engines, name: str) -> None:
    severities = {
        stack: only(found(engines, launch(stack, name, StreamName=name)), "stream-missing").severity
        for stack in ("log-processing", "archive", "stream-replay")
    }
    assert severities == {"log-processing": "warns", "archive": "stops", "stream-replay": "warns"}
    together = found(engines, launch("autoscaling", f"{name}-a", StreamName=name), launch("archive", name, StreamName=name))
    assert "stream-missing" not in [one.code for one in together], "it is launched with it"


def test_an_existing_stream_must_be_there_and_provisioned(engines: local.Engines, name: str) -> None:
    assert only(found(engines, launch("autoscaling", name, ExistingStreamName=name)), "stream-missing").severity == "stops"
    kinesis = engines.client("kinesis")
    create_active(kinesis, name)
    arn = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    kinesis.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    finding = only(found(engines, launch("autoscaling", name, ExistingStreamName=name)), "stream-on-demand")
    assert "aws kinesis update-stream-mode" in finding.remedy


def test_a_stream_with_a_key_of_ones_own_needs_the_key_named(engines: local.Engines, name: str) -> None:
    key = engines.client("kms").create_key()["KeyMetadata"]
    kinesis = engines.client("kinesis")
    create_active(kinesis, name)
    kinesis.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId=key["Arn"])
    finding = only(found(engines, launch("log-processing", name, StreamName=name)), "stream-key")
    assert f"StreamKmsKeyArn={key['Arn']}" in finding.remedy
    assert "stream-key" not in [
        one.code for one in found(engines, launch("log-processing", name, StreamName=name, StreamKmsKeyArn=key["Arn"]))
    ]


def test_a_bucket_must_be_there_in_this_region_and_take_code(engines: local.Engines, name: str) -> None:
    assert (
        only(found(engines, launch("archive", name), bucket=f"{name}-none"), "bucket-missing").remedy
        == f"aws s3 mb s3://{name}-none --region {REGION}"
    )
    far_away = boto3.client(
        "s3", endpoint_url=engines.endpoint, region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    far_away.create_bucket(Bucket=f"{name}-far", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    far = only(found(engines, launch("archive", name), bucket=f"{name}-far"), "bucket-region")
    assert "is in eu-west-1, and Lambda takes code from a bucket in eu-central-1 only" in far.what
    denied = stub(
        engines, "s3",
        lambda it: (it.add_response("head_bucket", {}), it.add_client_error("create_multipart_upload", "AccessDenied", "no", 403)),
    )  # fmt: skip
    assert (
        only(found(engines, launch("autoscaling", name), bucket=BUCKET, stubbed=denied), "bucket-not-writable").what
        == f"you may not write to the bucket {BUCKET}: needs permission s3:PutObject on it"
    )
    alien = stub(engines, "s3", lambda it: it.add_client_error("head_bucket", "403", "Forbidden", 403))
    assert only(found(engines, launch("autoscaling", name), bucket=BUCKET, stubbed=alien), "bucket-not-yours").severity == "stops"


def test_the_archives_own_bucket_is_looked_at_too(engines: local.Engines, name: str) -> None:
    told = only(found(engines, launch("archive", name, ExistingBucketName=f"{name}-none"), bucket=BUCKET), "bucket-missing")
    assert told.stack == name


def test_a_key_must_be_there_enabled_and_symmetric(engines: local.Engines, name: str) -> None:
    kms = engines.client("kms")
    good, off, leaving, signing = (
        kms.create_key(**more)["KeyMetadata"] for more in ({}, {}, {}, {"KeyUsage": "GENERATE_VERIFY_MAC", "KeySpec": "HMAC_256"})
    )
    kms.disable_key(KeyId=off["KeyId"])
    kms.schedule_key_deletion(KeyId=leaving["KeyId"])

    def told(key: str) -> list[tuple[str, str]]:
        return [
            (one.code, one.remedy) for one in found(engines, launch("autoscaling", name, StreamKmsKeyId=key)) if one.code.startswith("kms-")
        ]

    assert told(good["Arn"]) == []
    assert told(off["KeyId"]) == [("kms-state", f"aws kms enable-key --key-id {off['KeyId']}")]
    assert told(leaving["KeyId"]) == [("kms-state", f"aws kms cancel-key-deletion --key-id {leaving['KeyId']}, then enable-key")]
    assert told(signing["KeyId"])[0][0] == "kms-kind"
    assert told("alias/nobody")[0][0] == "kms-missing"
    assert told("alias/aws/kinesis") == [], "AWS makes it when it is needed"


@pytest.mark.parametrize(
    ("attributes", "policy", "codes"),
    [
        ({}, "", []),
        ({"KmsMasterKeyId": "alias/aws/sns"}, "", ["topic-key"]),
        ({"KmsMasterKeyId": "KEY"}, '{"Principal": {"AWS": "arn:aws:iam::111122223333:root"}}', ["topic-key"]),
        ({"KmsMasterKeyId": "KEY"}, '{"Principal": {"Service": "cloudwatch.amazonaws.com"}}', []),
    ],
)
def test_a_topic_that_no_alarm_can_publish_to_is_a_warning(
    engines: local.Engines, name: str, attributes: dict[str, str], policy: str, codes: list[str]
) -> None:
    topic = f"arn:aws:sns:{REGION}:111122223333:{name}"
    stubbed = stub(engines, "sns", lambda it: it.add_response("get_topic_attributes", {"Attributes": attributes}, {"TopicArn": topic}))
    if policy:

        def kms(it: Any) -> None:
            it.add_response("describe_key", {"KeyMetadata": {"KeyId": "1-2-3"}}, {"KeyId": "KEY"})
            it.add_response("get_key_policy", {"Policy": policy}, {"KeyId": "1-2-3", "PolicyName": "default"})

        stubbed |= stub(engines, "kms", kms)
    told = [
        one for one in found(engines, launch("autoscaling", name, NotifyTopicArn=topic), stubbed=stubbed) if one.code.startswith("topic-")
    ]
    assert [one.code for one in told] == codes
    assert all("cloudwatch.amazonaws.com" in one.remedy and one.severity == "warns" for one in told)


def test_an_invocation_that_outlasts_a_connection_in_a_vpc_is_a_warning(engines: local.Engines, name: str) -> None:
    vpc = {"VpcSubnetIds": "subnet-0123456789abcdef0", "VpcSecurityGroupIds": "sg-0123456789abcdef0"}

    def told(stack: str, **parameters: str) -> list[str]:
        return [one.code for one in found(engines, launch(stack, name, **parameters)) if one.code == "idle-connection"]

    assert told("log-processing", TimeoutSeconds="351", **vpc) == ["idle-connection"]
    assert told("stream-replay", TargetTimeoutSeconds="900", **vpc) == ["idle-connection"]
    assert told("log-processing", TimeoutSeconds="340", **vpc) == []
    assert told("log-processing", TimeoutSeconds="900") == [], "without a VPC nothing is in between"
    assert told("archive", TimeoutSeconds="900", **vpc) == [], "it invokes nothing"


def test_a_topic_that_is_not_there_stops(engines: local.Engines, name: str) -> None:
    gone = stub(engines, "sns", lambda it: it.add_client_error("get_topic_attributes", "NotFound", "Topic does not exist", 404))
    topic = f"arn:aws:sns:{REGION}:111122223333:{name}"
    assert only(found(engines, launch("autoscaling", name, NotifyTopicArn=topic), stubbed=gone), "topic-missing").severity == "stops"


# What it prints


def test_the_table_says_what_and_what_to_do_and_json_says_the_same(engines: local.Engines, name: str) -> None:
    arguments = (f"log-processing={name}", "--bucket", BUCKET, "--parameters", f"LogGroupNames=/{name}/none StreamName={name}")
    table, as_json = (run(*arguments, *more, environment=environment(engines)) for more in ((), ("--json",)))
    assert table.returncode == as_json.returncode == 1
    findings = json.loads(as_json.stdout)["findings"]
    assert [one["severity"] for one in findings] == sorted(one["severity"] for one in findings), "what stops comes first"
    flat = " ".join(table.stdout.split())
    for one in findings:
        assert one["what"] in flat.replace(f" {name} ", f" {name} ") or one["code"], one
        assert f"→ {one['remedy']}" in table.stdout
    assert table.stdout.splitlines()[-1] == "preflight: 1 stops the launch, 1 warns"


def test_only_what_stops_ends_with_1(engines: local.Engines, name: str) -> None:
    done = run(f"log-processing={name}", "--bucket", BUCKET, "--parameters", f"StreamName={name}", environment=environment(engines))
    assert (done.returncode, "preflight: 0 stop the launch, 1 warns" in done.stdout) == (0, True), done.stdout


# What it believes of the templates


@pytest.mark.parametrize("stack", STACKS)
def test_every_resource_with_a_name_is_known_by_it(stack: str) -> None:
    """A name that this cannot work out is a name that it does not check."""
    pseudo = {"AWS::StackName": "s", "AWS::Region": REGION, "AWS::AccountId": "111122223333", "AWS::Partition": "aws"}
    resources = Template.of(stack).resources({**CODE[stack], "CodeS3Bucket": BUCKET}, pseudo)
    unknown = [
        (one.logical_id, kind.member)
        for one in resources
        if (kind := preflight.KINDS.get(one.type)) and one.properties.get(kind.member) is UNKNOWN
    ]
    # The queue's name holds the stack's ID.
    assert unknown == ([("DeadLetterQueue", "QueueName")] if stack == "log-processing" else [])


def test_the_reading_of_a_template_agrees_with_what_cloudformation_makes_of_it(engines: local.Engines, name: str) -> None:
    """Logical IDs and physical names, against the engine's own."""
    given = {
        "StreamName": name,
        "CodeS3Bucket": BUCKET,
        **CODE["autoscaling"],
        "FastAlarm": "true",
        "OffPeakSchedule": "",
        "ProcessorFunctions": "a,b=0.5",
    }
    engines.client("s3").put_object(Bucket=BUCKET, Key="up.zip", Body=b"")
    cloudformation = engines.client("cloudformation")
    cloudformation.create_stack(
        StackName=name, TemplateBody=compact((ROOT / "infra" / "autoscaling.yaml").read_text()),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )  # fmt: skip
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    made = {
        one["LogicalResourceId"]: one["PhysicalResourceId"]
        for one in cloudformation.list_stack_resources(StackName=name)["StackResourceSummaries"]
    }
    planned = Template.of("autoscaling").resources(
        given, {"AWS::StackName": name, "AWS::Region": REGION, "AWS::AccountId": "000000000000", "AWS::Partition": "aws"}
    )
    assert {one.logical_id for one in planned} == set(made)
    for one in planned:
        kind = preflight.KINDS.get(one.type)
        if kind and (known := one.name(kind.member)):
            assert made[one.logical_id].split("|")[-1].endswith(known), one
    cloudformation.delete_stack(StackName=name)


def test_the_page_names_every_finding() -> None:
    """In the table, where each is explained, and none that there is not."""
    page = (ROOT / "docs" / "verify.md").read_text()
    rows = {
        code for line in page.splitlines() if line.startswith("| `") for code in re.findall(r"`([a-z]+(?:-[a-z]+)*)`", line.split("|")[1])
    }
    source = (ROOT / "infra" / "preflight.py").read_text()
    codes = set(re.findall(r'(?:STOPS|WARNS|severity),\s+"([a-z-]+)"', source))
    assert len(codes) > 20
    assert codes <= rows, codes - rows
    steps = set(re.findall(r'Step\(\s*"([a-z-]+)"|stack_step\("([a-z-]+)"', (ROOT / "infra" / "verify.py").read_text()))
    assert rows - codes <= {one for pair in steps for one in pair if one}, "no finding is invented"
