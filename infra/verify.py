#!/usr/bin/env python3
"""An acceptance run in an account of yours: launches every stack under a random prefix, proves on it what the documents
promise, asks AWS the questions that its documents leave open, deletes all of it, and says what it found.

`make verify` runs this; `make verify ENGINE=local` runs the same steps on the local engines. Each step says how to undo
it by the prefix alone, so a run that was killed is cleaned up with `make verify CLEAN_UP=PREFIX`.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import hashlib
import json
import os
import random
import shlex
import signal
import string
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import boto3
import botocore.exceptions as failures
from botocore.config import Config

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# The stream is read back with the tests' reader, which rests on a deaggregation library that nobody here wrote.
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "stacks")]

import limits
import preflight
from read_back import Event, Record, archived_event, enveloped, payloads
from template import Template

FUNCTIONS = ("log-processor", "dlq-replayer", "scale-up", "scale-down", "archiver", "stream-replayer")
PREFIX = "sluice-verify"
TEMPLATE_BYTES_MAX = 51_200
# What is written in all, so that the price can be told beforehand.
CARRIED_EVENTS, REFUSED_EVENTS_A_SECOND, REFUSED_S = 400, 3_000, 8
BUSY_EVENTS_A_SECOND, BUSY_MINUTES_MAX = 1_300, 6
EVENT_BYTES = 120
# Of one shard, in a minute, at the template's default utilisation.
SHARD_THRESHOLD = round(0.8 * 60 * limits.SHARD_BYTES_PER_SECOND)
POISON: dict[str, Any] = {"awslogs": {"data": "dGhpcyBpcyBub3QgZ3ppcA=="}}
# us-east-1, on-demand list prices, last read 2026. Metrics, alarms and dashboards are billed by the hour.
USD = {
    "GB of logs": 0.50, "dashboard-month": 3.0,
}  # fmt: skip
HOURS = 1.0
# Of a clean-up, before it calls something left behind.
LOOKS_MAX = 6

PASSED, FAILED, SKIPPED, NOT_RUN = "passed", "failed", "skipped", "not run"


class Failure(Exception):
    """A promise was not kept, or a step could not be done; the person's words."""


@dataclass
class Platform:
    """AWS as it is. The local engines have one of their own in tests/stacks/verify_local.py."""

    make_client: Callable[[str], Any]
    region: str
    # Where the zips are that `make package` built.
    artifacts: Path
    architecture: str = "arm64"
    name: str = "AWS"
    minute_s: float = 60.0
    # How long to wait for what takes time.
    patience_s: float = 600.0
    # Step → why it cannot be done here.
    skips: Mapping[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        return self.make_client(service)

    def artifact(self, function: str) -> Path:
        return self.artifacts / function / "bootstrap.zip"

    def parameters(self, stack_name: str) -> dict[str, str]:
        """What a stack needs here besides."""
        return {}

    def launched(self, stack_name: str, parameters: Mapping[str, str], outputs: Mapping[str, str]) -> None:
        """After a stack was created or updated."""

    def removed(self, kind: str, name: str) -> None:
        """After something that a stack kept was deleted."""


@dataclass
class Outcome:
    """What became of a step."""

    status: str
    text: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Step:
    """One thing that is tried."""

    name: str
    title: str
    needs: tuple[str, ...]
    run: Callable[[Run], str]
    undo: Callable[[Run], None] | None = None
    # Of aws-truth.md, section 2: its result is an answer.
    is_question: bool = False


@dataclass
class Run:
    """One acceptance run: where, under which prefix, and what is known so far."""

    platform: Platform
    prefix: str
    say: Callable[[str], None] = print
    # Called at every point at which a person may press Ctrl-C: (step, what it is doing).
    hook: Callable[[str, str], None] = lambda step, doing: None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    step: str = ""
    # What was asked of AWS and may be there.
    created: list[str] = field(default_factory=list)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    parameters: dict[str, dict[str, str]] = field(default_factory=dict)
    sent: Counter[Event] = field(default_factory=Counter)
    refused_sent: Counter[Event] = field(default_factory=Counter)
    carried_window_s: tuple[int, int] = (0, 0)
    refusing_window_s: tuple[float, float] = (0.0, 0.0)

    def named(self, what: str) -> str:
        return f"{self.prefix}-{what}"

    @property
    def bucket(self) -> str:
        return self.named("code")

    def group(self, what: str) -> str:
        return f"/{self.prefix}/{what}"

    def client(self, service: str) -> Any:
        return self.platform.client(service)

    def progress(self, text: str) -> None:
        self.say(f"    {text}")
        self.hook(self.step, text)

    def make(self, what: str, call: Callable[[], Any]) -> Any:
        """Creates something, and remembers that it may be there even if the answer never comes."""
        self.created.append(what)
        try:
            answer = call()
        except failures.ClientError:
            # AWS said no.
            self.created.remove(what)
            raise
        self.progress(f"created {what}")
        return answer

    def wait(self, done: Callable[[], Any], what: str, seconds_max: float | None = None, pause_s: float | None = None) -> Any:
        """The first true answer of `done`."""
        deadline = time.monotonic() + (seconds_max or self.platform.patience_s)
        while not (answer := done()):
            if time.monotonic() > deadline:
                raise Failure(f"waited in vain for {seconds_max or self.platform.patience_s:.0f} s: {what}")
            time.sleep(pause_s or self.platform.minute_s / 30)
        return answer


def pages(client: Any, operation: str, member: str, **arguments: Any) -> Iterator[Any]:
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from page.get(member) or []


# Launching


def upload(run: Run, function: str) -> str:
    archive = run.platform.artifact(function)
    if not archive.is_file():
        raise Failure(f"{archive} is not there; make package builds it")
    key = f"sluice/{function}-{hashlib.sha256(archive.read_bytes()).hexdigest()[:16]}.zip"
    run.client("s3").put_object(Bucket=run.bucket, Key=key, Body=archive.read_bytes())
    return key


def launch(run: Run, stack: str, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> dict[str, str]:
    """Creates or updates a stack from infra/, and returns its outputs."""
    template = Template.of(stack)
    given = {**{key: str(value) for key, value in parameters.items()}, **run.platform.parameters(stack)}
    cloudformation = run.client("cloudformation")
    arguments: dict[str, Any] = {
        "StackName": name,
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items() if key in template.parameters],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Tags": [{"Key": key, "Value": value} for key, value in {PREFIX: run.prefix, **(tags or {})}.items()],
    }
    body = template.path.read_bytes()
    if len(body) <= TEMPLATE_BYTES_MAX:
        arguments["TemplateBody"] = body.decode()
    else:
        s3, key = run.client("s3"), f"sluice/templates/{stack}.yaml"
        s3.put_object(Bucket=run.bucket, Key=key, Body=body)
        arguments["TemplateURL"] = f"{s3.meta.endpoint_url}/{run.bucket}/{key}"
    if name in run.outputs:
        try:
            cloudformation.update_stack(**arguments)
        except failures.ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
    else:
        run.make(f"stack {name}", lambda: cloudformation.create_stack(**arguments))

    def settled() -> dict[str, Any] | None:
        described = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        return None if described["StackStatus"].endswith("_IN_PROGRESS") else described

    described = run.wait(settled, f"the stack {name}", max(run.platform.patience_s, 300), 0.2 if run.platform.minute_s < 60 else 5)
    if described["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        events = pages(cloudformation, "describe_stack_events", "StackEvents", StackName=described["StackId"])
        reasons = [
            f"{one['LogicalResourceId']}: {one['ResourceStatusReason']}"
            for one in events
            if "FAILED" in one["ResourceStatus"] and one.get("ResourceStatusReason")
        ]
        raise Failure(f"{name} is {described['StackStatus']}: {'; '.join(reasons[-3:]) or 'AWS gives no reason'}")
    found = {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])}
    run.outputs[name], run.parameters[name] = found, given
    run.platform.launched(stack, given, found)
    return found


