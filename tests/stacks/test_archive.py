"""The archive: its template launches alone, and its function does under its role what the template is for."""

from __future__ import annotations

import base64
import itertools
import json
from pathlib import Path
from typing import Any

import engines as local
import pytest
import stack
from stack import ARCHIVE, CODE_BUCKET

AGGREGATES = local.ROOT / "shared" / "tests" / "aggregates"
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
    """What an event source mapping hands over. MiniStack plays it without partial batches, so it is not asked to."""
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
    answer = invoke(engines, launched["FunctionName"], batch(b'{"a":1}', aggregate, b"two\nlines"))
    assert answer == {"batchItemFailures": []}
    inner = [base64.b64decode(record["data"]) for record in expected["many-keys"]]
    assert lines(engines, launched["BucketName"]) == [b'{"a":1}', *inner, b'{"sluiceText":"two\\nlines"}']


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
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"].startswith("arn:aws:sqs:")
