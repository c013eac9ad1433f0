"""The archive: its template launches alone, and its function does under its role what the template is for."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import engines as local
import pytest
import stack
from read_back import archived_lines
from stack import ARCHIVE, CODE_BUCKET

AGGREGATES = local.ROOT / "shared" / "sluice" / "tests" / "aggregates"
_names = itertools.count(1)


@pytest.fixture
def archive(engines: local.Engines, functions: dict[str, Path]):
    """Launches archive.yaml against a stream that others made: `archive(PrefixBy=…)`; returns its outputs."""

    def launch(**parameters: Any) -> dict[str, str]:
        name = f"archive-{next(_names)}"
        stack.create_stream(engines, f"{name}-theirs", 1)
        key = stack.upload_code(engines, functions["archiver"], "archiver.zip")
        return stack.deploy(engines, ARCHIVE, name, {
            "StreamName": f"{name}-theirs", "FunctionName": name, "CodeS3Bucket": CODE_BUCKET, "CodeS3Key": key,
            **parameters,
        })  # fmt: skip

    return launch


def batch(*data: bytes) -> dict[str, Any]:
    """What an event source mapping hands over, made by hand: records that no stream would hold."""
    return {
        "Records": [
            {
                "eventID": f"shardId-000000000000:{number}",
                "eventSourceARN": "arn:aws:kinesis:eu-central-1:000000000000:stream/theirs",
                "kinesis": {
                    "partitionKey": "key",
                    "sequenceNumber": str(number),
                    "data": base64.b64encode(data).decode(),
                    "approximateArrivalTimestamp": 1795219200.5,
                },
            }
            for number, data in enumerate(data)
        ]
    }


def invoke(engines: local.Engines, function: str, event: dict[str, Any]) -> Any:
    answer = engines.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
    payload = answer["Payload"].read()
    assert "FunctionError" not in answer, payload
    return json.loads(payload)


def lines(engines: local.Engines, bucket: str) -> list[bytes]:
    s3 = engines.client("s3")
    objects = s3.list_objects_v2(Bucket=bucket, Prefix="events/year=").get("Contents", [])
    bodies = [s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read() for entry in objects]
    return b"".join(bodies).splitlines()


def test_events_of_others_lie_in_the_bucket_as_lines(engines: local.Engines, archive) -> None:
    launched = archive()
    expected = json.loads((AGGREGATES / "expected.json").read_text())
    aggregate = (AGGREGATES / "many-keys.bin").read_bytes()
    answer = invoke(engines, launched["FunctionName"], batch(b'{"a":1}', aggregate, b"two\nlines", b"10%\r50%"))
    assert answer == {"batchItemFailures": []}
    inner = [base64.b64decode(record["data"]) for record in expected["many-keys"]]
    wrapped = [b'{"sluiceText":"two\\nlines"}', b'{"sluiceText":"10%\\r50%"}']
    assert lines(engines, launched["BucketName"]) == [b'{"a":1}', *inner, *wrapped]


def test_what_no_firehose_record_holds_is_in_the_queue(engines: local.Engines, archive) -> None:
    launched = archive()
    answer = invoke(engines, launched["FunctionName"], batch(b"x" * 1_030_000, b"after"))
    assert answer == {"batchItemFailures": []}
    assert lines(engines, launched["BucketName"]) == [b"after"]
    messages = engines.client("sqs").receive_message(QueueUrl=launched["OnFailureQueueUrl"])["Messages"]
    body = json.loads(messages[0]["Body"])
    assert (body["reason"], body["sequenceNumber"], body["bytes"]) == ("event-too-large", "0", 1_030_000)


def test_the_mapping_has_its_safe_settings(engines: local.Engines, archive) -> None:
    launched = archive(ExistingBucketName=CODE_BUCKET, PrefixBy="event-time", MaximumRetryAttempts=3)
    assert launched["BucketName"] == CODE_BUCKET
    mapping = engines.client("lambda").get_event_source_mapping(UUID=launched["MappingId"])
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert (mapping["MaximumRetryAttempts"], mapping["MaximumRecordAgeInSeconds"]) == (3, 72_000)
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == f"arn:aws:s3:::{CODE_BUCKET}"


def put(engines: local.Engines, stream: str, records: list[tuple[str, bytes]]) -> None:
    """Writes records, by partition key, as a writer that nobody here wrote."""
    entries = [{"PartitionKey": key, "Data": data} for key, data in records]
    answer = engines.client("kinesis").put_records(StreamName=stream, Records=entries)
    assert answer["FailedRecordCount"] == 0


def test_what_is_in_the_stream_comes_into_the_bucket_by_itself(engines: local.Engines, functions: dict[str, Path]) -> None:
    stack.create_stream(engines, "archive-mapped", 2)
    put(engines, "archive-mapped", [(f"k{number}", b'{"before":%d}' % number) for number in range(300)])
    archive = stack.launch_archive(
        engines, functions["archiver"], "archive-mapped", "archive-mapped", {"BatchingWindowSeconds": 0, "BatchSize": 50}
    )
    assert stack.caught_up(engines, archive)["records"] == 300
    put(engines, "archive-mapped", [("k", b'{"after":1}')])
    deadline = time.monotonic() + 60
    while engines.mapping(archive.function_name)["records"] < 301:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    expected = Counter([b'{"before":%d}' % number for number in range(300)] + [b'{"after":1}'])
    assert Counter(archived_lines(engines, archive.bucket, archive.prefix)) == expected


def test_a_filter_pattern_archives_what_it_matches(engines: local.Engines, functions: dict[str, Path]) -> None:
    stack.create_stream(engines, "archive-filtered", 1)
    put(engines, "archive-filtered", [("ours-1", b"a"), ("theirs", b"b"), ("ours-2", b"c")])
    archive = stack.launch_archive(
        engines, functions["archiver"], "archive-filtered", "archive-filtered",
        {"BatchingWindowSeconds": 0, "FilterPattern": '{"partitionKey": [{"prefix": "ours"}]}'},
    )  # fmt: skip
    counts = stack.caught_up(engines, archive)
    assert (counts["records"], counts["filtered"]) == (2, 1)
    assert sorted(archived_lines(engines, archive.bucket, archive.prefix)) == [b"a", b"c"]


def test_records_that_were_given_up_are_whole_in_the_bucket_and_can_be_brought_back(
    engines: local.Engines, functions: dict[str, Path]
) -> None:
    stack.create_stream(engines, "archive-crash", 1)
    archive = stack.launch_archive(
        engines, functions["archiver"], "archive-crash", "archive-crash",
        {"BatchingWindowSeconds": 0, "MaximumRetryAttempts": 1},
    )  # fmt: skip
    # It cannot start without it, which Lambda sees as a crash.
    described = engines.client("lambda").get_function_configuration(FunctionName=archive.function_name)
    firehose = described["Environment"]["Variables"]["DELIVERY_STREAM_NAME"]
    stack.set_variables(engines, archive.function_name, DELIVERY_STREAM_NAME=None)
    put(engines, "archive-crash", [("k", b"one"), ("k", b"two")])
    deadline = time.monotonic() + 60
    while engines.mapping(archive.function_name).get("given_up", 0) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert archived_lines(engines, archive.bucket, archive.prefix) == []

    s3, prefix = engines.client("s3"), f"aws/lambda/{archive.mapping_id}/shardId-000000000000/"
    (kept,) = s3.list_objects_v2(Bucket=archive.bucket, Prefix=prefix)["Contents"]
    record = json.loads(s3.get_object(Bucket=archive.bucket, Key=kept["Key"])["Body"].read())
    assert record["requestContext"] == {
        "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 2, "functionArn": archive.function_name
    }  # fmt: skip
    assert record["KinesisBatchInfo"]["batchSize"] == 2

    # As the runbook has it.
    stack.set_variables(engines, archive.function_name, DELIVERY_STREAM_NAME=firehose)
    assert invoke(engines, archive.function_name, json.loads(record["payload"])) == {"batchItemFailures": []}
    assert sorted(archived_lines(engines, archive.bucket, archive.prefix)) == [b"one", b"two"]


def test_another_prefix_is_another_firehose_and_the_old_one_stays(engines: local.Engines, functions: dict[str, Path]) -> None:
    stack.create_stream(engines, "archive-prefix", 1)
    for prefix_by in ("arrival", "event-time"):
        stack.launch_archive(engines, functions["archiver"], "archive-prefix", "archive-prefix", {"PrefixBy": prefix_by})
    there = engines.client("firehose").list_delivery_streams()["DeliveryStreamNames"]
    assert {"archive-prefix-arrival", "archive-prefix-event-time"} <= set(there)
    variables = engines.client("lambda").get_function_configuration(FunctionName="archive-prefix")["Environment"]["Variables"]
    assert variables["DELIVERY_STREAM_NAME"] == "archive-prefix-event-time"


def test_a_bucket_keeps_versions_and_its_roles_lie_where_they_may(engines: local.Engines, archive) -> None:
    """MiniStack's CloudFormation drops lock and access log; cfn-lint holds those against AWS's own schema."""
    launched = archive(BucketVersioning="Enabled", ObjectLockDays=30, AccessLogBucketName="archive-log", RolePath="/sluice/")
    assert engines.client("s3").get_bucket_versioning(Bucket=launched["BucketName"])["Status"] == "Enabled"
    roles = engines.client("iam").list_roles(PathPrefix="/sluice/")["Roles"]
    assert launched["FunctionRoleArn"] in [role["Arn"] for role in roles]


def test_a_lock_without_versions_is_refused_before_anything_is_made(engines: local.Engines, archive) -> None:
    with pytest.raises(stack.StackError, match="ObjectLockDays needs BucketVersioning=Enabled"):
        archive(ObjectLockDays=30)
