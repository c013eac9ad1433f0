"""The acceptance run: it finds what it should, and whatever happens to it, nothing is left behind or what is left is told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import engines as local
import pytest
import running
import verify
import verify_local
from conftest import engines_of_its_own
from engines import REGION, ROOT
from read_back import Event
from verify import STEPS, Failure, Run, Step
from verify_local import Local

# Every one with something of its own to delete, and two that only write.
INTERRUPTED = (
    "bucket",
    "log-groups",
    "autoscaling",
    "log-processing",
    "archive",
    "stream-replay",
    "refusing",
    "carry",
    "poison",
    "D1",
    "D10",
    "D11",
)


@pytest.fixture(scope="module")
def engines(held: running.Held, functions: dict[str, Path]) -> Iterator[local.Engines]:
    """Of this module alone: what is there afterwards is what a run left behind."""
    yield from engines_of_its_own(held, functions, "verify", verify_local.MINUTE_S)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def run(engines: local.Engines, functions: dict[str, Path], told: list[str]) -> Run:
    return Run(Local.of(engines, functions), verify.drawn_prefix(), told.append)


@pytest.fixture
def asking(engines: local.Engines, functions: dict[str, Path], told: list[str]) -> Run:
    """A run that asks the engines what they would answer for themselves."""
    platform = Local.of(engines, functions, skips={name: verify_local.SKIPS[name] for name in ("D5", "D12")})
    return Run(platform, verify.drawn_prefix(), told.append)


def with_needs(*names: str) -> list[Step]:
    """These steps and all that they need, in order."""
    wanted: set[str] = set()

    def add(name: str) -> None:
        wanted.add(name)
        for needed in next(step for step in STEPS if step.name == name).needs:
            add(needed)

    for name in names:
        add(name)
    return [step for step in STEPS if step.name in wanted]


def everything(engines: local.Engines) -> set[str]:
    """Whatever is in the engines, under any name."""
    client = engines.client
    own_kinesis = boto3.client(
        "kinesis", endpoint_url=engines.endpoint, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )

    def names(service: str, operation: str, member: str, key: str | None = None) -> set[str]:
        pages = client(service).get_paginator(operation).paginate()
        return {f"{member} {one[key] if key else one}" for page in pages for one in page.get(member, [])}

    return {
        *(f"stack {one['StackName']}" for one in client("cloudformation").describe_stacks()["Stacks"]),
        *(f"stream {name}" for kinesis in (client("kinesis"), own_kinesis) for name in kinesis.list_streams()["StreamNames"]),
        *(f"bucket {one['Name']}" for one in client("s3").list_buckets()["Buckets"]),
        *(f"Firehose {name}" for name in client("firehose").list_delivery_streams()["DeliveryStreamNames"]),
        *names("sqs", "list_queues", "QueueUrls"),
        *names("lambda", "list_functions", "Functions", "FunctionName"),
        *names("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
        *names("logs", "describe_log_groups", "logGroups", "logGroupName"),
        *names("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        *names("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
        *names("scheduler", "list_schedules", "Schedules", "Name"),
        *names("iam", "list_roles", "Roles", "RoleName"),
        *names("sns", "list_topics", "Topics", "TopicArn"),
    }


# What it finds


def test_a_run_proves_the_promises_and_leaves_nothing(
    engines: local.Engines, run: Run, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shorter than `make verify ENGINE=local`: no load until an alarm goes off, no five calm minutes."""
    monkeypatch.setattr(verify, "REFUSED_S", 3)
    before = everything(engines)
    steps = [step for step in STEPS if step.name not in ("up-by-alarm", "down-by-schedule")]
    good = verify.perform(run, steps)
    table = verify.table(run, steps)
    assert good, table
    assert everything(engines) == before
    assert told[-1] == "nothing is left behind"
    outcomes = {name: outcome.status for name, outcome in run.outcomes.items()}
    assert {name for name, status in outcomes.items() if status == "skipped"} == {*verify_local.SKIPS, "D13"}
    assert run.outcomes["carry"].text.startswith("400 events byte for byte")
    assert run.outcomes["poison"].text == "in quarantine as it came, reason not-gzip"
    assert "1 → 4 shards" in run.outcomes["up-by-hand"].text
    # As table and as JSON, each step with what it found, each skipped one with its reason.
    as_json = json.loads(verify.as_json(run, steps))
    assert [step["name"] for step in as_json["steps"]] == [step.name for step in steps]
    assert all(step["text"] for step in as_json["steps"])
    assert all(outcome.text in table for outcome in run.outcomes.values())
    assert f"skipped  {verify_local.SKIPS['D1']}" in table
    assert "D6" in table and "(MiniStack's answer, not AWS's)" in table


