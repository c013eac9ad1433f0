"""What was sent against what arrived, as multisets: every event exactly once, byte for byte."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from limits import (
    PUT_UNIT_BYTES,
    PUT_UNITS_MILLION_DOLLARS,
    SHARD_BYTES_PER_SECOND,
    SHARD_HOUR_DOLLARS,
    SHARD_RECORDS_PER_SECOND,
)
from read_back import Event, Record, enveloped, payloads


def identity(event: Event, transform: str) -> Event:
    """The part of an event that survives the transform."""
    return event if transform == "envelope" else Event("", "", 0, event.message)


def events_in(awslogs_event: dict[str, Any]) -> list[Event]:
    """The log events of an event in the shape that CloudWatch Logs sends (and that the dead-letter queue holds)."""
    payload = json.loads(gzip.decompress(base64.b64decode(awslogs_event["awslogs"]["data"])))
    return [
        Event(payload["logGroup"], payload["logStream"], event["timestamp"], event["message"].encode()) for event in payload["logEvents"]
    ]


@dataclass
class Arrivals:
    """What came out of the stream."""

    events: Counter[Event] = field(default_factory=Counter)
    # (arrival, lag) of each event, in ms; lag is arrival less the event's own timestamp. Envelope only.
    arrivals: list[tuple[int, int]] = field(default_factory=list)
    delivered_at: Counter[int] = field(default_factory=Counter)
    record_sizes: list[int] = field(default_factory=list)
    # Of each record, in the order in which they were taken.
    record_events: list[int] = field(default_factory=list)
    bytes_by_shard: Counter[str] = field(default_factory=Counter)
    payload_sizes: list[int] = field(default_factory=list)
    put_units: int = 0
    key_bytes: int = 0

    def take(self, records: Iterable[Record], record_format: str, transform: str) -> None:
        for record in records:
            parts = payloads(record, record_format)
            for part in parts:
                if transform == "envelope":
                    event, _ = enveloped(part)
                    self.arrivals.append((record.arrived_ms, record.arrived_ms - event.timestamp))
                else:
                    event = Event("", "", 0, part)
                self.events[event] += 1
                self.payload_sizes.append(len(part))
            self.delivered_at[record.arrived_ms // 100] += len(parts)
            self.record_sizes.append(record.size)
            self.record_events.append(len(parts))
            self.bytes_by_shard[record.shard] += record.size
            self.put_units += record.put_units
            self.key_bytes += len(record.partition_key)


@dataclass
class Cost:
    """Kinesis alone, shards fully used: a lower bound that formats can be compared by."""

    put_units: int
    usd_put_units: float
    usd_shard_hours: float

    @property
    def usd(self) -> float:
        return self.usd_put_units + self.usd_shard_hours

    @staticmethod
    def of(put_units: int, records: int, bytes_out: int) -> Cost:
        shard_seconds = max(bytes_out / SHARD_BYTES_PER_SECOND, records / SHARD_RECORDS_PER_SECOND)
        return Cost(put_units, put_units / 1e6 * PUT_UNITS_MILLION_DOLLARS, shard_seconds / 3600 * SHARD_HOUR_DOLLARS)


@dataclass
class Verdict:
    """The comparison, and the figures of the table."""

    sent: int
    delivered: int
    lost: int
    duplicated: int
    unexpected: int
    dead_lettered: int
    records: int
    bytes_in: int
    bytes_out: int
    cost: Cost
    cost_unaggregated: Cost
    lag_ms: list[int]

    @property
    def good(self) -> bool:
        return self.lost == self.duplicated == self.unexpected == self.dead_lettered == 0 and self.sent > 0

    def lag_percentile(self, percent: float) -> int | None:
        if not self.lag_ms:
            return None
        return self.lag_ms[min(len(self.lag_ms) - 1, int(len(self.lag_ms) * percent / 100))]


def judge(sent: Counter[Event], arrivals: Arrivals, dead: Counter[Event]) -> Verdict:
    """Every event sent is in exactly one place, once: the stream or the dead-letter queue."""
    missing = sent - arrivals.events
    surplus = arrivals.events - sent
    duplicated = sum(count for event, count in surplus.items() if event in sent)
    payload_bytes = sum(arrivals.payload_sizes)
    events = len(arrivals.payload_sizes)
    key = arrivals.key_bytes / len(arrivals.record_sizes) if arrivals.record_sizes else 0
    single_units = sum(-(-int(size + key) // PUT_UNIT_BYTES) for size in arrivals.payload_sizes)
    return Verdict(
        sent=sent.total(),
        delivered=(arrivals.events & sent).total(),
        lost=(missing - dead).total(),
        duplicated=duplicated,
        unexpected=surplus.total() - duplicated,
        dead_lettered=dead.total(),
        records=len(arrivals.record_sizes),
        bytes_in=sum(len(event.message) * count for event, count in sent.items()),
        bytes_out=sum(arrivals.record_sizes),
        cost=Cost.of(arrivals.put_units, len(arrivals.record_sizes), sum(arrivals.record_sizes)),
        cost_unaggregated=Cost.of(single_units, events, payload_bytes + int(key * events)),
        lag_ms=sorted(lag for _, lag in arrivals.arrivals),
    )
