"""The example consumers take out of a record what AWS's own library takes out, wherever their language is at hand."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable

import engines as local
import pytest
import stack
from conftest import Launch, write_logs
from engines import ROOT
from read_back import AGGREGATE_MAGIC, payloads, records

EXAMPLES = ROOT / "examples" / "consumers"
sys.path.insert(0, str(EXAMPLES / "python"))
from follow import follow

AGGREGATES = ROOT / "shared" / "sluice" / "tests" / "aggregates"
GOOD = json.dumps({"logGroup": "/a", "timestamp": 1, "message": "b"}).encode()
NOT_JSON = b"this is not an envelope"

# Programs that read a record per line, as base64. With "events" they print each record's events as base64, on a line; with
# "handle" they print last what the handler answers to all records as one batch.
PYTHON = """
import base64, sys
import events, handler
given = sys.stdin.read().split()
if sys.argv[1] == "events":
    for data in given: print(*(base64.b64encode(event).decode() for event in events.events(base64.b64decode(data))))
else:
    print(handler.handler({"Records": [{"kinesis": {"sequenceNumber": str(n), "data": data}} for n, data in enumerate(given)]}))
"""
NODE = """
import { readFileSync } from "node:fs";
const { events } = await import("./events.mjs"), { handler } = await import("./handler.mjs");
const given = readFileSync(0, "utf8").split("\\n").filter(Boolean);
if (process.argv[1] === "events")
  for (const data of given) console.log(events(Buffer.from(data, "base64")).map((event) => event.toString("base64")).join(" "));
else
  console.log(JSON.stringify(await handler({ Records: given.map((data, n) => ({ kinesis: { sequenceNumber: `${n}`, data } })) })));
