"""CloudWatch's metrics and alarms and EventBridge Scheduler, as far as scaling needs them, inside MiniStack.

MiniStack keeps the alarms (made by the template, read and put by the functions through its own API) and their states.
What it lacks is here: the stream's and the functions' own metrics, evaluation over them, and alarms that invoke a
function, on a change of state only. Everything that happens is fed in: arrivals from the stream engine's log, EMF lines
from the functions, Lambda's queue.

Time may run faster: one CloudWatch minute then is `minute_s` seconds of wall time. Rates stay as they are (the sum over a
short minute is scaled up to sixty seconds), and the latest short minutes stand on the latest whole minutes of the
wall clock, where the functions look for them. A data point is there when its minute ends; AWS takes one to two more.
"""

from __future__ import annotations

import fnmatch
import json
import math
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

MINUTE_S = 60.0
# Sixths of a minute: the ten seconds of a high-resolution alarm.
SLOTS_A_MINUTE = 6
ALARM_PRINCIPAL = "lambda.alarms.cloudwatch.amazonaws.com"
_ARRIVAL = re.compile(rb'"ts":(\d+),"stream":"([^"]+)","partition_key":"([^"]*)","data":"([^"]*)"')
_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}

Key = tuple[str, str, tuple[tuple[str, str], ...]]


def key(namespace: str, name: str, dimensions: Mapping[str, str]) -> Key:
    return namespace, name, tuple(sorted(dimensions.items()))


