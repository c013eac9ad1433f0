"""Reads the stream as a consumer that nobody here wrote would: aws-kinesis-agg takes the aggregates apart."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

# The deaggregator must be imported before messages_pb2, which it brings along.
from aws_kinesis_agg.deaggregator import deaggregate_records
from engines import ARRIVALS, Engines
from limits import GET_RECORDS_RECORDS_MAX, PUT_UNIT_BYTES

AGGREGATE_MAGIC = b"\xf3\x89\x9a\xc2"
GZIP_MAGIC = b"\x1f\x8b\x08"
OBJECTS_COME_S = 0.3


class NotReadable(Exception):
    """A consumer would stumble over this record."""


class Event(NamedTuple):
    """What identifies a log event from end to end. Only the message is known with passthrough."""

    log_group: str
    log_stream: str
    timestamp: int
    message: bytes


@dataclass
class Record:
    """One record of the stream."""

    shard: str
    partition_key: str
    data: bytes
    arrived_ms: int

    @property
    def size(self) -> int:
        return len(self.data) + len(self.partition_key.encode())

    @property
    def put_units(self) -> int:
        return -(-self.size // PUT_UNIT_BYTES)


def arrivals_ms(engines: Engines, stream_name: str) -> dict[str, int]:
    """Arrival of each record by sequence number, as the stream engine wrote it down.

    ferrokinesis 0.7.0 serves ApproximateArrivalTimestamp cut to whole seconds (put_records.rs: `alloc.now / 1000` in
    integers), so that most lags would come out negative. Its capture log has the same clock in full.
    """
    found: dict[str, int] = {}
    with open(engines.run_directory / ARRIVALS, "rb") as lines:
        for line in lines:
            record = json.loads(line)
            if record["stream"] == stream_name:
                found[record["sequence_number"]] = record["ts"]
    return found


def ever_written(engines: Engines, stream_name: str) -> Iterator[Record]:
    """Every record that a stream of this name ever took, one that was deleted since included: from the engine's own log."""
    with open(engines.run_directory / ARRIVALS, "rb") as lines:
        for line in lines:
            record = json.loads(line)
            if record["stream"] == stream_name:
                data = base64.b64decode(record["data"])
                yield Record(record.get("shard_id", ""), record["partition_key"], data, record["ts"])


def exact_arrival_ms(served_ms: int, captured_ms: int | None) -> int:
    """The captured arrival, provided that it is the served one in more detail."""
    if captured_ms is None or not 0 <= captured_ms - served_ms < 1000:
        raise NotReadable(f"the engine serves arrival {served_ms} ms and wrote down {captured_ms} ms for one record")
    return captured_ms


def records(engines: Engines, stream_name: str) -> Iterator[Record]:
    """Every record of every shard, from the beginning."""
    served: list[tuple[str, dict[str, Any]]] = []
    kinesis = engines.client("kinesis")
    for shard in kinesis.list_shards(StreamName=stream_name)["Shards"]:
        iterator = kinesis.get_shard_iterator(StreamName=stream_name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
        empty = 0
        while iterator and empty < 2:
            answer = kinesis.get_records(ShardIterator=iterator, Limit=GET_RECORDS_RECORDS_MAX)
            served.extend((shard["ShardId"], record) for record in answer["Records"])
            behind = answer.get("MillisBehindLatest", 0)
            empty = empty + 1 if not answer["Records"] and not behind else 0
            iterator = answer.get("NextShardIterator")
    # Afterwards: the engine writes a record down only once it serves it.
    captured = arrivals_ms(engines, stream_name)
    for shard_id, record in served:
        yield Record(
            shard_id,
            record["PartitionKey"],
            record["Data"],
            exact_arrival_ms(round(record["ApproximateArrivalTimestamp"].timestamp() * 1000), captured.get(record["SequenceNumber"])),
        )


def archived_lines(engines: Engines, bucket: str, prefix: str) -> list[bytes]:
    """Every line of every object of an archive, once no more objects come."""
    s3 = engines.client("s3")

    def keys() -> list[str]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    # MiniStack's Firehose answers before its object is there.
    found: list[str] | None = None
    while found != (found := keys()):
        time.sleep(OBJECTS_COME_S)
    lines: list[bytes] = []
    for key in found:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        # MiniStack writes them as they are; AWS compresses, as the template asks.
        text = gzip.decompress(body) if body.startswith(GZIP_MAGIC) else body
        if not text.endswith(b"\n"):
            raise NotReadable(f"{key} does not end with a newline")
        own = text[:-1].split(b"\n")
        if len(text.decode().splitlines()) != len(own):
            raise NotReadable(f"some readers see more lines in {key} than events")
        lines += own
    return lines


def archived_event(line: bytes) -> bytes:
    """The event that a line of the archive stands for."""
    for begin, member in ((b'{"sluiceText":', "sluiceText"), (b'{"sluiceBase64":', "sluiceBase64")):
        if line.startswith(begin):
            text = json.loads(line)[member]
            return base64.b64decode(text) if member == "sluiceBase64" else text.encode("utf-8", "surrogatepass")
    return line


def payloads(record: Record, record_format: str) -> list[bytes]:
    """The events in a record, as bytes, in the way that a consumer of this format takes them out."""
    if record.data.startswith(AGGREGATE_MAGIC):
        if record_format != "kpl":
            raise NotReadable(f"an aggregated record in a stream of format {record_format}")
        return deaggregate(record)
    if record_format == "gzip" and record.data.startswith(GZIP_MAGIC):
        text = gzip.decompress(record.data)
        if not text.endswith(b"\n"):
            raise NotReadable("a gzip record that does not end with a newline")
        return text[:-1].split(b"\n")
    return [record.data]


def deaggregate(record: Record) -> list[bytes]:
    taken_apart = deaggregate_records(
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "sequenceNumber": "0",
                "partitionKey": record.partition_key,
                "data": base64.b64encode(record.data).decode(),
                "approximateArrivalTimestamp": record.arrived_ms / 1000,
            }
        }
    )
    for part in taken_apart:
        # The library hands back a record whose MD5 is wrong as if it were a plain one.
        if part["kinesis"].get("aggregated") is not True:
            raise NotReadable("an aggregate that the library did not accept (magic there, MD5 or protobuf wrong)")
        if part["kinesis"]["partitionKey"] != record.partition_key:
            raise NotReadable("a sub-record with a partition key of its own: KCL may discard its aggregate")
        if part["kinesis"].get("explicitHashKey"):
            raise NotReadable("a sub-record with an explicit hash key: KCL may discard its aggregate")
    return [base64.b64decode(part["kinesis"]["data"]) for part in taken_apart]


def enveloped(payload: bytes) -> tuple[Event, dict[str, Any]]:
    """The event in an envelope, and the envelope."""
    if b"\n" in payload:
        raise NotReadable("an envelope over several lines")
    envelope = json.loads(payload)
    missing = {"owner", "logGroup", "logStream", "id", "timestamp", "message"} - envelope.keys()
    if missing:
        raise NotReadable(f"an envelope without {', '.join(sorted(missing))}")
    message = envelope["message"].encode("utf-8", "surrogatepass")
    return Event(envelope["logGroup"], envelope["logStream"], envelope["timestamp"], message), envelope