def remove_stack(run: Run, name: str) -> None:
    """Deletes every stack that ever had this name, and what those kept."""
    cloudformation = run.client("cloudformation")
    for stack in list(pages(cloudformation, "list_stacks", "StackSummaries")):
        if stack["StackName"] != name:
            continue
        identity = stack["StackId"]

        def status(identity: str = identity) -> str:
            return str(cloudformation.describe_stacks(StackName=identity)["Stacks"][0]["StackStatus"])

        if stack["StackStatus"] != "DELETE_COMPLETE":
            if stack["StackStatus"].startswith("UPDATE") and stack["StackStatus"].endswith("_IN_PROGRESS"):
                run.wait(lambda: not status().endswith("_IN_PROGRESS"), f"the update of {name}")
            run.say(f"    deleting stack {name}")
            cloudformation.delete_stack(StackName=identity)
            ended = run.wait(lambda: (now := status()) in ("DELETE_COMPLETE", "DELETE_FAILED") and now, f"the deletion of {name}")
            if ended == "DELETE_FAILED":
                events = pages(cloudformation, "describe_stack_events", "StackEvents", StackName=identity)
                reason = next((one.get("ResourceStatusReason", "") for one in events if one["ResourceStatus"] == "DELETE_FAILED"), "")
                raise Failure(f"AWS did not delete the stack {name}: {reason}")
        for kind, physical in kept(run, identity):
            remove(run, kind, physical)


def kept(run: Run, stack: str) -> list[tuple[str, str]]:
    """(type, physical ID) of what a deleted stack left behind on purpose."""
    events = pages(run.client("cloudformation"), "describe_stack_events", "StackEvents", StackName=stack)
    return list(
        dict.fromkeys(
            (one["ResourceType"], one["PhysicalResourceId"])
            for one in events
            if one["ResourceStatus"] == "DELETE_SKIPPED" and one.get("PhysicalResourceId")
        )
    )


def remove(run: Run, kind: str, name: str) -> None:
    """Deletes one thing that a stack kept; what is gone is gone."""
    removers: dict[str, Callable[[], Any]] = {
        "AWS::Kinesis::Stream": lambda: remove_stream(run, name),
        "AWS::SQS::Queue": lambda: run.client("sqs").delete_queue(QueueUrl=name),
        "AWS::S3::Bucket": lambda: remove_bucket(run, name),
        "AWS::Logs::LogGroup": lambda: run.client("logs").delete_log_group(logGroupName=name),
        "AWS::SSM::Parameter": lambda: run.client("ssm").delete_parameter(Name=name),
        "AWS::KMS::Key": lambda: run.client("kms").schedule_key_deletion(KeyId=name, PendingWindowInDays=7),
    }
    if kind not in removers:
        # A policy of a queue or bucket goes with it.
        return
    gone(removers[kind])
    run.platform.removed(kind, name)


def gone(delete: Callable[[], Any]) -> None:
    """Deletes; it not being there is as good."""
    try:
        delete()
    except failures.ClientError as error:
        code = error.response["Error"]["Code"]
        if code not in preflight.MISSING | {"NoSuchKey", "QueueDoesNotExist", "NonExistentQueue"} and "NonExistent" not in code:
            raise


def remove_bucket(run: Run, bucket: str) -> None:
    s3 = run.client("s3")
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            objects = [
                {"Key": one["Key"], "VersionId": one["VersionId"]} for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            ]
            if objects:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        s3.delete_bucket(Bucket=bucket)
    except s3.exceptions.NoSuchBucket:
        return


