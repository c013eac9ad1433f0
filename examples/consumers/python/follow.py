"""Follows a stream and prints its events, like `tail -f`. Needs boto3.

python3 follow.py STREAM [TRIM_HORIZON]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import boto3
from events import events

# A shard answers five calls a second, for all its readers together.
PAUSE_S = 1.0


def follow(stream: str, start: str = "LATEST", kinesis=None, pause_s: float = PAUSE_S) -> Iterator[bytes]:
    """Every event, shard by shard in turn. Shards that a reshard opens are read once their parents are done."""
    kinesis = kinesis or boto3.client("kinesis")

    def iterator(shard: str, kind: str) -> str:
        return kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType=kind)["ShardIterator"]

    where = {"ShardFilter": {"Type": f"AT_{start}"}}
    reading = {shard["ShardId"]: iterator(shard["ShardId"], start) for shard in kinesis.list_shards(StreamName=stream, **where)["Shards"]}
    parents = dict.fromkeys(reading, frozenset())
    while reading:
        for shard, position in list(reading.items()):
            if any(parent in reading for parent in parents[shard]):
                continue
            answer = kinesis.get_records(ShardIterator=position)
            for record in answer["Records"]:
                yield from events(record["Data"])
            if answer.get("NextShardIterator"):
                reading[shard] = answer["NextShardIterator"]
                continue
            del reading[shard]
            for child in answer.get("ChildShards", []):
                if child["ShardId"] not in parents:
                    parents[child["ShardId"]] = frozenset(child["ParentShards"])
                    reading[child["ShardId"]] = iterator(child["ShardId"], "TRIM_HORIZON")
        time.sleep(pause_s)


if __name__ == "__main__":
    stream, start = (*sys.argv[1:3], "LATEST")[:2]
    for one in follow(stream, start):
        sys.stdout.buffer.write(one + b"\n")
        sys.stdout.flush()
