#!/usr/bin/env python3
"""Looks into quarantine, and sends back to the dead-letter queue what can be delivered after a repair.

`make quarantine-show` and `make quarantine-send-back` run this. Neither shows the text of a log message unless asked to.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
# As the processor: more than that inflated is not decoded.
INFLATED_BYTES_MAX = 64 * 1024 * 1024
TEXT_CHARACTERS_MAX = 200
# Left out on the way back: they belong to the failure that is over.
NOT_SENT_BACK = ("Reason", "ReasonDetail", "Attempts", "SentBack")
MOVED_BY_SQS = "moved-by-sqs"


class Problem(Exception):
    """What the person should know instead of a stack trace."""


def plain(text: str) -> str:
    """Text from elsewhere as one line that does nothing to a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


@dataclass
class Held:
    """A message of the quarantine queue, in hand."""

    message_id: str
    receipt_handle: str
    body: str
    attributes: dict[str, dict[str, Any]]
    sent_ms: int

    @staticmethod
    def of(message: dict[str, Any]) -> Held:
        return Held(
            message["MessageId"],
            message["ReceiptHandle"],
            message["Body"],
            message.get("MessageAttributes", {}),
            int(message["Attributes"]["SentTimestamp"]),
        )

    def attribute(self, name: str) -> str | None:
        value = self.attributes.get(name, {}).get("StringValue")
        return None if value is None else str(value)

    def number(self, name: str) -> int | None:
        value = self.attribute(name)
        return int(value) if value is not None and re.fullmatch(r"\d{1,18}", value) else None

    @property
    def reason(self) -> str:
        return self.attribute("Reason") or MOVED_BY_SQS

    @property
    def dead_lettered_ms(self) -> int:
        return self.number("DeadLetteredAt") or self.sent_ms


def payload_of(body: str) -> dict[str, Any]:
    """The subscription payload in an event. Fails with a word on what is wrong with it."""
    try:
        packed = base64.b64decode(json.loads(body)["awslogs"]["data"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise Problem("not an event of CloudWatch Logs") from error
    inflate = zlib.decompressobj(wbits=31)
    try:
        text = inflate.decompress(packed, INFLATED_BYTES_MAX)
    except zlib.error as error:
        raise Problem("not gzip") from error
    if inflate.unconsumed_tail:
        raise Problem("inflates too large")
    if not inflate.eof:
        raise Problem("truncated gzip")
    try:
        payload = json.loads(text)
    except ValueError as error:
        raise Problem("not JSON") from error
    if not isinstance(payload, dict) or not isinstance(payload.get("logEvents"), list):
        raise Problem("JSON of another shape")
    return payload


def description(held: Held, now_ms: int, retention_s: int, with_text: bool) -> dict[str, Any]:
    """What can be said about a message."""
    found: dict[str, Any] = {
        "messageId": held.message_id,
        "reason": held.reason,
        "detail": held.attribute("ReasonDetail") or held.attribute("ErrorMessage"),
        "attempts": held.number("Attempts"),
        "logEvents": held.number("LogEvents"),
        "deadLetteredAt": held.dead_lettered_ms,
        "ageSeconds": max(0, (now_ms - held.dead_lettered_ms) // 1000),
        "deletedInSeconds": max(0, held.sent_ms // 1000 + retention_s - now_ms // 1000),
        "bytes": len(held.body.encode()),
    }
    try:
        payload = payload_of(held.body)
    except Problem as problem:
        found["unreadable"] = str(problem)
        if with_text:
            found["text"] = [held.body]
        return found
    events = [event for event in payload["logEvents"] if isinstance(event, dict)]
    stamps = [event["timestamp"] for event in events if isinstance(event.get("timestamp"), int)]
    found["logEvents"] = len(payload["logEvents"])
    found["logGroup"], found["logStream"] = str(payload.get("logGroup", "")), str(payload.get("logStream", ""))
    if stamps:
        found["firstTimestamp"], found["lastTimestamp"] = min(stamps), max(stamps)
    if with_text:
        found["text"] = [str(event.get("message", "")) for event in events]
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
        # By ID, so that one that came twice is given back by its last receipt.
        self.in_hand: dict[str, Held] = {}

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
            self.in_hand.update((held.message_id, held) for held in batch)
            new = [held for held in batch if held.message_id not in seen]
            seen.update(held.message_id for held in new)
            if not new:
                return
            yield new

    def put_back(self) -> None:
        """Lets everything in hand be seen again."""
        held = list(self.in_hand.values())
        self.in_hand.clear()
        for at in range(0, len(held), BATCH_MAX):
            self._sqs.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": one.receipt_handle, "VisibilityTimeout": 0}
                    for number, one in enumerate(held[at : at + BATCH_MAX])
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
        cost = len(one.body.encode()) + ATTRIBUTE_BYTES_MAX
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
        name: {"DataType": value["DataType"], "StringValue": value["StringValue"]}
        for name, value in held.attributes.items()
        if name not in NOT_SENT_BACK and "StringValue" in value
    }
    return {
        **kept,
        "Attempts": {"DataType": "Number", "StringValue": "0"},
        "DeadLetteredAt": {"DataType": "Number", "StringValue": str(held.dead_lettered_ms)},
        "SentBack": {"DataType": "String", "StringValue": "true"},
    }


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


def show(quarantine: Quarantine, options: argparse.Namespace) -> int:
    progress = Progress()
    found: list[dict[str, Any]] = []
    now_ms = round(time.time() * 1000)
    try:
        for batch in quarantine.take():
            found += [
                description(held, now_ms, quarantine.retention_s, options.text)
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
                    clipped(plain(one["detail"] or one.get("unreadable", "")), 70),
                ]
            )
        print(table(lines))
        if options.text:
            for one in found:
                print(f"\n{one['messageId']}, {plain(one['reason'])}:")
                for text in one["text"]:
                    print(f"  {clipped(plain(text), TEXT_CHARACTERS_MAX)}")
        print()
        print(table([[f"{count:,}", plain(reason)] for reason, count in reasons.most_common()]))
    if quarantine.hidden:
        print(f"{quarantine.hidden:,} more are in somebody else's hands for the moment.", file=sys.stderr)
    return 0


def send_back(quarantine: Quarantine, sqs: Any, options: argparse.Namespace) -> int:
    target = quarantine.dead_letter_queue()
    progress = Progress()
    reasons: Counter[str] = Counter()
    refused = doubled = 0
    try:
        for taken in quarantine.take():
            left = None if options.max is None else options.max - reasons.total()
            wanted = [held for held in taken if options.reason in (None, held.reason)][:left]
            for batch in in_batches(wanted):
                if options.dry_run:
                    reasons.update(held.reason for held in batch)
                    continue
                sent = sqs.send_message_batch(
                    QueueUrl=target,
                    Entries=[
                        {"Id": str(number), "MessageBody": held.body, "MessageAttributes": attributes_back(held)}
                        for number, held in enumerate(batch)
                    ],
                )
                for entry in sent.get("Failed", []):
                    refused += 1
                    print(f"refused: {plain(entry['Code'])}: {plain(entry.get('Message', ''))}", file=sys.stderr)
                there = [batch[int(entry["Id"])] for entry in sent.get("Successful", [])]
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
    try:
        sqs = boto3.client("sqs", config=Config(retries={"mode": "standard", "max_attempts": 5}))
        quarantine = Quarantine(sqs, options.queue or queue_of(options.stack))
        return show(quarantine, options) if options.command == "show" else send_back(quarantine, sqs, options)
    except (BotoCoreError, ClientError, Problem) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was in hand is back, or comes back by itself within minutes", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
