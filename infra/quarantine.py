#!/usr/bin/env python3
"""Looks into quarantine, and sends back to the dead-letter queue what can be delivered after a repair.

`make quarantine-show` and `make quarantine-send-back` run this. Neither shows the text of a log message unless asked to.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import io
import json
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# SQS: entries of a batch, and bytes of a batch with its attributes.
BATCH_MAX = 10
BATCH_BYTES_MAX = 1_048_576
ATTRIBUTE_BYTES_MAX = 4_096
# How long a message is out of sight while this looks: enough for a hundred thousand. All are put back at once when it is
# done or interrupted; only those of a killed run stay away for so long.
HIDDEN_S = 600
# As the processor (limits.rs, json.rs): more than that inflated, or nested deeper, is not decoded.
INFLATED_BYTES_MAX = 64 * 1024 * 1024
DEPTH_MAX = 64
# Of many small members each copies what is left of its piece.
PIECE_BYTES = 16 * 1024
TEXT_CHARACTERS_MAX = 200
# Left out on the way back: they belong to the failure that is over.
NOT_SENT_BACK = ("Reason", "ReasonDetail", "Attempts", "SentBack")
MOVED_BY_SQS = "moved-by-sqs"


class Problem(Exception):
    """What the person should know instead of a stack trace."""


def plain(text: str) -> str:
    """Text from elsewhere as one line that does nothing to a terminal."""
    return "".join(c if c.isprintable() else escaped(ord(c)) for c in text)


def escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def weight_of(text: str) -> int:
    """Its bytes in UTF-8. Half a surrogate pair, which a queue may hand over as JSON, counts three."""
    return len(text.encode(errors="surrogatepass"))


@dataclass
class Held:
    """A message of the quarantine queue, in hand."""

    message_id: str
    receipt_handle: str
    body: str
    attributes: dict[str, dict[str, Any]]
    sent_ms: int | None

    @staticmethod
    def of(message: dict[str, Any]) -> Held:
        sent = str((message.get("Attributes") or {}).get("SentTimestamp"))
        return Held(
            str(message["MessageId"]),
            str(message["ReceiptHandle"]),
            str(message.get("Body") or ""),
            message.get("MessageAttributes") or {},
            number_in(sent),
        )

    def attribute(self, name: str) -> str | None:
        value = (self.attributes.get(name) or {}).get("StringValue")
        return None if value is None else str(value)

    def number(self, name: str) -> int | None:
        value = self.attribute(name)
        return None if value is None else number_in(value)

    @property
    def reason(self) -> str:
        return self.attribute("Reason") or MOVED_BY_SQS

    @property
    def dead_lettered_ms(self) -> int | None:
        """When it was first dead-lettered, if anything says so."""
        at = self.number("DeadLetteredAt")
        return self.sent_ms if at is None else at

    @property
    def parts(self) -> tuple[int, int] | None:
        """Which part of how many it is, of an event that no message can hold whole."""
        # Of a deep body json.loads raises a RecursionError.
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(self.body)
            if isinstance(body, dict) and isinstance(body.get("dataGzip"), str):
                part, parts = body.get("part"), body.get("parts")
                if type(part) is int and type(parts) is int:
                    return part, parts
        return None


def number_in(text: str) -> int | None:
    """A number as the processor reads it in an attribute."""
    return int(text) if re.fullmatch(r"\+?[0-9]{1,20}", text) and int(text) < 1 << 64 else None


class Unreadable(Exception):
    """Why the processor cannot read an event: its reason, as in a dead letter's attribute."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


UNREADABLE = {
    "not-an-awslogs-event": "not an event of CloudWatch Logs",
    "not-base64": "not base64",
    "not-gzip": "not gzip",
    "truncated-gzip": "truncated gzip",
    "corrupt-gzip": "damaged gzip",
    "data-after-gzip": "data after the gzip end",
    "inflates-too-large": "inflates too large",
    "not-json": "not JSON",
    "other-shape": "JSON of another shape",
    "unknown-message-type": "neither data nor a control message",
}

