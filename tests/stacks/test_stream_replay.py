"""The replay of a stream's past: its template launches alone, and its function does under its role what the template is for."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import engines as local
import pytest
import stack
from read_back import archived_lines, records

# One more than the replayer reads at once, and then some.
RECORDS = 2_300
_names = itertools.count(1)


@dataclass
class Past:
    """A stream with records, a replayer of it, and a stream that it may fill."""

    engines: local.Engines
    stream: str
    target: str
    function: str
    written: Counter[tuple[str, bytes]]
    begin_s: int

    def event(self, **more: Any) -> dict[str, Any]:
        window = {"from": moment(self.begin_s), "until": moment(int(time.time())), "target": f"stream:{self.target}"}
        return {**window, "recordsPerSecond": 5_000, "bytesPerSecond": 5_000_000, **more}

    def run(self, **more: Any) -> dict[str, Any]:
        """Invokes it and waits for the answer; an error's text is under "error"."""
        answer = self.engines.client("lambda").invoke(FunctionName=self.function, Payload=json.dumps(self.event(**more)).encode())
        payload = json.loads(answer["Payload"].read())
        return {"error": payload["errorMessage"]} if answer.get("FunctionError") else dict(payload)

    def arrived(self) -> Counter[tuple[str, bytes]]:
        return Counter((record.partition_key, record.data) for record in records(self.engines, self.target))


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@pytest.fixture
def past(engines: local.Engines, functions: dict[str, Path]) -> Callable[..., Past]:
    """Launches stream-replay.yaml over a stream with records: `past(records=9, functions=["name"], TargetAttemptsMax=1)`."""

    def launch(records: int = 9, target_functions: list[str] | None = None, **parameters: Any) -> Past:
        name = f"past-{next(_names)}"
        begin_s = int(time.time())
        for stream in (name, f"{name}-target"):
            stack.create_stream(engines, stream, 2)
        written = [(f"key-{number}", b'{"record":%d}' % number) for number in range(records)]
        kinesis = engines.client("kinesis")
        rest = written
        while rest:
            batch = rest[:500]
            entries = [{"PartitionKey": key, "Data": data} for key, data in batch]
            answer = kinesis.put_records(StreamName=name, Records=entries)["Records"]
            rest = [one for one, result in zip(batch, answer, strict=True) if result.get("ErrorCode")] + rest[500:]
        # A window ends in the past, and the engine's arrivals are whole seconds.
        time.sleep(1.1)
        function = stack.launch_stream_replay(
            engines, functions["stream-replayer"], f"{name}-replayer", name, [f"{name}-target"], target_functions or [], parameters
        )
        return Past(engines, name, f"{name}-target", function, Counter(written), begin_s)

    return launch


def marked(written: Counter[tuple[str, bytes]]) -> Counter[tuple[str, bytes]]:
    return Counter({(f"replayed:{key}", data): count for (key, data), count in written.items()})


def test_all_of_a_window_comes_into_the_other_stream_once_and_marked(past: Callable[..., Past]) -> None:
    launched = past(RECORDS)
    report = launched.run()
    assert {name: report.get(name) for name in ("stopped", "records", "shardsLeft", "unmarked", "resume")} == {
        "stopped": "done", "records": RECORDS, "shardsLeft": 0, "unmarked": 0, "resume": None
    }, report  # fmt: skip
    assert launched.arrived() == marked(launched.written)
    (run,) = stack.replay_runs(launched.engines, launched.function)
    assert (run["RecordsReplayed"], run["ReplaysStopped"], run["ReplayWindowLeft"]) == (RECORDS, 0, 0)


def test_a_replay_that_runs_out_of_time_wakes_itself_until_it_is_done(past: Callable[..., Past]) -> None:
    launched = past(RECORDS)
    functions = launched.engines.client("lambda")
    functions.update_function_configuration(FunctionName=launched.function, Timeout=4)
    event = launched.event(recordsPerSecond=500)
    functions.invoke(FunctionName=launched.function, InvocationType="Event", Payload=json.dumps(event).encode())
    stack.settle(launched.engines)
    assert launched.arrived() == marked(launched.written)
    runs = stack.replay_runs(launched.engines, launched.function)
    assert len(runs) >= 2, "more than one run"
    assert sum(run["RecordsReplayed"] for run in runs) == RECORDS
    assert functions.get_function_recursion_config(FunctionName=launched.function)["RecursiveLoop"] == "Allow"


def test_a_window_comes_into_a_function_as_from_a_mapping(
    engines: local.Engines, functions: dict[str, Path], past: Callable[..., Past]
) -> None:
    stack.create_stream(engines, "replay-archive", 1)
    archive = stack.launch_archive(engines, functions["archiver"], "replay-archive", "replay-archive")
    launched = past(target_functions=[archive.function_name])
    report = launched.run(target=f"function:{archive.function_name}")
    assert (report.get("stopped"), report.get("records")) == ("done", launched.written.total()), report
    lines = archived_lines(engines, archive.bucket, archive.prefix)
    assert Counter(lines) == Counter(data for _, data in launched.written.elements())
    assert launched.arrived() == Counter()


def test_a_filter_lets_through_what_matches(past: Callable[..., Past]) -> None:
    launched = past()
    report = launched.run(filter={"contains": '"record":7'})
    assert (report.get("records"), report.get("filtered")) == (1, 8), report
    assert launched.arrived() == Counter([("replayed:key-7", b'{"record":7}')])


