"""Launches the templates on the local engines as a user would on AWS: with the AWS CLI, through CloudFormation."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from binaries import package
from engines import REGION, ROOT, Engines, plain_environment

# What MiniStack takes every caller for.
ACCOUNT = "000000000000"
CODE_BUCKET = "sluice-code"
# Of a template in the call itself. (CloudFormation quotas)
TEMPLATE_BYTES_MAX = 51_200
ARCHIVE = ROOT / "infra" / "archive.yaml"
AUTOSCALING = ROOT / "infra" / "autoscaling.yaml"
LOG_PROCESSING = ROOT / "infra" / "log-processing.yaml"
STREAM_REPLAY = ROOT / "infra" / "stream-replay.yaml"
OVERVIEW = ROOT / "infra" / "overview.yaml"


class StackError(Exception):
    """The AWS CLI refused; its own words."""


def aws(engines: Engines, *arguments: str | Path) -> str:
    """Runs the AWS CLI against MiniStack and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "awscli", "--endpoint-url", engines.endpoint, "--region", REGION, *arguments],
        capture_output=True,
        text=True,
        # The upload of a template does not follow --endpoint-url.
        env=plain_environment(AWS_ENDPOINT_URL_S3=engines.endpoint),
    )
    if done.returncode != 0:
        raise StackError((done.stderr or done.stdout).strip())
    return done.stdout


def deploy(engines: Engines, template: Path, stack: str, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Creates or updates a stack and returns its outputs."""
    overrides = [f"{name}={value}" for name, value in parameters.items()]
    # CloudFormation takes a larger template from S3 only, as the Makefile gives it.
    by_way_of = ["--s3-bucket", code_bucket(engines)] if template.stat().st_size > TEMPLATE_BYTES_MAX else []
    try:
        aws(
            engines, "cloudformation", "deploy", "--template-file", template, "--stack-name", stack,
            "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND", "--no-fail-on-empty-changeset",
            *by_way_of, *(["--parameter-overrides", *overrides] if overrides else []),
        )  # fmt: skip
    except StackError as error:
        raise StackError(f"{error}\n{failures(engines, stack)}".strip()) from None
    return outputs(engines, stack)


def outputs(engines: Engines, stack: str) -> dict[str, str]:
    described = engines.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def failures(engines: Engines, stack: str) -> str:
    try:
        events = engines.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    except Exception:  # the stack may never have come into being
        return ""
    return "\n".join(
        f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        for event in events
        if "FAILED" in event["ResourceStatus"] and event.get("ResourceStatusReason")
    )


def code_bucket(engines: Engines) -> str:
    """The bucket that code and templates are uploaded to, created when needed."""
    s3 = engines.client("s3")
    if CODE_BUCKET not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=CODE_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return CODE_BUCKET


def upload_code(engines: Engines, binary: Path, key: str = "log-processor.zip") -> str:
    """Puts a function's zip where its template looks for it."""
    if (key, binary) not in engines.uploaded:
        archive = package(binary, engines.run_directory / key)
        aws(engines, "s3", "cp", "--quiet", archive, f"s3://{code_bucket(engines)}/{key}")
        engines.uploaded.add((key, binary))
    return key


@dataclass
class Pipeline:
    """Both stacks, launched."""

    stream_name: str
    shard_count: int
    function_name: str
    log_group: str
    dead_letter_queue_url: str
    dead_letter_queue_arn: str
    quarantine_queue_url: str
    # Without its code there is none.
    replayer: str | None


def launch(
    engines: Engines,
    binary: Path,
    stack: str,
    shard_count: int,
    parameters: Mapping[str, Any] | None = None,
    replayer: Path | None = None,
) -> Pipeline:
    """Launches both templates and plays what the engines leave out."""
    stream = deploy(engines, AUTOSCALING, f"{stack}-autoscaling", {"StreamName": stack, "ShardCountInitial": shard_count})
    create_stream(engines, stream["StreamName"], shard_count)
    return launch_processor(engines, binary, stack, stream["StreamName"], shard_count, parameters, replayer)


def launch_processor(
    engines: Engines,
    binary: Path,
    stack: str,
    stream_name: str,
    shard_count: int,
    parameters: Mapping[str, Any] | None = None,
    replayer: Path | None = None,
) -> Pipeline:
    replayed = {"CodeS3KeyDlqReplayer": upload_code(engines, replayer, "dlq-replayer.zip")} if replayer else {}
    processor = deploy(
        engines,
        LOG_PROCESSING,
        f"{stack}-log-processing",
        {
            "StreamName": stream_name,
            "FunctionName": f"{stack}-log-processor",
            "CodeS3Bucket": CODE_BUCKET,
            "CodeS3Key": upload_code(engines, binary),
            "ReservedConcurrency": shard_count,
            # MiniStack refuses an alarm on metric math.
            "MetricMathAlarms": "false",
            **replayed,
            **(parameters or {}),
        },
    )
    pipeline = Pipeline(
        stream_name=stream_name,
        shard_count=shard_count,
        function_name=processor["FunctionName"],
        log_group=processor["ProcessorLogGroupName"],
        dead_letter_queue_url=processor["DeadLetterQueueUrl"],
        dead_letter_queue_arn=processor["DeadLetterQueueArn"],
        quarantine_queue_url=processor["QuarantineQueueUrl"],
        replayer=processor.get("ReplayerFunctionName"),
    )
    set_what_cloudformation_drops(engines, pipeline, int(processor["ReservedConcurrency"]))
    return pipeline


@dataclass
class Scaling:
    """The autoscaling stack with its functions, launched."""

    stack: str
    stream_name: str
    scale_up: str
    scale_down: str


def scaling_parameters(engines: Engines, scale_up: Path, scale_down: Path) -> dict[str, str]:
    """The parameters that turn the stream's stack into one that scales."""
    return {
        "CodeS3Bucket": CODE_BUCKET,
        "CodeS3KeyScaleUp": upload_code(engines, scale_up, "scale-up.zip"),
        "CodeS3KeyScaleDown": upload_code(engines, scale_down, "scale-down.zip"),
    }


def launch_scaling(engines: Engines, scale_up: Path, scale_down: Path, stack: str, parameters: Mapping[str, Any]) -> Scaling:
    """Launches or updates infra/autoscaling.yaml with the scaling functions."""
    launched = deploy(engines, AUTOSCALING, stack, {**scaling_parameters(engines, scale_up, scale_down), **parameters})
    scaling = Scaling(stack, launched["StreamName"], launched["ScaleUpFunctionName"], launched["ScaleDownFunctionName"])
    for function in (scaling.scale_up, scaling.scale_down):
        # MiniStack's CloudFormation drops ReservedConcurrentExecutions; the template says 1 for both.
        engines.client("lambda").put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=1)
    return scaling