SPACE = re.compile(rb"[ \n\r\t]*")
# A stretch of a string. Bounded, because what a repeat has matched is remembered.
STRETCH = re.compile(rb'(?:[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})){1,1000}')
NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
ZEROS = re.compile(rb"\0*")
WORD = re.compile(rb"true|false|null")
BRACKET_OR_QUOTE = re.compile(rb'["{}\[\],]')
QUOTED = re.compile(rb'"(?:[^"\\]+|\\.){0,1000}', re.DOTALL)
QUOTED_ON = re.compile(rb"(?:[^\"\\]+|\\.){1,1000}", re.DOTALL)
CLOSING = {ord("{"): ord("}"), ord("["): ord("]")}


class Scanner:
    """Reads JSON from left to right as the processor's own scanner does, and builds nothing.

    json.loads would not do: it takes NaN, guesses encodings, stops at numbers of 4,300 digits, recurses, and makes
    gigabytes of 64 MiB.
    """

    def __init__(self, text: bytes, depth_max: float) -> None:
        self.text, self.depth_max, self.at = text, depth_max, 0

    def syntax(self) -> NoReturn:
        raise Unreadable("not-json")

    def shape(self) -> NoReturn:
        raise Unreadable("other-shape")

    def peek(self) -> int | None:
        """The byte that comes next, white space left out."""
        if self.at < len(self.text) and self.text[self.at] > ord(" "):
            return self.text[self.at]
        found = SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.text[self.at] if self.at < len(self.text) else None

    def take(self, byte: str) -> bool:
        found = self.peek() == ord(byte)
        self.at += found
        return found

    def expect(self, byte: str) -> None:
        if not self.take(byte):
            self.syntax()

    def end(self) -> None:
        if self.peek() is not None:
            self.syntax()

    def string(self) -> bytes:
        """The string that comes next, with its quotes and escapes; another value is another shape."""
        if self.peek() != ord('"'):
            self.value()
            self.shape()
        start = self.at
        self.at += 1
        while found := STRETCH.match(self.text, self.at):
            self.at = found.end()
        if self.text[self.at : self.at + 1] != b'"':
            self.syntax()
        self.at += 1
        return self.text[start : self.at]

    def key(self) -> bytes:
        if self.peek() != ord('"'):
            self.syntax()
        key = self.string()
        self.expect(":")
        return key

    def number(self) -> bytes:
        found = NUMBER.match(self.text, self.at)
        if found is None:
            self.syntax()
        self.at = found.end()
        after = self.text[self.at : self.at + 1].lower()
        # Begun and not ended.
        if not found[2] and (after == b"e" or (after == b"." and not found[1])):
            self.syntax()
        return found[0]

    def integer(self) -> int:
        if self.peek() is None or self.text[self.at] not in b"-0123456789":
            self.value()
            self.shape()
        digits = self.number()
        if not re.fullmatch(rb"-?[0-9]{1,19}", digits) or not -(1 << 63) <= int(digits) < 1 << 63:
            self.shape()
        return int(digits)

    def value(self) -> None:
        """Skips any value. A list of open brackets, not recursion."""
        brackets = bytearray()
        while True:
            if len(brackets) > self.depth_max:
                self.shape()
            byte = self.peek()
            if byte is not None and byte in CLOSING:
                self.at += 1
                if not self.take(chr(CLOSING[byte])):
                    brackets.append(byte)
                    if byte == ord("{"):
                        self.key()
                    continue
            elif byte == ord('"'):
                self.string()
            elif byte is not None and byte in b"-0123456789":
                self.number()
            elif found := WORD.match(self.text, self.at):
                self.at = found.end()
            else:
                self.syntax()
            while brackets:
                if self.take(","):
                    if brackets[-1] == ord("{"):
                        self.key()
                    break
                self.expect(chr(CLOSING[brackets.pop()]))
            else:
                return

    def members(self) -> Iterator[bytes]:
        """The keys of the object that comes next; the caller reads each value."""
        if self.peek() != ord("{"):
            self.value()
            self.shape()
        self.at += 1
        if self.take("}"):
            return
        while True:
            yield self.key()
            if not self.take(","):
                return self.expect("}")

    def extent(self) -> tuple[int, int]:
        """From where to where the item of a list goes that comes next, by its brackets and quotes alone."""
        self.peek()
        start = self.at
        brackets = bytearray()
        while found := BRACKET_OR_QUOTE.search(self.text, self.at):
            self.at, byte = found.start(), found[0][0]
            if byte in b",]" and not brackets:
                return start, start + len(self.text[start : self.at].rstrip(b" \t\n\r\x0c"))
            if byte == ord('"'):
                self.skip_quoted()
                continue
            if byte in CLOSING:
                brackets.append(byte)
            elif byte != ord(",") and (not brackets or CLOSING[brackets.pop()] != byte):
                self.syntax()
            self.at += 1
        self.syntax()

    def skip_quoted(self) -> None:
        found = QUOTED.match(self.text, self.at)
        while found:
            self.at = found.end()
            found = QUOTED_ON.match(self.text, self.at)
        if self.text[self.at : self.at + 1] != b'"':
            self.syntax()
        self.at += 1


