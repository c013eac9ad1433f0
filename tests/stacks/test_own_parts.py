"""Our own parts of the local AWS, and the demo's judgement: each must be able to say no."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from typing import Any

import async_queue
import pytest
from async_queue import AsyncQueue
from compare import Arrivals, judge
from demo import BadVariable, Options
from read_back import Event, NotReadable, Record, exact_arrival_ms, payloads

FUNCTION = {"config": {"FunctionName": "f", "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:r:0:q"}}}
THROTTLED = {"throttle": True, "error": True, "body": {"message": "Rate Exceeded"}}
FAILED = {"error": True, "body": {"errorMessage": "boom"}}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_queue, "THROTTLE_WAIT_FIRST_S", 0.001)
    monkeypatch.setattr(async_queue, "THROTTLE_WAIT_MAX_S", 0.01)
    monkeypatch.setattr(async_queue, "ERROR_WAITS_S", (0.001, 0.001))


def run(answers: Any, events: int = 1, function: dict[str, Any] = FUNCTION) -> tuple[AsyncQueue, list[Any], list[Any]]:
    calls: list[Any] = []
    letters: list[Any] = []
    lock = threading.Lock()

    def execute(_: dict[str, Any], event: Any) -> dict[str, Any]:
        with lock:
            calls.append(event)
            return answers(len(calls))

    queue = AsyncQueue(execute, lambda arn, body, attributes: letters.append((arn, body, attributes)))
    for number in range(events):
        queue.put(function, {"number": number})
    while (status := queue.status())["waiting"] or status["running"]:
        time.sleep(0.005)
    return queue, calls, letters


def test_a_throttled_event_comes_again_until_it_is_taken() -> None:
    queue, calls, letters = run(lambda call: THROTTLED if call <= 40 else {"body": None}, events=5)
    assert (queue.succeeded, queue.throttles, letters) == (5, 40, [])
    assert {call["number"] for call in calls} == set(range(5))


def test_a_failing_event_gets_two_more_tries_and_then_the_raw_event_is_dead_lettered() -> None:
    queue, calls, letters = run(lambda _: FAILED)
    assert len(calls) == 3
    ((arn, body, attributes),) = letters
    assert (arn, json.loads(body)) == ("arn:aws:sqs:r:0:q", {"number": 0})
    assert attributes["ErrorMessage"] == ("String", "boom")
    assert (queue.dead_lettered, queue.dropped) == (1, 0)


def test_throttles_do_not_use_up_the_tries() -> None:
    _, calls, letters = run(lambda call: THROTTLED if call % 2 else (FAILED if call < 6 else {"body": None}))
    assert (len(calls), letters) == (6, [])


def test_an_event_that_grows_too_old_is_dead_lettered() -> None:
    function = {**FUNCTION, "event_invoke_config": {"MaximumEventAgeInSeconds": 0.05}}
    _, _, letters = run(lambda _: THROTTLED, function=function)
    assert letters[0][2]["ErrorCode"] == ("Number", "429")


def event(number: int) -> Event:
    return Event("g", "s", number, b"m")


def arrivals(*events: Event) -> Arrivals:
    return Arrivals(events=Counter(events), payload_sizes=[1] * len(events), record_sizes=[1] * len(events))


def test_the_judge_tells_lost_duplicated_invented_and_dead_lettered_apart() -> None:
    sent = Counter([event(1), event(2), event(2), event(3)])
    assert judge(sent, arrivals(event(1), event(2), event(2), event(3)), Counter()).good
    missing = judge(sent, arrivals(event(1), event(2), event(3)), Counter())
    assert (missing.lost, missing.duplicated, missing.good) == (1, 0, False)
    twice = judge(sent, arrivals(event(1), event(1), event(2), event(2), event(3)), Counter())
    assert (twice.lost, twice.duplicated, twice.good) == (0, 1, False)
    invented = judge(sent, arrivals(event(1), event(2), event(2), event(3), event(9)), Counter())
    assert (invented.unexpected, invented.good) == (1, False)
    parked = judge(sent, arrivals(event(1), event(2), event(2)), Counter([event(3)]))
    assert (parked.lost, parked.dead_lettered, parked.good) == (0, 1, False)
    assert not judge(Counter(), arrivals(), Counter()).good


def test_an_aggregate_with_a_wrong_digest_is_not_taken_for_a_plain_record() -> None:
    from aws_kinesis_agg.aggregator import RecordAggregator

    aggregator = RecordAggregator()
    for message in (b"one", b"two"):
        aggregator.add_user_record("key", message)
    _, _, good = aggregator.clear_and_get().get_contents()
    assert payloads(Record("shard", "key", good, 0), "kpl") == [b"one", b"two"]
    with pytest.raises(NotReadable):
        payloads(Record("shard", "key", good[:-1] + bytes([good[-1] ^ 1]), 0), "kpl")
    with pytest.raises(NotReadable):
        payloads(Record("shard", "another key", good, 0), "kpl")


def test_an_arrival_must_be_the_served_one_in_more_detail() -> None:
    assert exact_arrival_ms(5_000, 5_678) == 5_678
    for captured in (None, 4_999, 6_000):
        with pytest.raises(NotReadable):
            exact_arrival_ms(5_000, captured)


@pytest.mark.parametrize(
    "variables",
    [{"FORMAT": "avro"}, {"TRANSFORM": "x"}, {"SEED": "abc"}, {"EVENTS": "0"}, {"EVENTS": "1e5"}, {"KEEP": "yes"},
     {"LOGS": "/no/such/path"}],
)  # fmt: skip
def test_a_bad_variable_is_named(variables: dict[str, str]) -> None:
    with pytest.raises(BadVariable, match=next(iter(variables))):
        Options.from_environment(variables)