@dataclass
class Archive:
    """The archive's stack, launched."""

    function_name: str
    bucket: str
    prefix: str
    on_failure_queue_url: str
    mapping_id: str


def launch_archive(engines: Engines, archiver: Path, stack: str, stream_name: str, parameters: Mapping[str, Any] | None = None) -> Archive:
    """Launches infra/archive.yaml against a stream; its mapping begins to read at once (see event_source_mapping.py)."""
    launched = deploy(
        engines,
        ARCHIVE,
        stack,
        {
            "StreamName": stream_name,
            "FunctionName": stack,
            "CodeS3Bucket": CODE_BUCKET,
            "CodeS3Key": upload_code(engines, archiver, "archiver.zip"),
            # The mapping that is played here does not halve.
            "BisectBatchOnFunctionError": "false",
            **(parameters or {}),
        },
    )
    return Archive(
        function_name=launched["FunctionName"],
        bucket=launched["BucketName"],
        prefix=str((parameters or {}).get("Prefix", "events/")),
        on_failure_queue_url=launched["OnFailureQueueUrl"],
        mapping_id=launched["MappingId"],
    )


def launch_stream_replay(
    engines: Engines,
    replayer: Path,
    stack: str,
    stream_name: str,
    target_streams: Sequence[str] = (),
    target_functions: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
) -> str:
    """Launches infra/stream-replay.yaml against a stream, with these as targets; returns the function's name."""
    launched = deploy(
        engines,
        STREAM_REPLAY,
        stack,
        {
            "StreamName": stream_name,
            "FunctionName": stack,
            "TargetStreamArns": ",".join(f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}" for name in target_streams),
            "TargetFunctionArns": ",".join(f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}" for name in target_functions),
            "CodeS3Bucket": CODE_BUCKET,
            "CodeS3Key": upload_code(engines, replayer, "stream-replayer.zip"),
            **(parameters or {}),
        },
    )
    functions = engines.client("lambda")
    # MiniStack's CloudFormation drops both; the values are the template's.
    functions.put_function_concurrency(FunctionName=launched["FunctionName"], ReservedConcurrentExecutions=1)
    functions.put_function_recursion_config(FunctionName=launched["FunctionName"], RecursiveLoop="Allow")
    return launched["FunctionName"]