def text_of(raw: bytes) -> str:
    """The value of a JSON string. Half a surrogate pair becomes U+FFFD."""
    return re.sub("[\ud800-\udfff]", "\ufffd", str(json.loads(raw)))


def names_of(scanner: Scanner, *known: str) -> Iterator[str]:
    """The members' names as serde reads them into a struct: those that it knows once."""
    seen: set[str] = set()
    for key in scanner.members():
        name = str(json.loads(key))
        name.encode()
        if name in seen:
            scanner.shape()
        seen.update({name}.intersection(known))
        yield name


def packed_in(body: str) -> bytes:
    """What lies at awslogs.data."""
    scanner = Scanner(body.encode(errors="surrogatepass"), depth_max=float("inf"))
    data = b""
    try:
        for name in names_of(scanner, "awslogs", "sluiceReplay"):
            if name != "awslogs":
                scanner.value()
            elif scanner.take("["):
                # To serde a list of a struct's members is the struct.
                data = scanner.string()
                scanner.expect("]")
            else:
                for inner in names_of(scanner, "data"):
                    if inner == "data":
                        data = scanner.string()
                    else:
                        scanner.value()
        scanner.end()
        text = str(json.loads(data))
        text.encode()
    except (Unreadable, ValueError) as error:
        raise Unreadable("not-an-awslogs-event") from error
    try:
        packed = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise Unreadable("not-base64") from error
    # The bits behind the last byte must be zero.
    if base64.b64encode(packed).decode() != text:
        raise Unreadable("not-base64")
    return packed


def inflated(packed: bytes) -> bytes:
    """What all members of a gzip file hold together, bounded. Zeros between and after them are padding."""
    if not packed.startswith(b"\x1f\x8b"):
        raise Unreadable("not-gzip")
    out = bytearray()
    at = 0
    while at < len(packed):
        if not b"\x1f\x8b".startswith(packed[at : at + 2]):
            raise Unreadable("data-after-gzip")
        member = zlib.decompressobj(wbits=31)
        while not member.eof and at < len(packed):
            piece = packed[at : at + PIECE_BYTES]
            try:
                out += member.decompress(piece, INFLATED_BYTES_MAX + 1 - len(out))
            except zlib.error as error:
                raise Unreadable("corrupt-gzip") from error
            if len(out) > INFLATED_BYTES_MAX:
                raise Unreadable("inflates-too-large")
            at += len(piece) - len(member.unused_data)
        if not member.eof:
            raise Unreadable("truncated-gzip")
        padding = ZEROS.match(packed, at)
        at = padding.end() if padding else at
    return bytes(out)


