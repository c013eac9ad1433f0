"""The demo's second act: load rises, an alarm goes off, the stream doubles and doubles again; load falls, it halves."""

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

# One CloudWatch minute, in seconds of wall time. What the template gives in seconds of that clock shrinks alike.
MINUTE_S = 3.0
SHARDS = 2
DEMO_SHARDS_MAX = 8
# What carries the busy load at 80 %: two steps up from two shards, to six or more as the engine's timing has it.
SHARDS_ENOUGH = 6
STREAM = "demo-scaling"
LOG_GROUP = "/demo/scaling"
CALM_EVENTS_A_SECOND = 700
# One record an event: a shard takes 1,000 records a second, so this is more than twice what two shards take.
BUSY_EVENTS_A_SECOND = 4_400
CALM_S = 3 * MINUTE_S
BUSY_S_MAX = 24.0
# The load stays for a while once the stream has grown, so that one sees it carried.
BUSY_AFTERWARDS_S = MINUTE_S
# All must be calm before scale-down halves; the template's least.
LOOK_BACK_MINUTES = 5
# Scale-down's schedule is due so often once load has fallen; the template says every ten minutes.
OFF_PEAK_MINUTES = 1
DOWN_S_MAX = 40.0
BATCHES_A_SECOND = 10


@dataclass
class Sample:
    """What can be seen from outside at one moment."""

    at_s: float
    open_shards: int
    concurrency_limit: int
    processors: int


@dataclass
class Act:
    """What happened."""

    started_s: float
    verdict: Verdict
    samples: list[Sample]
    decisions: list[tuple[float, str, str]]
    sent_at: dict[int, int]
    delivered_at: dict[int, int]
    busy: tuple[float, float]
    metrics: list[dict[str, Any]]
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.verdict.good and not self.problems

    def rows(self) -> list[tuple[str, str]]:
        shards = [sample.open_shards for sample in self.samples]
        path = [str(count) for at, count in enumerate(shards) if at == 0 or shards[at - 1] != count]
        limits = [sample.concurrency_limit for sample in self.samples]
        return [
            ("sent", f"{self.verdict.sent:,} events, {CALM_EVENTS_A_SECOND:,} and {BUSY_EVENTS_A_SECOND:,} a second"),
            ("delivered", f"{self.verdict.delivered:,} events, byte for byte"),
            ("lost, duplicated", f"{self.verdict.lost:,}, {self.verdict.duplicated:,}"),
            ("open shards", " → ".join(path)),
            ("concurrency limit", f"{min(limits)} to {max(limits)}, {limits[-1]} at the end"),
            ("lag p50, p99", f"{self.verdict.lag_percentile(50):,} ms, {self.verdict.lag_percentile(99):,} ms"),
            *[("not as it should be", problem) for problem in self.problems],
        ]


