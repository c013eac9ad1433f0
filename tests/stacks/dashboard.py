"""What the dashboard shows of lag and loss, out of the EMF lines that the functions printed.

CloudWatch would make the same numbers of them: percentiles of all values of a period, and sums by the minute in which the
events happened. The loss is worked out from these sums, where the dashboard shows what the processor itself counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from metrics_and_alarms import percentile

FATES = ("EventTimeDelivered", "EventTimeFiltered", "EventTimeDeadLettered", "EventTimeQuarantined")

Lines = Iterable[Mapping[str, Any]]


@dataclass
class Minute:
    """What became of the log events of one minute of event time."""

    epoch_s: int
    came_in: int
    fates: tuple[int, int, int, int]

    @property
    def loss_percent(self) -> float:
        return 100 * (1 - sum(self.fates) / self.came_in)


def minutes(lines: Lines) -> list[Minute]:
    """By event time, oldest first."""
    sums: dict[int, Counter[str]] = defaultdict(Counter)
    for line in lines:
        if "EventTimeIn" in line:
            sums[line["_aws"]["Timestamp"] // 1000].update({name: line.get(name, 0) for name in ("EventTimeIn", *FATES)})
    return [
        Minute(at, found["EventTimeIn"], (found[FATES[0]], found[FATES[1]], found[FATES[2]], found[FATES[3]]))
        for at, found in sorted(sums.items())
    ]


def percentiles(lines: Lines, metric: str, percents: tuple[int, ...], period_s: float) -> list[tuple[float, list[float]]]:
    """The begin of each period and its percentiles, oldest first."""
    values: dict[int, list[float]] = defaultdict(list)
    for line in lines:
        found = line.get(metric, [])
        values[int(line["_aws"]["Timestamp"] / 1000 // period_s)].extend(found if isinstance(found, list) else [found])
    return [(period * period_s, [percentile(found, percent) for percent in percents]) for period, found in sorted(values.items()) if found]
