"""`make demo`: real log lines from CloudWatch Logs into a Kinesis stream that scales itself and loses nothing when it fails,
on local engines, and the proof of it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import shlex
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import binaries
import consumers_act
import engines as local
import failure_act
import log_lines
import report
import running
import scaling_act
import stack
import variables
from compare import Arrivals, Verdict, events_in, identity, judge
from log_lines import Batch
from read_back import Event, NotReadable, records

# One record an event is bound by 1,000 records/s a shard; eight shards carry the default events in 15 s.
SHARDS = 8
SENDERS = 2
# A calm third, a burst as fast as the engine takes it, a calm rest: what a spike looks like is half of the story.
CALM_EVENTS_A_SECOND = 6_000
DIRECTORY = running.DEMO
UNEXPECTED = DIRECTORY / "traceback.txt"


class BadVariable(Exception):
    """A variable that the person set cannot be used."""


@dataclass
class Options:
    """What a person may ask for."""

    record_format: str
    transform: str
    seed: int
    events: int
    logs: Path | None
    keep: bool
    scaling: bool
    failures: bool
    consumers: bool
    force: bool

    @staticmethod
    def from_environment(environment: dict[str, str]) -> Options:
        def value(name: str) -> str:
            variable = variables.of(name, "demo")
            wrong = variables.problem(variable, environment.get(name, ""))
            if wrong:
                raise BadVariable(wrong)
            return environment.get(name) or variable.default

        logs = value("LOGS")
        return Options(
            record_format=value("FORMAT"),
            transform=value("TRANSFORM"),
            seed=int(value("SEED") or random.SystemRandom().randrange(10**6)),
            events=int(value("EVENTS")),
            logs=Path(logs).expanduser() if logs else None,
            keep=value("KEEP") == "1",
            scaling=value("SCALING") == "1",
            failures=value("FAILURES") == "1",
            consumers=value("CONSUMERS") == "1",
            force=value("FORCE") == "1",
        )


class Progress:
    """One line that is written over on a terminal; a line every few seconds elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._next = 0.0
        self._started = time.monotonic()

    def step(self, text: str) -> None:
        self._clear()
        print(f"{self._elapsed()}  {text}", flush=True)
        self._next = 0.0

    def update(self, text: str) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (0.2 if self._terminal else 3.0)
        if self._terminal:
            print(f"\r\033[K{self._elapsed()}  {text}", end="", flush=True)
        else:
            print(f"{self._elapsed()}  {text}", flush=True)

    def _clear(self) -> None:
        if self._terminal:
            print("\r\033[K", end="")

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._started:5.1f} s"