"""
JAVA = """
import java.util.*;
import java.util.stream.*;
public class Try extends Handler {
    @Override protected void process(byte[] event) {
        if (event[0] != '{') throw new IllegalArgumentException("not an envelope");
    }
    public static void main(String[] arguments) throws Exception {
        List<Object> batch = new ArrayList<>();
        for (String data : new String(System.in.readAllBytes()).lines().collect(Collectors.toList())) {
            if (arguments[0].equals("events"))
                System.out.println(Events.of(Base64.getDecoder().decode(data)).stream()
                    .map(Base64.getEncoder()::encodeToString).collect(Collectors.joining(" ")));
            batch.add(Map.of("kinesis", Map.of("sequenceNumber", "" + batch.size(), "data", data)));
        }
        if (arguments[0].equals("handle")) System.out.println(new Try().handle(Map.of("Records", batch)));
    }
}
"""


Consumer = Callable[[str, Iterable[bytes]], list[str]]


@pytest.fixture(scope="module")
def consumers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Consumer]:
    """The examples whose language is at hand: `consumers["node"]("events", records)` gives the lines that it prints."""
    commands = {"python": [sys.executable, "-c", PYTHON]}
    if shutil.which("node"):
        commands["node"] = ["node", "--input-type=module", "-e", NODE]
    if shutil.which("java") and shutil.which("javac"):
        classes = tmp_path_factory.mktemp("java")
        (classes / "Try.java").write_text(JAVA)
        subprocess.run(
            ["javac", "-Xlint:all", "-Werror", "-d", classes, *(EXAMPLES / "java").glob("*.java"), classes / "Try.java"], check=True
        )
        commands["java"] = ["java", "-cp", str(classes), "Try"]

    def run(language: str, what: str, given: Iterable[bytes]) -> list[str]:
        lines = "".join(base64.b64encode(data).decode() + "\n" for data in given)
        command = [*commands[language], what]
        return subprocess.run(command, input=lines, cwd=EXAMPLES / language, capture_output=True, text=True, check=True).stdout.splitlines()

    return {language: functools.partial(run, language) for language in commands}


@pytest.fixture(params=["python", "node", "java"])
def consumer(request: pytest.FixtureRequest, consumers: dict[str, Consumer]) -> Consumer:
    if request.param not in consumers:
        pytest.skip(f"{request.param} is not on this machine: its example is not tested")
    return consumers[request.param]


def opened(consumer: Consumer, given: list[bytes]) -> list[list[bytes]]:
    return [[base64.b64decode(event) for event in line.split(" ")] for line in consumer("events", given)]


def sealed(message: bytes) -> bytes:
    return AGGREGATE_MAGIC + message + hashlib.md5(message).digest()


def test_every_format_is_opened_and_what_is_damaged_comes_whole(consumer: Consumer) -> None:
    expected = json.loads((AGGREGATES / "expected.json").read_text())
    cases = [
        ((AGGREGATES / f"{name}.bin").read_bytes(), [base64.b64decode(one["data"]) for one in made]) for name, made in expected.items()
    ]
    cases += [
        (gzip.compress("one\n\nthrée\n".encode()), [b"one", b"", "thrée".encode()]),
        (gzip.compress(b"one\ntwo"), [b"one", b"two"]),
        (gzip.compress(b"one\n") + gzip.compress(b"two\n"), [b"one", b"two"]),
        (b"a plain\nrecord", [b"a plain\nrecord"]),
    ]
    good = sealed(b"\x0a\x01k\x1a\x07\x08\x00\x1a\x03one")
    assert opened(consumer, [good]) == [[b"one"]]
    damaged = [
        AGGREGATE_MAGIC, AGGREGATE_MAGIC + bytes(15), good[:-1], good[:-1] + bytes(1), sealed(b""), sealed(b"\x0a\x01k"),
        sealed(b"\x1a\x07\x08\x00\x1a\x04one"), sealed(b"\x1a\x02\x08\x00"), sealed(b"\x1a\xff"), sealed(b"\x1b\x1c"),
        b"\x1f\x8b", gzip.compress(b"one\n")[:-1], gzip.compress(b"one\n")[:-9] + bytes(9),
    ]  # fmt: skip
    cases += [(data, [data]) for data in damaged]
    assert opened(consumer, [data for data, _ in cases]) == [events for _, events in cases]


def test_a_handler_names_the_first_record_that_failed(consumer: Consumer) -> None:
    def failed(*given: bytes) -> list[str]:
        return re.findall(r"itemIdentifier\W+(\d+)", consumer("handle", given)[-1])

    assert failed(GOOD, gzip.compress(GOOD + b"\n"), sealed(b"\x1a" + bytes([len(GOOD) + 2, 0x1A, len(GOOD)]) + GOOD)) == []
    assert failed(GOOD, gzip.compress(GOOD + b"\n" + NOT_JSON + b"\n"), NOT_JSON, GOOD) == ["1"]


@pytest.mark.parametrize("record_format", ["kpl", "gzip", "single"])
def test_the_consumers_read_what_the_processor_writes(
    engines: local.Engines, launch: Launch, consumers: dict[str, Consumer], record_format: str
) -> None:
    group = f"/t/examples/{record_format}"
    engines.client("logs").create_log_group(logGroupName=group)
    pipeline = launch(shards=2, LogGroupNames=group, RecordFormat=record_format)
    write_logs(engines, group, "one", [f'event {number} with ünïcödé and "quotes"' for number in range(500)])
    stack.settle(engines)
    there = list(records(engines, pipeline.stream_name))
    expected = [payloads(record, record_format) for record in there]
    assert sum(map(len, expected)) == 500
    for language, consumer in consumers.items():
        assert opened(consumer, [record.data for record in there]) == expected, language
    following = follow(pipeline.stream_name, "TRIM_HORIZON", engines.client("kinesis"), pause_s=0.05)
    assert sorted(next(following) for _ in range(500)) == sorted(event for events in expected for event in events)


def test_a_stream_is_followed_across_a_reshard(engines: local.Engines) -> None:
    kinesis = engines.client("kinesis")
    stack.create_stream(engines, "test-followed", 1)
    following = follow("test-followed", "TRIM_HORIZON", kinesis, pause_s=0.05)
    for shards in (2, 4, 2):
        given = [f"{shards} {number}".encode() for number in range(20)]
        for event in given:
            kinesis.put_record(StreamName="test-followed", PartitionKey=str(event), Data=event)
        kinesis.get_waiter("stream_exists").wait(StreamName="test-followed", WaiterConfig={"Delay": 1})
        kinesis.update_shard_count(StreamName="test-followed", TargetShardCount=shards, ScalingType="UNIFORM_SCALING")
        assert sorted(next(following) for _ in given) == sorted(given)