def masked(text: bytes) -> bytes:
    """The same with a byte that JSON has nowhere in place of each one that is not UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode(errors="surrogateescape").translate(MASK).encode()
    return text


MASK = {0xDC00 + byte: "\0" for byte in range(0x80, 0x100)}


@dataclass
class Payload:
    """What the tool says of a payload that the processor can read."""

    log_group: str = ""
    log_stream: str = ""
    events: int = 0
    odd_events: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    text: list[str] = field(default_factory=list)

    def saw(self, timestamp_ms: int) -> None:
        self.first_ms = timestamp_ms if self.first_ms is None else min(self.first_ms, timestamp_ms)
        self.last_ms = timestamp_ms if self.last_ms is None else max(self.last_ms, timestamp_ms)


def log_event(scanner: Scanner) -> tuple[int, bytes]:
    """Timestamp and message of the log event that comes next."""
    names: set[str] = set()
    timestamp = message = None
    for key in scanner.members():
        name = text_of(key)
        if name in names:
            scanner.shape()
        names.add(name)
        match name:
            case "timestamp":
                timestamp = scanner.integer()
            case "message":
                message = scanner.string()
            case "id":
                scanner.string()
            case _:
                scanner.value()
    if timestamp is None or message is None:
        scanner.shape()
    return timestamp, message


def log_events(scanner: Scanner, payload: Payload, text_max: int) -> None:
    """The log events; what stands among them and is none is counted as odd and keeps nothing else back."""
    scanner.at += 1
    if scanner.take("]"):
        return
    while True:
        start, end = scanner.extent()
        alone = Scanner(scanner.text[start:end], DEPTH_MAX)
        try:
            timestamp_ms, message = log_event(alone)
            alone.end()
            payload.saw(timestamp_ms)
        except Unreadable:
            message = None
            payload.odd_events += end > start
        payload.events += end > start
        if text_max and end > start:
            said = scanner.text[start:end].decode(errors="replace") if message is None else text_of(message)
            payload.text.append(said[:text_max])
        if not scanner.take(","):
            return scanner.expect("]")


def payload_of(body: str, text_max: int = 0) -> Payload:
    """What the processor would read, with up to `text_max` characters of each message. Fails as it would."""
    scanner = Scanner(masked(inflated(packed_in(body))), DEPTH_MAX)
    payload = Payload()
    kind: str | None = None
    found: set[str] = set()
    is_odd = False
    for key in scanner.members():
        name = text_of(key)
        if name == "logEvents" and scanner.peek() == ord("["):
            found.add(name)
            log_events(scanner, payload, text_max)
        elif name == "messageType":
            kind = text_of(scanner.string())
        elif name in ("owner", "logGroup", "logStream") and scanner.peek() == ord('"'):
            found.add(name)
            value = text_of(scanner.string())
            if name == "logGroup":
                payload.log_group = value
            elif name == "logStream":
                payload.log_stream = value
        else:
            is_odd |= name in ("owner", "logGroup", "logStream", "logEvents")
            scanner.value()
    scanner.end()
    if kind is None:
        scanner.shape()
    if kind not in ("DATA_MESSAGE", "CONTROL_MESSAGE"):
        raise Unreadable("unknown-message-type")
    if kind == "DATA_MESSAGE" and (is_odd or not found.issuperset(("logGroup", "logStream", "logEvents"))):
        scanner.shape()
    return payload


def description(held: Held, now_ms: int, retention_s: int, text_max: int) -> dict[str, Any]:
    """What can be said about a message, whatever it holds."""
    dead_lettered_ms = now_ms if held.dead_lettered_ms is None else held.dead_lettered_ms
    sent_ms = now_ms if held.sent_ms is None else held.sent_ms
    found: dict[str, Any] = {
        "messageId": held.message_id,
        "reason": held.reason,
        "detail": held.attribute("ReasonDetail") or held.attribute("ErrorMessage"),
        "attempts": held.number("Attempts"),
        "logEvents": held.number("LogEvents"),
        "deadLetteredAt": dead_lettered_ms,
        "ageSeconds": max(0, (now_ms - dead_lettered_ms) // 1000),
        "deletedInSeconds": max(0, sent_ms // 1000 + retention_s - now_ms // 1000),
        "bytes": weight_of(held.body),
    }
    try:
        payload = payload_of(held.body, text_max)
    except Unreadable as error:
        found["verdict"], found["unreadable"] = error.reason, UNREADABLE[error.reason]
        if held.parts:
            found["part"], found["parts"] = held.parts
            found["unreadable"] = "part {} of {} of an event that no message holds".format(*held.parts)
        if text_max:
            found["text"] = [held.body[:text_max]]
        return found
    # One that nobody thought of must not keep the others from being shown.
    except Exception as error:
        found["verdict"] = found["unreadable"] = f"this tool failed on it: {type(error).__name__}"
        return found
    found["verdict"] = "readable"
    found["logEvents"] = payload.events
    if payload.odd_events:
        found["oddEvents"] = payload.odd_events
    found["logGroup"], found["logStream"] = payload.log_group, payload.log_stream
    if payload.first_ms is not None:
        found["firstTimestamp"], found["lastTimestamp"] = payload.first_ms, payload.last_ms
    if text_max:
        found["text"] = payload.text
    return found


class Quarantine:
    """The queue, and what is in hand of it."""

    def __init__(self, sqs: Any, url: str) -> None:
        self._sqs = sqs
        self.url = url
        attributes = self.attributes_of(sqs, url)
        self.retention_s = int(attributes["MessageRetentionPeriod"])
        self.messages = int(attributes["ApproximateNumberOfMessages"])
        self.hidden = int(attributes["ApproximateNumberOfMessagesNotVisible"])
        self._redrive_allow_policy = json.loads(attributes.get("RedriveAllowPolicy", "{}"))
        # Receipts by ID, so that one that came twice is given back by its last. Not the messages: a full queue has many.
        self.in_hand: dict[str, str] = {}

    @staticmethod
    def attributes_of(sqs: Any, url: str) -> dict[str, str]:
        return dict(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])

    def dead_letter_queue(self) -> str:
        """The queue that this one is the quarantine of."""
        sources = self._redrive_allow_policy.get("sourceQueueArns", [])
        if len(sources) != 1:
            raise Problem(f"{self.url} does not name one source queue; is it a quarantine queue of Sluice?")
        return str(self._sqs.get_queue_url(QueueName=sources[0].rsplit(":", 1)[-1])["QueueUrl"])

    def take(self) -> Iterator[list[Held]]:
        """Takes messages in hand, each once, a batch at a time, until there is none that was not seen."""
        seen: set[str] = set()
        while True:
            answer = self._sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=BATCH_MAX,
                VisibilityTimeout=HIDDEN_S,
                WaitTimeSeconds=1,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["SentTimestamp"],
            )
            batch = [Held.of(message) for message in answer.get("Messages", [])]
            self.in_hand.update((held.message_id, held.receipt_handle) for held in batch)
            new = [held for held in batch if held.message_id not in seen]
            seen.update(held.message_id for held in new)
            if not new:
                return
            yield new

    def put_back(self) -> None:
        """Lets everything in hand be seen again."""
        receipts = list(self.in_hand.values())
        self.in_hand.clear()
        for at in range(0, len(receipts), BATCH_MAX):
            self._sqs.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                    for number, receipt in enumerate(receipts[at : at + BATCH_MAX])
                ],
            )

    def delete(self, batch: Sequence[Held]) -> int:
        """Deletes what another queue has now; how many stayed."""
        answer = self._sqs.delete_message_batch(
            QueueUrl=self.url,
            Entries=[{"Id": str(number), "ReceiptHandle": one.receipt_handle} for number, one in enumerate(batch)],
        )
        failed = {int(entry["Id"]) for entry in answer.get("Failed", [])}
        for number, held in enumerate(batch):
            if number not in failed:
                self.in_hand.pop(held.message_id, None)
        return len(failed)


def in_batches(held: Sequence[Held]) -> Iterator[list[Held]]:
    """Batches that SQS takes: few enough and together small enough."""
    batch: list[Held] = []
    weight = 0
    for one in held:
        cost = weight_of(one.body) + ATTRIBUTE_BYTES_MAX
        if batch and (len(batch) == BATCH_MAX or weight + cost > BATCH_BYTES_MAX):
            yield batch
            batch, weight = [], 0
        batch.append(one)
        weight += cost
    if batch:
        yield batch


def attributes_back(held: Held) -> dict[str, dict[str, str]]:
    """A message's attributes for its way back: as if it had never been replayed, but with its own first day."""
    kept = {
        name: {"DataType": str(value.get("DataType") or "String"), "StringValue": str(value["StringValue"])}
        for name, value in held.attributes.items()
        if name not in NOT_SENT_BACK and value and value.get("StringValue")
    }
    kept["Attempts"] = {"DataType": "Number", "StringValue": "0"}
    kept["SentBack"] = {"DataType": "String", "StringValue": "true"}
    # Without either the replayer goes by when it comes to the queue.
    kept.pop("DeadLetteredAt", None)
    if held.dead_lettered_ms is not None:
        kept["DeadLetteredAt"] = {"DataType": "Number", "StringValue": str(held.dead_lettered_ms)}
    return kept


