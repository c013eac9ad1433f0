"""The demo's report: one HTML file with its plots as SVG, nothing from elsewhere, light or dark as the reader has it."""

from __future__ import annotations

import html
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import consumers_act
import dashboard
import failure_act
from limits import PUT_UNIT_BYTES
from scaling_act import MINUTE_S, Act

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 14, 40
POINTS_MAX = 4_000
COUNTERS = ("EventsIn", "EventsDelivered", "EventsFiltered", "EventsDeadLettered", "EventsQuarantined", "RecordsOut",
            "PutUnits", "PutTries", "RecordsThrottled")  # fmt: skip

STYLE = """
:root { color-scheme: light dark; --bg:#f7f8fa; --card:#fff; --ink:#1b2330; --soft:#5d6879; --line:#dfe3ea;
  --a:#1f6feb; --b:#e36209; --c:#8250df; --good:#1a7f37; --bad:#c4232c; }
@media (prefers-color-scheme: dark) { :root { --bg:#10141a; --card:#181e27; --ink:#e6eaf0; --soft:#94a0b3;
  --line:#2b3442; --a:#58a6ff; --b:#f0883e; --c:#bc8cff; --good:#3fb950; --bad:#ff6b6b; } }
* { box-sizing: border-box } body { margin:0; background:var(--bg); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif }
main { max-width:1380px; margin:0 auto; padding:32px 24px 48px }
h1 { font-size:26px; margin:0 0 2px; letter-spacing:-.01em } h2 { font-size:16px; margin:0 }
p { margin:2px 0 10px; color:var(--soft) } .origin { font-family:ui-monospace,monospace; font-size:13px }
.verdict { display:inline-block; margin:14px 0 20px; padding:7px 14px; border-radius:8px; color:#fff; font-weight:600 }
.good { background:var(--good) } .bad { background:var(--bad) }
@media (prefers-color-scheme: dark) { .verdict { color:#0b0f14 } }
.grid { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,520px),1fr)); gap:18px }
.card { background:var(--card); border:1px solid var(--line); border-radius:12px; padding:18px 20px 12px }
table { border-collapse:collapse; width:100% } td { padding:6px 8px; border-bottom:1px solid var(--line);
  vertical-align:top; font-variant-numeric:tabular-nums } tr:last-child td { border:0 } td:first-child { color:var(--soft);
  white-space:nowrap; padding-left:0 }
.figures td:nth-child(n+3) { text-align:right } .figures tr:first-child td { color:var(--soft) }
svg { width:100%; height:auto; display:block } svg text { fill:var(--soft); font-size:11.5px }
.grid-line { stroke:var(--line) } .axis { stroke:var(--soft) }
.sa { stroke:var(--a); fill:none; stroke-width:2 } .sb { stroke:var(--b); fill:none; stroke-width:2 }
.fa { fill:var(--a) } .fb { fill:var(--b) } .dot { fill:var(--a); fill-opacity:.35 }
.sc { stroke:var(--c); fill:none; stroke-width:2 }
.mark { stroke:var(--bad); stroke-dasharray:5 4 } svg text.on { fill:var(--ink) }
.wide { grid-column:1 / -1 } .part { margin:34px 0 14px; font-size:20px }
.key { display:inline-block; width:11px; height:11px; border-radius:3px; margin:0 5px 0 12px }
footer { margin-top:26px; color:var(--soft); font-size:13px }
"""


@dataclass
class Facts:
    """What the report shows."""

    title: str
    origin: str
    good: bool
    rows: Sequence[tuple[str, str]]
    sent_at: dict[int, int]
    delivered_at: dict[int, int]
    arrivals: Sequence[tuple[int, int]]
    record_sizes: Sequence[int]
    bytes_by_shard: dict[str, int]
    shards: int
    metrics: Sequence[dict[str, Any]]
    queue: dict[str, int]
    act: Act | None = None
    failures: failure_act.Act | None = None
    consumed: consumers_act.Act | None = None


def ticks(most: float, wanted: int = 5) -> list[float]:
    """Round numbers from 0 to just over `most`."""
    if most <= 0:
        return [0, 1]
    raw = most / wanted
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    return [step * index for index in range(math.ceil(most / step) + 1)]


def short(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.3g}"