def test_every_open_question_has_a_step(run: Run) -> None:
    questions = {step.name for step in STEPS if step.is_question}
    assert questions == {f"D{number}" for number in range(1, 15)}
    assert set(verify_local.SKIPS) <= questions, "the engines skip questions only"


def test_the_questions_can_be_asked(engines: local.Engines, asking: Run) -> None:
    """Of the engines, which answer for themselves: the calls are right, and are taken back."""
    before = everything(engines)
    run = asking
    asked = ("D1", "D2", "D3", "D4", "D6", "D9", "D10", "D11", "D14")
    steps = with_needs(*asked)
    assert verify.perform(run, steps), verify.table(run, steps)
    answers = {name: run.outcomes[name].text for name in asked}
    assert "UpdateShardCount is allowed on the stream's ARN" in answers["D1"]
    assert answers["D2"] == "a stack update that changes tags keeps the tags that the API set"
    assert "2 shards before a change of RetentionHours, 2 after it" in answers["D3"]
    assert "the template says 4, the API 5" in answers["D4"]
    assert answers["D11"] == "CreateSchedule takes an at() in the past"
    assert everything(engines) == before


def test_it_costs_less_than_a_dollar_and_says_for_what() -> None:
    lines = verify.price()
    assert 0.1 < sum(usd for _, usd in lines) < 1
    assert all(usd > 0 and what for what, usd in lines)


def test_what_is_lost_or_invented_is_a_failure() -> None:
    one, two = (Event("g", "s", 1, text) for text in (b"one", b"two"))
    assert verify.compared(Counter([one, two]), Counter([one, two, two])) == "2 events byte for byte, 1 of them twice"
    with pytest.raises(Failure, match="1 of 2 events are missing"):
        verify.compared(Counter([one, two]), Counter([one]))
    with pytest.raises(Failure, match="1 events came that nobody sent"):
        verify.compared(Counter([one]), Counter([one, two]))


