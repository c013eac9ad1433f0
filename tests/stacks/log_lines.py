"""Log events to carry: made from a seed, or a person's own lines."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# PutLogEvents takes 1 MiB a call, counting 26 bytes for each event, and 10,000 events.
BATCH_BYTES_MAX = 1_000_000
BATCH_EVENTS_MAX = 10_000
EVENT_OVERHEAD_BYTES = 26
# The longest message that CloudWatch Logs took before 2025, which agents still cut at: 256 KiB less 25 bytes.
LONG_MESSAGE_CHARACTERS = 262_119
LONG_MESSAGES = 9

LOG_GROUPS = ("/demo/web/access", "/demo/orders-api", "/demo/payments.worker")
STREAMS_A_GROUP = 12

_PATHS = ("/", "/cart", "/checkout", "/api/v1/orders", "/api/v1/orders/8127", "/static/app.js", "/login", "/größe?q=ü")
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15",
    "curl/8.9.1",
    "okhttp/4.12.0",
)
_TEXTS = (
    "payment accepted",
    "Zahlung über 17,50 € angenommen",
    "支払いが完了しました",
    "платёж принят",
    "تم قبول الدفع",
    "order shipped 🚚📦, customer is happy 😀👩‍👩‍👧‍👦",
    "naïve café: 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🏳️‍🌈",
    'quoted "value" with \\ backslash / slash and \t tab',
    "control \u0001\u001f and \u007f, separators \u2028 \u2029, null \u0000 end",
)
_EXCEPTIONS = ("java.lang.IllegalStateException", "java.net.SocketTimeoutException", "org.example.ÜbergabeException")


class BadInput(Exception):
    """A person's own files cannot be carried as they are."""


@dataclass
class Batch:
    """One PutLogEvents call."""

    log_group: str
    log_stream: str
    messages: list[str]


def access_line(rng: random.Random) -> str:
    return (
        f"{rng.randrange(1, 224)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)} - - "
        f'[21/Nov/2026:10:{rng.randrange(60):02d}:{rng.randrange(60):02d} +0000] "GET {rng.choice(_PATHS)} HTTP/1.1" '
        f"{rng.choice((200, 200, 200, 304, 404, 500))} {rng.randrange(90_000)} {rng.random():.3f} "
        f'"{rng.choice(_AGENTS)}"'
    )


def json_line(rng: random.Random) -> str:
    return json.dumps(
        {
            "level": rng.choice(("INFO", "INFO", "WARN", "ERROR")),
            "traceId": f"{rng.getrandbits(128):032x}",
            "service": "orders-api",
            "message": rng.choice(_TEXTS),
            "durationMs": rng.randrange(3000),
            "tags": {"region": "eu-central-1", "attempt": rng.randrange(4)},
        },
        ensure_ascii=rng.random() < 0.5,
    )


def stack_trace(rng: random.Random) -> str:
    frames = "\n".join(
        f"\tat org.example.payments.{rng.choice(('Ledger', 'Gateway', 'Retry'))}.{rng.choice(('post', 'call', 'run'))}"
        f"(Payments.java:{rng.randrange(1, 900)})"
        for _ in range(rng.randrange(3, 25))
    )
    return f"{rng.choice(_EXCEPTIONS)}: {rng.choice(_TEXTS)}\r\n{frames}\nCaused by: timeout\n"


def long_message(rng: random.Random, number: int) -> str:
    if number % 3 == 2:
        return "ß" * LONG_MESSAGE_CHARACTERS
    text = f"{number} " + " ".join(f"{rng.getrandbits(64):016x}" for _ in range(LONG_MESSAGE_CHARACTERS // 17 + 1))
    return text[:LONG_MESSAGE_CHARACTERS]


def worker_line(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.35:
        return stack_trace(rng)
    if kind < 0.7:
        return f"worker {rng.randrange(16)}: {rng.choice(_TEXTS)} ({rng.getrandbits(32):08x})"
    # Short lines make the most of aggregation, and tiny ones are where framing goes wrong.
    return rng.choice(("ok", ".", " ", "\n", "ping", "0"))


_MAKERS = dict(zip(LOG_GROUPS, (access_line, json_line, worker_line), strict=True))


def generated(seed: int, events: int) -> Iterator[Batch]:
    """`events` log events over three log groups and many streams; the same seed gives the same messages."""
    rng = random.Random(seed)
    left = events
    long_left = min(LONG_MESSAGES, events // 1000)
    long_every = max(1, events // (long_left + 1)) if long_left else 0
    long_at = events - long_every if long_left else -1
    while left > 0:
        group = rng.choices(LOG_GROUPS, weights=(5, 3, 2))[0]
        stream = f"{rng.randrange(STREAMS_A_GROUP):02d}/{group.rsplit('/', 1)[-1]}"
        # Most calls are an agent's flush; some hold one event.
        size = min(left, rng.choice((1, 40, 120, 400, 400, 900)))
        messages: list[str] = []
        weight = 0
        while len(messages) < size:
            if long_left and left - len(messages) <= long_at:
                message = long_message(rng, LONG_MESSAGES - long_left)
                long_left -= 1
                long_at -= long_every
            else:
                message = _MAKERS[group](rng)
            cost = len(message.encode()) + EVENT_OVERHEAD_BYTES
            if messages and weight + cost > BATCH_BYTES_MAX:
                yield Batch(group, stream, messages)
                left -= len(messages)
                size -= len(messages)
                messages, weight = [], 0
            messages.append(message)
            weight += cost
        left -= len(messages)
        yield Batch(group, stream, messages)


def from_path(path: Path) -> Iterator[Batch]:
    """The lines of a file, or of all files under a directory; a file is a log stream, its directory a log group.

    Line ends and empty lines do not travel: CloudWatch Logs takes no empty message.
    """
    files = sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
    if not files or not all(file.exists() for file in files):
        raise BadInput(f"LOGS={path}: no such file, or a directory without files")
    root = path if path.is_dir() else path.parent
    for file in files:
        relative = file.relative_to(root)
        folder = "/".join(relative.parent.parts)
        group = "/demo/logs" + (f"/{folder}" if folder else "")
        group = "".join(c if c.isascii() and (c.isalnum() or c in "_./#-") else "_" for c in group)[:512]
        stream = relative.name.replace(":", "_").replace("*", "_")[:512]
        yield from file_batches(file, group, stream)


def file_batches(file: Path, group: str, stream: str) -> Iterator[Batch]:
    messages: list[str] = []
    weight = 0
    with open(file, "rb") as lines:
        for number, raw in enumerate(lines, 1):
            line = raw.rstrip(b"\r\n")
            if not line:
                continue
            try:
                message = line.decode()
            except UnicodeDecodeError as error:
                raise BadInput(f"{file}, line {number}: not UTF-8 ({error.reason}); CloudWatch Logs takes nothing else")
            cost = len(line) + EVENT_OVERHEAD_BYTES
            if cost > BATCH_BYTES_MAX:
                raise BadInput(f"{file}, line {number}: {len(line):,} bytes; CloudWatch Logs takes 1 MB an event")
            if messages and (weight + cost > BATCH_BYTES_MAX or len(messages) == BATCH_EVENTS_MAX // 10):
                yield Batch(group, stream, messages)
                messages, weight = [], 0
            messages.append(message)
            weight += cost
    if messages:
        yield Batch(group, stream, messages)