def caught_up(engines: Engines, archive: Archive, stalled_s_max: float = 60) -> dict[str, Any]:
    """Waits until the archive's mapping has handed over all that is in the stream, as long as it moves; what it did."""
    last: dict[str, Any] = {}
    deadline = time.monotonic() + stalled_s_max
    while True:
        engines.check_alive()
        status = engines.mapping(archive.function_name)
        if status != last:
            last, deadline = status, time.monotonic() + stalled_s_max
        if status.get("is_caught_up"):
            return status
        if time.monotonic() > deadline:
            raise TimeoutError(f"the archive has stood still for {stalled_s_max:.0f} s: {status}")
        time.sleep(0.1)


def create_stream(engines: Engines, name: str, shard_count: int) -> None:
    """Makes in ferrokinesis, which serves the stream's data, the stream that CloudFormation made in MiniStack."""
    kinesis = engines.client("kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=shard_count)
    while kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        time.sleep(0.05)


def stream_exists(engines: Engines, name: str) -> bool:
    # Not ListStreams: it has pages.
    kinesis = engines.client("kinesis")
    try:
        kinesis.describe_stream_summary(StreamName=name)
    except kinesis.exceptions.ResourceNotFoundException:
        return False
    return True


def delete_stream(engines: Engines, name: str) -> None:
    engines.client("kinesis").delete_stream(StreamName=name)
    while stream_exists(engines, name):
        time.sleep(0.05)


def set_what_cloudformation_drops(engines: Engines, pipeline: Pipeline, reserved_concurrency: int) -> None:
    """MiniStack's CloudFormation takes these properties of a function and forgets them (no error).

    The values are the template's own: its ReservedConcurrency output, its DeadLetterConfig target, and for the replayer the
    two that its tests look up in it.
    """
    functions = engines.client("lambda")
    functions.put_function_concurrency(FunctionName=pipeline.function_name, ReservedConcurrentExecutions=reserved_concurrency)
    functions.update_function_configuration(
        FunctionName=pipeline.function_name, DeadLetterConfig={"TargetArn": pipeline.dead_letter_queue_arn}
    )
    if pipeline.replayer:
        functions.put_function_concurrency(FunctionName=pipeline.replayer, ReservedConcurrentExecutions=1)
        functions.put_function_recursion_config(FunctionName=pipeline.replayer, RecursiveLoop="Allow")


def set_variables(engines: Engines, function: str, **variables: str | None) -> None:
    """Changes a function's environment; nothing removes a variable."""
    functions = engines.client("lambda")
    set_now = functions.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    merged = {name: value for name, value in {**set_now, **variables}.items() if value is not None}
    functions.update_function_configuration(FunctionName=function, Environment={"Variables": merged})


def invoke(engines: Engines, pipeline: Pipeline, event: Any, wait: bool = False) -> dict[str, Any]:
    """Invokes the processor: through Lambda's asynchronous queue, or waiting for the answer."""
    answer = engines.client("lambda").invoke(
        FunctionName=pipeline.function_name,
        InvocationType="RequestResponse" if wait else "Event",
        Payload=json.dumps(event).encode(),
    )
    return {"error": answer.get("FunctionError"), "payload": json.loads(answer["Payload"].read() or b"null")}


def wake(engines: Engines, function: str, event: Any) -> str | None:
    """Invokes a function, waiting for the answer: its error's text, or nothing."""
    answer = engines.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    payload = json.loads(answer["Payload"].read() or b"null")
    return str(payload["errorMessage"]) if answer.get("FunctionError") else None


def replay(engines: Engines, pipeline: Pipeline, event: Any = None) -> dict[str, Any]:
    """Invokes the replayer and returns what it reports."""
    assert pipeline.replayer is not None
    answer = engines.client("lambda").invoke(FunctionName=pipeline.replayer, Payload=json.dumps(event or {}).encode())
    payload = json.loads(answer["Payload"].read() or b"null")
    if answer.get("FunctionError"):
        raise StackError(f"{pipeline.replayer}: {payload}")
    return dict(payload)


def settle(engines: Engines, seconds_max: float = 120) -> dict[str, int]:
    """Waits until Lambda's asynchronous queue holds nothing and runs nothing."""
    deadline = time.monotonic() + seconds_max
    while True:
        engines.check_alive()
        status = engines.async_queue()
        if status["waiting"] == status["running"] == 0:
            return status
        if time.monotonic() > deadline:
            raise TimeoutError(f"Lambda's queue did not drain within {seconds_max:.0f} s: {status}")
        time.sleep(0.1)


def dead_letters(engines: Engines, pipeline: Pipeline) -> list[dict[str, Any]]:
    """Takes every message out of the dead-letter queue."""
    return taken_out(engines, pipeline.dead_letter_queue_url)


def quarantined(engines: Engines, pipeline: Pipeline) -> list[dict[str, Any]]:
    """Takes every message out of quarantine."""
    return taken_out(engines, pipeline.quarantine_queue_url)


def taken_out(engines: Engines, queue_url: str) -> list[dict[str, Any]]:
    sqs = engines.client("sqs")
    engines.let_wait_pass(queue_url)
    messages: list[dict[str, Any]] = []
    while True:
        batch = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get("Messages", [])
        if not batch:
            return messages
        for message in batch:
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
            messages.append(letter(message))


def looked_at(engines: Engines, queue_url: str) -> list[dict[str, Any]]:
    """Up to ten visible messages of a queue, which stay visible. On the dead-letter queue a look counts as a receipt."""
    answer = engines.client("sqs").receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
    )
    return [letter(message) for message in answer.get("Messages", [])]