def remove_log_groups(run: Run) -> None:
    logs = run.client("logs")
    for prefix in (f"/{run.prefix}/", f"/sluice/{run.prefix}"):
        for group in list(pages(logs, "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)):
            gone(functools.partial(logs.delete_log_group, logGroupName=group["logGroupName"]))


def remove_stream(run: Run, name: str) -> None:
    kinesis = run.client("kinesis")
    gone(lambda: kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True))
    run.wait(lambda: not stream_exists(run, name), f"the deletion of stream {name}", pause_s=min(1.0, run.platform.minute_s / 30))


def stream_exists(run: Run, name: str) -> bool:
    kinesis = run.client("kinesis")
    try:
        kinesis.describe_stream_summary(StreamName=name)
    except kinesis.exceptions.ResourceNotFoundException:
        return False
    return True


def create_stream(run: Run, name: str, shards: int = 1) -> None:
    kinesis = run.client("kinesis")
    run.make(
        f"stream {name}", lambda: kinesis.create_stream(StreamName=name, ShardCount=shards, StreamModeDetails={"StreamMode": "PROVISIONED"})
    )
    run.wait(lambda: summary(run, name)["StreamStatus"] == "ACTIVE", f"the stream {name}", pause_s=min(2.0, run.platform.minute_s / 30))


def summary(run: Run, stream: str) -> dict[str, Any]:
    return dict(run.client("kinesis").describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"])


# Writing and reading


def write(run: Run, group: str, stream: str, messages: Sequence[str]) -> Counter[Event]:
    """Writes log events as an agent does; returns what must arrive."""
    logs = run.client("logs")
    try:
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    except logs.exceptions.ResourceAlreadyExistsException:
        pass
    now = round(time.time() * 1000)
    for begin in range(0, len(messages), 5_000):
        batch = [{"timestamp": now, "message": message} for message in messages[begin : begin + 5_000]]
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=batch)
    return Counter(Event(group, stream, now, message.encode()) for message in messages)


def read(run: Run, stream: str) -> list[Record]:
    """Every record of every shard, closed ones too."""
    kinesis = run.client("kinesis")
    pause_s = 0.25 if run.platform.minute_s >= 60 else 0.0
    found = []
    for shard in list(pages(kinesis, "list_shards", "Shards", StreamName=stream)):
        iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
        quiet = 0
        while iterator and quiet < 2:
            answer = kinesis.get_records(ShardIterator=iterator, Limit=limits.GET_RECORDS_RECORDS_MAX)
            found += [
                Record(shard["ShardId"], one["PartitionKey"], one["Data"], round(one["ApproximateArrivalTimestamp"].timestamp() * 1000))
                for one in answer["Records"]
            ]
            quiet = quiet + 1 if not answer["Records"] and not answer.get("MillisBehindLatest") else 0
            iterator = answer.get("NextShardIterator")
            time.sleep(pause_s)
    return found


def events_of(records: Sequence[Record], record_format: str = "kpl") -> Counter[Event]:
    return Counter(enveloped(payload)[0] for record in records for payload in payloads(record, record_format))


def all_there(run: Run, stream: str, sent: Counter[Event], record_format: str) -> Counter[Event] | None:
    came = events_of(read(run, stream), record_format)
    return came if not sent - came else None


def compared(sent: Counter[Event], came: Counter[Event]) -> str:
    invented = [event for event in came if event not in sent]
    if lost := (sent - came).total():
        raise Failure(f"{lost:,} of {sent.total():,} events are missing")
    if invented:
        raise Failure(f"{len(invented):,} events came that nobody sent")
    return f"{sent.total():,} events byte for byte, {(came - sent).total():,} of them twice"


def depth(run: Run, queue_url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
    attributes = run.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
    return sum(int(attributes.get(name, 0)) for name in names)


def invoke(run: Run, function: str, event: Any, wait: bool = True) -> Any:
    answer = run.client("lambda").invoke(
        FunctionName=function, InvocationType="RequestResponse" if wait else "Event", Payload=json.dumps(event).encode()
    )
    payload = json.loads(answer["Payload"].read() or b"null")
    if answer.get("FunctionError"):
        raise Failure(f"{function} failed: {str(payload.get('errorMessage', payload))[:200]}")
    return payload


def by_hand(run: Run, event: Mapping[str, Any]) -> None:
    # One at a time: a schedule may hold the only slot, and then Lambda answers 429.
    def invoked() -> bool:
        try:
            invoke(run, run.outputs[run.named("autoscaling")]["ScaleUpFunctionName"], event)
        except run.client("lambda").exceptions.TooManyRequestsException:
            return False
        return True

    run.wait(invoked, "a free slot of scale-up", pause_s=0.5)


# The steps


def look_first(run: Run) -> str:
    launches = [
        preflight.Launch(stack, name, {**parameters, "LogGroupNames": ""} if "LogGroupNames" in parameters else parameters)
        for stack, name, parameters in plan(run)
    ]
    # The streams are there by the time that they are needed.
    found = [
        one
        for one in preflight.Preflight(preflight.Account(run.client, run.platform.region), launches).run()
        if one.code != "stream-missing"
    ]
    stopping = [one for one in found if one.severity == preflight.STOPS]
    if stopping:
        raise Failure("; ".join(f"{one.what} → {one.remedy}" for one in stopping))
    for one in found:
        run.say(f"    {one.what}")
    return f"nothing stands in the way, {len(found)} warnings"


def make_bucket(run: Run) -> str:
    s3, region = run.client("s3"), run.platform.region
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    run.make(f"bucket {run.bucket}", lambda: s3.create_bucket(Bucket=run.bucket, **where))
    keys = [upload(run, function) for function in FUNCTIONS]
    return f"{len(keys)} zips in {run.bucket}"


def make_log_groups(run: Run) -> str:
    logs = run.client("logs")
    for name in ("one", "two", "busy", "refusing"):
        run.make(f"log group {run.group(name)}", functools.partial(logs.create_log_group, logGroupName=run.group(name)))
        # Should everything else fail, what was written is gone tomorrow.
        logs.put_retention_policy(logGroupName=run.group(name), retentionInDays=1)
    return "4 log groups"


def plan(run: Run) -> list[tuple[str, str, dict[str, str]]]:
    """(template, stack, parameters) of every stack that is launched."""
    code = {"CodeS3Bucket": run.bucket, "Architecture": run.platform.architecture}

    def key(function: str) -> str:
        archive = run.platform.artifact(function)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()[:16] if archive.is_file() else "missing"
        return f"sluice/{function}-{digest}.zip"

    processors = {**code, "CodeS3Key": key("log-processor"), "CodeS3KeyDlqReplayer": key("dlq-replayer"), "RecordFormat": "kpl"}
    archive = {
        **code,
        "CodeS3Key": key("archiver"),
        "StreamName": run.prefix,
        "BufferSeconds": "60",
        "BatchingWindowSeconds": "1",
        "ColdAfterDays": "0",
    }
    shards = {"StreamName": run.prefix, "ShardCountInitial": "1", "ShardCountDefault": "1", "ShardCountMin": "1", "ShardCountMax": "4"}
    calm = {"LookBackMinutes": "5", "CalmMinutesPerCall": "0", "OffPeakSchedule": ""}
    return [
        ("autoscaling", run.named("autoscaling"), {
            **code, **shards, **calm, "CodeS3KeyScaleUp": key("scale-up"), "CodeS3KeyScaleDown": key("scale-down"),
            "ProcessorFunctions": run.named("processor"), "DrainSeconds": str(max(1, round(10 * run.platform.minute_s))),
        }),
        ("log-processing", run.named("log-processing"), {
            **processors, "StreamName": run.prefix, "FunctionName": run.named("processor"), "ReservedConcurrency": "1",
            "LogGroupNames": f"{run.group('one')},{run.group('two')}",
        }),
        ("log-processing", run.named("refusing"), {
            **processors, "StreamName": run.named("refusing"), "FunctionName": run.named("refusing-processor"), "RecordFormat": "single",
            "ReservedConcurrency": "4", "PutAttemptsMax": "1", "LogGroupNames": run.group("refusing"), "ReplaySchedule": "",
        }),
        ("archive", run.named("archive"), {**archive, "FunctionName": run.named("archiver")}),
        ("stream-replay", run.named("stream-replay"), {
            **code, "CodeS3Key": key("stream-replayer"), "StreamName": run.prefix, "FunctionName": run.named("stream-replayer"),
            "TargetStreamArns": stream_arn(run, run.named("replayed")),
        }),
    ]  # fmt: skip


@functools.cache
def caller(client: Any) -> dict[str, str]:
    answer = client.get_caller_identity()
    return {"account": answer["Account"], "partition": answer["Arn"].split(":")[1], "arn": answer["Arn"]}


def stream_arn(run: Run, name: str) -> str:
    who = caller(run.client("sts"))
    return f"arn:{who['partition']}:kinesis:{run.platform.region}:{who['account']}:stream/{name}"


def launch_planned(run: Run, name: str) -> str:
    stack, name, parameters = next(one for one in plan(run) if one[1] == run.named(name))
    launch(run, stack, name, parameters)
    return f"infra/{stack}.yaml as {name}"


def launch_refusing(run: Run) -> str:
    create_stream(run, run.named("refusing"))
    return launch_planned(run, "refusing")


def launch_replay(run: Run) -> str:
    create_stream(run, run.named("replayed"))
    return launch_planned(run, "stream-replay")


def messages(run: Run, count: int, what: str) -> list[str]:
    """What logs are full of, odd things among it."""
    drawn = random.Random(run.prefix + what)
    odd = [
        "ü–€ 漢字 🚰",
        '{"level":"warn","text":"a \\"quoted\\" word"}',
        "tab\there",
        "line one\nline two",
        " leading and trailing ",
        "\u2028",
    ]
    return [
        f"{what} {number} {drawn.choice(odd)} {''.join(drawn.choices(string.ascii_letters, k=drawn.randint(1, EVENT_BYTES)))}"
        for number in range(count)
    ]


def carry(run: Run) -> str:
    # A filter is known everywhere a little after its stack is.
    time.sleep(run.platform.minute_s / 4)
    begin_s = int(time.time())
    for group in ("one", "two"):
        for stream in ("a", "b"):
            run.sent += write(run, run.group(group), stream, messages(run, CARRIED_EVENTS // 4, f"{group} {stream}"))
            run.progress(f"wrote {CARRIED_EVENTS // 4} events into {run.group(group)}")
    try:
        came = run.wait(lambda: all_there(run, run.prefix, run.sent, "kpl"), "all events in the stream")
    except Failure:
        came = events_of(read(run, run.prefix))
    time.sleep(1.1)
    run.carried_window_s = (begin_s, int(time.time()))
    return compared(run.sent, came)


def check_archive(run: Run) -> str:
    bucket = run.outputs[run.named("archive")]["BucketName"]

    def archived() -> Counter[Event] | None:
        came = archived_events(run, bucket, "events/")
        return came if not run.sent - came else None

    try:
        came = run.wait(archived, "all events in S3", max(240.0, run.platform.patience_s) if run.platform.minute_s >= 60 else None)
    except Failure:
        came = archived_events(run, bucket, "events/")
    return compared(run.sent, Counter({event: count for event, count in came.items() if event in run.sent}))


def archived_events(run: Run, bucket: str, prefix: str) -> Counter[Event]:
    s3 = run.client("s3")
    came: Counter[Event] = Counter()
    for entry in list(pages(s3, "list_objects_v2", "Contents", Bucket=bucket, Prefix=prefix)):
        body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
        text = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        came.update(enveloped(archived_event(line))[0] for line in text.split(b"\n") if line)
    return came


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def replay_window(run: Run) -> str:
    begin_s, end_s = run.carried_window_s
    wanted = Counter(
        (f"replayed:{one.partition_key}", one.data) for one in read(run, run.prefix) if begin_s * 1000 <= one.arrived_ms < end_s * 1000
    )
    event = {"from": moment(begin_s), "until": moment(end_s), "target": f"stream:{run.named('replayed')}"}
    report = invoke(run, run.outputs[run.named("stream-replay")]["FunctionName"], event)
    if report.get("stopped") != "done":
        raise Failure(f"the replay stopped: {report}")
    came = Counter((one.partition_key, one.data) for one in read(run, run.named("replayed")))
    if wanted != came:
        raise Failure(f"{(wanted - came).total():,} records of the window are missing, {(came - wanted).total():,} are too many")
    return f"{came.total():,} records from {moment(begin_s)} to {moment(end_s)}, each marked"


def poison(run: Run) -> str:
    outputs = run.outputs[run.named("log-processing")]
    invoke(run, outputs["FunctionName"], POISON, wait=False)
    sqs = run.client("sqs")

    def quarantined() -> list[dict[str, Any]]:
        return list(
            sqs.receive_message(QueueUrl=outputs["QuarantineQueueUrl"], WaitTimeSeconds=1, MessageAttributeNames=["All"]).get(
                "Messages", []
            )
        )

    (letter,) = run.wait(quarantined, "the poison payload in quarantine")
    if json.loads(letter["Body"]) != POISON:
        raise Failure("what lies in quarantine is not what was sent")
    return f"in quarantine as it came, reason {letter['MessageAttributes']['Reason']['StringValue']}"


def open_shards(run: Run) -> int:
    return int(summary(run, run.prefix)["OpenShardCount"])


def wait_for_shards(run: Run, wanted: Callable[[int], bool], what: str, wake: Callable[[], None] | None = None) -> int:
    def there() -> int:
        if wake:
            wake()
        described = summary(run, run.prefix)
        count = int(described["OpenShardCount"])
        return count if described["StreamStatus"] == "ACTIVE" and wanted(count) else 0

    return int(run.wait(there, what, max(15 * run.platform.minute_s, 45)))


def raise_by_alarm(run: Run) -> str:
    """The load alone: nobody touches the alarm."""
    before = open_shards(run)
    parameters = run.parameters[run.named("log-processing")]
    launch(
        run,
        "log-processing",
        run.named("log-processing"),
        {**parameters, "LogGroupNames": f"{parameters['LogGroupNames']},{run.group('busy')}", "RecordFormat": "single"},
    )
    deadline = time.monotonic() + BUSY_MINUTES_MAX * run.platform.minute_s
    written = 0
    while open_shards(run) <= before:
        began = time.monotonic()
        if began > deadline:
            raise Failure(f"{written:,} events at {BUSY_EVENTS_A_SECOND:,} a second, and the stream still has {before} shards")
        write(run, run.group("busy"), "load", [f"{written + one} {'x' * 80}" for one in range(BUSY_EVENTS_A_SECOND)])
        written += BUSY_EVENTS_A_SECOND
        run.hook(run.step, "load")
        time.sleep(max(0.0, 1 - (time.monotonic() - began)))
    after = wait_for_shards(run, lambda count: count > before, "the end of the reshard")
    return f"{before} → {after} shards after {written:,} events at {BUSY_EVENTS_A_SECOND:,} a second"


def raise_by_hand(run: Run) -> str:
    before = open_shards(run)
    wait_for_shards(run, lambda count: True, "an active stream")
    by_hand(run, {"shardCount": 4})
    wait_for_shards(run, lambda count: count == 4, "4 shards", lambda: by_hand(run, {"wake": "reconcile"}))
    return f"{before} → 4 shards"


def lower_by_hand(run: Run) -> str:
    by_hand(run, {"shardCount": 2})
    wait_for_shards(run, lambda count: count == 2, "2 shards", lambda: by_hand(run, {"wake": "reconcile"}))
    return "4 → 2 shards"


def lower_by_schedule(run: Run) -> str:
    function = run.outputs[run.named("autoscaling")]["ScaleDownFunctionName"]
    lambdas, before = run.client("lambda"), open_shards(run)

    def off_peak() -> None:
        try:
            invoke(run, function, {"wake": "off-peak"})
        except lambdas.exceptions.TooManyRequestsException:
            pass
        time.sleep(run.platform.minute_s / 3)

    wait_for_shards(run, lambda count: count == 1, "1 shard, once five minutes were calm", off_peak)
    return f"{before} → 1 shard, once five minutes were calm"


def refuse(run: Run) -> str:
    outputs = run.outputs[run.named("refusing")]
    time.sleep(run.platform.minute_s / 4)
    began = time.time()
    for second in range(REFUSED_S):
        due = began + second + 1
        run.refused_sent += write(
            run, run.group("refusing"), "load", [f"{second}-{one} {'y' * 60}" for one in range(REFUSED_EVENTS_A_SECOND)]
        )
        run.hook(run.step, "load")
        time.sleep(max(0.0, due - time.time()))
    run.progress(f"wrote {run.refused_sent.total():,} events, {REFUSED_EVENTS_A_SECOND:,} a second, for one shard that takes 1,000")
    count = run.wait(lambda: depth(run, outputs["DeadLetterQueueUrl"]), "a dead letter")
    run.refusing_window_s = (began, time.time())
    return f"{run.refused_sent.total():,} events for one shard, {count} dead letters so far"


def replay_dead_letters(run: Run) -> str:
    name = run.named("refusing")
    # The repair: what fails in a replay would stay out of sight for an hour.
    outputs = launch(run, "log-processing", name, {**run.parameters[name], "PutAttemptsMax": "20", "ReservedConcurrency": "1"})
    last = (-1, -1)

    def quiet() -> bool:
        nonlocal last
        before, last = last, (depth(run, outputs["DeadLetterQueueUrl"]), len(read(run, name)))
        return before == last

    run.wait(quiet, "Lambda's queue to drain", pause_s=max(1.0, run.platform.minute_s / 4))
    rounds = 0

    def delivered() -> Counter[Event] | None:
        nonlocal rounds
        if waiting := depth(run, outputs["DeadLetterQueueUrl"]):
            rounds += 1
            # As many as there are: asked for all, the replayer waits to see that there are no more.
            report = invoke(run, outputs["ReplayerFunctionName"], {"max": waiting})
            run.progress(f"replayed {report.get('replayed')} of {waiting} dead letters, {report.get('left')} left")
        return all_there(run, name, run.refused_sent, "single")

    came = run.wait(delivered, "every event in the stream")
    return f"{compared(run.refused_sent, came)}, after {rounds} {'replay' if rounds == 1 else 'replays'}"


# The open questions of ../shared/aws-truth.md, section 2


def ask_d1(run: Run) -> str:
    """With a role that has nothing but these actions, on the stream's ARN."""
    iam, sts, role = run.client("iam"), run.client("sts"), run.named("d1")
    who = caller(sts)
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": who["account"]}, "Action": "sts:AssumeRole"}]}
    allowed = ["kinesis:UpdateShardCount", "kinesis:EnableEnhancedMonitoring", "kinesis:DisableEnhancedMonitoring"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": stream_arn(run, run.named("refusing"))}],
    }
    arn = run.make(f"role {role}", lambda: iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust)))["Role"]["Arn"]
    iam.put_role_policy(RoleName=role, PolicyName="d1", PolicyDocument=json.dumps(policy))

    def assumed() -> Any:
        try:
            return sts.assume_role(RoleArn=arn, RoleSessionName="d1")["Credentials"]
        except failures.ClientError as error:
            if error.response["Error"]["Code"] == "AccessDenied" and "not authorized" in str(error) and time.monotonic() < deadline:
                return None
            raise

    deadline = time.monotonic() + 60
    credentials = run.wait(assumed, "the role", 90)
    kinesis = run.client("kinesis")
    own = boto3.client(
        "kinesis", region_name=run.platform.region, endpoint_url=kinesis.meta.endpoint_url, aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"], aws_session_token=credentials["SessionToken"],
    )  # fmt: skip
    stream = run.named("refusing")
    # A role's policy takes some seconds to be known everywhere: denied counts only afterwards.
    time.sleep(15 if run.platform.minute_s >= 60 else 0)
    answers = []
    for name, call in (
        ("EnableEnhancedMonitoring", lambda: own.enable_enhanced_monitoring(StreamName=stream, ShardLevelMetrics=["IncomingBytes"])),
        ("DisableEnhancedMonitoring", lambda: own.disable_enhanced_monitoring(StreamName=stream, ShardLevelMetrics=["IncomingBytes"])),
        ("UpdateShardCount", lambda: own.update_shard_count(StreamName=stream, TargetShardCount=2, ScalingType="UNIFORM_SCALING")),
    ):
        run.wait(lambda: summary(run, stream)["StreamStatus"] == "ACTIVE", f"the stream {stream}")
        try:
            call()
            answers.append(f"{name} is allowed on the stream's ARN")
        except failures.ClientError as error:
            if error.response["Error"]["Code"] not in preflight.DENIED:
                raise
            answers.append(f"{name} is DENIED on the stream's ARN and needs Resource *")
    run.wait(lambda: summary(run, stream)["StreamStatus"] == "ACTIVE", f"the stream {stream}")
    return "; ".join(answers)


def undo_d1(run: Run) -> None:
    iam, role = run.client("iam"), run.named("d1")
    gone(lambda: iam.delete_role_policy(RoleName=role, PolicyName="d1"))
    gone(lambda: iam.delete_role(RoleName=role))


def tags_of(run: Run, stream: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in run.client("kinesis").list_tags_for_stream(StreamName=stream)["Tags"]}


def update_autoscaling(run: Run, changes: Mapping[str, str], tags: Mapping[str, str] | None = None) -> None:
    name = run.named("autoscaling")
    launch(run, "autoscaling", name, {**run.parameters[name], **changes}, tags)


def ask_d2(run: Run) -> str:
    run.client("kinesis").add_tags_to_stream(StreamName=run.prefix, Tags={"sluice/verify": "here"})
    before = tags_of(run, run.prefix)
    update_autoscaling(run, {}, {"changed": "yes"})
    lost = sorted(name for name in before if name.startswith("sluice/") and name not in tags_of(run, run.prefix))
    return (
        f"a stack update that changes tags removes {', '.join(lost)}"
        if lost
        else "a stack update that changes tags keeps the tags that the API set"
    )


def ask_d3(run: Run) -> str:
    kinesis = run.client("kinesis")
    shards = 2
    if open_shards(run) != shards:
        by_hand(run, {"shardCount": shards})
        wait_for_shards(run, lambda count: count == shards, "2 shards", lambda: by_hand(run, {"wake": "reconcile"}))
    kinesis.enable_enhanced_monitoring(StreamName=run.prefix, ShardLevelMetrics=["OutgoingBytes"])
    run.wait(lambda: summary(run, run.prefix)["StreamStatus"] == "ACTIVE", "an active stream")
    try:
        update_autoscaling(run, {"RetentionHours": "25"})
    except Failure as refused:
        return f"with ShardCountInitial=1 and {shards} shards a change of RetentionHours is refused: {refused}"
    after = summary(run, run.prefix)
    metrics = any("OutgoingBytes" in one.get("ShardLevelMetrics", []) for one in after.get("EnhancedMonitoring", []))
    told = f"ShardCountInitial=1, {shards} shards before a change of RetentionHours, {after['OpenShardCount']} after it"
    return f"{told}; shard metrics that the API switched on {'stay' if metrics else 'are switched off'}"


def ask_d4(run: Run) -> str:
    name = run.named("refusing")
    parameters, lambdas, s3 = run.parameters[name], run.client("lambda"), run.client("s3")
    function = parameters["FunctionName"]
    template = int(parameters["ReservedConcurrency"])
    lambdas.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=template + 1)
    key = f"{parameters['CodeS3Key']}.again.zip"
    s3.copy_object(Bucket=run.bucket, Key=key, CopySource={"Bucket": run.bucket, "Key": parameters["CodeS3Key"]})
    launch(run, "log-processing", name, {**parameters, "CodeS3Key": key})
    after = lambdas.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions")
    lambdas.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=template)
    return f"the template says {template}, the API {template + 1}; after an update of the code it is {after}"