class Progress:
    """How far it is, on standard error, once a second on a terminal and less often elsewhere."""

    def __init__(self) -> None:
        self._every_s = 0.5 if sys.stderr.isatty() else 5.0
        self._next = time.monotonic() + self._every_s

    def say(self, text: str) -> None:
        if time.monotonic() >= self._next:
            print(text, file=sys.stderr, flush=True)
            self._next = time.monotonic() + self._every_s


def span(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def moment(ms: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms / 1000))
    except (OverflowError, ValueError, OSError):
        return str(ms)


def time_range(found: dict[str, Any]) -> str:
    if "firstTimestamp" not in found:
        return "–"
    first, last = moment(found["firstTimestamp"]), moment(found["lastTimestamp"])
    return first if first == last else f"{first} – {last[11:] if last[:10] == first[:10] else last}"


def clipped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def said_of(found: dict[str, Any]) -> str:
    """What is wrong with it now, and what was said when it came."""
    unreadable = f"unreadable: {found['unreadable']}" if "unreadable" in found else None
    return "; ".join(text for text in (unreadable, found["detail"]) if text)


def show(quarantine: Quarantine, options: argparse.Namespace) -> int:
    progress = Progress()
    found: list[dict[str, Any]] = []
    now_ms = round(time.time() * 1000)
    text_max = 0 if not options.text else INFLATED_BYTES_MAX if options.json else TEXT_CHARACTERS_MAX + 1
    try:
        for batch in quarantine.take():
            found += [
                description(held, now_ms, quarantine.retention_s, text_max)
                for held in batch
                if options.reason in (None, held.reason)
            ]
            progress.say(f"{len(found):,} looked at")
            if options.max is not None and len(found) >= options.max:
                break
    finally:
        quarantine.put_back()
    found = sorted(found[: options.max], key=lambda one: one["deadLetteredAt"])
    reasons = Counter(one["reason"] for one in found)
    if options.json:
        print(json.dumps({"queue": quarantine.url, "reasons": dict(reasons.most_common()), "messages": found}, indent=2))
        return 0
    if not found:
        print("Nothing there." if options.reason is None else f"Nothing there with the reason {options.reason}.")
    else:
        header = ["AGE", "DELETED IN", "REASON", "TRIES", "EVENTS", "LOG GROUP", "LOG STREAM", "EVENTS OF (UTC)", "DETAIL"]
        lines = [header]
        for one in found:
            lines.append(
                [
                    span(one["ageSeconds"]),
                    span(one["deletedInSeconds"]),
                    clipped(plain(one["reason"]), 24),
                    "–" if one["attempts"] is None else str(one["attempts"]),
                    "–" if one["logEvents"] is None else str(one["logEvents"]),
                    clipped(plain(one.get("logGroup", "–")), 40),
                    clipped(plain(one.get("logStream", "–")), 32),
                    time_range(one),
                    clipped(plain(said_of(one)), 70),
                ]
            )
        print(table(lines))
        if options.text:
            for one in found:
                print(f"\n{plain(one['messageId'])}, {plain(one['reason'])}:")
                for text in one.get("text", []):
                    print(f"  {clipped(plain(text), TEXT_CHARACTERS_MAX)}")
        print()
        print(table([[f"{count:,}", plain(reason)] for reason, count in reasons.most_common()]))
    if quarantine.hidden:
        print(f"{quarantine.hidden:,} more are in somebody else's hands for the moment.", file=sys.stderr)
    return 0


