"""The demo's last act: who reads the stream. The archiver carries what the first act wrote into S3, and the stream replayer
brings the first half of that time into a second stream."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import engines as local
import stack
from compare import identity
from limits import SHARD_BYTES_PER_SECOND, SHARD_RECORDS_PER_SECOND
from read_back import Event, Record, archived_event, archived_lines, enveloped, records

ARCHIVE_STACK, REPLAY_STACK = "demo-archive", "demo-stream-replay"
REPLAYED = "demo-replayed"
MARK = "replayed:"
# Two runs of so many seconds, instead of fifteen minutes, so that the replayer wakes itself.
REPLAYER_TIMEOUT_S = 8
REPLAY_S = 7
# Of what the second stream's shards take, so that others could write to it as well.
SHARD_SHARE = 0.6
BYTES_PER_SECOND_MIN = 100_000


@dataclass
class Comparison:
    """What a consumer should have against what it has, as multisets."""

    expected: int
    found: int
    lost: int
    duplicated: int
    unexpected: int

    @staticmethod
    def of(expected: Counter[Any], found: Counter[Any]) -> Comparison:
        surplus = found - expected
        duplicated = sum(count for one, count in surplus.items() if one in expected)
        return Comparison(
            expected=expected.total(),
            found=(expected & found).total(),
            lost=(expected - found).total(),
            duplicated=duplicated,
            unexpected=surplus.total() - duplicated,
        )

    @property
    def good(self) -> bool:
        """At least once: a duplicate is told and no fault."""
        return self.lost == self.unexpected == 0 < self.expected

    def told(self) -> str:
        invented = f", {self.unexpected:,} never sent" if self.unexpected else ""
        return f"{self.lost:,} lost, {self.duplicated:,} duplicated{invented}"


@dataclass
class Act:
    """What happened."""

    # s3:// and where the lines lie.
    archive_url: str
    archive: Comparison
    archive_s: float
    # What the archiver had been handed, and when: (epoch seconds, records).
    handed_over: list[tuple[float, int]]
    mapping: dict[str, Any]
    lines_bytes: int
    window_ms: tuple[int, int]
    # What the replayer was invoked with.
    event: dict[str, Any]
    replay: Comparison
    replay_began_s: float
    replay_s: float
    replay_events: int
    unmarked: int
    runs: list[dict[str, Any]]
    # (arrival in ms, events) of each record: in the window, and of the replay.
    window_arrivals: list[tuple[int, int]]
    replay_arrivals: list[tuple[int, int]]
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.archive.good and self.replay.good and not self.unmarked and not self.problems

    def archive_told(self) -> str:
        return f"archive in S3: {self.archive.found:,} of {self.archive.expected:,} events, {self.archive.told()}"

    def replay_told(self) -> str:
        return (
            f"replay into {REPLAYED}: {self.replay.found:,} of {self.replay.expected:,} records with "
            f"{self.replay_events:,} events, {self.replay.told()}, {self.unmarked:,} without the mark"
        )

    def rows(self) -> list[tuple[str, str]]:
        begin, end = (utc(ms) for ms in self.window_ms)
        return [
            ("archived", f"{self.archive.found:,} of {self.archive.expected:,} events, byte for byte, {self.archive_s:.1f} s after the launch began"),
            ("of them lost, duplicated", f"{self.archive.lost:,}, {self.archive.duplicated:,}"),
            ("batches", f"{self.mapping['invocations']:,} of {self.mapping['records']:,} records, {self.mapping['failures']:,} failed"),
            ("lines in S3", f"{self.lines_bytes:,} bytes"),
            ("window", f"{begin} to {end} UTC, the first half"),
            ("replayed", f"{self.replay.found:,} of {self.replay.expected:,} records, {self.replay_events:,} events, in {self.replay_s:.1f} s"),
            ("of them lost, duplicated", f"{self.replay.lost:,}, {self.replay.duplicated:,}"),
            ("without the mark", f"{self.unmarked:,}"),
            ("runs", f"{len(self.runs):,}, each but the first woken by the one before"),
            *[("not as it should be", problem) for problem in self.problems],
        ]  # fmt: skip


class Watch:
    """Samples how many records the archiver has been handed."""

    def __init__(self, engines: local.Engines, function: str) -> None:
        self._engines, self._function = engines, function
        self.samples: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")
        self._thread.start()

    def _run(self) -> None:
        while True:
            self.samples.append((time.time(), self._engines.mapping(self._function).get("records", 0)))
            if self._stop.wait(0.1):
                return

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def utc(ms: int) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(ms / 1000))


def moment(ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms / 1000))


def first_half(arrived_ms: Sequence[int]) -> tuple[int, int]:
    """The window of the first half of the time, in whole seconds: finer the stream engine does not say when a record came."""
    begin = min(arrived_ms) // 1000
    middle = (min(arrived_ms) + max(arrived_ms)) / 2000
    return begin * 1000, max(begin + 1, round(middle)) * 1000


def original(record: Record) -> tuple[str, bytes]:
    """What a replayed record was before it was marked."""
    return record.partition_key.removeprefix(MARK), record.data


def play(
    engines: local.Engines,
    stream_name: str,
    written: Sequence[Record],
    record_events: Sequence[int],
    sent: Counter[Event],
    transform: str,
    archiver: Path,
    replayer: Path,
    step: Callable[[str], None],
) -> Act:
    """Archives the stream from its oldest record on, and replays the first half of `written`, which is all that is in it."""
    problems: list[str] = []
    watch = Watch(engines, ARCHIVE_STACK)
    began_s = time.time()
    try:
        archive = stack.launch_archive(engines, archiver, ARCHIVE_STACK, stream_name, {"BatchingWindowSeconds": 1})
        step("infra/archive.yaml is launched; its mapping reads the first act's stream from the oldest record on")
        mapping = stack.caught_up(engines, archive)
    finally:
        watch.stop()
    archive_s = time.time() - began_s
    step("reading the archive back out of S3")
    lines = archived_lines(engines, archive.bucket, archive.prefix)
    archived: Counter[Event] = Counter()
    for line in lines:
        payload = archived_event(line)
        event = enveloped(payload)[0] if transform == "envelope" else Event("", "", 0, payload)
        archived[identity(event, transform)] += 1
    if waiting := engines.counted(archive.on_failure_queue_url)["messages"]:
        problems.append(f"{waiting} messages in the archive's on-failure queue")
    compared = Comparison.of(sent, archived)

    begin_ms, end_ms = first_half([record.arrived_ms for record in written])
    window = [(record, events) for record, events in zip(written, record_events, strict=True) if begin_ms <= record.arrived_ms < end_ms]
    shards = engines.client("kinesis").describe_stream_summary(StreamName=stream_name)["StreamDescriptionSummary"]["OpenShardCount"]
    step(f"launching infra/stream-replay.yaml, to bring {utc(begin_ms)} to {utc(end_ms)} UTC into {REPLAYED}")
    stack.create_stream(engines, REPLAYED, shards)
    function = stack.launch_stream_replay(engines, replayer, REPLAY_STACK, stream_name, [REPLAYED])
    functions = engines.client("lambda")
    functions.update_function_configuration(FunctionName=function, Timeout=REPLAYER_TIMEOUT_S)
    size = sum(record.size for record, _ in window)
    bytes_per_second = min(max(BYTES_PER_SECOND_MIN, size // REPLAY_S), SHARD_SHARE * shards * SHARD_BYTES_PER_SECOND)
    event = {
        "from": moment(begin_ms),
        "until": moment(end_ms),
        "target": f"stream:{REPLAYED}",
        "bytesPerSecond": round(bytes_per_second),
        "recordsPerSecond": round(SHARD_SHARE * shards * SHARD_RECORDS_PER_SECOND),
    }
    replay_began_s = time.time()
    functions.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event).encode())
    stack.settle(engines)
    replay_s = time.time() - replay_began_s
    step("reading the second stream back")
    came = list(records(engines, REPLAYED))
    runs = stack.replay_runs(engines, function)
    if not runs or runs[-1]["ReplayWindowLeft"] or any(run["ReplaysStopped"] for run in runs):
        problems.append("the replay stopped before its end")
    held = {(record.partition_key, record.data): events for record, events in window}
    replay_arrivals = [(record.arrived_ms, held.get(original(record), 0)) for record in came]
    return Act(
        archive_url=f"s3://{archive.bucket}/{archive.prefix}",
        archive=compared,
        archive_s=archive_s,
        handed_over=watch.samples,
        mapping=mapping,
        lines_bytes=sum(len(line) + 1 for line in lines),
        window_ms=(begin_ms, end_ms),
        event=event,
        replay=Comparison.of(Counter((record.partition_key, record.data) for record, _ in window), Counter(map(original, came))),
        replay_began_s=replay_began_s,
        replay_s=replay_s,
        replay_events=sum(events for _, events in replay_arrivals),
        unmarked=sum(not record.partition_key.startswith(MARK) for record in came),
        runs=runs,
        window_arrivals=[(record.arrived_ms, events) for record, events in window],
        replay_arrivals=replay_arrivals,
        problems=problems,
    )