def ask_d5(run: Run) -> str:
    now = time.time()
    metric = {"Namespace": "Sluice", "MetricName": f"NeverPublished-{run.prefix}"}
    queries = [
        {"Id": "filled", "Expression": "FILL(none, 0)"},
        {"Id": "none", "ReturnData": False, "MetricStat": {"Metric": metric, "Stat": "Sum", "Period": 60}},
    ]
    (result,) = run.client("cloudwatch").get_metric_data(MetricDataQueries=queries, StartTime=now - 600, EndTime=now)["MetricDataResults"]
    values = result["Values"]
    return (
        f"FILL of a metric that was never published gives {len(values)} zeros"
        if values and not any(values)
        else f"FILL of a metric that was never published gives {values or 'nothing'}"
    )


def ask_d6(run: Run) -> str:
    """Whether scale-up's PutMetricAlarm is taken: the threshold follows the shards."""
    alarm = f"{run.named('autoscaling')}-incoming-bytes"
    cloudwatch = run.client("cloudwatch")

    def follows() -> bool:
        wanted = SHARD_THRESHOLD * open_shards(run)
        (found,) = cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
        return bool(abs(found["Threshold"] - wanted) < 1)

    run.wait(follows, f"the threshold of {alarm} follows the shards", 5 * run.platform.minute_s + 10)
    return f"PutMetricAlarm is taken: the threshold of {alarm} follows the shards"