# What SQS says when one message of a batch is not to its taste.
OF_ONE_MESSAGE = ("InvalidMessageContents", "InvalidParameterValue", "BatchRequestTooLong", "InvalidAttributeValue")


def sent_to(sqs: Any, target: str, batch: Sequence[Held]) -> list[Held]:
    """Sends, and says which of them are there. One that SQS does not take keeps no other back."""
    try:
        sent = sqs.send_message_batch(
            QueueUrl=target,
            Entries=[
                {"Id": str(number), "MessageBody": held.body, "MessageAttributes": attributes_back(held)}
                for number, held in enumerate(batch)
            ],
        )
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code")).rsplit(".", 1)[-1]
        if code not in OF_ONE_MESSAGE:
            raise
        if len(batch) > 1:
            return [held for one in batch for held in sent_to(sqs, target, [one])]
        print(f"refused: {plain(str(error))}", file=sys.stderr)
        return []
    for entry in sent.get("Failed", []):
        print(f"refused: {plain(entry['Code'])}: {plain(entry.get('Message', ''))}", file=sys.stderr)
    return [batch[int(entry["Id"])] for entry in sent.get("Successful", [])]


def send_back(quarantine: Quarantine, sqs: Any, options: argparse.Namespace) -> int:
    target = quarantine.dead_letter_queue()
    progress = Progress()
    reasons: Counter[str] = Counter()
    refused = doubled = parts = 0
    try:
        for taken in quarantine.take():
            left = None if options.max is None else options.max - reasons.total()
            asked = [held for held in taken if options.reason in (None, held.reason)]
            whole = [held for held in asked if not held.parts]
            parts += len(asked) - len(whole)
            for batch in in_batches(whole[:left]):
                if options.dry_run:
                    reasons.update(held.reason for held in batch)
                    continue
                there = sent_to(sqs, target, batch)
                refused += len(batch) - len(there)
                reasons.update(held.reason for held in there)
                # Only what the other queue has; until then it is in both.
                doubled += quarantine.delete(there) if there else 0
            progress.say(f"{reasons.total():,} of about {quarantine.messages:,}")
            if options.max is not None and reasons.total() >= options.max:
                break
    finally:
        quarantine.put_back()
    did = "would be sent back" if options.dry_run else "sent back"
    print(f"{reasons.total():,} {did} to {target}")
    if reasons:
        print(table([[f"  {count:,}", plain(reason)] for reason, count in reasons.most_common()]))
    if doubled:
        print(f"{doubled:,} of them could not be deleted here and are in both queues: they may be delivered twice.")
    if parts:
        print(
            f"{parts:,} are parts of events that no message holds whole. A part cannot be replayed, so they stay here; "
            "docs/runbook.md, quarantine-not-empty, says how to put them together."
        )
    if refused:
        print(f"{refused:,} refused by the dead-letter queue; they stay in quarantine.")
    if reasons and not options.dry_run:
        print("The next replay takes them: daily, or at once by invoking the replayer (see the stack's outputs).")
    return 1 if refused or doubled else 0


