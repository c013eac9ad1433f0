"""`sluice quarantine`: looking disturbs nothing, and what is sent back reaches the stream."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import binaries
import engines as local
import pytest
import stack
from conftest import Launch, payload_event
from engines import ROOT, plain_environment
from test_failures import BAD_PAYLOADS, delivered
from test_replay import EMPTY, Replaying, replaying, waiting

__all__ = ["replaying"]

# What the processor is held to, too.
READABLE = json.loads((ROOT / "shared" / "sluice" / "tests" / "readable" / "cases.json").read_text())
VERDICTS = {case["verdict"] for case in READABLE}
GOOD = json.dumps(payload_event(["good"], "/t/good"))


def event_of(data: bytes) -> str:
    return json.dumps({"awslogs": {"data": base64.b64encode(data).decode()}})


def body_of(case: dict[str, Any]) -> str:
    body = case["eventBody"]
    return body if isinstance(body, str) else "".join(text * times for text, times in body)


def test_the_tool_reads_what_the_processor_reads() -> None:
    told = {one["messageId"]: one for one in listed(*({"MessageId": case["name"], "Body": body_of(case)} for case in READABLE))}
    for case in READABLE:
        one = told[case["name"]]
        assert one["verdict"] == case["verdict"], case["name"]
        assert ("unreadable" in one) == (case["verdict"] != "readable"), case["name"]
        if case["verdict"] == "readable" and not case.get("control"):
            assert (one["logEvents"], one.get("oddEvents", 0)) == (case["logEvents"], case["oddEvents"]), case["name"]


def text_attribute(value: Any) -> dict[str, Any]:
    return {"DataType": "String", "StringValue": value}


PAYLOAD = b'{"messageType":"DATA_MESSAGE","logGroup":"/app","logStream":"s","logEvents":[%s]}'
# Each beside a good message. What SQS itself may refuse is here as well: the tool does not rely on it. Only what is no text,
# as half a surrogate pair, cannot come: the SDK reads no answer with it.
ODD_MESSAGES: dict[str, dict[str, Any]] = {
    "nothing but its IDs": {},
    "no members": {"Body": None, "Attributes": None, "MessageAttributes": None},
    "no time of sending": {"Body": GOOD, "Attributes": {}},
    "a time of sending that is none": {"Body": GOOD, "Attributes": {"SentTimestamp": "yesterday"}},
    "attributes without values": {"Body": GOOD, "MessageAttributes": {"Reason": {}, "Attempts": {"DataType": "Number"}}},
    "a binary reason": {"Body": GOOD, "MessageAttributes": {"Reason": {"DataType": "Binary", "BinaryValue": "/w=="}}},
    "numbers that are none": {
        "Body": GOOD,
        "MessageAttributes": {name: text_attribute(value) for name, value in [
            ("Attempts", "-1"), ("LogEvents", "9" * 5_000), ("DeadLetteredAt", "\u0661\u0662")]},
    },
    "a first day at the end of all days": {"Body": GOOD, "MessageAttributes": {"DeadLetteredAt": text_attribute(str(2**64 - 1))}},
    "escapes in a reason": {"Body": GOOD, "MessageAttributes": {"Reason": text_attribute("\x1b[2Jx\u202ey\r\n")}},
    "escapes in its ID": {"MessageId": "\x1b]0;x\x07", "Body": GOOD},
    "what SQS takes for no character": {"Body": "\ufffe\uffff\0", "MessageAttributes": {"Reason": text_attribute("\U0010ffff\x9b")}},
    "a deep body": {"Body": "[" * 100_000},
    "a deep part": {"Body": '{"dataGzip":' + "[" * 100_000},
    "a part that is none": {"Body": '{"dataGzip":"x","part":"1","parts":NaN}'},
    "a huge number in the body": {"Body": '{"awslogs":' + "9" * 100_000 + "}"},
    "half a surrogate pair as data": {"Body": '{"awslogs":{"data":"\\ud800"}}'},
    "timestamps that are no times": {"Body": event_of(gzip.compress(PAYLOAD % b",".join(
        b'{"timestamp":%d,"message":""}' % at for at in (-(1 << 63), (1 << 63) - 1))))},
    "a timestamp of many digits": {"Body": event_of(gzip.compress(PAYLOAD % (b'{"timestamp":%s,"message":""}' % (b"9" * 9_000))))},
    "escapes in names": {"Body": event_of(gzip.compress((PAYLOAD % b"").replace(b"/app", b"\\u001b[31m").replace(b'"s"', b'"\\ud800\\n"')))},
    "odd log events": {"Body": event_of(gzip.compress(PAYLOAD % b'null,7,{"message":{}},{"timestamp":NaN},"x",[[[]]]'))},
    "members that only together are too large": {"Body": event_of(gzip.compress(b" " * (1 << 20)) * 65)},
    "many empty members": {"Body": event_of(gzip.compress(b"") * 30_000)},
}  # fmt: skip


class Sqs(ThreadingHTTPServer):
    """A queue that gives whatever it is told to, messages among them that SQS would not take."""

    daemon_threads = True

    def __init__(self, *messages: dict[str, Any], before: Callable[[str, Sqs], None] = lambda call, sqs: None) -> None:
        self.messages = [
            {"MessageId": str(number), "ReceiptHandle": f"receipt {number}"} | message for number, message in enumerate(messages)
        ]
        self.before = before
        self.refused: dict[str, str] = {}
        self.sent: list[str] = []
        self.deleted: set[str] = set()
        self.given_back: set[str] = set()
        super().__init__(("127.0.0.1", 0), Answers)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, call: str, asked: dict[str, Any]) -> dict[str, Any]:
        self.before(call, self)
        entries = asked.get("Entries", [])
        match call:
            case "GetQueueAttributes":
                numbers = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "MessageRetentionPeriod")
                policy = json.dumps({"sourceQueueArns": ["arn:aws:sqs:eu-central-1:111122223333:dead-letters"]})
                return {"Attributes": dict.fromkeys(numbers, "0") | {"RedriveAllowPolicy": policy}}
            case "GetQueueUrl":
                return {"QueueUrl": asked["QueueName"]}
            case "ReceiveMessage":
                taken, self.messages = self.messages[:10], self.messages[10:]
                return {"Messages": taken}
            case "ChangeMessageVisibilityBatch":
                self.given_back.update(entry["ReceiptHandle"] for entry in entries)
            case "SendMessageBatch":
                for entry in entries:
                    if code := self.refused.get(entry["MessageBody"]):
                        raise Refused(code)
                self.sent += [entry["MessageBody"] for entry in entries]
            case "DeleteMessageBatch":
                self.deleted.update(entry["ReceiptHandle"] for entry in entries)
        done = {"MessageId": "m", "MD5OfMessageBody": "0"}
        return {"Successful": [{"Id": entry["Id"], **done} for entry in entries], "Failed": []}


class Refused(Exception):
    """What the queue says of a batch with a message that it does not take."""


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = 200, {}
        assert isinstance(self.server, Sqs)
        try:
            answer = self.server.answer(self.headers["X-Amz-Target"].rsplit(".", 1)[-1], asked)
        except Refused as refused:
            status, answer = 400, {"__type": f"com.amazonaws.sqs#{refused}", "message": "\x1b[2J"}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def program(functions: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_CLI", str(functions[binaries.CLI]))


def started(engine: local.Engines | Sqs, *arguments: str) -> subprocess.Popen[str]:
    environment = plain_environment(AWS_ENDPOINT_URL=engine.endpoint)
    command = [os.environ["SLUICE_CLI"], "quarantine", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def tool(engine: local.Engines | Sqs, *arguments: str, code: int = 0) -> str:
    process = started(engine, *arguments)
    out, error = process.communicate()
    assert process.returncode == code, out + error
    return out + (error if code else "")


def shown(sqs: Sqs, *options: str) -> str:
    return tool(sqs, "show", "--queue", sqs.endpoint, *options)


def listed(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    return list(json.loads(shown(Sqs(*messages), "--json"))["messages"])


@pytest.mark.parametrize("name", ODD_MESSAGES)
def test_whatever_a_message_holds_all_are_listed(name: str) -> None:
    for options in ([], ["--text"], ["--json"], ["--json", "--text"]):
        sqs = Sqs({"Body": GOOD}, ODD_MESSAGES[name], {"Body": GOOD})
        said = shown(sqs, *options)
        assert len(sqs.given_back) == 3
        assert "this tool failed" not in said
        assert all(c.isprintable() or c == "\n" for c in said), "nothing for a terminal to obey"
        if "--json" in options:
            told = json.loads(said)["messages"]
            assert len(told) == 3 and [one.get("logGroup") for one in told].count("/t/good") >= 2
        else:
            rows = said.split("\n\n")[0].splitlines()
            assert len(rows) == 4 and sum("/t/good" in row for row in rows) >= 2


def test_odd_messages_say_what_is_wrong_with_them() -> None:
    deep = event_of(gzip.compress(b"[" * 1_000 + b"]" * 1_000))
    said = shown(Sqs({"Body": deep}, {"Body": "[" * 1_000}, {"Body": event_of(gzip.compress(b"x") + b"\n")}))
    for reason in ("JSON of another shape", "not an event of CloudWatch Logs", "data after the gzip end"):
        assert said.count(f"unreadable: {reason}") == 1
    names = ("timestamps that are no times", "no time of sending", "odd log events")
    times, unsent, odd = listed(*({"MessageId": name} | ODD_MESSAGES[name] for name in names))
    assert (times["firstTimestamp"], times["lastTimestamp"]) == (-(1 << 63), (1 << 63) - 1)
    assert unsent["ageSeconds"] == 0
    assert odd["oddEvents"] == 6


@pytest.mark.parametrize("seed", range(20))
def test_damaged_events_are_listed(seed: int) -> None:
    dice = random.Random(seed)
    seeds = [body_of(case) for case in READABLE if len(body_of(case)) < 5_000]
    messages = []
    for _ in range(50):
        body = bytearray(dice.choice(seeds).encode())
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(body) + 1)
            body[at : at + dice.randint(0, 3)] = dice.choice([b"", b'"', b"{", b"]", b"\\u", b"1e9", b"\0", dice.randbytes(2)])
        inner = bytearray(PAYLOAD % b'{"id":"1","timestamp":1,"message":"m\\n"},{"timestamp":2,"message":""}')
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(inner))
            inner[at : at + dice.randint(0, 3)] = dice.randbytes(dice.randint(0, 2))
        messages += [{"Body": body.decode(errors="replace")}, {"Body": event_of(gzip.compress(bytes(inner)))}]
    told = listed(*messages)
    assert len(told) == 100
    for one in told:
        assert one["verdict"] in VERDICTS
        assert ("unreadable" in one) == (one["verdict"] != "readable")


def part(number: int) -> str:
    return json.dumps({"reason": "not-gzip", "eventMd5": "0" * 32, "part": number, "parts": 2, "bytes": 9, "dataGzip": "H4sI"})


def test_parts_of_an_event_are_listed_and_stay(engines: local.Engines, replaying: Replaying) -> None:
    pipeline = replaying()
    queue = pipeline.quarantine_queue_url
    for number in (1, 2):
        send(engines, queue, part(number), Reason="not-gzip", ReasonDetail="the data do not begin with a gzip header")
    send(engines, queue, GOOD, Reason="stream-unavailable")
    told = tool(engines, "show", "--queue", queue)
    for number in (1, 2):
        assert told.count(f"unreadable: part {number} of 2 of an event that no message holds") == 1
    said = tool(engines, "send-back", "--queue", queue)
    assert said.startswith(f"1 sent back to {pipeline.dead_letter_queue_url}")
    assert "2 are parts of events that no message holds whole. A part cannot be replayed" in said
    assert waiting(engines, queue) == {**EMPTY, "visible": 2}
    assert len(stack.dead_letters(engines, pipeline)) == 1


@pytest.mark.parametrize("code", ["InvalidMessageContents", "AWS.SimpleQueueService.BatchRequestTooLong"])
def test_what_the_queue_refuses_keeps_no_other_from_being_sent_back(code: str) -> None:
    sqs = Sqs({"Body": "a"}, {"Body": "refused"}, {"Body": "b"})
    sqs.refused["refused"] = code
    told = tool(sqs, "send-back", "--queue", sqs.endpoint, code=1)
    assert sqs.sent == ["a", "b"]
    assert sqs.given_back == {"receipt 1"}, "it stays, and only it"
    assert told.startswith("2 sent back") and "1 refused by the dead-letter queue" in told
    assert "\x1b" not in told


def send(engines: local.Engines, queue_url: str, body: str, **attributes: str) -> None:
    kinds = {"LogEvents": "Number", "Attempts": "Number", "DeadLetteredAt": "Number"}
    engines.client("sqs").send_message(
        QueueUrl=queue_url,
        MessageBody=body,
        MessageAttributes={name: {"DataType": kinds.get(name, "String"), "StringValue": value} for name, value in attributes.items()},
    )


@pytest.fixture
def filled(engines: local.Engines, replaying: Replaying) -> stack.Pipeline:
    """A quarantine with one message that the processor put there, one that a replayer gave up, one that SQS moved."""
    pipeline = replaying()
    assert stack.invoke(engines, pipeline, BAD_PAYLOADS["not gzip"], wait=True)["error"] is None
    send(
        engines,
        pipeline.quarantine_queue_url,
        json.dumps(payload_event(["secret one", "secret two"], "/t/group", "stream\x1b[31m", 1_790_000_000_000)),
        Reason="stream-unavailable", ReasonDetail="ResourceNotFoundException: no stream", LogEvents="2", Attempts="5",
        DeadLetteredAt="1795000000000",
    )  # fmt: skip
    send(
        engines,
        pipeline.quarantine_queue_url,
        json.dumps(payload_event(["secret three"], "/t/other")),
        RequestID="r", ErrorCode="200", ErrorMessage="killed",
    )  # fmt: skip
    return pipeline


def test_show_says_what_is_there_and_disturbs_nothing(engines: local.Engines, filled: stack.Pipeline) -> None:
    queue = filled.quarantine_queue_url
    text = tool(engines, "show", "--queue", queue)
    rows = [re.split(r"  +", line) for line in text.splitlines()]
    assert rows[0][:6] == ["AGE", "DELETED IN", "REASON", "TRIES", "EVENTS", "LOG GROUP"]
    first = rows[1]
    assert first[2:7] == ["stream-unavailable", "5", "2", "/t/group", "stream\\x1b[31m"], "oldest first, and no escapes"
    assert first[7:] == ["2026-09-21 14:13:20", "ResourceNotFoundException: no stream"]
    assert first[1] == "14 d" or first[1] == "13 d"
    for word in ("not-gzip", "moved-by-sqs", "killed", "1  stream-unavailable"):
        assert word in text
    assert "secret" not in text
    assert "secret two" in tool(engines, "show", "--queue", queue, "--text")
    told = json.loads(tool(engines, "show", "--queue", queue, "--json", "--reason", "moved-by-sqs"))
    assert [one["logGroup"] for one in told["messages"]] == ["/t/other"]
    assert told["reasons"] == {"moved-by-sqs": 1}
    assert len(json.loads(tool(engines, "show", "--queue", queue, "--json", "--max", "2"))["messages"]) == 2
    assert waiting(engines, queue) == {**EMPTY, "visible": 3}


def test_by_its_stack_the_queue_is_found(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    name = pipeline.function_name.removesuffix("-log-processor") + "-log-processing"
    assert tool(engines, "show", "--stack", name) == "Nothing there.\n"
    assert "no-such-stack" in tool(engines, "show", "--stack", "no-such-stack", code=1)
    assert "is it a quarantine queue" in tool(engines, "send-back", "--queue", pipeline.dead_letter_queue_url, code=1)


def test_what_is_sent_back_is_replayed_into_the_stream(engines: local.Engines, filled: stack.Pipeline) -> None:
    queue = filled.quarantine_queue_url
    assert tool(engines, "send-back", "--queue", queue, "--dry-run").startswith("3 would be sent back")
    assert waiting(engines, queue) == {**EMPTY, "visible": 3}
    said = tool(engines, "send-back", "--queue", queue, "--reason", "stream-unavailable")
    assert said.startswith(f"1 sent back to {filled.dead_letter_queue_url}")
    assert waiting(engines, queue) == {**EMPTY, "visible": 2}
    assert tool(engines, "send-back", "--queue", queue).startswith("2 sent back")
    assert waiting(engines, queue) == EMPTY

    report = stack.replay(engines, filled, {"max": 3})
    assert (report["replayed"], report["quarantined"], report["left"]) == (2, 1, 0)
    assert sorted(event.message for event in delivered(engines, filled)) == [b"secret one", b"secret three", b"secret two"]
    (poison,) = stack.quarantined(engines, filled)
    assert poison["attributes"]["Reason"] == "not-gzip", "not repaired, so it is back"


def test_on_its_way_back_a_message_keeps_its_first_day_and_begins_anew(engines: local.Engines, filled: stack.Pipeline) -> None:
    tool(engines, "send-back", "--queue", filled.quarantine_queue_url)
    back = [letter["attributes"] for letter in stack.dead_letters(engines, filled)]
    assert {"LogEvents": "2", "Attempts": "0", "DeadLetteredAt": "1795000000000", "SentBack": "true"} in back
    (moved,) = [attributes for attributes in back if "ErrorMessage" in attributes]
    assert (moved["ErrorMessage"], moved["Attempts"], moved["SentBack"]) == ("killed", "0", "true")
    assert int(moved["DeadLetteredAt"]) > 1_795_000_000_000, "for want of better, when it came to SQS"


def test_thousands_are_sent_back_and_none_is_lost(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    sqs = engines.client("sqs")
    bodies = [json.dumps({"awslogs": {"data": str(number)}}) for number in range(2_000)]
    reason = {"Reason": {"DataType": "String", "StringValue": "not-gzip"}}
    for at in range(0, len(bodies), 10):
        sqs.send_message_batch(
            QueueUrl=pipeline.quarantine_queue_url,
            Entries=[
                {"Id": str(number), "MessageBody": body, "MessageAttributes": reason} for number, body in enumerate(bodies[at : at + 10])
            ],
        )
    said = tool(engines, "send-back", "--queue", pipeline.quarantine_queue_url, "--max", "1500")
    assert said.startswith("1,500 sent back")
    back = [letter["body"] for letter in stack.dead_letters(engines, pipeline)]
    stayed = [letter["body"] for letter in stack.quarantined(engines, pipeline)]
    assert (len(back), len(stayed)) == (1_500, 500)
    assert sorted(back + stayed) == sorted(bodies)


def test_the_messages_of_a_batch_fit_a_call(engines: local.Engines, launch: Launch) -> None:
    """A message may be a MiB, and so may a whole batch."""
    pipeline = launch()
    for letter in "abc":
        send(engines, pipeline.quarantine_queue_url, letter * 900_000, Reason="not-json")
    assert tool(engines, "send-back", "--queue", pipeline.quarantine_queue_url).startswith("3 sent back")
    assert sorted(letter["body"][0] for letter in stack.dead_letters(engines, pipeline)) == ["a", "b", "c"]


def test_what_cannot_be_deleted_after_it_was_sent_is_in_both_queues() -> None:
    """Killed between the two, the tool has copied, not moved: nothing is nowhere."""

    def kill(call: str, sqs: Sqs) -> None:
        if call == "DeleteMessageBatch":
            process.kill()
            process.wait()
            raise Refused(call)

    sqs = Sqs({"Body": "a"}, {"Body": "b"}, {"Body": "c"}, before=kill)
    process = started(sqs, "send-back", "--queue", sqs.endpoint)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert (sqs.sent, sqs.deleted) == (["a", "b", "c"], set())


def test_what_is_in_hand_when_a_person_interrupts_is_given_back() -> None:
    def interrupt(call: str, sqs: Sqs) -> None:
        if call == "ReceiveMessage" and not sqs.messages:
            process.send_signal(signal.SIGINT)
            time.sleep(1)

    for command in ("show", "send-back"):
        sqs = Sqs({"Body": part(1)}, {"Body": part(2)}, before=interrupt)
        process = started(sqs, command, "--queue", sqs.endpoint)
        out, error = process.communicate()
        assert (process.returncode, out) == (130, "")
        assert error.startswith("interrupted; what was in hand is back")
        assert sqs.given_back == {"receipt 0", "receipt 1"}


def test_the_make_targets_run_the_tool(engines: local.Engines, filled: stack.Pipeline) -> None:
    def make(*arguments: str) -> str:
        done = local.make(
            f"QUARANTINE_QUEUE={filled.quarantine_queue_url}",
            *arguments,
            AWS_ENDPOINT_URL=engines.endpoint,
            SLUICE_CLI=os.environ["SLUICE_CLI"],
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert len(json.loads(make("quarantine-show", "JSON=1", "MAX=2"))["messages"]) == 2
    assert make("quarantine-send-back", "REASON=not-gzip", "DRY_RUN=1").startswith("1 would be sent back")
    assert make("quarantine-send-back").startswith("3 sent back")