def ask_d7(run: Run) -> str:
    begin, end = run.refusing_window_s
    metrics = run.client("cloudwatch")
    dimensions = [{"Name": "FunctionName", "Value": run.named("refusing-processor")}]
    found = metrics.get_metric_statistics(
        Namespace="AWS/Lambda", MetricName="ConcurrentExecutions", Dimensions=dimensions, StartTime=begin - 60, EndTime=end + 120, Period=60, Statistics=["Maximum", "Average"]
    )["Datapoints"]  # fmt: skip
    slots = run.parameters[run.named("refusing")]["ReservedConcurrency"]
    told = ", ".join(
        f"{one['Average']:.1f} on average and {one['Maximum']:.0f} at most" for one in sorted(found, key=lambda one: one["Timestamp"])
    )
    return f"of {slots} slots, by the minute: {told or 'no data points yet'}. A short run; the question wants two hours."


def ask_d8(run: Run) -> str:
    outputs, lambdas = run.outputs[run.named("refusing")], run.client("lambda")
    before = lambdas.get_function_concurrency(FunctionName=outputs["FunctionName"]).get("ReservedConcurrentExecutions")
    lambdas.put_function_concurrency(FunctionName=outputs["FunctionName"], ReservedConcurrentExecutions=0)
    try:
        letters = depth(run, outputs["DeadLetterQueueUrl"])
        began = time.monotonic()
        write(run, run.group("refusing"), "zero", ["an event for a function that may not run"])
        try:
            run.wait(lambda: depth(run, outputs["DeadLetterQueueUrl"]) > letters, "a dead letter", 3 * run.platform.minute_s)
        except Failure:
            return "with a reserved concurrency of 0 an event was not dead-lettered within three minutes: Lambda keeps it"
        return f"with a reserved concurrency of 0 an event was dead-lettered within {time.monotonic() - began:.0f} s"
    finally:
        lambdas.put_function_concurrency(FunctionName=outputs["FunctionName"], ReservedConcurrentExecutions=before or 1)