def test_a_broken_promise_fails_and_what_does_not_rest_on_it_goes_on(
    engines: local.Engines, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quarantine holds another payload than the one sent; the archive has nothing to do with it."""
    before = everything(engines)
    real = verify.invoke

    def tampering(one: Run, function: str, event: Any, wait: bool = True) -> Any:
        return real(one, function, {"awslogs": {"data": "bm90IGl0"}} if event is verify.POISON else event, wait)

    monkeypatch.setattr(verify, "invoke", tampering)
    steps = with_needs("poison", "archive")
    dependent = Step("dependent", "rests on it", ("poison",), lambda _: "never")
    assert not verify.perform(run, [*steps, dependent])
    assert run.outcomes["poison"].text == "what lies in quarantine is not what was sent"
    assert (run.outcomes["dependent"].status, run.outcomes["dependent"].text) == ("not run", "needs poison")
    assert run.outcomes["archive"].status == "passed"
    assert everything(engines) == before


# What is left


@pytest.mark.parametrize(("name", "moment"), [*((name, "midway") for name in INTERRUPTED), ("archive", "ended")])
def test_interrupted_at_any_step_it_leaves_nothing(engines: local.Engines, asking: Run, told: list[str], name: str, moment: str) -> None:
    run = asking
    before = everything(engines)
    doings: list[str] = []

    def hook(step: str, doing: str) -> None:
        if step == name and doing != "undo":
            doings.append(doing)
            if doing == "ended" or (moment == "midway" and doing != "begins"):
                raise KeyboardInterrupt

    run.hook = hook
    assert not verify.perform(run, [*with_needs(name), Step("later", "is not begun", (), lambda _: "never")])
    assert doings, "it was interrupted"
    assert run.outcomes["later"].text == "interrupted before it"
    assert everything(engines) == before, "\n".join(told)
    assert told[-1] == "nothing is left behind"


def test_interrupted_before_an_answer_comes_it_still_deletes_what_was_asked_for(engines: local.Engines, run: Run) -> None:
    before = everything(engines)
    client = run.client("cloudformation")
    real = client.create_stack

    def create_stack(**arguments: Any) -> Any:
        real(**arguments)
        raise KeyboardInterrupt

    client.create_stack = create_stack
    try:
        assert not verify.perform(run, with_needs("autoscaling"))
    finally:
        client.create_stack = real
    assert everything(engines) == before


@pytest.mark.parametrize("name", ["bucket", "log-groups", "autoscaling", "log-processing"])
def test_a_clean_up_that_is_interrupted_tells_what_is_left_and_a_second_one_removes_it(
    engines: local.Engines, run: Run, told: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(engines)

    def hook(step: str, doing: str) -> None:
        if (step, doing) == (name, "undo"):
            raise KeyboardInterrupt

    run.hook = hook
    assert not verify.perform(run, with_needs("log-processing"))
    assert run.outcomes["log-processing"].status == "passed", run.outcomes
    left = [line.strip() for line in told[told.index("left behind:") + 1 : -1]]
    assert f"bucket {run.bucket}" in left
    missing = {entry.split(" ", 1)[1].rsplit("/", 1)[-1] for entry in everything(engines) - before if not entry.startswith("EventSource")}
    listed = "\n".join(left)
    assert [one for one in missing if one not in listed] == []
    assert told[-1] == f"to remove it: make verify CLEAN_UP={run.prefix} ENGINE=local"
    assert verify.clean_up_by_prefix(run.platform, run.prefix) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing is left behind"
    assert everything(engines) == before


def test_what_cannot_be_deleted_is_told_and_the_rest_is_deleted(engines: local.Engines, run: Run, told: list[str]) -> None:
    before = everything(engines)
    logs = run.client("logs")
    real = logs.delete_log_group

    def denied(**arguments: Any) -> Any:
        raise logs.exceptions.ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not yours"}}, "DeleteLogGroup")

    logs.delete_log_group = denied
    try:
        assert not verify.perform(run, with_needs("log-groups", "autoscaling"))
    finally:
        logs.delete_log_group = real
    assert any("AWS denies DeleteLogGroup: not yours" in line for line in told)
    assert {one.split(" ")[0] for one in everything(engines) - before} == {"logGroups"}
    assert verify.clean_up_by_prefix(run.platform, run.prefix) == 0
    assert everything(engines) == before


def test_a_clean_up_touches_nothing_of_another_prefix(engines: local.Engines, run: Run, functions: dict[str, Path]) -> None:
    other = Run(Local.of(engines, functions), verify.drawn_prefix(), lambda _: None)
    before = everything(engines)
    verify.make_bucket(other)
    verify.make_log_groups(other)
    theirs = everything(engines)
    verify.perform(run, with_needs("log-groups"))
    assert everything(engines) == theirs
    for prefix in ("", "sluice", "sluice-verify-", "/sluice-verify-abc"):
        assert verify.clean_up_by_prefix(run.platform, prefix) == 2
    assert everything(engines) == theirs
    assert verify.clean_up_by_prefix(run.platform, other.prefix) == 0
    assert everything(engines) == before


# Where it cannot work


def as_user(engines: local.Engines, functions: dict[str, Path], name: str, actions: list[str]) -> Local:
    """The engines as a user sees them who may do these actions and nothing else."""
    iam = engines.client("iam")
    iam.create_user(UserName=name)
    if actions:
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    platform = Local.of(engines, functions)
    platform.make_client = lambda service: boto3.client(
        service, region_name=REGION, endpoint_url=engines.stream_endpoint if service == "kinesis" else engines.endpoint,
        aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"],
    )  # fmt: skip
    return platform


def test_without_permission_it_says_so_and_nothing_is_left(engines: local.Engines, functions: dict[str, Path], told: list[str]) -> None:
    before = everything(engines)
    run = Run(as_user(engines, functions, "poor", []), verify.drawn_prefix(), told.append)
    assert not verify.perform(run, STEPS)
    assert run.outcomes["bucket"].text.startswith("AWS denies CreateBucket"), run.outcomes["bucket"]
    assert run.outcomes["autoscaling"].text == "needs bucket"
    assert any("needs permission" in line for line in told), "preflight names what it may not look at"
    assert told[-1] == "nothing is left behind"
    assert everything(engines) == before


def test_with_half_of_the_permissions_it_takes_back_what_it_made(
    engines: local.Engines, functions: dict[str, Path], told: list[str]
) -> None:
    before = everything(engines)
    platform = as_user(engines, functions, "half", ["s3:*", "logs:*", "sts:*", "cloudformation:Describe*", "cloudformation:List*"])
    run = Run(platform, verify.drawn_prefix(), told.append)
    assert not verify.perform(run, with_needs("log-processing"))
    assert "AWS denies CreateStack" in run.outcomes["autoscaling"].text
    assert run.outcomes["log-groups"].status == "passed"
    assert everything(engines) == before
    # It may not list queues, and says so, instead of saying that there are none.
    assert any("queues: could not look" in line for line in told)


def test_in_a_region_that_lacks_a_service_it_stops_before_anything_is_made(
    engines: local.Engines, functions: dict[str, Path], told: list[str]
) -> None:
    before = everything(engines)
    platform = Local.of(engines, functions)
    real = platform.make_client
    hole = boto3.client(
        "scheduler", endpoint_url="http://127.0.0.1:9", region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )
    platform.make_client = lambda service: hole if service == "scheduler" else real(service)
    run = Run(platform, verify.drawn_prefix(), told.append)
    assert not verify.perform(run, STEPS)
    assert f"EventBridge Scheduler does not answer in {REGION}" in run.outcomes["preflight"].text
    assert {run.outcomes[name].status for name in ("bucket", "autoscaling", "carry")} == {"not run"}
    assert not run.created
    assert everything(engines) == before


# The command


def test_ctrl_c_ends_the_command_with_a_clean_account(functions: dict[str, Path], tmp_path: Path) -> None:
    given = {f"SLUICE_{name.upper().replace('-', '_')}": str(path) for name, path in functions.items()}
    command = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "stacks" / "verify_local.py"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**local.plain_environment(**given), "CARGO_TARGET_DIR": str(tmp_path)}, cwd=ROOT,
    )  # fmt: skip
    assert command.stdout is not None
    lines: list[str] = []
    for line in command.stdout:
        lines.append(line)
        if "created stack" in line:
            command.send_signal(signal.SIGINT)
            break
    rest = command.communicate(timeout=120)[0]
    assert command.returncode == 1, rest
    assert "nothing is left behind" in rest and "Traceback" not in rest
    assert "$" in lines[0], "the price comes first"


def test_nobody_to_ask_means_no_run() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "infra" / "verify.py"],
        capture_output=True,
        text=True,
        env=local.plain_environment(),
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, "YES=1" in done.stderr) == (2, True), done.stderr
    assert "in all, at the most" in done.stdout


def test_the_page_names_every_step() -> None:
    page = (ROOT / "docs" / "verify.md").read_text()
    assert [step.name for step in STEPS if not step.is_question and f"`{step.name}`" not in page] == []