class Metrics:
    """Values by metric and slot, and statistics over them."""

    def __init__(self, minute_s: float = MINUTE_S) -> None:
        self.minute_s = minute_s
        self._slot_s = minute_s / SLOTS_A_MINUTE
        self._slots: dict[Key, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._lock = threading.Lock()

    def put(self, metric: Key, at_s: float, values: Iterable[float]) -> None:
        with self._lock:
            self._slots[metric][int(at_s // self._slot_s)].extend(values)

    def statistic(self, metric: Key, statistic: str, minutes: float, ago: int, now_s: float) -> float | None:
        """Over the period of so many CloudWatch minutes that ended `ago` periods before the present one began."""
        span = max(1, round(minutes * SLOTS_A_MINUTE))
        period = int(now_s // (self._slot_s * span)) - 1 - ago
        with self._lock:
            slots = self._slots.get(metric, {})
            values = [value for slot in range(period * span, (period + 1) * span) for value in slots.get(slot, ())]
        if not values:
            return None
        if statistic == "Sum":
            return sum(values) * MINUTE_S / self.minute_s
        if statistic == "Maximum":
            return max(values)
        if statistic == "Minimum":
            return min(values)
        if statistic == "Average":
            return sum(values) / len(values)
        if statistic == "SampleCount":
            return len(values) * MINUTE_S / self.minute_s
        if statistic.startswith("p"):
            return percentile(values, float(statistic[1:]))
        raise ValueError(f"statistic {statistic}: not played here")

    def minutes(self, metric: Key, statistic: str, from_s: float, to_s: float, now_s: float) -> list[tuple[int, float]]:
        """GetMetricData at a period of one minute: (begin in whole minutes of the wall clock, value), oldest first."""
        points = []
        this_minute = int(now_s // MINUTE_S)
        for ago in range(max(0, this_minute - int(from_s // MINUTE_S))):
            begin = (this_minute - 1 - ago) * int(MINUTE_S)
            value = self.statistic(metric, statistic, 1, ago, now_s)
            if value is not None and begin < to_s:
                points.append((begin, value))
        return points[::-1]


def percentile(values: list[float], percent: float) -> float:
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(0, rank - 1)]


def emf_points(line: str) -> Iterable[tuple[Key, float, list[float]]]:
    """The metrics in one line of CloudWatch's embedded metric format."""
    try:
        document = json.loads(line)
        directives = document["_aws"]["CloudWatchMetrics"]
        at_s = document["_aws"]["Timestamp"] / 1000
    except (ValueError, KeyError, TypeError):
        return
    for directive in directives:
        for names in directive["Dimensions"]:
            dimensions = {name: document[name] for name in names}
            for metric in directive["Metrics"]:
                value = document[metric["Name"]]
                yield (
                    key(directive["Namespace"], metric["Name"], dimensions),
                    at_s,
                    [float(one) for one in (value if isinstance(value, list) else [value])],
                )


class CloudWatch:
    """Feeds the metrics, evaluates the alarms and runs the schedules.

    `alarms()` gives MiniStack's own alarm records, `schedules()` its schedules; `invoke(arn, event)` puts an event into
    Lambda's asynchronous queue; `may_invoke(arn, alarm_arn)` asks the function's resource policy.
    """

    def __init__(
        self,
        minute_s: float,
        arrivals: Path | None,
        alarms: Callable[[], list[dict[str, Any]]],
        schedules: Callable[[], list[dict[str, Any]]],
        invoke: Callable[[str, Any], None],
        may_invoke: Callable[[str, str], bool],
    ) -> None:
        self.metrics = Metrics(minute_s)
        self._arrivals = arrivals
        self._offset = 0
        self._alarms = alarms
        self._schedules = schedules
        self._invoke = invoke
        self._may_invoke = may_invoke
        self._minutes = 0
        self.refused_actions = 0

    def run(self) -> None:
        """Keeps time, until the process ends."""
        slot_s = self.metrics.minute_s / SLOTS_A_MINUTE
        while True:
            slot = math.floor(time.time() / slot_s) + 1
            # A little into the slot, so that what happened before it is written down.
            time.sleep(max(0.0, slot * slot_s + min(0.1, slot_s / 4) - time.time()))
            self.tick(time.time(), whole_minute=slot % SLOTS_A_MINUTE == 0)

    def tick(self, now_s: float, whole_minute: bool) -> None:
        self.read_arrivals()
        for alarm in self._alarms():
            if whole_minute or int(alarm.get("Period") or 60) < MINUTE_S:
                self.evaluate(alarm, now_s)
        if whole_minute:
            self._minutes += 1
            for schedule in self._schedules():
                rate = _RATE.fullmatch(schedule.get("ScheduleExpression", ""))
                if rate and schedule.get("State", "ENABLED") == "ENABLED":
                    every = int(rate[1]) * {"minute": 1, "hour": 60, "day": 1440}[rate[2]]
                    if self._minutes % every == 0:
                        self.fire(schedule)

    def fire(self, schedule: dict[str, Any]) -> None:
        target = schedule["Target"]
        due = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._invoke(target["Arn"], json.loads(target["Input"].replace("<aws.scheduler.scheduled-time>", due)))

    def read_arrivals(self) -> None:
        if self._arrivals is None or not self._arrivals.is_file():
            return
        with open(self._arrivals, "rb") as lines:
            lines.seek(self._offset)
            text = lines.read()
        end = text.rfind(b"\n") + 1
        self._offset += end
        taken: dict[tuple[str, int], tuple[int, int]] = {}
        slot_ms = self.metrics.minute_s / SLOTS_A_MINUTE * 1000
        for found in _ARRIVAL.finditer(text, 0, end):
            place = found[2].decode(), int(int(found[1]) // slot_ms)
            size = len(found[4]) * 3 // 4 - found[4].count(b"=") + len(found[3])
            records, total = taken.get(place, (0, 0))
            taken[place] = records + 1, total + size
        for (stream, slot), (records, total) in taken.items():
            at_s = (slot + 0.5) * slot_ms / 1000
            self.metrics.put(key("AWS/Kinesis", "IncomingRecords", {"StreamName": stream}), at_s, [records])
            self.metrics.put(key("AWS/Kinesis", "IncomingBytes", {"StreamName": stream}), at_s, [total])

    def take_log_line(self, line: str) -> None:
        if '"_aws"' not in line:
            return
        for metric, at_s, values in emf_points(line):
            self.metrics.put(metric, at_s, values)
            # The stream engine does not say what it refused; its writers do.
            dimensions = dict(metric[2])
            if metric[1] == "RecordsThrottled" and any(values) and "StreamName" in dimensions:
                refused = key("AWS/Kinesis", "WriteProvisionedThroughputExceeded", {"StreamName": dimensions["StreamName"]})
                self.metrics.put(refused, time.time(), values)

    def take_from_queue(self, metric: str, function: str, value: float) -> None:
        self.metrics.put(key("AWS/Lambda", metric, {"FunctionName": function}), time.time(), [value])

    def evaluate(self, alarm: dict[str, Any], now_s: float) -> None:
        dimensions = {one["Name"]: one["Value"] for one in alarm.get("Dimensions") or []}
        metric = key(alarm["Namespace"], alarm["MetricName"], dimensions)
        statistic = alarm.get("ExtendedStatistic") or alarm["Statistic"]
        compare = _COMPARE[alarm["ComparisonOperator"]]
        minutes = int(alarm["Period"]) / MINUTE_S
        breaching = []
        for ago in range(int(alarm.get("EvaluationPeriods") or 1)):
            value = self.metrics.statistic(metric, statistic, minutes, ago, now_s)
            if value is None and alarm.get("TreatMissingData") == "ignore":
                return
            missing = alarm.get("TreatMissingData", "missing") == "breaching"
            breaching.append(missing if value is None else compare(value, float(alarm["Threshold"])))
        self.change(alarm, "ALARM" if all(breaching) else "OK", f"evaluated against {alarm['Threshold']:.0f}")

    def change(self, alarm: dict[str, Any], state: str, reason: str) -> None:
        before = alarm["StateValue"]
        if before == state:
            return
        alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
        self.act(alarm, before, state, reason)

    def act(self, alarm: dict[str, Any], before: str, state: str, reason: str) -> None:
        """The alarm's Lambda actions for its new state; the caller has seen that it changed."""
        actions = {"ALARM": "AlarmActions", "OK": "OKActions"}.get(state, "InsufficientDataActions")
        if not alarm.get("ActionsEnabled", True):
            return
        for arn in alarm.get(actions) or []:
            if ":lambda:" not in arn:
                continue
            if self._may_invoke(arn, alarm["AlarmArn"]):
                self._invoke(arn, alarm_event(alarm, before, state, reason))
            else:
                self.refused_actions += 1

    def status(self) -> dict[str, Any]:
        return {
            "minute_s": self.metrics.minute_s,
            "refused_actions": self.refused_actions,
            "alarms": {alarm["AlarmName"]: alarm["StateValue"] for alarm in self._alarms()},
        }


def permits(policy: Mapping[str, Any], alarm_arn: str) -> bool:
    """Whether a function's resource policy lets this alarm invoke it."""
    for statement in policy.get("Statement", []):
        principal = statement.get("Principal")
        source = statement.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn", "*")
        if isinstance(principal, dict) and principal.get("Service") == ALARM_PRINCIPAL and fnmatch.fnmatch(alarm_arn, source):
            return True
    return False


def alarm_event(alarm: Mapping[str, Any], before: str, state: str, reason: str) -> dict[str, Any]:
    """What CloudWatch hands to a function."""
    _, _, _, region, account, *_ = alarm["AlarmArn"].split(":")
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())
    metric = {
        "namespace": alarm["Namespace"],
        "name": alarm["MetricName"],
        "dimensions": {one["Name"]: one["Value"] for one in alarm.get("Dimensions") or []},
    }
    stat = {"metric": metric, "period": int(alarm["Period"]), "stat": alarm.get("Statistic")}
    return {
        "source": "aws.cloudwatch",
        "alarmArn": alarm["AlarmArn"],
        "accountId": account,
        "time": now,
        "region": region,
        "alarmData": {
            "alarmName": alarm["AlarmName"],
            "state": {"value": state, "reason": reason, "timestamp": now},
            "previousState": {"value": before, "timestamp": now},
            "configuration": {
                "description": alarm.get("AlarmDescription", ""),
                "metrics": [{"id": "m1", "metricStat": stat, "returnData": True}],
            },
        },
    }