def ask_d9(run: Run) -> str:
    events = pages(run.client("cloudformation"), "describe_stack_events", "StackEvents", StackName=run.named("archive"))
    refused = [
        one["ResourceStatusReason"]
        for one in events
        if one["LogicalResourceId"].startswith("Firehose") and "FAILED" in one["ResourceStatus"]
    ]
    return f"refused once: {refused[0]}" if refused else "Firehose takes a trust policy with aws:SourceAccount alone, at the first try"


def ask_d10(run: Run) -> str:
    sns, cloudwatch = run.client("sns"), run.client("cloudwatch")
    topics = {
        "a .fifo topic": (f"{run.named('d10')}.fifo", {"FifoTopic": "true"}),
        "a topic encrypted with alias/aws/sns": (run.named("d10"), {"KmsMasterKeyId": "alias/aws/sns"}),
    }
    answers = []
    for told, (name, attributes) in topics.items():
        arn = run.make(f"topic {name}", functools.partial(sns.create_topic, Name=name, Attributes=attributes))["TopicArn"]
        alarm = f"{run.named('d10')}-{'fifo' if 'FifoTopic' in attributes else 'kms'}"
        try:
            run.make(f"alarm {alarm}", functools.partial(
                cloudwatch.put_metric_alarm, AlarmName=alarm, Namespace="Sluice", MetricName="Verify", Statistic="Sum", Period=60, EvaluationPeriods=1,
                Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore", AlarmActions=[arn],
            ))  # fmt: skip
        except failures.ClientError as error:
            answers.append(f"an alarm does not take {told}: {error.response['Error']['Message'][:80]}")
            continue
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="verify")

        def acted(alarm: str = alarm) -> Any:
            return cloudwatch.describe_alarm_history(AlarmName=alarm, HistoryItemType="Action")["AlarmHistoryItems"]

        try:
            answers.append(f"{told}: {run.wait(acted, 'the action', run.platform.minute_s)[0]['HistorySummary']}")
        except Failure:
            answers.append(f"{told}: the alarm's history shows no action")
    return "; ".join(answers)


def undo_d10(run: Run) -> None:
    sns, cloudwatch = run.client("sns"), run.client("cloudwatch")
    mine = [one["AlarmName"] for one in pages(cloudwatch, "describe_alarms", "MetricAlarms", AlarmNamePrefix=run.named("d10"))]
    if mine:
        cloudwatch.delete_alarms(AlarmNames=mine)
    for topic in list(pages(sns, "list_topics", "Topics")):
        if topic["TopicArn"].split(":")[-1].startswith(run.named("d10")):
            gone(functools.partial(sns.delete_topic, TopicArn=topic["TopicArn"]))


def ask_d11(run: Run) -> str:
    outputs = run.outputs[run.named("autoscaling")]
    try:
        run.make(f"schedule {run.named('d11')}", lambda: run.client("scheduler").create_schedule(
            Name=run.named("d11"), ScheduleExpression="at(2020-01-01T00:00:00)", FlexibleTimeWindow={"Mode": "OFF"}, State="DISABLED",
            Target={"Arn": outputs["ScaleUpFunctionArn"], "RoleArn": outputs["ScheduleRoleArn"]},
        ))  # fmt: skip
    except failures.ClientError as error:
        if error.response["Error"]["Code"] != "ValidationException":
            raise
        return f"CreateSchedule refuses an at() in the past: {error.response['Error']['Message'][:80]}"
    return "CreateSchedule takes an at() in the past"


def undo_d11(run: Run) -> None:
    gone(lambda: run.client("scheduler").delete_schedule(Name=run.named("d11")))


def ask_d12(run: Run) -> str:
    parameters = next(parameters for _, name, parameters in plan(run) if name == run.named("archive"))
    outputs = launch(run, "archive", run.named("d12"), {**parameters, "FunctionName": run.named("d12-archiver"), "PrefixBy": "event-time"})
    expected = f"events/year={time.strftime('%Y', time.gmtime(run.carried_window_s[0]))}/"

    def arrived() -> list[str]:
        return [one["Key"] for one in pages(run.client("s3"), "list_objects_v2", "Contents", Bucket=outputs["BucketName"])]

    keys = run.wait(arrived, "an object", run.platform.patience_s)
    wrong = [key for key in keys if not key.startswith(expected)]
    if wrong:
        return f"the query does not do what it should: {wrong[0]}"
    came = archived_events(run, outputs["BucketName"], "events/")
    return f"objects lie by the events' own time, {len(keys)} under {expected}, {(run.sent & came).total():,} of {run.sent.total():,} events so far"


def ask_d14(run: Run) -> str:
    transform = Template.of("autoscaling").has_transform
    return f"infra/autoscaling.yaml launches with Rules{' and a transform' if transform else ''}, infra/log-processing.yaml with a parameter named Transform"


def never(run: Run) -> str:
    raise AssertionError("it is always skipped")


def stack_step(name: str, needs: tuple[str, ...], run: Callable[[Run], str] | None = None, stream: str | None = None) -> Step:
    def undo(one: Run) -> None:
        remove_stack(one, one.named(name))
        if stream:
            remove_stream(one, one.named(stream))

    return Step(name, f"launch {name}", needs, run or (lambda one: launch_planned(one, name)), undo)


