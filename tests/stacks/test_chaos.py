"""Faults on purpose under load, on the real template and the real binaries: at the end every event is in the stream, in the
dead-letter queue or in quarantine, and none is nowhere. The simulated AWS does the same millions of times (tests/chaos)."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable

import engines as local
import pytest
import stack
from compare import Arrivals, events_in
from conftest import write_logs
from read_back import Event, ever_written
from test_failures import BAD_PAYLOADS
from test_replay import EMPTY, Replaying, dead_letter, replaying, waiting

__all__ = ["replaying"]

EVENTS_A_BATCH = 80
SECONDS_A_PHASE = 3.0
KILL_EVERY_S = 0.25
POISON = ("not gzip", "not JSON")


class Load(threading.Thread):
    """Writes log events until it is told to stop."""

    def __init__(self, engines: local.Engines, group: str) -> None:
        super().__init__(name="load")
        self._engines, self._group = engines, group
        self._stop_now = threading.Event()
        self.sent: Counter[Event] = Counter()
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            number = 0
            while not self._stop_now.wait(0.03):
                messages = [f"event {number + one}" for one in range(EVENTS_A_BATCH)]
                self.sent.update(write_logs(self._engines, self._group, f"s{number % 7}", messages))
                number += EVENTS_A_BATCH
        except BaseException as failure:
            self.failure = failure

    def stop(self) -> None:
        self._stop_now.set()
        self.join()
        if self.failure:
            raise self.failure


def for_a_phase(every_s: float, act: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS_A_PHASE
    while time.monotonic() < end:
        time.sleep(every_s)
        act()


def in_queue(engines: local.Engines, queue_url: str) -> Counter[Event]:
    """The log events of a queue, whose messages are back in it afterwards."""
    sqs = engines.client("sqs")
    engines.let_wait_pass(queue_url)
    events: Counter[Event] = Counter()
    while messages := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            try:
                events.update(events_in(json.loads(message["Body"])))
            except (ValueError, KeyError, OSError):
                pass
    engines.let_wait_pass(queue_url)
    return events


def nowhere(engines: local.Engines, pipeline: stack.Pipeline, sent: Counter[Event]) -> tuple[int, int]:
    """How many events are in none of the three places, and how often one is in the stream again."""
    arrivals = Arrivals()
    arrivals.take(ever_written(engines, pipeline.stream_name), "kpl", "envelope")
    waiting_events = in_queue(engines, pipeline.dead_letter_queue_url)
    quarantined = in_queue(engines, pipeline.quarantine_queue_url)
    assert arrivals.events.keys() <= sent.keys(), "something in the stream that nobody wrote"
    missing = sum(
        count for event, count in sent.items() if not (event in arrivals.events or event in waiting_events or event in quarantined)
    )
    return missing, (arrivals.events - sent).total()


def replay_until_empty(engines: local.Engines, pipeline: stack.Pipeline) -> int:
    """Replays; the rest of the day passes between two replays."""
    replays = 0
    while (left := waiting(engines, pipeline.dead_letter_queue_url)) != EMPTY:
        replays += 1
        assert replays <= 20, left
        engines.let_wait_pass(pipeline.dead_letter_queue_url)
        stack.replay(engines, pipeline, {"max": sum(left.values())})
    return replays


def test_under_every_fault_at_once_no_event_is_nowhere(
    engines: local.Engines, replaying: Replaying, capsys: pytest.CaptureFixture[str]
) -> None:
    group = "/t/chaos"
    engines.client("logs").create_log_group(logGroupName=group)
    pipeline = replaying(
        shards=2, LogGroupNames=group, ReservedConcurrency=4, ConcurrencyPerShard=2, PutAttemptsMax=3, TimeoutSeconds=10,
        ReplayAttemptsMax=100,
    )  # fmt: skip
    before = stack.settle(engines)
    kills = 0

    def kill() -> None:
        nonlocal kills
        kills += engines.kill_running(pipeline.function_name)

    stream = pipeline.stream_name
    load = Load(engines, group)
    load.start()
    try:
        engines.faults(stream, refuse=0.3, error=0.1, lose_answer=0.05, hang=0.01, seed=4)
        for name in POISON:
            stack.invoke(engines, pipeline, BAD_PAYLOADS[name])
        for_a_phase(KILL_EVERY_S, kill)

        # Kinesis and SQS down together, SQS for less long than Lambda goes on trying.
        engines.faults(stream, error=1)
        engines.let_sqs_be_down(2)
        for_a_phase(KILL_EVERY_S, kill)

        # Deleted, and made again.
        engines.faults(stream, refuse=0.3)
        stack.delete_stream(engines, stream)
        for_a_phase(KILL_EVERY_S, kill)
        stack.create_stream(engines, stream, 2)
        engines.faults(stream, refuse=1, seconds=1)
        for_a_phase(KILL_EVERY_S, kill)
    finally:
        load.stop()
    engines.faults(stream)
    after = stack.settle(engines)
    assert after["dropped"] == before["dropped"], "Lambda's own dead letters came through"
    assert kills > 0 and after["errors"] > before["errors"]
    lost, _ = nowhere(engines, pipeline, load.sent)
    assert lost == 0
    dead = in_queue(engines, pipeline.dead_letter_queue_url)
    assert dead, "there was something to replay"

    # The first replay meets faults, too, and is killed in the middle of it.
    engines.faults(stream, refuse=0.5, error=0.2, lose_answer=0.1, seed=5)
    replay = threading.Thread(target=lambda: stack.wake(engines, str(pipeline.replayer), {"max": 200}))
    replay.start()
    while replay.is_alive():
        time.sleep(0.4)
        kill()
    lost, _ = nowhere(engines, pipeline, load.sent)
    assert lost == 0
    engines.faults(stream)
    replays = replay_until_empty(engines, pipeline)

    lost, duplicated = nowhere(engines, pipeline, load.sent)
    arrivals = Arrivals()
    arrivals.take(ever_written(engines, stream), "kpl", "envelope")
    reasons = sorted(letter["attributes"]["Reason"] for letter in stack.quarantined(engines, pipeline))
    with capsys.disabled():
        total = load.sent.total()
        print(
            f"\nchaos: {total:,} events, {kills} invocations killed, {dead.total():,} events dead-lettered, {replays + 1} "
            f"replays; lost {lost}, duplicated {duplicated:,} ({duplicated / total:.2%}), quarantined {reasons}"
        )
    assert lost == 0
    assert arrivals.events.keys() == load.sent.keys(), "all in the stream at last"
    assert reasons == ["not-gzip", "not-json"]


@pytest.mark.parametrize("where", ["the processor", "the replayer"])
def test_killed_in_the_middle_of_a_replay_the_dead_letter_is_still_there(engines: local.Engines, replaying: Replaying, where: str) -> None:
    group = f"/t/killed/{where.split()[-1]}"
    engines.client("logs").create_log_group(logGroupName=group)
    pipeline = replaying(LogGroupNames=group)
    stack.delete_stream(engines, pipeline.stream_name)
    sent = Counter(write_logs(engines, group, "s", ["one", "two"]))
    stack.settle(engines)
    stack.create_stream(engines, pipeline.stream_name, 1)
    # The processor waits for an answer that does not come.
    engines.faults(pipeline.stream_name, hang=1)
    victim = str(pipeline.function_name if where == "the processor" else pipeline.replayer)
    replay = threading.Thread(target=lambda: stack.wake(engines, str(pipeline.replayer), {"max": 1}))
    replay.start()
    deadline = time.monotonic() + 20
    while not engines.faults(pipeline.stream_name, hang=1)["hung"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert engines.kill_running(victim) == 1
    replay.join()
    assert sum(waiting(engines, pipeline.dead_letter_queue_url).values()) == 1
    engines.faults(pipeline.stream_name)
    if where == "the replayer":
        engines.kill_running(pipeline.function_name)
    replay_until_empty(engines, pipeline)
    arrivals = Arrivals()
    arrivals.take(ever_written(engines, pipeline.stream_name), "kpl", "envelope")
    assert arrivals.events == sent


def test_the_count_can_say_no(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying()
    dead_letter(engines, pipeline, ["here", "there"])
    sent = in_queue(engines, pipeline.dead_letter_queue_url)
    assert (sent.total(), nowhere(engines, pipeline, sent)) == (2, (0, 0))
    stack.dead_letters(engines, pipeline)
    assert nowhere(engines, pipeline, sent) == (2, 0)
