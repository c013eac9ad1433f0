"""The demo's third act: the stream refuses for a while and one payload is poison; the replayer puts right what can be."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import engines as local
import stack
from compare import Arrivals, Verdict, events_in, identity, judge
from read_back import Event, records
from scaling_act import Load

STREAM = "demo-failures"
LOG_GROUP = "/demo/failures"
SHARDS = 2
EVENTS_A_SECOND = 1_500
BEFORE_S, REFUSING_S, AFTERWARDS_S = 3.0, 5.0, 3.0
# So that what the stream refuses is dead-lettered within the act; the template says ten tries.
PUT_ATTEMPTS_MAX = 3
LATE_MS = 1_000
POISON: dict[str, Any] = {"awslogs": {"data": "dGhpcyBpcyBub3QgZ3ppcA=="}}
POISON_REASON = "not-gzip"


@dataclass
class Sample:
    """What waits at one moment."""

    at_s: float
    dead_lettered_events: int
    quarantined_messages: int


@dataclass
class Act:
    """What happened."""

    started_s: float
    pipeline: stack.Pipeline
    verdict: Verdict
    samples: list[Sample]
    sent_at: dict[int, int]
    delivered_at: dict[int, int]
    refusing: tuple[float, float]
    replay: tuple[float, float]
    late: int
    dead_lettered_events: int
    dead_letters: int
    report: dict[str, Any]
    quarantine_reasons: list[str]
    metrics: list[dict[str, Any]]
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.verdict.good and not self.problems

    def rows(self) -> list[tuple[str, str]]:
        reasons = ", ".join(self.quarantine_reasons) or "–"
        return [
            ("sent", f"{self.verdict.sent:,} events, and one payload that is not gzip"),
            ("refused", f"everything, for {self.refusing[1] - self.refusing[0]:.0f} s"),
            ("late", f"{self.late:,} events by more than {LATE_MS / 1000:.0f} s, dead-lettered ones included"),
            ("dead-lettered", f"{self.dead_lettered_events:,} events in {self.dead_letters:,} messages"),
            ("replayed", f"{self.report['replayed']:,} messages in {self.replay[1] - self.replay[0]:.1f} s"),
            ("quarantined", f"{len(self.quarantine_reasons)} payload: {reasons}"),
            ("delivered", f"{self.verdict.delivered:,} events, byte for byte"),
            ("lost, duplicated", f"{self.verdict.lost:,}, {self.verdict.duplicated:,}"),
            *[("not as it should be", problem) for problem in self.problems],
        ]


class Watch:
    """Samples both queues, without receiving from them."""

    def __init__(self, engines: local.Engines, pipeline: stack.Pipeline) -> None:
        self._engines, self._pipeline = engines, pipeline
        self.samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")
        self._thread.start()

    def _run(self) -> None:
        while True:
            dead = self._engines.counted(self._pipeline.dead_letter_queue_url)
            quarantined = self._engines.counted(self._pipeline.quarantine_queue_url)
            self.samples.append(Sample(time.time(), dead["log_events"], quarantined["messages"]))
            if self._stop.wait(0.1):
                return

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def play(engines: local.Engines, processor: Path, replayer: Path, step: Callable[[str], None]) -> Act:
    """Launches a stream of its own, lets it refuse under load, and replays."""
    engines.client("logs").create_log_group(logGroupName=LOG_GROUP)
    stack.create_stream(engines, STREAM, SHARDS)
    parameters = {"LogGroupNames": LOG_GROUP, "PutAttemptsMax": PUT_ATTEMPTS_MAX}
    pipeline = stack.launch_processor(engines, processor, STREAM, STREAM, SHARDS, parameters, replayer)
    watch = Watch(engines, pipeline)
    started = time.time()
    load = Load(engines, LOG_GROUP, EVENTS_A_SECOND, "failure")
    problems = []
    try:
        step(f"{EVENTS_A_SECOND:,} events a second on {SHARDS} shards")
        time.sleep(BEFORE_S)
        step("the stream refuses everything, and a payload comes that is not gzip")
        refusing_from = time.time()
        engines.faults(STREAM, refuse=1)
        stack.invoke(engines, pipeline, POISON)
        time.sleep(REFUSING_S)
        engines.faults(STREAM)
        refusing_to = time.time()
        step("the stream takes records again")
        time.sleep(AFTERWARDS_S)
    finally:
        load.stop()
    stack.settle(engines)
    waiting = engines.counted(pipeline.dead_letter_queue_url)
    step(f"invoking the replayer: {waiting['log_events']:,} events wait in {waiting['messages']:,} dead letters")
    replay_from = time.time()
    # As many as there are: asked for all, it would wait 20 seconds to see that there are no more.
    report = stack.replay(engines, pipeline, {"max": max(1, waiting["messages"])})
    replay_to = time.time()
    watch.stop()
    if not waiting["messages"]:
        problems.append("nothing was dead-lettered, so there was nothing to replay")
    if report["left"] or report["failed"]:
        problems.append(f"after the replay {report['left']} dead letters are left, {report['failed']} failed")
    arrivals = Arrivals()
    arrivals.take(records(engines, STREAM), "kpl", "envelope")
    dead: Counter[Event] = Counter()
    for letter in stack.dead_letters(engines, pipeline):
        dead.update(identity(event, "envelope") for event in events_in(json.loads(letter["body"])))
    # It stays there, for whoever keeps the engines up.
    quarantined = stack.looked_at(engines, pipeline.quarantine_queue_url)
    reasons = [letter["attributes"].get("Reason", "none") for letter in quarantined]
    if reasons != [POISON_REASON] or json.loads(quarantined[0]["body"]) != POISON:
        problems.append(f"in quarantine is not the poison alone: {reasons}")
    return Act(
        started_s=started,
        pipeline=pipeline,
        verdict=judge(load.sent, arrivals, dead),
        samples=watch.samples,
        sent_at=dict(load.sent_at),
        delivered_at=dict(arrivals.delivered_at),
        refusing=(refusing_from, refusing_to),
        replay=(replay_from, replay_to),
        late=sum(lag > LATE_MS for _, lag in arrivals.arrivals),
        dead_lettered_events=waiting["log_events"],
        dead_letters=waiting["messages"],
        report=report,
        quarantine_reasons=reasons,
        metrics=stack.metrics(stack.function_log(engines, pipeline)),
        problems=problems,
    )