STEPS: tuple[Step, ...] = (
    Step("preflight", "look first", (), look_first),
    Step("bucket", "upload the artifacts", ("preflight",), make_bucket, lambda run: remove_bucket(run, run.bucket)),
    Step("log-groups", "make log groups", ("bucket",), make_log_groups, remove_log_groups),
    stack_step("autoscaling", ("bucket",)),
    stack_step("log-processing", ("log-groups", "autoscaling")),
    stack_step("archive", ("autoscaling",)),
    stack_step("stream-replay", ("autoscaling",), launch_replay, "replayed"),
    stack_step("refusing", ("log-groups",), launch_refusing, "refusing"),
    Step("carry", "carry log events into the stream", ("log-processing",), carry),
    Step("poison", "quarantine a poison payload", ("log-processing",), poison),
    Step("archived", "read the archive back", ("carry", "archive"), check_archive),
    Step("replayed", "replay a window", ("carry", "stream-replay"), replay_window),
    Step("refuse", "let one shard refuse", ("refusing",), refuse),
    Step("dead-letters", "replay the dead letters", ("refuse",), replay_dead_letters),
    Step("up-by-alarm", "let load raise the shards", ("carry",), raise_by_alarm),
    Step("up-by-hand", "raise the shards by hand", ("autoscaling",), raise_by_hand),
    Step("D6", "does PutMetricAlarm take what DescribeAlarms gave?", ("up-by-hand",), ask_d6, is_question=True),
    Step("down-by-hand", "lower the shards by hand", ("up-by-hand",), lower_by_hand),
    Step("D3", "does a change of the stream send its shards again?", ("down-by-hand",), ask_d3, is_question=True),
    Step("D2", "does a change of stack tags remove the stream's own?", ("autoscaling",), ask_d2, is_question=True),
    Step("down-by-schedule", "let scale-down halve", ("down-by-hand",), lower_by_schedule),
    Step("D1", "may resharding and shard metrics be limited to a stream?", ("refusing",), ask_d1, undo_d1, True),
    Step("D4", "does an update of the code send the concurrency again?", ("refusing",), ask_d4, is_question=True),
    Step("D5", "what is FILL of a metric that was never published?", ("preflight",), ask_d5, is_question=True),
    Step("D7", "how full does Lambda keep the slots of a throttled queue?", ("refuse",), ask_d7, is_question=True),
    Step("D8", "what becomes of events at a reserved concurrency of 0?", ("dead-letters",), ask_d8, is_question=True),
    Step("D9", "does Firehose take a trust with the account alone?", ("archive",), ask_d9, is_question=True),
    Step("D10", "do alarms reach .fifo and encrypted topics?", ("preflight",), ask_d10, undo_d10, True),
    Step("D11", "may a schedule lie in the past?", ("autoscaling",), ask_d11, undo_d11, True),
    Step("D12", "does the archive by event time work?", ("carry",), ask_d12, lambda run: remove_stack(run, run.named("d12")), True),
    Step("D13", "do NAT gateways drop long synchronous invocations?", (), never, is_question=True),
    Step("D14", "do Rules go with a transform?", ("autoscaling", "log-processing"), ask_d14, is_question=True),
)
EVERYWHERE_SKIPPED = {"D13": "needs a VPC with a NAT gateway, which costs more than all the rest and is part of your network"}


# The runner


def explained(error: BaseException) -> str:
    """What a person should read instead of a traceback."""
    if isinstance(error, failures.ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        message = error.response.get("Error", {}).get("Message", "")
        if code in preflight.DENIED or code == "403":
            return f"AWS denies {error.operation_name}: {message[:300]}"
        return f"{error.operation_name}: {code}: {message[:300]}"
    return f"{error}" if isinstance(error, Failure) else f"{type(error).__name__}: {str(error)[:300]}"


def perform(run: Run, steps: Sequence[Step] = STEPS) -> bool:
    """Runs the steps and undoes them, whatever happens; true when nothing failed and nothing is left."""
    interrupted = False
    begun: list[Step] = []
    try:
        for step in steps:
            run.step = step.name
            lacking = [name for name in step.needs if name in {one.name for one in steps} and run.outcomes[name].status != PASSED]
            if reason := {**EVERYWHERE_SKIPPED, **run.platform.skips}.get(step.name):
                run.outcomes[step.name] = Outcome(SKIPPED, reason)
                continue
            if lacking:
                run.outcomes[step.name] = Outcome(NOT_RUN, f"needs {', '.join(lacking)}")
                continue
            run.say(f"{step.name}: {step.title}")
            began = time.monotonic()
            begun.append(step)
            try:
                run.hook(step.name, "begins")
                outcome = Outcome(PASSED, step.run(run))
            # Whatever it is: what was created must go.
            except Exception as error:
                outcome = Outcome(FAILED, explained(error))
            outcome.seconds = time.monotonic() - began
            run.outcomes[step.name] = outcome
            run.say(f"    {outcome.status}: {outcome.text}")
            run.hook(step.name, "ended")
    except KeyboardInterrupt:
        interrupted = True
        run.say("\ninterrupted; removing what was created (Ctrl-C again gives that up)")
        if run.step not in run.outcomes:
            run.outcomes[run.step] = Outcome(FAILED, "interrupted")
    left = clean_up(run, begun) if run.created else []
    for step in steps:
        run.outcomes.setdefault(step.name, Outcome(NOT_RUN, "interrupted before it"))
    tell_what_is_left(run, left)
    return not interrupted and not left and not any(one.status in (FAILED, NOT_RUN) for one in run.outcomes.values())


def clean_up(run: Run, steps: Sequence[Step] = STEPS) -> list[str]:
    """Undoes the steps, last first, and returns what is there nonetheless."""
    run.say("cleaning up")
    problems: list[str] = []
    try:
        for step in reversed(steps):
            if step.undo is None:
                continue
            run.step = step.name
            try:
                run.hook(step.name, "undo")
                step.undo(run)
            except Exception as error:
                problems.append(f"{step.name}: {explained(error)}")
        # What no step owns: the log group that a function brings back whose last run ends after its stack. So it takes two
        # looks in a row that find nothing.
        left, clean = [], 0
        for _ in range(LOOKS_MAX):
            remove_log_groups(run)
            left = inventory(run)
            clean = 0 if left else clean + 1
            if clean == 2:
                break
            time.sleep(max(1.0, run.platform.minute_s / 12))
        return [*problems, *left] if left else []
    except KeyboardInterrupt:
        run.say("\nclean-up given up")
        try:
            return inventory(run) or ["what was about to be deleted"]
        except KeyboardInterrupt:
            return ["not known"]
    except Exception as error:
        return [*problems, explained(error), *inventory(run)]


def inventory(run: Run) -> list[str]:
    """Everything in the account that bears the prefix, told as a person would look for it."""
    prefix = run.prefix
    lookers: list[tuple[str, Callable[[], Iterator[str]]]] = [
        (
            "stack",
            lambda: (
                one["StackName"]
                for one in pages(run.client("cloudformation"), "list_stacks", "StackSummaries")
                if one["StackStatus"] != "DELETE_COMPLETE"
            ),
        ),
        ("stream", lambda: iter(pages(run.client("kinesis"), "list_streams", "StreamNames"))),
        ("queue", lambda: queues(run)),
        ("bucket", lambda: (one["Name"] for one in run.client("s3").list_buckets()["Buckets"])),
        ("function", lambda: (one["FunctionName"] for one in pages(run.client("lambda"), "list_functions", "Functions"))),
        ("log group", lambda: (one["logGroupName"] for one in pages(run.client("logs"), "describe_log_groups", "logGroups"))),
        (
            "alarm",
            lambda: (
                one["AlarmName"] for one in pages(run.client("cloudwatch"), "describe_alarms", "MetricAlarms", AlarmNamePrefix=prefix)
            ),
        ),
        ("dashboard", lambda: (one["DashboardName"] for one in pages(run.client("cloudwatch"), "list_dashboards", "DashboardEntries"))),
        ("schedule", lambda: (one["Name"] for one in pages(run.client("scheduler"), "list_schedules", "Schedules"))),
        ("Firehose", lambda: firehoses(run)),
        ("role", lambda: (one["RoleName"] for one in pages(run.client("iam"), "list_roles", "Roles"))),
        ("topic", lambda: (one["TopicArn"].split(":")[-1] for one in pages(run.client("sns"), "list_topics", "Topics"))),
    ]
    found = []
    for kind, look in lookers:
        try:
            found += [
                f"{kind} {name}" for name in look() if name.startswith((prefix, f"/{prefix}", f"/sluice/{prefix}")) or kind == "queue"
            ]
        except (failures.ClientError, failures.BotoCoreError) as error:
            found.append(f"{kind}s: could not look: {explained(error)}")
    return found


def firehoses(run: Run) -> Iterator[str]:
    after: dict[str, str] = {}
    while True:
        answer = run.client("firehose").list_delivery_streams(Limit=100, **after)
        yield from answer["DeliveryStreamNames"]
        if not answer.get("HasMoreDeliveryStreams"):
            return
        after = {"ExclusiveStartDeliveryStreamName": answer["DeliveryStreamNames"][-1]}


def queues(run: Run) -> Iterator[str]:
    """Those of the prefix, and those of its stacks, which may bear the stack's ID instead."""
    sqs = run.client("sqs")
    urls = set(pages(sqs, "list_queues", "QueueUrls", QueueNamePrefix=run.prefix))
    for stack in list(pages(run.client("cloudformation"), "list_stacks", "StackSummaries")):
        if stack["StackName"].startswith(run.prefix):
            events = pages(run.client("cloudformation"), "describe_stack_events", "StackEvents", StackName=stack["StackId"])
            urls.update(
                one["PhysicalResourceId"] for one in events if one["ResourceType"] == "AWS::SQS::Queue" and one.get("PhysicalResourceId")
            )
    for url in sorted(urls):
        try:
            sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        except failures.ClientError as error:
            if "NonExistent" in error.response["Error"]["Code"]:
                continue
            raise
        yield url


def tell_what_is_left(run: Run, left: Sequence[str]) -> None:
    if left:
        run.say("left behind:")
        for one in left:
            run.say(f"    {one}")
        run.say(f"to remove it: {clean_up_command(run)}")
    else:
        run.say("nothing is left behind")


def clean_up_command(run: Run) -> str:
    where = "" if run.platform.name == "AWS" else " ENGINE=local"
    return f"make verify CLEAN_UP={shlex.quote(run.prefix)}{where}"


# What it costs, and what it tells


def price() -> list[tuple[str, float]]:
    """(what, $) of a whole run: an hour, which is longer than it takes."""
    written = CARRIED_EVENTS + REFUSED_S * REFUSED_EVENTS_A_SECOND + BUSY_MINUTES_MAX * 60 * BUSY_EVENTS_A_SECOND
    gigabytes = written * (EVENT_BYTES + 26) / 1e9
    shards, metrics, alarms, dashboards = 7, 90, 60, 5
    return [
        (f"{written:,} log events, {gigabytes * 1000:.0f} MB, and the functions' own lines", (gigabytes + 0.05) * USD["GB of logs"]),
        (f"{shards} shards for {HOURS:.0f} hour", shards * HOURS * limits.SHARD_HOUR_DOLLARS),
        (f"{written:,} put units at the most, twice", 2 * written / 1e6 * limits.PUT_UNITS_MILLION_DOLLARS),
        (f"{metrics} metrics, {alarms} alarms, {dashboards} dashboards for {HOURS:.0f} hour", HOURS / limits.HOURS_PER_MONTH * (metrics * limits.METRIC_MONTH_DOLLARS + alarms * limits.ALARM_MONTH_DOLLARS + dashboards * USD["dashboard-month"])),
        ("functions, queues, Firehose, S3, reading metrics", 0.05),
    ]  # fmt: skip


def table(run: Run, steps: Sequence[Step] = STEPS) -> str:
    width = max(len(step.name) for step in steps)
    lines = []
    for step in steps:
        outcome = run.outcomes[step.name]
        mark = {PASSED: "answer" if step.is_question else "passed"}.get(outcome.status, outcome.status)
        whose = (
            f" ({run.platform.name}'s answer, not AWS's)"
            if step.is_question and outcome.status == PASSED and run.platform.name != "AWS"
            else ""
        )
        lines.append(f"{step.name:<{width}}  {mark:<7}  {outcome.text}{whose}")
    counted = Counter(outcome.status for outcome in run.outcomes.values())
    told = ", ".join(f"{counted[status]} {status}" for status in (PASSED, FAILED, SKIPPED, NOT_RUN) if counted[status])
    return "\n".join([*lines, f"verify: {told}"])


def as_json(run: Run, steps: Sequence[Step] = STEPS) -> str:
    return json.dumps(
        {
            "prefix": run.prefix, "platform": run.platform.name, "region": run.platform.region,
            "steps": [{"name": step.name, "title": step.title, "isQuestion": step.is_question, **asdict(run.outcomes[step.name])} for step in steps],
        },
        indent=2, ensure_ascii=False,
    )  # fmt: skip


def aws(architecture: str) -> Platform:
    """The person's own account and region."""
    session = boto3.Session()
    region = os.environ.get("AWS_REGION") or session.region_name
    if not region:
        raise Failure("no region is set: export AWS_DEFAULT_REGION=eu-central-1")

    @functools.cache
    def client(service: str) -> Any:
        # An invocation of a replayer may take its 15 minutes; sent twice, it would run twice.
        config = Config(read_timeout=910, retries={"max_attempts": 0 if service == "lambda" else 4}, tcp_keepalive=True)
        return session.client(service, region_name="us-east-1" if service == "account" else region, config=config)

    artifacts = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "lambda"
    return Platform(client, region, artifacts, architecture)


def drawn_prefix() -> str:
    return f"{PREFIX}-{''.join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=6))}"


def interrupted(number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)


def listen_to_signals() -> None:
    # SIGINT too: a shell that starts this in the background hands it on ignored, and Python then leaves it so.
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)


