"""Every event exactly once, in each format, read back with the library of a stranger."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import engines as local
import log_lines
import pytest
import stack
from compare import Arrivals, identity
from conftest import Launch, write_logs
from demo import special_deliveries
from engines import ROOT
from read_back import AGGREGATE_MAGIC, Event, enveloped, payloads, records

SHELF = ROOT.parent / "shared" / "logs"


def arrived(engines: local.Engines, pipeline: stack.Pipeline, record_format: str, transform: str) -> Counter[Event]:
    arrivals = Arrivals()
    arrivals.take(records(engines, pipeline.stream_name), record_format, transform)
    return arrivals.events


@pytest.mark.parametrize("transform", ["envelope", "passthrough"])
@pytest.mark.parametrize("record_format", ["kpl", "gzip", "single"])
def test_every_event_arrives_once_byte_for_byte(engines: local.Engines, launch: Launch, record_format: str, transform: str) -> None:
    groups = [f"/t/{record_format}/{transform}/{letter}" for letter in "abc"]
    for group in groups:
        engines.client("logs").create_log_group(logGroupName=group)
    pipeline = launch(shards=4, LogGroupNames=",".join(groups), RecordFormat=record_format, Transform=transform)
    sent: Counter[Event] = Counter()
    for number, batch in enumerate(log_lines.generated(seed=7, events=2_000)):
        written = write_logs(engines, groups[number % 3], batch.log_stream.replace("/", "-"), batch.messages)
        sent.update(identity(event, transform) for event in written)
    stack.settle(engines)
    assert arrived(engines, pipeline, record_format, transform) == sent
    assert stack.dead_letters(engines, pipeline) == []


def test_aggregates_are_used_and_a_lone_event_stays_plain(engines: local.Engines, launch: Launch) -> None:
    engines.client("logs").create_log_group(logGroupName="/t/lone")
    pipeline = launch(LogGroupNames="/t/lone")
    write_logs(engines, "/t/lone", "one", ["alone"])
    stack.settle(engines)
    write_logs(engines, "/t/lone", "two", ["a", "b", "c"])
    stack.settle(engines)
    lone, aggregate = sorted(records(engines, pipeline.stream_name), key=lambda record: len(payloads(record, "kpl")))
    assert not lone.data.startswith(AGGREGATE_MAGIC)
    assert enveloped(lone.data)[0].message == b"alone"
    assert aggregate.data.startswith(AGGREGATE_MAGIC)
    assert [enveloped(part)[0].message for part in payloads(aggregate, "kpl")] == [b"a", b"b", b"c"]


def test_a_log_stream_stays_in_one_shard_and_in_order(engines: local.Engines, launch: Launch) -> None:
    engines.client("logs").create_log_group(logGroupName="/t/ordered")
    pipeline = launch(shards=4, LogGroupNames="/t/ordered", PartitionBy="log-stream")
    streams = [f"stream-{number}" for number in range(6)]
    expected = {name: [f"{name} {number:05d} {'x' * 60}" for number in range(900)] for name in streams}
    for name in streams:
        write_logs(engines, "/t/ordered", name, expected[name])
    stack.settle(engines)
    seen: dict[str, list[str]] = defaultdict(list)
    shards: dict[str, set[str]] = defaultdict(set)
    for record in records(engines, pipeline.stream_name):
        for part in payloads(record, "kpl"):
            event, _ = enveloped(part)
            seen[event.log_stream].append(event.message.decode())
            shards[event.log_stream].add(record.shard)
    assert seen == expected
    assert all(len(used) == 1 for used in shards.values())


def test_control_messages_and_empty_batches_are_accepted_and_write_nothing(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    for event in special_deliveries("/t/special"):
        assert stack.invoke(engines, pipeline, event, wait=True)["error"] is None
    assert list(records(engines, pipeline.stream_name)) == []
    assert stack.dead_letters(engines, pipeline) == []


def test_more_than_a_shard_takes_is_late_and_not_lost(engines: local.Engines, launch: Launch) -> None:
    engines.client("logs").create_log_group(logGroupName="/t/busy")
    # Four processors that each believe in a whole shard, on one shard: it refuses, and they must come again.
    pipeline = launch(LogGroupNames="/t/busy", RecordFormat="single", ReservedConcurrency=4, PutAttemptsMax=100)
    sent: Counter[Event] = Counter()
    for number in range(10):
        sent.update(write_logs(engines, "/t/busy", f"s{number}", [f"{number} {line}" for line in range(400)]))
    stack.settle(engines)
    assert arrived(engines, pipeline, "single", "envelope") == sent
    assert stack.dead_letters(engines, pipeline) == []


@pytest.mark.skipif(not SHELF.is_dir(), reason="the team's shelf of real log lines (../shared/logs) is not here")
def test_real_log_lines_arrive(engines: local.Engines, launch: Launch, tmp_path: Path) -> None:
    batches = [batch for file in sorted(SHELF.glob("*.log")) for batch in log_lines.from_path(file)]
    engines.client("logs").create_log_group(logGroupName="/t/shelf")
    pipeline = launch(shards=2, LogGroupNames="/t/shelf")
    sent: Counter[Event] = Counter()
    for batch in batches:
        sent.update(write_logs(engines, "/t/shelf", batch.log_stream, batch.messages))
    stack.settle(engines)
    assert arrived(engines, pipeline, "kpl", "envelope") == sent
