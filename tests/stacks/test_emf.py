"""Every metric line that the real functions print is what AWS's published schema of the embedded metric format asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dashboard
import engines as local
import pytest
import stack
from conftest import payload_event, write_logs
from jsonschema import Draft7Validator

SCHEMA = Draft7Validator(json.loads(Path(__file__).with_name("emf_schema.json").read_text()))
# Beyond the schema: "Specification: Embedded metric format", and the quotas of CloudWatch.
METRICS_A_DIRECTIVE_MAX = 100
VALUES_A_METRIC_MAX = 100
STORAGE_RESOLUTIONS = (1, 60)


def problems(line: dict[str, Any]) -> list[str]:
    found = [error.message for error in SCHEMA.iter_errors(line)]
    if found:
        return found
    for directive in line["_aws"]["CloudWatchMetrics"]:
        names = [metric["Name"] for metric in directive["Metrics"]]
        if len(names) > METRICS_A_DIRECTIVE_MAX or len(set(names)) != len(names):
            found.append(f"{len(names)} metrics, {len(set(names))} names")
        for dimension in (name for dimensions in directive["Dimensions"] for name in dimensions):
            if not isinstance(line.get(dimension), str):
                found.append(f"the dimension {dimension} has no value")
        for metric in directive["Metrics"]:
            values = line.get(metric["Name"])
            values = values if isinstance(values, list) else [values]
            if not 0 < len(values) <= VALUES_A_METRIC_MAX or not all(type(value) in (int, float) for value in values):
                found.append(f"{metric['Name']}: {values}")
            if metric.get("StorageResolution", 60) not in STORAGE_RESOLUTIONS:
                found.append(f"{metric['Name']} has a resolution of {metric['StorageResolution']}")
    return found


def test_the_check_sees_what_is_wrong() -> None:
    def line(**changed: Any) -> dict[str, Any]:
        directive = {"Namespace": "N", "Dimensions": [["D"]], "Metrics": [{"Name": "M", "Unit": "Count"}], **changed}
        return {"_aws": {"Timestamp": 1, "CloudWatchMetrics": [directive]}, "D": "d", "M": 1}

    assert problems(line()) == []
    assert problems({**line(), "_aws": {"Timestamp": "1", "CloudWatchMetrics": []}})
    assert problems(line(Namespace=""))
    assert problems(line(Dimensions=[]))
    assert problems(line(Dimensions=[["E"]]))
    assert problems(line(Metrics=[{"Name": "M", "Unit": "Records"}]))
    assert problems(line(Metrics=[{"Name": "M", "StorageResolution": 10}]))
    assert problems(line(Metrics=[{"Name": "M"}, {"Name": "M"}]))
    assert problems({**line(), "M": [1] * 101})
    assert problems({**line(), "M": "one"})


@pytest.fixture(scope="module")
def printed(engines: local.Engines, functions: dict[str, Path]) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """The metric lines of each function, which has had good, late, undecodable and undeliverable events."""
    engines.client("logs").create_log_group(logGroupName="/t/emf")
    name = "emf"
    stack.create_stream(engines, name, 2)
    parameters = {"LogGroupNames": "/t/emf", "PutAttemptsMax": 1}
    pipeline = stack.launch_processor(engines, functions["log-processor"], name, name, 2, parameters, functions["dlq-replayer"])
    scaling = stack.launch_scaling(
        engines,
        functions["scale-up"],
        functions["scale-down"],
        f"{name}-autoscaling",
        {"StreamName": name, "ShardCountInitial": 2, "ProcessorFunctions": pipeline.function_name},
    )
    write_logs(engines, "/t/emf", "s", [f"event {number}" for number in range(500)])
    stack.settle(engines)
    stack.invoke(engines, pipeline, {"awslogs": {"data": "bm90IGd6aXA="}})
    stack.invoke(engines, pipeline, payload_event(["late"], timestamp=1_600_000_000_000))
    stack.settle(engines)
    engines.faults(name, refuse=1)
    stack.invoke(engines, pipeline, payload_event(["refused"]))
    stack.settle(engines)
    engines.faults(name)
    stack.replay(engines, pipeline, {"max": 1})
    for function, event in ((scaling.scale_up, {"wake": "reconcile"}), (scaling.scale_down, {"wake": "off-peak"})):
        assert stack.wake(engines, function, event) is None
    names = (pipeline.function_name, pipeline.replayer, scaling.scale_up, scaling.scale_down)
    yield {str(name): stack.metrics(stack.function_log(engines, pipeline, name)) for name in names}


def test_every_line_of_every_function_is_valid(printed: dict[str, list[dict[str, Any]]]) -> None:
    for function, lines in printed.items():
        assert lines, f"{function} printed no metrics"
        for line in lines:
            assert problems(line) == [], (function, line)


def test_the_lines_are_of_all_kinds(printed: dict[str, list[dict[str, Any]]]) -> None:
    names = {metric["Name"] for lines in printed.values() for line in lines
             for directive in line["_aws"]["CloudWatchMetrics"] for metric in directive["Metrics"]}  # fmt: skip
    assert {"LagOut", "EventTimeDelivered", "EventTimeDeadLettered", "ReshardsLeft", "DeadLettersReplayed"} <= names
    assert sum(line.get("EventsOutsideMetricTime", 0) for lines in printed.values() for line in lines) == 1


def test_what_came_in_and_what_became_of_it_are_equal_in_every_minute(printed: dict[str, list[dict[str, Any]]]) -> None:
    minutes = [minute for lines in printed.values() for minute in dashboard.minutes(lines)]
    assert sum(minute.came_in for minute in minutes) >= 502
    assert [minute for minute in minutes if minute.loss_percent != 0] == []