class Load:
    """Writes log events at a rate that can be changed, and remembers them."""

    def __init__(self, engines: local.Engines, log_group: str, events_a_second: int, act: str) -> None:
        self._logs = engines.client("logs")
        self._log_group, self._act = log_group, act
        self._logs.create_log_stream(logGroupName=log_group, logStreamName="load")
        self.events_a_second = events_a_second
        self.sent: Counter[Event] = Counter()
        self.sent_at: Counter[int] = Counter()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()

    def _run(self) -> None:
        try:
            number, due = 0, time.monotonic()
            while not self._stop.is_set():
                number = self._write(number, self.events_a_second // BATCHES_A_SECOND)
                due = max(due + 1 / BATCHES_A_SECOND, time.monotonic() - 1)
                self._stop.wait(max(0.0, due - time.monotonic()))
        except BaseException as failure:
            self._failure = failure

    def _write(self, number: int, events: int) -> int:
        now = round(time.time() * 1000)
        messages = [f"event {number + one} of the {self._act} act" for one in range(events)]
        self._logs.put_log_events(
            logGroupName=self._log_group,
            logStreamName="load",
            logEvents=[{"timestamp": now, "message": message} for message in messages],
        )
        self.sent.update(Event(self._log_group, "load", now, message.encode()) for message in messages)
        self.sent_at[now // 100] += events
        return number + events

    def check(self) -> None:
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.check()


class Watch:
    """Samples shards, limit and running processors."""

    def __init__(self, engines: local.Engines, function: str) -> None:
        self._engines, self._function = engines, function
        self._kinesis, self._lambda = engines.client("kinesis"), engines.client("lambda")
        self.samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.25):
            summary = self._kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
            limit = self._lambda.get_function_concurrency(FunctionName=self._function)
            flying = self._engines.cloudwatch()["in_flight"]
            processors = sum(count for name, count in flying.items() if self._function in name)
            self.samples.append(Sample(time.time(), summary["OpenShardCount"], limit.get("ReservedConcurrentExecutions", 0), processors))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def wait_until(done: Callable[[], bool], seconds_max: float, load: Load) -> bool:
    deadline = time.monotonic() + seconds_max
    while not done():
        load.check()
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def play(engines: local.Engines, processor: Path, scale_up: Path, scale_down: Path, step: Callable[[str], None]) -> Act:
    """Launches a stream of its own with both stacks, and lets the load rise and fall."""
    engines.client("logs").create_log_group(logGroupName=LOG_GROUP)
    stack.create_stream(engines, STREAM, SHARDS)
    pipeline = stack.launch_processor(engines, processor, STREAM, STREAM, SHARDS, {"LogGroupNames": LOG_GROUP, "RecordFormat": "single"})
    scaling = stack.launch_scaling(
        engines,
        scale_up,
        scale_down,
        f"{STREAM}-autoscaling",
        {
            "StreamName": STREAM,
            "ShardCountInitial": SHARDS,
            "ShardCountDefault": SHARDS,
            "ShardCountMax": DEMO_SHARDS_MAX,
            "ProcessorFunctions": pipeline.function_name,
            "DrainSeconds": round(600 * MINUTE_S / 60),
            "LookBackMinutes": LOOK_BACK_MINUTES,
            # The template waits ten minutes longer for each call that is spent; nobody watches a demo for so long.
            "CalmMinutesPerCall": 0,
        },
    )
    watch = Watch(engines, pipeline.function_name)
    started = time.time()
    load = Load(engines, LOG_GROUP, CALM_EVENTS_A_SECOND, "scaling")
    problems = []
    try:
        step(f"{CALM_EVENTS_A_SECOND:,} events a second on {SHARDS} shards; a CloudWatch minute takes {MINUTE_S:.0f} s")
        time.sleep(CALM_S)
        busy_from = time.time()
        load.events_a_second = BUSY_EVENTS_A_SECOND
        step(f"load rises to {BUSY_EVENTS_A_SECOND:,} events a second")

        def at_the_top() -> bool:
            last = watch.samples[-1:]
            return bool(last) and last[0].open_shards == last[0].concurrency_limit >= SHARDS_ENOUGH

        if not wait_until(at_the_top, BUSY_S_MAX, load):
            problems.append(f"the stream and its processors did not reach {SHARDS_ENOUGH}")
        time.sleep(BUSY_AFTERWARDS_S)
        busy_to = time.time()
        load.events_a_second = CALM_EVENTS_A_SECOND // 2
        step("load falls; waiting for calm minutes, then for scale-down")
        next_wake = time.monotonic() + MINUTE_S
        deadline = time.monotonic() + DOWN_S_MAX

        def at_rest() -> bool:
            last = watch.samples[-1]
            return last.open_shards == last.concurrency_limit == SHARDS

        while not at_rest():
            load.check()
            if time.monotonic() > deadline:
                problems.append(f"the stream did not come back to {SHARDS} shards")
                break
            if time.monotonic() >= next_wake:
                next_wake += OFF_PEAK_MINUTES * MINUTE_S
                engines.fire_schedule(f"{scaling.stack}-off-peak")
            time.sleep(0.1)
    finally:
        load.stop()
    stack.settle(engines)
    watch.stop()
    arrivals = Arrivals()
    arrivals.take(records(engines, STREAM), "single", "envelope")
    dead: Counter[Event] = Counter()
    for letter in stack.dead_letters(engines, pipeline):
        dead.update(identity(event, "envelope") for event in events_in(json.loads(letter["body"])))
    return Act(
        started_s=started,
        verdict=judge(load.sent, arrivals, dead),
        samples=watch.samples,
        decisions=telling(stack.decisions(engines, scaling), started),
        sent_at=dict(load.sent_at),
        delivered_at=dict(arrivals.delivered_at),
        busy=(busy_from, busy_to),
        metrics=stack.metrics(stack.function_log(engines, pipeline)),
        problems=problems,
    )


def telling(lines: list[dict[str, Any]], started_s: float) -> list[tuple[float, str, str]]:
    """When (seconds into the act), by which function, and what: decisions, each repetition left out."""
    told: list[tuple[float, str, str]] = []
    last = None
    for line in lines:
        text = line["Decision"]
        # "stay at 2 shards; $… an hour …": nothing was pending.
        act = text.split("; $")[0]
        if act == last or (act.startswith("stay at") and ";" not in act):
            continue
        last = act
        told.append((line["_aws"]["Timestamp"] / 1000 - started_s, line["Function"], text))
    return told