def letter(message: dict[str, Any]) -> dict[str, Any]:
    attributes = message.get("MessageAttributes", {})
    return {
        "body": message["Body"],
        "attributes": {name: attribute["StringValue"] for name, attribute in attributes.items()},
    }


def function_log(engines: Engines, pipeline: Pipeline, function: str | None = None) -> list[str]:
    """Every line that the processor, or the function given, wrote, EMF metrics among them."""
    logs = engines.client("logs")
    group = f"/sluice/{function}" if function else pipeline.log_group
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
    return [event["message"] for page in pages for event in page["events"]]


def replay_runs(engines: Engines, function: str) -> list[dict[str, Any]]:
    """What each run of the stream replayer reported, oldest first."""
    pages = engines.client("logs").get_paginator("filter_log_events").paginate(logGroupName=f"/sluice/{function}")
    lines = metrics([event["message"] for page in pages for event in page["events"]])
    return sorted((line for line in lines if "ReplaysStopped" in line), key=lambda line: int(line["_aws"]["Timestamp"]))


def decisions(engines: Engines, scaling: Scaling) -> list[dict[str, Any]]:
    """What the scaling functions reported, oldest first: open shards, goal, the decision in words, and who decided."""
    logs = engines.client("logs")
    found = []
    for function in (scaling.scale_up, scaling.scale_down):
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/sluice/{function}")
        lines = metrics([event["message"] for page in pages for event in page["events"]])
        found += [{**line, "Function": function.removeprefix(f"{scaling.stack}-")} for line in lines if "Decision" in line]
    return sorted(found, key=lambda line: int(line["_aws"]["Timestamp"]))


def metrics(lines: list[str]) -> list[dict[str, Any]]:
    """The EMF objects among a function's log lines."""
    found = []
    for line in lines:
        if '"_aws"' in line:
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return found