def queue_of(stack: str) -> str:
    described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    for output in described.get("Outputs", []):
        if output["OutputKey"] == "QuarantineQueueUrl":
            return str(output["OutputValue"])
    raise Problem(f"the stack {stack} has no output QuarantineQueueUrl; deploy it anew, or give the queue")


def a_number(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 on")
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("show", "list what is there"), ("send-back", "to the dead-letter queue, for the next replay")):
        command = commands.add_parser(name, help=text)
        place = command.add_mutually_exclusive_group(required=True)
        place.add_argument("--stack", help="the log-processing stack, whose output names the queue")
        place.add_argument("--queue", metavar="URL", help="the quarantine queue")
        command.add_argument("--reason", help="only messages with this reason")
        command.add_argument("--max", type=a_number, help="so many messages at the most")
        if name == "show":
            command.add_argument("--json", action="store_true", help="everything that can be said, as JSON")
            command.add_argument("--text", action="store_true", help="the log messages, too")
        else:
            command.add_argument("--dry-run", action="store_true", help="say what would be sent back, and leave it")
    options = parser.parse_args()
    # A terminal or a pipe that cannot say a character is no reason to say nothing.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        sqs = boto3.client("sqs", config=Config(retries={"mode": "standard", "max_attempts": 5}))
        quarantine = Quarantine(sqs, options.queue or queue_of(options.stack))
        return show(quarantine, options) if options.command == "show" else send_back(quarantine, sqs, options)
    except (BotoCoreError, ClientError, Problem) as error:
        print(f"failed: {plain(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was in hand is back, or comes back by itself within minutes", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