def test_a_dry_run_says_how_much_and_how_long_and_moves_nothing(past: Callable[..., Past]) -> None:
    launched = past()
    # What Kinesis would have told CloudWatch of two whole minutes, brought in as a metric line of a log.
    minute_s = int(time.time()) // 60 * 60 - 180
    dimensions = {"StreamName": launched.stream}
    metrics = [{"Name": name} for name in ("IncomingRecords", "IncomingBytes")]
    directive = {"Namespace": "AWS/Kinesis", "Dimensions": [list(dimensions)], "Metrics": metrics}
    lines = [
        {"_aws": {"Timestamp": (minute_s + 60 * number) * 1000, "CloudWatchMetrics": [directive]}, **dimensions,
         "IncomingRecords": 6_000, "IncomingBytes": 3_000_000}
        for number in range(2)
    ]  # fmt: skip
    logs = launched.engines.client("logs")
    logs.create_log_group(logGroupName=f"/t/{launched.stream}")
    logs.create_log_stream(logGroupName=f"/t/{launched.stream}", logStreamName="metrics")
    events = [{"timestamp": round(time.time() * 1000), "message": json.dumps(line)} for line in lines]
    logs.put_log_events(logGroupName=f"/t/{launched.stream}", logStreamName="metrics", logEvents=events)

    window = {"from": moment(minute_s), "until": moment(minute_s + 120)}
    report = launched.run(**window, dryRun=True, recordsPerSecond=100)
    # The stream was made after the window: nothing of it can be replayed, and that is said.
    assert "it was created then" in report["error"], report
    report = launched.run(**{"from": window["from"]}, dryRun=True, recordsPerSecond=100)
    assert report.get("estimate") == {"records": 12_000, "bytes": 6_000_000, "seconds": 120}, report
    assert (report["stopped"], report["records"], report["shards"]) == ("dry-run", 0, 2)
    assert launched.arrived() == Counter()


def now(seconds: float = 0) -> str:
    return moment(time.time() + seconds)


BAD: dict[str, tuple[Callable[[Past], dict[str, Any]], str]] = {
    "reversed": (lambda past: {"from": now(-5), "until": now(-60)}, "is not before until"),
    "future": (lambda past: {"until": now(3600)}, "in the future"),
    "no time": (lambda past: {"from": "yesterday"}, '"yesterday" is not a time'),
    "older than retention": (lambda past: {"from": now(-25 * 3600)}, "retention is 24 h"),
    "no target": (lambda past: {"target": "somewhere"}, '"somewhere" is not function:NAME'),
    "unknown member": (lambda past: {"speed": 9}, "speed"),
    "itself": (lambda past: {"target": f"function:{past.function}"}, "the replayer itself"),
    "the stream itself": (lambda past: {"target": f"stream:{past.stream}"}, '"allowSameStream"'),
    "another allowed": (lambda past: {"allowSameStream": "another"}, 'is "another"'),
}


@pytest.fixture(scope="module")
def refusing(engines: local.Engines, functions: dict[str, Path]) -> Past:
    """One for all that is refused."""
    for stream in ("past-bad", "past-bad-target"):
        stack.create_stream(engines, stream, 1)
    function = stack.launch_stream_replay(
        engines, functions["stream-replayer"], "past-bad-replayer", "past-bad", ["past-bad-target"],
        parameters={"TargetAttemptsMax": 2, "TargetTimeoutSeconds": 5},
    )  # fmt: skip
    begin_s = int(time.time())
    engines.client("kinesis").put_record(StreamName="past-bad", PartitionKey="k", Data=b"one")
    time.sleep(1.1)
    return Past(engines, "past-bad", "past-bad-target", function, Counter([("k", b"one")]), begin_s)


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_replayed_is_refused_by_name(refusing: Past, what: str) -> None:
    changed, named = BAD[what]
    answer = refusing.run(**changed(refusing))
    assert named in answer.get("error", ""), answer
    assert refusing.arrived() == Counter()


def test_a_target_that_is_not_there_ends_the_run_and_says_where_it_goes_on(refusing: Past) -> None:
    for target in ("stream:nowhere", "function:nowhere"):
        answer = refusing.run(target=target)
        assert "nowhere" in answer.get("error", ""), answer
        assert '"resume"' in answer["error"], answer


def test_a_function_that_the_template_does_not_name_is_out_of_reach(refusing: Past, functions: dict[str, Path]) -> None:
    archive = stack.launch_archive(refusing.engines, functions["archiver"], "replay-unnamed", "past-bad-target")
    answer = refusing.run(target=f"function:{archive.function_name}")
    assert "AccessDenied" in answer.get("error", "") or "not authorized" in answer.get("error", ""), answer
    assert archived_lines(refusing.engines, archive.bucket, archive.prefix) == []


def test_its_own_stream_is_filled_only_when_the_event_and_the_template_say_so(engines: local.Engines, functions: dict[str, Path]) -> None:
    stack.create_stream(engines, "past-same", 1)
    begin_s = int(time.time())
    function = stack.launch_stream_replay(engines, functions["stream-replayer"], "past-same-replayer", "past-same", ["past-same"])
    engines.client("kinesis").put_record(StreamName="past-same", PartitionKey="k", Data=b"one")
    time.sleep(1.1)
    same = Past(engines, "past-same", "past-same", function, Counter([("k", b"one")]), begin_s)
    assert same.run(allowSameStream="past-same")["records"] == 1
    assert same.arrived() == same.written + marked(same.written)
