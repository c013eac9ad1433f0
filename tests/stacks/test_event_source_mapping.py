"""The event source mapping that is played here: it must fail as Lambda's does, or the archive proves nothing."""

from __future__ import annotations

import datetime
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import event_source_mapping
import pytest
from event_source_mapping import EventSourceMapping, Settings, batch_len

ARN = "arn:aws:kinesis:eu-central-1:000000000000:stream/s"
QUEUE = "arn:aws:sqs:eu-central-1:000000000000:q"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_source_mapping, "POLL_S", 0.02)
    monkeypatch.setattr(event_source_mapping, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(event_source_mapping, "RETRY_MAX_S", 0.002)


class Kinesis:
    """Shards by id: their parents, their records, and whether they are closed."""

    def __init__(self, **shards: tuple[list[str], list[bytes], bool]) -> None:
        self.shards = shards
        self.arrived = datetime.datetime.now(datetime.UTC)

    def list_shards(self, **_: Any) -> dict[str, Any]:
        def described(name: str) -> dict[str, Any]:
            names = ("ParentShardId", "AdjacentParentShardId")
            return {"ShardId": name, **dict(zip(names, self.shards[name][0], strict=False))}

        return {"Shards": [described(name) for name in self.shards]}

    def get_shard_iterator(self, ShardId: str, ShardIteratorType: str, **more: Any) -> dict[str, Any]:
        begin = {"TRIM_HORIZON": 0, "LATEST": len(self.shards[ShardId][1])}
        at = begin.get(ShardIteratorType, int(more.get("StartingSequenceNumber", 0)))
        return {"ShardIterator": f"{ShardId}:{at}"}

    def get_records(self, ShardIterator: str, **_: Any) -> dict[str, Any]:
        name, at = ShardIterator.split(":")
        _parents, data, is_closed = self.shards[name]
        # Two at a time, so that a shard takes several calls.
        records = [
            {"SequenceNumber": str(place + 1), "PartitionKey": "k", "Data": one, "ApproximateArrivalTimestamp": self.arrived}
            for place, one in enumerate(data)
        ][int(at) : int(at) + 2]
        more = {"NextShardIterator": f"{name}:{int(at) + len(records)}"} if records or not is_closed else {}
        return {"Records": records, "MillisBehindLatest": 0, **more}


def settings(**changed: Any) -> Settings:
    mapping = {
        "EventSourceArn": ARN, "FunctionName": "f", "StartingPosition": "TRIM_HORIZON", "BatchSize": 4,
        "MaximumRetryAttempts": 2, "MaximumRecordAgeInSeconds": -1, "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "DestinationConfig": {"OnFailure": {"Destination": QUEUE}}, **changed,
    }  # fmt: skip
    return Settings.of(mapping)


class Function:
    """Remembers the batches that it was given, as lists of sequence numbers by shard."""

    def __init__(self, answer: Callable[[list[str], int], dict[str, Any]]) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self.batches: list[tuple[str, list[str]]] = []

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        numbers = [record["kinesis"]["sequenceNumber"] for record in event["Records"]]
        with self._lock:
            self.batches.append((event["Records"][0]["eventID"].split(":")[0], numbers))
            return self._answer(numbers, len(self.batches))


def taken(*_: Any) -> dict[str, Any]:
    return {"body": {"batchItemFailures": []}}


def naming(*numbers: str | None) -> dict[str, Any]:
    return {"body": {"batchItemFailures": [{"itemIdentifier": number} for number in numbers]}}


@pytest.fixture
def run() -> Iterator[Callable[..., tuple[Function, list[dict[str, Any]], dict[str, Any]]]]:
    """Runs a mapping until it has caught up: what the function got, what the queue got, and the counts."""
    mappings: list[EventSourceMapping] = []

    def run_one(kinesis: Kinesis, answer: Callable[[list[str], int], dict[str, Any]], admit: Any = None, **changed: Any):
        function, letters = Function(answer), []
        more = {"admit": admit} if admit else {}
        mapping = EventSourceMapping(
            kinesis, settings(**changed), function, lambda arn, shard, body: letters.append({"arn": arn, **json.loads(body)}), **more
        )
        mappings.append(mapping.start())
        deadline = time.monotonic() + 20
        while not mapping.status()["is_caught_up"]:
            assert time.monotonic() < deadline, mapping.status()
            time.sleep(0.005)
        return function, letters, mapping.status()

    yield run_one
    for mapping in mappings:
        mapping.stop()


def test_every_record_comes_once_and_in_order_in_batches(run: Any) -> None:
    kinesis = Kinesis(a=([], [b"x"] * 9, False))
    function, letters, counts = run(kinesis, taken, MaximumBatchingWindowInSeconds=1)
    numbers = [number for _, batch in function.batches for number in batch]
    assert numbers == [str(number) for number in range(1, 10)]
    assert [len(batch) for _, batch in function.batches] == [4, 4, 1]
    assert (letters, counts["records"], counts["invocations"], counts["failures"]) == ([], 9, 3, 0)


def test_what_an_answer_names_comes_again_from_the_lowest_on(run: Any) -> None:
    kinesis = Kinesis(a=([], [b"x"] * 4, False))
    function, letters, counts = run(
        kinesis, lambda numbers, call: naming("4", "2") if call == 1 else taken(), MaximumBatchingWindowInSeconds=1
    )
    assert [batch for _, batch in function.batches] == [["1", "2", "3", "4"], ["2", "3", "4"]]
    assert (letters, counts["records"], counts["failures"]) == ([], 4, 1)


@pytest.mark.parametrize(
    "failed",
    [{"error": True, "body": {"errorMessage": "boom"}}, naming("elsewhere"), naming(None), {"body": {"batchItemFailures": "x"}}],
    ids=["error", "unknown", "none", "no list"],
)
def test_what_fails_as_a_whole_comes_again_and_then_its_place_is_told(run: Any, failed: dict[str, Any]) -> None:
    kinesis = Kinesis(a=([], [b"x"] * 6, False))
    function, letters, counts = run(kinesis, lambda numbers, _: failed if "1" in numbers else taken(), MaximumBatchingWindowInSeconds=1)
    assert [batch for _, batch in function.batches] == [["1", "2", "3", "4"]] * 3 + [["5", "6"]], "two more tries, then on"
    (letter,) = letters
    assert (letter["arn"], letter["requestContext"]["condition"]) == (QUEUE, "RetryAttemptsExhausted")
    place = letter["KinesisBatchInfo"]
    assert (place["shardId"], place["startSequenceNumber"], place["endSequenceNumber"], place["batchSize"]) == ("a", "1", "4", 4)
    assert (counts["given_up"], counts["records"]) == (4, 2)


def test_a_bucket_gets_the_records_and_a_queue_only_their_place(run: Any) -> None:
    for arn in (QUEUE, "arn:aws:s3:::kept"):
        kinesis = Kinesis(a=([], [b"x"] * 2, False))
        _, (letter,), _ = run(
            kinesis, lambda *_: {"error": True}, MaximumBatchingWindowInSeconds=1, DestinationConfig={"OnFailure": {"Destination": arn}}
        )
        kept = [record["kinesis"]["data"] for record in json.loads(letter.get("payload", '{"Records": []}'))["Records"]]
        assert kept == ([] if arn == QUEUE else ["eA==", "eA=="])


def test_a_throttle_is_no_try(run: Any) -> None:
    kinesis = Kinesis(a=([], [b"x"], False))
    _, letters, counts = run(kinesis, lambda _, call: {"throttle": True, "error": True} if call < 9 else taken())
    assert (letters, counts["records"], counts["invocations"]) == ([], 1, 1)


def test_without_partial_batches_every_answer_is_a_success(run: Any) -> None:
    kinesis = Kinesis(a=([], [b"x"] * 2, False))
    _, _, counts = run(kinesis, lambda *_: naming("1"), FunctionResponseTypes=[])
    assert counts["records"] == 2


def test_what_is_too_old_is_given_up_unseen(run: Any) -> None:
    kinesis = Kinesis(a=([], [b"x"] * 3, False))
    kinesis.arrived -= datetime.timedelta(hours=1)
    function, letters, _ = run(kinesis, taken, MaximumRecordAgeInSeconds=60, MaximumBatchingWindowInSeconds=1)
    assert function.batches == []
    assert [letter["requestContext"]["condition"] for letter in letters] == ["RecordAgeExceeded"]


def test_a_child_waits_for_the_end_of_both_parents(run: Any) -> None:
    kinesis = Kinesis(
        c=(["a", "b"], [b"x"] * 3, False), a=([], [b"x"] * 5, True), b=([], [b"x"] * 7, True)
    )  # fmt: skip
    function, _, counts = run(kinesis, lambda numbers, call: taken() if call > 2 else naming(numbers[0]))
    shards = [shard for shard, _ in function.batches]
    assert max(shards.index("c"), 1) > max(place for place, shard in enumerate(shards) if shard != "c")
    assert counts["records"] == 15


def test_latest_begins_with_what_comes_and_children_with_their_first(run: Any) -> None:
    kinesis = Kinesis(a=([], [b"x"] * 5, True), c=(["a"], [b"x"] * 2, False))
    function, _, _ = run(kinesis, taken, StartingPosition="LATEST")
    assert {shard for shard, _ in function.batches} == {"c"}


def test_what_a_filter_leaves_out_is_passed_over(run: Any) -> None:
    kinesis = Kinesis(a=([], [b"x"] * 6, False))
    function, _, counts = run(
        kinesis,
        taken,
        admit=lambda records: [one for one in records if int(one["kinesis"]["sequenceNumber"]) % 2],
        MaximumBatchingWindowInSeconds=1,
    )
    assert [batch for _, batch in function.batches] == [["1", "3", "5"]]
    assert (counts["filtered"], counts["records"]) == (3, 3)


def test_a_batch_ends_at_six_megabytes() -> None:
    waiting = [{"record": {"kinesis": {"data": "x" * 1_000_000, "partitionKey": "k"}}}] * 9
    assert batch_len(waiting, 100) == 5
    assert batch_len([{"record": {"kinesis": {"data": "x" * 9_000_000, "partitionKey": "k"}}}] * 2, 100) == 1
