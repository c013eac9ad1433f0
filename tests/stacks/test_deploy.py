"""`make deploy-…` and `make removal-plan`: a person's text arrives as written, and what is wrong is said before anything is built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import engines as local
import pytest
import stack
from engines import REGION, ROOT

sys.path.insert(0, str(ROOT / "infra"))
import deploy

CARGO = """#!/bin/sh
touch "$CARGO_TARGET_DIR/built"
for function in log-processor dlq-replayer scale-up scale-down archiver stream-replayer; do
    mkdir -p "$CARGO_TARGET_DIR/lambda/$function"
    echo "$function" > "$CARGO_TARGET_DIR/lambda/$function/bootstrap.zip"
done
"""
# No target but the machine's own, as a fresh rustup has it.
RUSTC = """#!/bin/sh
case $* in *x86_64*) echo /;; *) echo /no/such/libdir;; esac
"""


class Deploying:
    """deploy.py with a compiler that takes no time."""

    def __init__(self, place: Path, engines: local.Engines) -> None:
        self.target = place / "target"
        self.target.mkdir()
        programs = place / "bin"
        programs.mkdir()
        for name, text in (("cargo", CARGO), ("rustc", RUSTC)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.environment = {
            **local.plain_environment(AWS_ENDPOINT_URL=engines.endpoint),
            "PATH": f"{programs}:/usr/bin:/bin",
            "CARGO_TARGET_DIR": str(self.target),
            "ARCHITECTURE": "x86_64",
            **{stack.name_variable: f"sluice-{kind}" for kind, stack in deploy.STACKS.items()},
        }

    def __call__(self, command: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
        settings = {name: value for name, value in {**self.environment, **variables}.items() if value is not None}
        return subprocess.run(
            [sys.executable, ROOT / "infra" / "deploy.py", command], capture_output=True, text=True, env=settings, cwd="/"
        )

    @property
    def has_built(self) -> bool:
        return (self.target / "built").exists()


@pytest.fixture
def deploying(tmp_path: Path, engines: local.Engines) -> Deploying:
    return Deploying(tmp_path, engines)


def parameters(engines: local.Engines, name: str) -> dict[str, str]:
    found = engines.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    return {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]}


def test_pattern_and_schedule_arrive_byte_for_byte_and_the_removal_plan_removes_all(deploying: Deploying, engines: local.Engines) -> None:
    bucket = stack.code_bucket(engines)
    group = "/deploy/app"
    engines.client("logs").create_log_group(logGroupName=group)
    stack.create_stream(engines, "deployed", 1)
    done = deploying(
        "log-processing",
        BUCKET=bucket,
        LOG_PROCESSING_STACK="typed",
        PARAMETERS=f'FilterPattern={{ $.level = "ERROR" && $.a != "it\'s" }} StreamName=deployed LogGroupNames={group} '
        "ReplaySchedule=cron(0 1 * * ? *) MetricMathAlarms=false FunctionName=typed",
    )
    assert done.returncode == 0, done.stderr
    assert deploying.has_built
    filters = engines.client("logs").describe_subscription_filters(logGroupName=group)["subscriptionFilters"]
    assert [each["filterPattern"] for each in filters] == ['{ $.level = "ERROR" && $.a != "it\'s" }']
    arrived = parameters(engines, "typed")
    assert arrived["ReplaySchedule"] == "cron(0 1 * * ? *)"
    assert arrived["Architecture"] == "x86_64"
    assert arrived["CodeS3Key"].startswith("sluice/log-processor-")
    assert "CREATE_COMPLETE" in done.stdout
    assert "QuarantineQueueUrl" in done.stdout

    plan = deploying("removal-plan", LOG_PROCESSING_STACK="typed", BUCKET=bucket)
    assert plan.returncode == 0, plan.stderr
    queues = [
        resource["PhysicalResourceId"]
        for resource in engines.client("cloudformation").list_stack_resources(StackName="typed")["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::SQS::Queue"
    ]
    assert len(queues) == 2
    assert [queue for queue in queues if queue not in plan.stdout] == []
    assert deploying("removal-plan", LOG_PROCESSING_STACK="typed").stdout.startswith("# Deletes nothing")
    # The commands do what the plan says.
    aws = f'aws() {{ "{sys.executable}" -m awscli --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }}\n'
    removed = subprocess.run(["bash", "-euc", aws + plan.stdout], env=deploying.environment, capture_output=True, text=True)
    assert removed.returncode == 0, removed.stderr
    with pytest.raises(Exception, match="does not exist"):
        engines.client("cloudformation").describe_stacks(StackName="typed")
    left = engines.client("sqs").list_queues().get("QueueUrls", [])
    assert [queue for queue in queues if queue in left] == []
    keys = [each["Key"] for each in engines.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]
    assert [key for key in keys if key.startswith("sluice/")] == []


def test_without_a_bucket_the_stream_launches_alone(deploying: Deploying, engines: local.Engines) -> None:
    done = deploying("autoscaling", AUTOSCALING_STACK="no-bucket", PARAMETERS="StreamName=no-bucket ShardCountInitial=3")
    assert done.returncode == 0, done.stderr
    assert "without scaling" in done.stdout
    assert not deploying.has_built
    assert parameters(engines, "no-bucket")["ShardCountInitial"] == "3"


def test_preflight_stops_a_deployment_before_anything_is_built_unless_it_is_skipped(deploying: Deploying, engines: local.Engines) -> None:
    chosen = {"BUCKET": stack.code_bucket(engines), "LOG_PROCESSING_STACK": "skipping"}
    chosen["PARAMETERS"] = "StreamName=skipping FunctionName=skipping LogGroupNames=/not/there MetricMathAlarms=false"
    stopped = deploying("log-processing", **chosen)
    assert (stopped.returncode, deploying.has_built) == (2, False)
    assert "the log group /not/there does not exist" in stopped.stdout
    assert "→ aws logs create-log-group --log-group-name /not/there" in stopped.stdout
    assert "SKIP_PREFLIGHT=1" in stopped.stderr
    skipped = deploying("log-processing", **chosen, SKIP_PREFLIGHT="1")
    assert "preflight" not in skipped.stdout
    assert deploying.has_built


@pytest.mark.parametrize(
    "command, variables, told",
    [
        ("log-processing", {"PARAMETERS": "StreamNam=x"}, "StreamNam is not a parameter of infra/log-processing.yaml; did you mean StreamName?"),
        ("log-processing", {"PARAMETERS": "StreamName=x ReservedConcurency=4"}, "did you mean ReservedConcurrency?"),
        ("log-processing", {"PARAMETERS": "RecordFormat=kpi"}, "one of kpl, gzip, single; did you mean kpl?"),
        ("log-processing", {"PARAMETERS": "ReservedConcurrency=-1"}, "ReservedConcurrency=-1: a number from 0 to 100000"),
        ("log-processing", {"PARAMETERS": "ReservedConcurrency=four"}, "a number from"),
        ("log-processing", {"PARAMETERS": "LogGroupNames=/app,/sluice/x"}, "LogGroupNames=/sluice/x: log group names"),
        ("log-processing", {"PARAMETERS": f"FilterPattern={'x' * 1025}"}, "0 to 1024 characters, not 1025"),
        ("log-processing", {"PARAMETERS": "stream"}, "PARAMETERS begins with stream, which is not Name=value"),
        ("log-processing", {"PARAMETERS": "StreamName=a StreamName=b"}, "sets StreamName twice"),
        ("log-processing", {"PARAMETERS": "Architecture=arm64"}, "set ARCHITECTURE= instead"),
        ("log-processing", {"BUCKET": None}, "set BUCKET="),
        ("archive", {"BUCKET": "no-such-bucket"}, "The bucket no-such-bucket does not exist. Create it: aws s3 mb"),
        ("archive", {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "No AWS credentials were found"),
        ("archive", {"AWS_REGION": None, "AWS_DEFAULT_REGION": None}, "No region is set"),
        ("archive", {"AWS_PROFILE": "no-such-profile"}, "AWS settings: The config profile (no-such-profile) could not be found"),
        ("archive", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "AWS cannot be reached"),
        ("archive", {"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "us-west-2"}, f"is in {REGION}, and this stack in us-west-2"),
        ("archive", {"ARCHITECTURE": "arm64"}, "rustup target add aarch64-unknown-linux-gnu"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_before_anything_is_built(
    deploying: Deploying, engines: local.Engines, command: str, variables: dict[str, str | None], told: str
) -> None:
    refused = deploying(command, **{"BUCKET": stack.code_bucket(engines), **variables})
    assert told in refused.stderr
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert len(refused.stderr) < 500
    assert not deploying.has_built


def test_package_adds_no_target_without_a_word(deploying: Deploying) -> None:
    refused = deploying("package", ARCHITECTURE="arm64")
    assert (refused.returncode, deploying.has_built) == (2, False)
    assert "rustup target add aarch64-unknown-linux-gnu" in refused.stderr
    assert deploying("package").returncode == 0
    assert deploying.has_built


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED", "UPDATE_IN_PROGRESS", "DELETE_FAILED"])
def test_a_stack_that_takes_no_update_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    monkeypatch.setattr(deploy.Cloud, "stack_status", lambda _cloud, _name: status)
    with pytest.raises(deploy.Problem, match=f"The stack s is {status}") as refused:
        deploy.Cloud(deploy.boto3.Session(), REGION, "111122223333").check_stack("s")
    remedy = {"ROLLBACK_COMPLETE": "delete-stack", "DELETE_FAILED": "delete-stack", "UPDATE_ROLLBACK_FAILED": "continue-update"}
    assert remedy.get(status, "Try again when") in str(refused.value)


@pytest.mark.parametrize(
    "text, values",
    [
        ("A=1 B=2", {"A": "1", "B": "2"}),
        ("A=cron(0 1 * * ? *) B=2", {"A": "cron(0 1 * * ? *)", "B": "2"}),
        ("A='{ $.level = \"ERROR\" }' B=", {"A": '{ $.level = "ERROR" }', "B": ""}),
        ("A='x B=1' C=2", {"A": "x B=1", "C": "2"}),
        ("A=[ip, user, Status=200] B=2", {"A": "[ip, user, Status=200]", "B": "2"}),
        ('A={ $.m = "A=b } C=d" } E=5', {"A": '{ $.m = "A=b } C=d" }', "E": "5"}),
        ("'A=x y' B=1", {"A": "x y", "B": "1"}),
        ('A="ERROR" "timeout"', {"A": '"ERROR" "timeout"'}),
        ('A="say \\"hi\\" \\\\ $HOME"', {"A": 'say "hi" \\ $HOME'}),
        ("A=don't B=can't", {"A": "don't", "B": "can't"}),
        ("A=a\\nb `x` $(y) $$ # %\nB=\tx", {"A": "a\\nb `x` $(y) $$ # %", "B": "x"}),
        ("A=( B=3", {"A": "(", "B": "3"}),
        ("", {}),
    ],
)
def test_a_value_ends_where_the_next_name_begins(text: str, values: dict[str, str]) -> None:
    assert deploy.parsed(text) == values
