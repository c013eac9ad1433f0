"""Follows a stream and prints its events, like `tail -f`. Needs boto3.

python3 follow.py STREAM [TRIM_HORIZON]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
from events import events

# A shard answers five calls a second, for all its readers together.
PAUSE_S = 1.0


def follow(stream: str, start: str = "LATEST", kinesis: Any = None, pause_s: float = PAUSE_S) -> Iterator[bytes]:
    """Every event, shard by shard in turn. Shards that a reshard opens are read once their parents are done."""
    kinesis = kinesis or boto3.client("kinesis")

    def shards() -> list[dict[str, Any]]:
        pages = kinesis.get_paginator("list_shards").paginate(StreamName=stream)
        return [shard for page in pages for shard in page["Shards"]]

    def iterator(shard: dict[str, Any], kind: str) -> str:
        return kinesis.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType=kind)["ShardIterator"]

    known = {shard["ShardId"]: shard for shard in shards()}
    is_closed = {name for name, shard in known.items() if "EndingSequenceNumber" in shard["SequenceNumberRange"]}
    reading = {name: iterator(shard, start) for name, shard in known.items() if start != "LATEST" or name not in is_closed}
    while True:
        some_ended = False
        for name, position in list(reading.items()):
            if reading.keys() & {known[name].get("ParentShardId"), known[name].get("AdjacentParentShardId")}:
                continue
            answer = kinesis.get_records(ShardIterator=position)
            for record in answer["Records"]:
                yield from events(record["Data"])
            if answer.get("NextShardIterator"):
                reading[name] = answer["NextShardIterator"]
            else:
                del reading[name]
                some_ended = True
        for shard in shards() if some_ended or not reading else []:
            if shard["ShardId"] not in known:
                known[shard["ShardId"]] = shard
                reading[shard["ShardId"]] = iterator(shard, "TRIM_HORIZON")
        time.sleep(pause_s)


if __name__ == "__main__":
    stream, start = (*sys.argv[1:3], "LATEST")[:2]
    for one in follow(stream, start):
        sys.stdout.buffer.write(one + b"\n")
        sys.stdout.flush()
