"""The queries on the dashboards, held to lines that the real functions print.

Logs Insights is played as far as the queries use it: no local engine has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import engines as local
import stack
from conftest import Launch
from test_failures import BAD_PAYLOADS
from test_scaling import LaunchScaling, scale, scaling_binaries
from test_stream_replay import Past, past

__all__ = ["past", "scale", "scaling_binaries"]

Row = dict[str, Any]


def query_of(engines: local.Engines, of_stack: str) -> str:
    body = engines.client("cloudwatch").get_dashboard(DashboardName=f"{of_stack}-{local.REGION}")["DashboardBody"]
    (query,) = [one["properties"]["query"] for one in json.loads(body)["widgets"] if one["type"] == "log"]
    return str(query)


def fields_of(query: str) -> list[str]:
    """The fields that a query shows, but for the time."""
    (shown,) = re.findall(r"\| fields @timestamp, (.*)\n", query)
    return re.findall(r"\w+", shown)


def answer(engines: local.Engines, query: str) -> tuple[list[Row], list[Row]]:
    """The lines of the query's log groups that its filter takes, and those that it leaves."""
    (wanted,) = re.findall(r"\| filter (.*)\n", query)
    wanted = re.sub(r"ispresent\((\w+)\)", r'(row.get("\1") is not None)', wanted)
    wanted = re.sub(r"(\w+) like /([^/]+)/", r'bool(re.search("\2", str(row.get("\1"))))', wanted)
    wanted = re.sub(r"(\w+) (!=|in) ", r'row.get("\1") \2 ', wanted)
    taken: list[Row] = []
    left: list[Row] = []
    for group in re.findall(r"SOURCE '([^']+)'", query):
        pages = engines.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        for line in (event["message"] for page in pages for event in page["events"]):
            if line.startswith("{"):
                row = json.loads(line)
                (taken if eval(wanted, {"row": row, "re": re}) else left).append(row)
    return taken, left


def test_the_dashboard_says_why_it_scaled(engines: local.Engines, scale: LaunchScaling) -> None:
    scaling = scale(shards=2)
    for event in ({"wake": "reconcile"}, {"shardCount": 4}, {"wake": "floor", "shardCount": 99, "forMinutes": 9}):
        stack.wake(engines, scaling.scale_up, event)
    stack.wake(engines, scaling.scale_down, {"wake": "off-peak"})
    query = query_of(engines, scaling.stack)
    taken, left = answer(engines, query)

    (by_hand,) = [row for row in taken if "go from 2 to 4 shards" in row["message"]]
    assert [name for name in fields_of(query) if name not in by_hand] == ["error", "error_message"], "nothing failed"
    assert (by_hand["trigger"], by_hand["shard_count"], by_hand["open_shards"], by_hand["goal"]) == ("manual", 4, 2, 4)
    assert {"save-state", "update-shard-count"} <= set(by_hand["actions"].split(","))
    for what in ("$0.030 an hour before, $0.060 after", "reshard calls left"):
        assert what in by_hand["message"]
    # It waits for the reshard, or halves what nobody uses once that is over.
    (off_peak,) = [row for row in taken if row.get("trigger") == "off-peak"]
    assert off_peak.get("blocked") == "resharding" or "update-shard-count" in off_peak["actions"], "what did not happen, too"
    errors = [row for row in taken if row["level"] == "ERROR"]
    failed = [row[name] for row in errors for name in ("error", "error_message") if name in row]
    assert len(failed) == 1 and "99" in failed[0], "a plan beyond the maximum"

    (idle,) = [row for row in left if row.get("trigger") == "reconcile"]
    assert idle["message"].startswith("stay at 2 shards"), "once a minute, and says nothing new"


def test_the_dashboard_says_what_is_quarantined_and_why(engines: local.Engines, launch: Launch) -> None:
    pipeline = launch()
    assert stack.invoke(engines, pipeline, BAD_PAYLOADS["not gzip"], wait=True)["error"] is None
    query = query_of(engines, f"{pipeline.function_name.removesuffix('-log-processor')}-log-processing")
    taken, left = answer(engines, query)
    (row,) = taken
    assert [name for name in fields_of(query) if name not in row] == ["error"], "nothing failed"
    assert (row["level"], row["reason"]) == ("WARN", "not-gzip")
    assert any("_aws" in line for line in left), "metric lines are no news"


def test_the_dashboard_says_what_stopped_a_replay_and_where_it_goes_on(engines: local.Engines, past: Callable[..., Past]) -> None:
    replayer = past(TargetAttemptsMax=1)
    assert "error" in replayer.run(**{"from": "never"})
    engines.client("kinesis").delete_stream(StreamName=replayer.target)
    replayer.run()
    query = query_of(engines, replayer.function)
    taken, _ = answer(engines, query)
    shown = {name for row in taken for name in row}
    assert {"level", "message", "error", "resume"} <= shown & set(fields_of(query))
    assert all(json.loads(row["resume"])["from"] for row in taken if "resume" in row)
