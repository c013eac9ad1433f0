"""Lambda's event source mapping of a Kinesis stream, inside MiniStack, which reads its own streams only and knows neither
partial batches, retries nor an on-failure destination.

Each shard is read to its end, from its oldest record or from now on, parents before their children. A batch ends at the
mapping's BatchSize, at 6 MB, or when its window is over; one is under way for a shard. What the answer names in
`batchItemFailures` comes again, from the lowest on, and so does a whole batch on which the function failed. After
MaximumRetryAttempts, or beyond MaximumRecordAgeInSeconds, the on-failure destination gets the batch (a bucket) or only its
place (a queue), and the shard moves on. A throttled invocation is no try.

Not played: BisectBatchOnFunctionError, ParallelizationFactor, pausing, tumbling windows, enhanced fan-out. Waits between tries, which
Lambda does not document, are scaled down.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from limits import GET_RECORDS_RECORDS_MAX, INVOKE_EVENT_BYTES_MAX

# Lambda's basic rate for an empty shard. (Lambda guide; Nov 2026)
POLL_S = 1.0
# The simulated AWS: 1 s, doubled up to 60 s.
RETRY_FIRST_S, RETRY_MAX_S = 0.2, 5.0
RECORD_FRAME_BYTES = 500


@dataclass(frozen=True)
class Settings:
    """A mapping as Lambda's API has it; None stands for its -1, for ever."""

    stream_arn: str
    function: str
    starting_position: str
    batch_size: int
    window_s: float
    retries_max: int | None
    record_age_s_max: float | None
    reports_item_failures: bool
    on_failure_arn: str

    @staticmethod
    def of(mapping: dict[str, Any]) -> Settings:
        def bounded(name: str) -> int | None:
            value = mapping.get(name)
            return None if value is None or int(value) < 0 else int(value)

        return Settings(
            stream_arn=mapping["EventSourceArn"],
            function=mapping["FunctionName"],
            starting_position=mapping.get("StartingPosition", "LATEST"),
            batch_size=int(mapping.get("BatchSize", 100)),
            window_s=float(mapping.get("MaximumBatchingWindowInSeconds", 0)),
            retries_max=bounded("MaximumRetryAttempts"),
            record_age_s_max=bounded("MaximumRecordAgeInSeconds"),
            reports_item_failures="ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or []),
            on_failure_arn=((mapping.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination", ""),
        )


@dataclass
class Counts:
    """What a mapping has done, and whether it has nothing left to do."""

    invocations: int = 0
    failures: int = 0
    records: int = 0
    filtered: int = 0
    given_up: int = 0
    problem: str = ""


@dataclass
class Shard:
    """How far a shard is."""

    parents: list[str]
    after: str = ""
    waiting: list[dict[str, Any]] = field(default_factory=list)
    is_read: bool = False
    is_idle: bool = False
    is_done: bool = False


class EventSourceMapping:
    """Reads a stream and hands it to a function, until it is stopped.

    `kinesis` is a boto3 client; `invoke(event)` runs one invocation and returns MiniStack's result (`throttle`, `error`,
    `body`); `admit(records)` leaves out what the mapping's filter does; `on_failure(arn, shard_id, body)` writes to the destination;
    `watch(metric, value)` learns what Lambda would tell CloudWatch.
    """

    def __init__(
        self,
        kinesis: Any,
        settings: Settings,
        invoke: Callable[[dict[str, Any]], dict[str, Any]],
        on_failure: Callable[[str, str, str], None],
        admit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda records: records,
        watch: Callable[[str, float], None] = lambda metric, value: None,
    ) -> None:
        self._kinesis, self._settings = kinesis, settings
        self._invoke, self._on_failure, self._admit, self._watch = invoke, on_failure, admit, watch
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._shards: dict[str, Shard] = {}
        self._has_listed = False
        self.counts = Counts()

    @property
    def function(self) -> str:
        return self._settings.function

    def start(self) -> EventSourceMapping:
        threading.Thread(target=self._run, daemon=True, name="event-source-mapping").start()
        return self

    def stop(self) -> None:
        """After the batches under way."""
        self._stop.set()

    def status(self) -> dict[str, Any]:
        """The counts, and whether everything that is in the stream has been handed over or given up."""
        with self._lock:
            is_caught_up = self._has_listed and all(one.is_done or one.is_idle for one in self._shards.values())
            return {"is_caught_up": is_caught_up, **vars(self.counts)}

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                listed = self._list_shards()
            except Exception as error:  # the stream may not be there yet, or be gone
                self._note(problem=str(error))
                listed = []
            with self._lock:
                self._has_listed = self._has_listed or bool(listed)
                new = [one for one in listed if one["ShardId"] not in self._shards]
                for one in new:
                    parents = [one.get("ParentShardId"), one.get("AdjacentParentShardId")]
                    self._shards[one["ShardId"]] = Shard([parent for parent in parents if parent])
            for one in new:
                threading.Thread(target=self._consume, args=(one["ShardId"],), daemon=True, name=one["ShardId"]).start()
            self._stop.wait(POLL_S)

    def _list_shards(self) -> list[dict[str, Any]]:
        name = self._settings.stream_arn.rsplit("/", 1)[-1]
        answer = self._kinesis.list_shards(StreamName=name)
        shards = list(answer["Shards"])
        while token := answer.get("NextToken"):
            answer = self._kinesis.list_shards(NextToken=token)
            shards += answer["Shards"]
        return shards

    def _consume(self, shard_id: str) -> None:
        shard = self._shards[shard_id]
        # A parent that is not listed is gone by retention.
        while any(not self._shards[parent].is_done for parent in shard.parents if parent in self._shards):
            if self._stop.wait(POLL_S / 10):
                return
        iterator: str | None = None
        while not self._stop.is_set():
            if not shard.is_read and len(shard.waiting) < self._settings.batch_size:
                try:
                    iterator = self._read(shard_id, shard, iterator or self._iterator(shard_id, shard))
                except Exception as error:  # throttled, expired or not there: on from the last record
                    self._note(problem=str(error))
                    iterator = None
                    self._stop.wait(POLL_S)
            if shard.waiting and self._is_due(shard):
                batch, shard.waiting = split_at(shard.waiting, batch_len(shard.waiting, self._settings.batch_size))
                self._hand_over(shard_id, batch)
            elif shard.is_read and not shard.waiting:
                shard.is_done = True
                return
            elif shard.is_idle:
                self._stop.wait(POLL_S)
            else:
                # A shard answers five calls a second, to all of its readers.
                self._stop.wait(POLL_S / 4)

    def _iterator(self, shard_id: str, shard: Shard) -> str:
        name = self._settings.stream_arn.rsplit("/", 1)[-1]
        where = (
            {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": shard.after}
            if shard.after
            # Children begin with what their parents left off, whatever the mapping begins with.
            else {"ShardIteratorType": "TRIM_HORIZON" if shard.parents else self._settings.starting_position}
        )
        return str(self._kinesis.get_shard_iterator(StreamName=name, ShardId=shard_id, **where)["ShardIterator"])

    def _read(self, shard_id: str, shard: Shard, iterator: str) -> str | None:
        answer = self._kinesis.get_records(ShardIterator=iterator, Limit=GET_RECORDS_RECORDS_MAX)
        found = [event_record(self._settings.stream_arn, shard_id, record) for record in answer["Records"]]
        admitted = self._admit(found) if found else []
        if found:
            shard.after = answer["Records"][-1]["SequenceNumber"]
        now = time.monotonic()
        with self._lock:
            self.counts.filtered += len(found) - len(admitted)
            shard.waiting += [{"record": record, "since": now} for record in admitted]
            shard.is_read = answer.get("NextShardIterator") is None
            shard.is_idle = not shard.waiting and not found and not answer.get("MillisBehindLatest", 0)
        return answer.get("NextShardIterator")

    def _is_due(self, shard: Shard) -> bool:
        is_full = batch_len(shard.waiting, self._settings.batch_size) < len(shard.waiting)
        is_full = is_full or len(shard.waiting) >= self._settings.batch_size
        return is_full or shard.is_read or time.monotonic() - shard.waiting[0]["since"] >= self._settings.window_s

    def _hand_over(self, shard_id: str, waiting: list[dict[str, Any]]) -> None:
        batch = [one["record"] for one in waiting]
        tries, wait_s = 0, RETRY_FIRST_S
        while batch and not self._stop.is_set():
            batch = self._without_the_old(shard_id, batch, tries)
            if not batch:
                return
            last_s = batch[-1]["kinesis"]["approximateArrivalTimestamp"]
            self._watch("IteratorAge", max(0.0, time.time() - last_s) * 1000)
            result = self._invoke({"Records": batch})
            if not result.get("throttle"):
                tries += 1
                failed_at = self._first_failure(result, batch)
                self._note(invocations=1, failures=int(failed_at < len(batch)), records=failed_at)
                self._watch("Errors", 1 if result.get("error") else 0)
                batch = batch[failed_at:]
                retries_max = self._settings.retries_max
                if batch and retries_max is not None and tries > retries_max:
                    self._give_up(shard_id, batch, "RetryAttemptsExhausted", tries)
                    return
            if batch:
                self._stop.wait(wait_s)
                wait_s = min(RETRY_MAX_S, 2 * wait_s)

    def _first_failure(self, result: dict[str, Any], batch: list[dict[str, Any]]) -> int:
        """The place of the first record that did not make it; behind the batch when all did."""
        if result.get("error"):
            return 0
        if not self._settings.reports_item_failures:
            return len(batch)
        body = result.get("body")
        try:
            answer = json.loads(body) if isinstance(body, str | bytes) else body
            failures = (answer or {}).get("batchItemFailures") or []
            named = [failure.get("itemIdentifier") for failure in failures]
        except (ValueError, AttributeError):
            return 0
        places = {record["kinesis"]["sequenceNumber"]: place for place, record in enumerate(batch)}
        # A name that is not in the batch fails all of it.
        return min((places.get(name, 0) for name in named), default=len(batch))

    def _without_the_old(self, shard_id: str, batch: list[dict[str, Any]], tries: int) -> list[dict[str, Any]]:
        if self._settings.record_age_s_max is None:
            return batch
        oldest_s = time.time() - self._settings.record_age_s_max
        is_young = [record["kinesis"]["approximateArrivalTimestamp"] >= oldest_s for record in batch]
        old, young = split_at(batch, is_young.index(True) if any(is_young) else len(batch))
        if old:
            self._give_up(shard_id, old, "RecordAgeExceeded", tries)
        return young

    def _give_up(self, shard_id: str, batch: list[dict[str, Any]], condition: str, tries: int) -> None:
        """A bucket gets the records; a queue learns where they lie. (Lambda guide, kinesis-on-failure-destination; Nov 2026)"""
        self._note(given_up=len(batch))
        first, last = batch[0]["kinesis"], batch[-1]["kinesis"]
        message = {
            "requestContext": {"condition": condition, "approximateInvokeCount": tries, "functionArn": self._settings.function},
            "version": "1.0",
            "KinesisBatchInfo": {
                "shardId": shard_id,
                "startSequenceNumber": first["sequenceNumber"],
                "endSequenceNumber": last["sequenceNumber"],
                "approximateArrivalOfFirstRecord": utc(first["approximateArrivalTimestamp"]),
                "approximateArrivalOfLastRecord": utc(last["approximateArrivalTimestamp"]),
                "batchSize": len(batch),
                "streamArn": self._settings.stream_arn,
            },
        }
        arn = self._settings.on_failure_arn
        if not arn:
            return
        if ":s3:" in arn:
            message["payload"] = json.dumps({"Records": batch})
        try:
            self._on_failure(arn, shard_id, json.dumps(message))
            self._watch("OnFailureDestinationDeliveredEventCount", len(batch))
        except Exception as error:  # as on AWS: a metric, and nobody knows which they were
            self._watch("DestinationDeliveryFailures", 1)
            self._note(problem=str(error))

    def _note(self, problem: str = "", **more: int) -> None:
        with self._lock:
            self.counts.problem = problem or self.counts.problem
            for name, value in more.items():
                setattr(self.counts, name, getattr(self.counts, name) + value)


def split_at(items: list[Any], at: int) -> tuple[list[Any], list[Any]]:
    return items[:at], items[at:]


def utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def batch_len(waiting: list[dict[str, Any]], batch_size: int) -> int:
    """How many fit one batch: one at least."""
    total = 0
    for count, one in enumerate(waiting[:batch_size]):
        kinesis = one["record"]["kinesis"]
        total += len(kinesis["data"]) + len(kinesis["partitionKey"]) + RECORD_FRAME_BYTES
        if total > INVOKE_EVENT_BYTES_MAX:
            return max(1, count)
    return min(batch_size, len(waiting))


def event_record(stream_arn: str, shard_id: str, record: dict[str, Any]) -> dict[str, Any]:
    """A record as a function gets it."""
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": record["SequenceNumber"],
            "data": base64.b64encode(record["Data"]).decode(),
            "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard_id}:{record['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::000000000000:role/mapping",
        "awsRegion": stream_arn.split(":")[3],
        "eventSourceARN": stream_arn,
    }