class Sender:
    """Writes batches to CloudWatch Logs and remembers what it wrote and when."""

    def __init__(self, engines: local.Engines, transform: str) -> None:
        self._logs = engines.client("logs")
        self._transform = transform
        self._lock = threading.Lock()
        self._streams: set[tuple[str, str]] = set()
        self.sent: Counter[Event] = Counter()
        self.sent_at: Counter[int] = Counter()

    def send(self, batch: Batch) -> None:
        with self._lock:
            if (batch.log_group, batch.log_stream) not in self._streams:
                self._logs.create_log_stream(logGroupName=batch.log_group, logStreamName=batch.log_stream)
                self._streams.add((batch.log_group, batch.log_stream))
        now = round(time.time() * 1000)
        self._logs.put_log_events(
            logGroupName=batch.log_group,
            logStreamName=batch.log_stream,
            logEvents=[{"timestamp": now, "message": message} for message in batch.messages],
        )
        with self._lock:
            for message in batch.messages:
                event = Event(batch.log_group, batch.log_stream, now, message.encode())
                self.sent[identity(event, self._transform)] += 1
            self.sent_at[now // 100] += len(batch.messages)

    def send_all(self, batches: Iterator[Batch], total: int, engines: local.Engines, progress: Progress) -> None:
        """Calm, burst, calm: the middle half goes as fast as the engine takes it."""
        source = iter(batches)
        given = 0
        budget_from = time.monotonic()
        calm = 0
        with ThreadPoolExecutor(SENDERS) as pool:
            running: list[Any] = []
            for batch in source:
                given += len(batch.messages)
                if not total // 4 <= given <= total * 3 // 4:
                    calm += len(batch.messages)
                    due = budget_from + calm / CALM_EVENTS_A_SECOND
                    time.sleep(max(0.0, due - time.monotonic()))
                elif calm:
                    # The calm after the burst starts its own clock.
                    calm, budget_from = 0, time.monotonic()
                else:
                    budget_from = time.monotonic()
                running.append(pool.submit(self.send, batch))
                while len(running) > SENDERS * 2:
                    running.pop(0).result()
                progress.update(f"{self.sent.total():>9,} of {total:,} events sent · {invocations(engines)}")
            for future in running:
                future.result()


def invocations(engines: local.Engines) -> str:
    queue = engines.async_queue()
    return (
        f"invocations: {queue['succeeded']:,} done, {queue['running']} running, {queue['waiting']} waiting "
        f"({queue['throttles']:,} times throttled)"
    )


def awslogs(payload: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return {"awslogs": {"data": base64.b64encode(gzip.compress(text.encode())).decode()}}


def special_deliveries(group: str) -> list[dict[str, Any]]:
    """What CloudWatch Logs sends too, and MiniStack never does: a reachability test, and a batch without events."""
    shape: dict[str, Any] = {"owner": "000000000000", "logGroup": group, "logStream": "empty", "subscriptionFilters": ["demo"]}
    control = {
        **shape,
        "messageType": "CONTROL_MESSAGE",
        "owner": "CloudwatchLogs",
        "logGroup": "",
        "logStream": "",
        "subscriptionFilters": [],
        "logEvents": [
            {
                "id": "",
                "timestamp": 1_790_000_000_000,
                "message": "CWL CONTROL MESSAGE: Checking health of destination Lambda.",
            }
        ],
    }
    return [awslogs(control), awslogs({**shape, "messageType": "DATA_MESSAGE", "logEvents": []})]


def rows(options: Options, verdict: Verdict) -> list[tuple[str, str]]:
    """The table, for the terminal and the report alike."""

    def per_tb(usd: float) -> str:
        return f"${usd / verdict.bytes_in * 1e12:,.2f}" if verdict.bytes_in else "–"

    def lag(percent: int) -> str:
        value = verdict.lag_percentile(percent)
        if value is None:
            return "– (no timestamp in passthrough)"
        if verdict.lag_ms[0] < 0:
            return f"– (clocks disagree: an event arrived {-verdict.lag_ms[0]:,} ms before it was written)"
        return f"{value:,} ms"

    return [
        ("sent", f"{verdict.sent:,} events"),
        ("delivered", f"{verdict.delivered:,} events, byte for byte"),
        ("lost", f"{verdict.lost:,}"),
        ("duplicated", f"{verdict.duplicated:,}"),
        *([("never sent, yet there", f"{verdict.unexpected:,}")] if verdict.unexpected else []),
        *([("dead-lettered", f"{verdict.dead_lettered:,}")] if verdict.dead_lettered else []),
        ("records", f"{verdict.records:,} ({options.record_format}, {verdict.sent / max(1, verdict.records):,.1f} events each)"),
        ("bytes in", f"{verdict.bytes_in:,} (messages)"),
        ("bytes out", f"{verdict.bytes_out:,} (records, keys included)"),
        ("put units", f"{verdict.cost.put_units:,} against {verdict.cost_unaggregated.put_units:,} with one record an event"),
        ("$ per TB of messages", f"{per_tb(verdict.cost.usd)} against {per_tb(verdict.cost_unaggregated.usd)} (put units + full shards)"),
        ("lag p50", lag(50)),
        ("lag p99", lag(99)),
    ]  # fmt: skip


def print_table(lines: list[tuple[str, str]]) -> None:
    left = max(len(name) for name, _ in lines)
    right = max(len(value) for _, value in lines)
    print(f"┌{'─' * (left + 2)}┬{'─' * (right + 2)}┐")
    for name, value in lines:
        print(f"│ {name:<{left}} │ {value:<{right}} │")
    print(f"└{'─' * (left + 2)}┴{'─' * (right + 2)}┘")


def print_examples(verdict_sent: Counter[Event], arrivals: Arrivals) -> None:
    for title, difference in (
        ("lost", verdict_sent - arrivals.events),
        ("duplicated or never sent", arrivals.events - verdict_sent),
    ):
        for event, count in list(difference.items())[:3]:
            print(f"  {title}, {count} ×: {event.log_group} {event.log_stream} {event.timestamp} {event.message[:80]!r}")


def print_how_to_talk(
    engines: local.Engines, pipeline: stack.Pipeline, failing: stack.Pipeline | None, consumed: consumers_act.Act | None
) -> None:
    aws = shlex.quote(f"{shlex.quote(sys.executable)} -m awscli --endpoint-url")
    print(f"""
The engines stay up. To talk to them:

  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION={local.REGION}
  alias a={aws}' {engines.endpoint}'
  alias k={aws}' {engines.stream_endpoint} kinesis'

  a cloudformation describe-stacks --query 'Stacks[].[StackName,StackStatus]' --output text
  a logs create-log-stream --log-group-name {log_lines.LOG_GROUPS[0]} --log-stream-name mine
  a logs put-log-events --log-group-name {log_lines.LOG_GROUPS[0]} --log-stream-name mine \\
      --log-events "timestamp=$(date +%s000),message=hello"
  k list-shards --stream-name {pipeline.stream_name} --query 'Shards[].ShardId' --output text
  a sqs receive-message --queue-url {pipeline.dead_letter_queue_url} --message-attribute-names All
  a logs filter-log-events --log-group-name {pipeline.log_group} --query 'events[-3:].message'
{how_to_repair(engines, failing) if failing else ""}{how_to_read_on(consumed) if consumed else ""}
To stop them:

  make demo-stop
""")


def how_to_repair(engines: local.Engines, failing: stack.Pipeline) -> str:
    make = f"AWS_ENDPOINT_URL={engines.endpoint} make"
    queue = f"QUARANTINE_QUEUE={failing.quarantine_queue_url}"
    return f"""
What the third act left in quarantine:

  {make} quarantine-show {queue}
  {make} quarantine-send-back {queue}
  a lambda invoke --function-name {failing.replayer} /dev/stdout
"""


def how_to_read_on(consumed: consumers_act.Act) -> str:
    return f"""
The archive goes on with whatever comes into the stream; the newest of it, and the first half once more:

  a s3 ls --recursive {consumed.archive_url} | tail -3
  a lambda invoke --function-name {consumers_act.REPLAY_STACK} --payload '{json.dumps(consumed.event)}' /dev/stdout
"""


def run(options: Options, progress: Progress) -> bool:
    if options.logs is not None:
        batches_for_groups = list(log_lines.from_path(options.logs))
        total = sum(len(batch.messages) for batch in batches_for_groups)
        if total == 0:
            raise log_lines.BadInput(f"LOGS={options.logs}: no lines")
        groups = sorted({batch.log_group for batch in batches_for_groups})
        batches: Iterator[Batch] = iter(batches_for_groups)
        print(f"FORMAT={options.record_format} TRANSFORM={options.transform} LOGS={options.logs}")
    else:
        total, groups = options.events, sorted(log_lines.LOG_GROUPS)
        batches = log_lines.generated(options.seed, total)
        print(f"FORMAT={options.record_format} TRANSFORM={options.transform} SEED={options.seed} EVENTS={total}")

    held = running.hold(DIRECTORY, "a demo", "FORCE=1 stops it and goes on")
    scaling_functions = ("scale-up", "scale-down") if options.scaling else ()
    replayer = ("dlq-replayer",) if options.failures else ()
    consumers = ("archiver", "stream-replayer") if options.consumers else ()
    first = binaries.Build(held, binaries.STREAM_ENGINE, "log-processor").wait()
    function = first["log-processor"]
    # Built while the first act runs.
    others = binaries.Build(held, *scaling_functions, *replayer, *consumers, log=DIRECTORY / "build.log")
    progress.step("starting MiniStack and ferrokinesis on loopback")
    stream_engine = first[binaries.STREAM_ENGINE]
    engines = local.start(held, stream_engine, DIRECTORY / "run", stay=options.keep, minute_s=scaling_act.MINUTE_S)
    progress.step("launching infra/autoscaling.yaml and infra/log-processing.yaml through CloudFormation")
    logs = engines.client("logs")
    for group in groups:
        logs.create_log_group(logGroupName=group)
    pipeline = stack.launch(
        engines,
        function,
        "demo",
        SHARDS,
        {
            "LogGroupNames": ",".join(groups),
            "RecordFormat": options.record_format,
            "Transform": options.transform,
        },
    )
    progress.step(f"writing {total:,} log events into {len(groups)} log groups")
    sender = Sender(engines, options.transform)
    for event in special_deliveries(groups[0]):
        stack.invoke(engines, pipeline, event)
    sender.send_all(batches, total, engines, progress)
    progress.step("all sent; waiting for Lambda's queue to drain")
    drain(engines, progress)
    progress.step("reading the stream back, with aws-kinesis-agg")
    arrivals = Arrivals()
    written = list(records(engines, pipeline.stream_name))
    arrivals.take(written, options.record_format, options.transform)
    dead: Counter[Event] = Counter()
    letters = stack.dead_letters(engines, pipeline) + stack.quarantined(engines, pipeline)
    undecodable = 0
    for letter in letters:
        try:
            dead.update(identity(event, options.transform) for event in events_in(json.loads(letter["body"])))
        except (KeyError, ValueError, OSError):
            undecodable += 1
    verdict = judge(sender.sent, arrivals, dead)
    lines = rows(options, verdict)
    progress.step("compared\n")
    print_table(lines)
    for letter in letters[:3]:
        print(f"dead letter: {letter['attributes']}")
    good = verdict.good and undecodable == 0
    print(
        "Every event exactly once, byte for byte."
        if good
        else f"NOT every event exactly once ({undecodable} dead letters are not log events)."
    )
    if not good:
        print_examples(sender.sent, arrivals)
    emf = stack.metrics(stack.function_log(engines, pipeline))
    queue = engines.async_queue()
    act = failures = consumed = None
    built = others.wait(lambda cargo: progress.update(f"building what the other acts run: {cargo.strip()}"))
    if options.scaling:
        progress.step("now the load changes: launching both stacks around a stream of their own, with scaling")
        act = scaling_act.play(engines, function, built["scale-up"], built["scale-down"], progress.step)
        progress.step("compared\n")
        print_table(act.rows())
        for at_s, who, text in act.decisions:
            print(f"{at_s:5.1f} s  {who}: {text.split('; $')[0]}")
        good = good and act.good
    if options.failures:
        progress.step("now something fails: launching the stack around a stream of its own, with its replayer")
        failures = failure_act.play(engines, function, built["dlq-replayer"], progress.step)
        progress.step("compared\n")
        print_table(failures.rows())
        good = good and failures.good
    if options.consumers and written:
        progress.step("now the stream is read: launching an archive in S3, and a replay of the first half")
        consumed = consumers_act.play(
            engines,
            pipeline.stream_name,
            written,
            arrivals.record_events,
            sender.sent,
            options.transform,
            built["archiver"],
            built["stream-replayer"],
            progress.step,
        )
        progress.step("compared\n")
        print_table(consumed.rows())
        print(f"{consumed.archive_told()}\n{consumed.replay_told()}")
        good = good and consumed.good
    page = report.write(
        DIRECTORY / "report.html",
        report.Facts(
            title=f"{verdict.sent:,} log events, {options.record_format}, {options.transform}",
            good=good,
            rows=lines,
            sent_at=dict(sender.sent_at),
            delivered_at=dict(arrivals.delivered_at),
            arrivals=arrivals.arrivals,
            record_sizes=arrivals.record_sizes,
            bytes_by_shard=dict(arrivals.bytes_by_shard),
            shards=SHARDS,
            metrics=emf,
            queue=queue,
            act=act,
            failures=failures,
            consumed=consumed,
            origin=f"LOGS={options.logs}" if options.logs else f"SEED={options.seed} EVENTS={total}",
        ),
    )
    print(f"Report: {page}")
    if options.keep:
        print_how_to_talk(engines, pipeline, failures.pipeline if failures else None, consumed)
        engines.leave_up()
    return good


def drain(engines: local.Engines, progress: Progress) -> None:
    """Waits for the queue as long as it moves; a queue that stands still for a minute is a failure."""
    last, moved = engines.async_queue(), time.monotonic()
    while last["waiting"] or last["running"]:
        time.sleep(0.1)
        engines.check_alive()
        now = engines.async_queue()
        if now["succeeded"] != last["succeeded"] or now["dead_lettered"] != last["dead_lettered"]:
            moved = time.monotonic()
        if time.monotonic() - moved > 60:
            raise TimeoutError(f"Lambda's queue has not moved for a minute: {now}")
        last = now
        progress.update(invocations(engines))


def interrupted(number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)


def played() -> int:
    try:
        options = Options.from_environment(dict(os.environ))
        if options.force and running.stop(DIRECTORY, force=True):
            print("stopped the demo that was here")
        return 0 if run(options, Progress()) else 1
    except (BadVariable, log_lines.BadInput, running.Busy) as error:
        print(error, file=sys.stderr)
        return 2
    except (binaries.BuildError, local.EngineError, stack.StackError, NotReadable, TimeoutError) as error:
        print(f"\nfailed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the engines are stopped", file=sys.stderr)
        return 130
    except Exception as error:
        UNEXPECTED.parent.mkdir(parents=True, exist_ok=True)
        UNEXPECTED.write_text(traceback.format_exc())
        print(f"\nfailed: {type(error).__name__}: {error} (details in {UNEXPECTED})", file=sys.stderr)
        return 1
    finally:
        local.stop_started()


def main() -> int:
    if sys.argv[1:]:
        print(__doc__, "\n\nusage: demo.py; `make help` lists the variables that it reads from the environment")
        return 2
    # SIGINT too: a shell that starts this in the background hands it on ignored, and Python then leaves it so.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    try:
        return played()
    except KeyboardInterrupt:
        # Held back until the engines had stopped.
        return 130


if __name__ == "__main__":
    sys.exit(main())