def conduct(run: Run, steps: Sequence[Step] = STEPS, json_file: Path | None = None) -> bool:
    """Announces, runs, tells."""
    run.say(f"prefix {run.prefix} in {run.platform.region} on {run.platform.name}; should this be killed: {clean_up_command(run)}")
    good = perform(run, steps)
    run.say("")
    run.say(table(run, steps))
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(as_json(run, steps) + "\n", encoding="utf-8")
        run.say(f"JSON: {json_file}")
    return good


def main() -> int:
    # What make hands on, unless somebody runs this alone.
    given = os.environ.get
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--clean-up", metavar="PREFIX", default=given("CLEAN_UP"), help="remove what an earlier run left behind, and nothing else"
    )
    parser.add_argument("--yes", action="store_true", default=given("YES") == "1", help="do not ask")
    parser.add_argument("--architecture", default=given("ARCHITECTURE") or "arm64", choices=("arm64", "x86_64"))
    arguments = parser.parse_args()
    listen_to_signals()
    try:
        platform = aws(arguments.architecture)
    except (Failure, failures.BotoCoreError) as error:
        print(explained(error), file=sys.stderr)
        return 1
    if arguments.clean_up:
        return clean_up_by_prefix(platform, arguments.clean_up)
    run = Run(platform, drawn_prefix())
    for what, usd in price():
        print(f"${usd:5.2f}  {what}")
    print(f"${sum(usd for _, usd in price()):5.2f}  in all, at the most, at us-east-1's list prices; about three quarters of an hour")
    if not arguments.yes:
        if not sys.stdin.isatty():
            print("nobody is there to ask: say so with YES=1", file=sys.stderr)
            return 2
        if input("Type yes to begin: ").strip() != "yes":
            return 2
    return 0 if conduct(run, json_file=ROOT / "target" / "verify" / f"{run.prefix}.json") else 1


def clean_up_by_prefix(platform: Platform, prefix: str) -> int:
    if not prefix.startswith(f"{PREFIX}-") or len(prefix) < len(PREFIX) + 4:
        print(f"{prefix!r} is not the prefix of a run: those begin with {PREFIX}- and six letters", file=sys.stderr)
        return 2
    run = Run(platform, prefix)
    left = clean_up(run)
    tell_what_is_left(run, left)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