class Plot:
    """A frame with axes from zero; x and y are scaled to it."""

    def __init__(
        self,
        x_most: float,
        y_most: float,
        x_title: str,
        y_title: str,
        x_label: Callable[[float], str] = short,
        y_label: Callable[[float], str] = short,
        x_ticks: Sequence[float] | None = None,
    ) -> None:
        y_marks = ticks(y_most)
        self._y_most = y_marks[-1]
        self._x_most = x_most or 1
        self.parts: list[str] = []
        for mark in y_marks:
            y = self.y(mark)
            self.parts.append(f'<line class="grid-line" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.parts.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{y_label(mark)}</text>')
        for mark in ticks(x_most) if x_ticks is None else x_ticks:
            if mark <= self._x_most:
                self.parts.append(f'<text x="{self.x(mark):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x_label(mark)}</text>')
        bottom = HEIGHT - BOTTOM
        self.parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
        self.parts.append(
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}" text-anchor="middle">{html.escape(x_title)}</text>'
            f'<text transform="translate(13 {(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">{html.escape(y_title)}</text>'
        )

    def x(self, value: float) -> float:
        return LEFT + value / self._x_most * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self._y_most * (HEIGHT - TOP - BOTTOM)

    def line(self, style: str, points: Sequence[tuple[float, float]]) -> None:
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self.parts.append(f'<polyline class="{style}" points="{path}"/>')

    def bar(self, style: str, left: float, right: float, value: float, tip: str) -> None:
        if value > 0:
            x, y = self.x(left), self.y(value)
            width = max(0.8, self.x(right) - x - 1)
            self.parts.append(
                f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                f'height="{HEIGHT - BOTTOM - y:.1f}" rx="1.5"><title>{html.escape(tip)}</title></rect>'
            )

    def dots(self, points: Sequence[tuple[float, float]]) -> None:
        self.parts.extend(f'<circle class="dot" cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="1.6"/>' for x, y in points)

    def mark(self, x: float, label: str, end: bool = False) -> None:
        at = self.x(x)
        self.parts.append(
            f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
            f'<text class="on" x="{at + (-5 if end else 5):.1f}" y="{TOP + 10}" '
            f'text-anchor="{"end" if end else "start"}">{html.escape(label)}</text>'
        )

    def mark_level(self, y: float, label: str) -> None:
        at = self.y(y)
        self.parts.append(
            f'<line class="mark" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="on" x="{WIDTH - RIGHT - 4}" y="{at - 5:.1f}" text-anchor="end">{html.escape(label)}</text>'
        )

    def svg(self, title: str) -> str:
        return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">{"".join(self.parts)}</svg>'


def card(title: str, text: str, body: str) -> str:
    return f'<section class="card"><h2>{html.escape(title)}</h2><p>{text}</p>{body}</section>'


def key(style: str, label: str) -> str:
    return f'<span class="key" style="background:var(--{style})"></span>{html.escape(label)}'


def running_total(at: dict[int, int], first: int) -> list[tuple[float, float]]:
    points, total = [(0.0, 0.0)], 0
    for tenth in sorted(at):
        points.append(((tenth - first) / 10, total))
        total += at[tenth]
        points.append(((tenth - first) / 10, total))
    return points


def flow(facts: Facts) -> str:
    first = min(facts.sent_at)
    sent, delivered = running_total(facts.sent_at, first), running_total(facts.delivered_at, first)
    most_x = max(sent[-1][0], delivered[-1][0])
    sent.append((most_x, sent[-1][1]))
    plot = Plot(most_x, max(sent[-1][1], delivered[-1][1]), "seconds since the first event", "events")
    plot.line("sa", sent)
    plot.line("sb", delivered)
    text = f"Running totals.{key('a', 'sent')}{key('b', 'in the stream')}. The gap between the lines is what is under way."
    return card("Delivered against sent", text, plot.svg("Events sent and delivered over time"))


def rate(facts: Facts) -> str:
    first = min(facts.sent_at)
    half = Counter[int](), Counter[int]()
    for total, at in zip(half, (facts.sent_at, facts.delivered_at), strict=True):
        for tenth, count in at.items():
            total[(tenth - first) // 5] += count * 2
    last = max(max(total) for total in half)
    plot = Plot((last + 1) / 2, max(max(total.values()) for total in half), "seconds since the first event", "events a second")
    for style, total in zip(("sa", "sb"), half, strict=True):
        plot.line(style, [(slot / 2 + 0.25, total[slot]) for slot in range(last + 1)])
    text = f"Half-second buckets.{key('a', 'sent')}{key('b', 'in the stream')}."
    return card("Rate", text, plot.svg("Rate over time"))


def lag_over_time(facts: Facts) -> str:
    first = min(facts.sent_at) * 100
    stride = max(1, len(facts.arrivals) // POINTS_MAX)
    points = [((arrived - first) / 1000, lag) for arrived, lag in sorted(facts.arrivals)[::stride]]
    plot = Plot(max(x for x, _ in points), max(lag for _, lag in points), "seconds since the first event", "lag, ms")
    plot.dots(points)
    shown = "each dot an event" if stride == 1 else f"each dot one event in {stride}"
    return card("Lag over time", f"Arrival in the stream less the event's own timestamp; {shown}.", plot.svg("Lag over time"))


def lag_distribution(facts: Facts) -> str:
    lags = sorted(lag for _, lag in facts.arrivals)
    most = lags[-1] or 1
    bins = 60
    counts = Counter(min(bins - 1, max(0, lag) * bins // most) for lag in lags)
    plot = Plot(most, max(counts.values()), "lag, ms", "events")
    for index in range(bins):
        left, right = index * most / bins, (index + 1) * most / bins
        plot.bar("fa", left, right, counts[index], f"{left:,.0f} to {right:,.0f} ms: {counts[index]:,} events")
    p50, p99 = lags[len(lags) // 2], lags[min(len(lags) - 1, len(lags) * 99 // 100)]
    plot.mark(p99, f"p99 {p99:,} ms", end=p99 > most * 0.6)
    return card("Lag distribution", f"p50 {p50:,} ms, p99 {p99:,} ms, longest {lags[-1]:,} ms.", plot.svg("Lag distribution"))


def record_sizes(facts: Facts) -> str:
    """Sizes against the unit that a put is billed in; the long tail is gathered in the last bar."""
    cap = 2 * PUT_UNIT_BYTES
    step = PUT_UNIT_BYTES // 25
    counts = Counter(min(size, cap - 1) // step for size in facts.record_sizes)
    plot = Plot(cap, max(counts.values()), "record size, KB (partition key included)", "records",
                x_label=lambda value: "50+" if value == cap else f"{value / 1000:.0f}",
                x_ticks=[index * 5_000 for index in range(11)])  # fmt: skip
    for index, count in counts.items():
        plot.bar("fa", index * step, (index + 1) * step, count, f"{index * step / 1000:.0f} KB and up: {count:,} records")
    plot.mark(PUT_UNIT_BYTES, "25 KB: one put unit", end=True)
    longer = sum(size > PUT_UNIT_BYTES for size in facts.record_sizes)
    mean = sum(facts.record_sizes) / len(facts.record_sizes)
    text = f"{len(facts.record_sizes):,} records of {mean / 1000:,.1f} KB on average; {longer:,} larger than one unit."
    return card("Record sizes against the unit that is billed", text, plot.svg("Record sizes"))


def shards(facts: Facts) -> str:
    values = sorted(facts.bytes_by_shard.items())
    values += [("unused", 0)] * (facts.shards - len(values))
    mean = sum(value for _, value in values) / len(values)
    most = max(value for _, value in values)
    plot = Plot(len(values), most, "shard", "bytes", x_label=lambda at: f"{at - 0.5:.0f}",
                x_ticks=[index + 0.5 for index in range(len(values))])  # fmt: skip
    for index, (name, value) in enumerate(values):
        plot.bar("fa", index + 0.12, index + 0.88, value, f"{name}: {value:,} bytes")
    plot.mark_level(mean, f"mean {short(mean)}B")
    text = f"The fullest shard holds {most / mean - 1:.1%} more than the mean."
    return card("Bytes a shard", text, plot.svg("Bytes by shard"))


def table(facts: Facts) -> str:
    body = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in facts.rows)
    return f'<section class="card"><h2>The count</h2><p>Every event sent, compared with every event read back.</p><table>{body}</table></section>'


def own_metrics(facts: Facts) -> str:
    """What the function itself reported, in the EMF lines that CloudWatch would turn into metrics."""

    def total(name: str) -> int:
        return sum(value if isinstance(value, int | float) else sum(value) for line in facts.metrics
                   if isinstance(value := line.get(name, 0), int | float | list))  # fmt: skip

    lines = [
        ("invocations with a metric line", f"{sum('EventsIn' in line for line in facts.metrics):,}"),
        *((name, f"{total(name):,.0f}") for name in COUNTERS if any(name in line for line in facts.metrics)),
        ("held back at the reserved concurrency", f"{facts.queue['throttles']:,} times"),
        ("failed invocations", f"{facts.queue['errors']:,}"),
    ]  # fmt: skip
    body = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in lines)
    return f"<section class=\"card\"><h2>The function's own account</h2><p>Sums of its EMF lines, and of Lambda's queue.</p><table>{body}</table></section>"


def forwarded(act: Act) -> str:
    """The first figure of the original: forwarded events against records in."""
    first = int(act.started_s)
    most = math.ceil(max(max(act.sent_at), max(act.delivered_at)) / 10) - first
    totals = Counter[int](), Counter[int]()
    for total, at in zip(totals, (act.sent_at, act.delivered_at), strict=True):
        for tenth, count in at.items():
            total[tenth // 10 - first] += count
    plot = Plot(most, max(max(total.values()) for total in totals), "seconds", "a second")
    for style, total in zip(("sa", "sb"), totals, strict=True):
        # The last second is not a whole one.
        plot.line(style, [(second + 0.5, total[second]) for second in range(most - 1)])
    plot.mark(act.busy[0] - first, "load rises")
    plot.mark(act.busy[1] - first, "load falls")
    text = f"A record an event.{key('a', 'forwarded events')}{key('b', 'records in')}. What the stream does not take yet waits in Lambda's queue."
    return card("Forwarded events against records in", text, plot.svg("Forwarded events and incoming records over time"))


def following(act: Act) -> str:
    """The second figure of the original: open shards, concurrency limit, concurrent processors."""
    samples = [(sample.at_s - act.started_s, sample) for sample in act.samples if sample.at_s >= act.started_s]
    plot = Plot(samples[-1][0], max(max(one.open_shards, one.concurrency_limit, one.processors) for _, one in samples),
                "seconds", "shards, processors")  # fmt: skip
    series: list[tuple[str, list[float]]] = [
        ("sc", [one.processors for _, one in samples]),
        ("sa", [one.open_shards for _, one in samples]),
        ("sb", [one.concurrency_limit for _, one in samples]),
    ]
    for style, values in series:
        points: list[tuple[float, float]] = []
        for (at, _), value in zip(samples, values, strict=True):
            if points:
                points.append((at, points[-1][1]))
            points.append((at, value))
        plot.line(style, points)
    text = f"{key('a', 'open shards')}{key('b', 'concurrency limit')}{key('c', 'concurrent processors')}. The limit rises after the shards are open and falls before they close."
    return card("Shards, and who follows them", text, plot.svg("Open shards, concurrency limit and processors over time"))


def decided(act: Act) -> str:
    body = "".join(
        f"<tr><td>{at:.1f} s</td><td>{html.escape(who)}</td><td>{html.escape(text)}</td></tr>" for at, who, text in act.decisions
    )
    return f'<section class="card wide"><h2>Decisions and their reasons</h2><p>As the functions report them, without repetitions.</p><table>{body}</table></section>'


def scaled(act: Act) -> str:
    body = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in act.rows())
    count = f'<section class="card"><h2>The count</h2><p>Of a stream of its own.</p><table>{body}</table></section>'
    return (
        f'<h2 class="part">Load rises and falls</h2><p>CloudWatch\'s clock runs fast here: one of its minutes takes {MINUTE_S:.0f} seconds.</p>'
        f'<div class="grid">{count}{forwarded(act)}{following(act)}{decided(act)}</div>'
    )


def where_they_are(act: failure_act.Act) -> str:
    """Every event is somewhere: on its way, in the stream, or waiting in the dead-letter queue."""
    first = int(act.started_s * 10)
    sent, delivered = running_total(act.sent_at, first), running_total(act.delivered_at, first)
    most_x = max(sent[-1][0], delivered[-1][0], act.replay[1] - act.started_s)
    sent.append((most_x, sent[-1][1]))
    delivered.append((most_x, delivered[-1][1]))
    plot = Plot(most_x, sent[-1][1], "seconds", "events")
    plot.line("sa", sent)
    plot.line("sb", delivered)
    waiting = [(max(0.0, one.at_s - act.started_s), one.dead_lettered_events) for one in act.samples]
    plot.line("sc", [(at, count) for at, count in waiting if at <= most_x])
    for at, label in ((act.refusing[0], "refuses"), (act.refusing[1], "takes again"), (act.replay[0], "replay")):
        plot.mark(at - act.started_s, label)
    text = (
        f"Running totals.{key('a', 'sent')}{key('b', 'in the stream')}{key('c', 'waiting in the dead-letter queue')}. "
        "The replay brings the second line up to the first."
    )
    return card("Where the events are", text, plot.svg("Events sent, delivered and dead-lettered over time"))


def kept_apart(act: failure_act.Act) -> str:
    """The payload that no replay can deliver."""
    samples = [(max(0.0, one.at_s - act.started_s), one.quarantined_messages) for one in act.samples]
    plot = Plot(samples[-1][0], max(5, max(count for _, count in samples)), "seconds", "payloads")
    points: list[tuple[float, float]] = []
    for at, count in samples:
        if points:
            points.append((at, points[-1][1]))
        points.append((at, count))
    plot.line("sb", points)
    plot.mark(act.refusing[0] - act.started_s, "poison comes")
    text = f"{html.escape(', '.join(act.quarantine_reasons))}: it goes there at once, stays for 14 days, and sets off an alarm."
    return card("In quarantine", text, plot.svg("Payloads in quarantine over time"))


def failed(act: failure_act.Act) -> str:
    body = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in act.rows())
    count = f'<section class="card"><h2>The count</h2><p>Of a stream of its own.</p><table>{body}</table></section>'
    return (
        '<h2 class="part">The stream refuses, and one payload is poison</h2><p>What is refused too often waits in the dead-letter '
        "queue until the replayer comes, here at once, on AWS every day.</p>"
        f'<div class="grid">{count}{where_they_are(act)}{kept_apart(act)}</div>'
    )


def read_by_the_archiver(act: consumers_act.Act) -> str:
    # From just before the first batch: before that it was being launched.
    waited = sum(count == 0 for _, count in act.handed_over)
    samples = act.handed_over[max(0, waited - 1) :]
    first = samples[0][0]
    plot = Plot(samples[-1][0] - first, act.mapping["records"], "seconds since its first batch", "records")
    points: list[tuple[float, float]] = []
    for at, count in samples:
        if points:
            points.append((at - first, points[-1][1]))
        points.append((at - first, count))
    plot.line("sa", points)
    text = f"Running total, from the stream's oldest record on.{key('a', 'handed over, and archived by its answer')}."
    return card("What the archiver has", text, plot.svg("Records handed to the archiver over time"))


def once_more(act: consumers_act.Act) -> str:
    """The window as it was, and the replay of it, each from its own beginning."""

    def totals(arrivals: Sequence[tuple[int, int]], first_ms: float) -> list[tuple[float, float]]:
        by_tenth: Counter[int] = Counter()
        for at_ms, events in arrivals:
            by_tenth[int((at_ms - first_ms) // 100)] += events
        return running_total(by_tenth, 0)

    before = totals(act.window_arrivals, act.window_ms[0])
    again = totals(act.replay_arrivals, act.replay_began_s * 1000)
    plot = Plot(max(before[-1][0], again[-1][0]), max(before[-1][1], again[-1][1]), "seconds since its beginning", "events")
    plot.line("sa", before)
    plot.line("sb", again)
    for run in act.runs[:-1]:
        plot.mark(run["_aws"]["Timestamp"] / 1000 - act.replay_began_s, "wakes itself")
    text = f"Running totals.{key('a', 'when it was first written')}{key('b', 'replayed, at a chosen rate')}. The lines end at one height."
    return card("The first half once more", text, plot.svg("Events of the first half, and of its replay, over time"))


def consumed(act: consumers_act.Act) -> str:
    body = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in act.rows())
    text = "What was sent against what lies in S3; what lay in the window against what the second stream got."
    count = f'<section class="card wide"><h2>The count</h2><p>{text}</p><table>{body}</table></section>'
    return (
        '<h2 class="part">Who reads the stream</h2><p>The archiver carries the first act\'s stream into S3; the replayer brings the '
        "first half of it into a second stream.</p>"
        f'<div class="grid">{count}{read_by_the_archiver(act)}{once_more(act)}</div>'
    )


def lag_shown(act: str, lines: Sequence[dict[str, Any]]) -> str:
    """The dashboard's widget on lag, of one act."""
    percents = (50, 99)
    lags = {name: dashboard.percentiles(lines, name, percents, MINUTE_S) for name in ("LagOut", "LagIn")}
    first = min(points[0][0] for points in lags.values() if points)
    most_x = max(points[-1][0] for points in lags.values() if points) - first + MINUTE_S
    most = max(max(values) for points in lags.values() for _, values in points)
    plot = Plot(most_x, most, "seconds", "lag, ms")
    for style, name, place in (("sc", "LagIn", 1), ("sa", "LagOut", 0), ("sb", "LagOut", 1)):
        plot.line(style, [(at - first + MINUTE_S / 2, values[place]) for at, values in lags[name]])
    text = f"{key('a', 'out p50')}{key('b', 'out p99')}{key('c', 'in p99')}. A data point takes {MINUTE_S:.0f} s here, a minute on AWS."
    return card(f"Lag: {act}", text, plot.svg(f"Lag of {act} as the dashboard shows it"))


def loss_shown(acts: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> str:
    """The dashboard's widget on events by the minute in which they happened, as a table: so short a time has few minutes."""
    head = "".join(
        f"<td>{name}</td>" for name in ("", "minute (UTC)", "in", "delivered", "filtered", "dead-lettered", "quarantined", "loss")
    )
    body = "".join(
        f"<tr><td>{html.escape(act)}</td><td>{time.strftime('%H:%M', time.gmtime(minute.epoch_s))}</td><td>{minute.came_in:,}</td>"
        f"{''.join(f'<td>{count:,}</td>' for count in minute.fates)}<td>{minute.loss_percent:.2f} %</td></tr>"
        for act, lines in acts
        for minute in dashboard.minutes(lines)
    )
    text = (
        "By the minute in which the events happened. A dead-lettered event that is replayed comes in once more and is delivered: its "
        "minute stays in balance. The dashboard and its alarm go by what the processor counts as lost, by the minute of arrival."
    )
    return f'<section class="card wide"><h2>Loss</h2><p>{text}</p><table class="figures"><tr>{head}</tr>{body}</table></section>'


def as_the_dashboard(facts: Facts) -> str:
    acts: list[tuple[str, Sequence[dict[str, Any]]]] = [("everything arrives", facts.metrics)]
    if facts.act:
        acts.append(("load rises and falls", facts.act.metrics))
    if facts.failures:
        acts.append(("the stream refuses", facts.failures.metrics))
    cards = "".join(lag_shown(act, lines) for act, lines in acts if any("LagOut" in line for line in lines))
    return (
        '<h2 class="part">As the dashboard shows it</h2><p>Made of the very lines that the functions printed, as CloudWatch would.</p>'
        f'<div class="grid">{cards}{loss_shown(acts)}</div>'
    )


def write(path: Path, facts: Facts) -> Path:
    """Writes the report and returns its path."""
    cards = [table(facts), own_metrics(facts)]
    if facts.sent_at and facts.delivered_at:
        cards += [flow(facts), rate(facts)]
    if facts.arrivals:
        cards += [lag_distribution(facts), lag_over_time(facts)]
    if facts.record_sizes:
        cards += [record_sizes(facts), shards(facts)]
    verdict = (
        '<div class="verdict good">Every event exactly once, byte for byte</div>'
        if facts.good
        else '<div class="verdict bad">Not every event exactly once</div>'
    )
    path.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Sluice demo</title><style>{STYLE}</style><main><h1>{html.escape(facts.title)}</h1>"
        f'<p class="origin">{html.escape(facts.origin)}</p>{verdict}<div class="grid">{"".join(cards)}</div>{scaled(facts.act) if facts.act else ""}'
        f"{failed(facts.failures) if facts.failures else ''}{consumed(facts.consumed) if facts.consumed else ''}{as_the_dashboard(facts)}"
        "<footer>Local engines, not AWS: times are this machine's. Arrival is taken from the stream engine's own log in "
        "milliseconds, because it serves ApproximateArrivalTimestamp in whole seconds. $ per TB: put units and fully used "
        "shard-hours at us-east-1 list prices, without Lambda.</footer></main></html>",
        encoding="utf-8",
    )
    return path
