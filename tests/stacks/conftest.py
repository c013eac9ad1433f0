"""One pair of engines for all stack tests of a process; each test launches what it needs under a name of its own."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import binaries
import engines as local
import pytest
import running
import stack
from demo import awslogs
from read_back import Event

Launch = Callable[..., stack.Pipeline]

# `make test` runs these tests, and they run make: it is not to take itself for a part of that one.
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "GNUMAKEFLAGS"):
    os.environ.pop(name, None)


# Of each of the processes that share the tests (`pytest -n 2`), with engines of its own.
DIRECTORY = running.STACK_TESTS / os.environ.get("PYTEST_XDIST_WORKER", "")


def hold(directory: Path) -> running.Held:
    try:
        return running.hold(directory, "a run of the stack tests", "wait until it ends")
    except running.Busy as busy:
        pytest.exit(str(busy), returncode=2)


def pytest_configure(config: pytest.Config) -> None:
    # The one that shares them out says that somebody is at work here.
    if config.getoption("numprocesses", None):
        config.add_cleanup(hold(running.STACK_TESTS).file.close)


@pytest.fixture(scope="session")
def held() -> running.Held:
    return hold(DIRECTORY)


@pytest.fixture(scope="session")
def functions(held: running.Held) -> dict[str, Path]:
    """Every function, the stream engine and the program: in one build, so that none waits for the other."""
    return binaries.Build(held, binaries.STREAM_ENGINE, binaries.CLI, *binaries.FUNCTIONS).wait()


@pytest.fixture(scope="session")
def function_binary(functions: dict[str, Path]) -> Path:
    return functions["log-processor"]


@pytest.fixture(scope="session")
def engines(held: running.Held, functions: dict[str, Path]) -> Iterator[local.Engines]:
    yield local.start(held, functions[binaries.STREAM_ENGINE], DIRECTORY / "run")
    local.stop_started()


def engines_of_its_own(held: running.Held, functions: dict[str, Path], name: str, minute_s: float | None = None) -> Iterator[local.Engines]:
    """Engines for one module, which changes or counts what is in the account."""
    started = local.start(held, functions[binaries.STREAM_ENGINE], DIRECTORY / name, minute_s=minute_s)
    yield started
    started.stop()


_names = itertools.count(1)


@pytest.fixture
def launch(engines: local.Engines, function_binary: Path) -> Launch:
    """Launches log-processing.yaml against a new stream: `launch(shards=1, replayer=…, LogGroupNames=…, RecordFormat=…)`."""

    def launch_one(shards: int = 1, replayer: Path | None = None, **parameters: Any) -> stack.Pipeline:
        name = f"test-{next(_names)}"
        stack.create_stream(engines, name, shards)
        return stack.launch_processor(engines, function_binary, name, name, shards, parameters, replayer)

    return launch_one


def now_ms() -> int:
    return round(time.time() * 1000)


def write_logs(engines: local.Engines, group: str, stream: str, messages: list[str]) -> list[Event]:
    """Writes to CloudWatch Logs, as an agent does; returns what must arrive."""
    logs = engines.client("logs")
    try:
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    except logs.exceptions.ResourceAlreadyExistsException:
        pass
    timestamp = now_ms()
    logs.put_log_events(
        logGroupName=group,
        logStreamName=stream,
        logEvents=[{"timestamp": timestamp, "message": message} for message in messages],
    )
    return [Event(group, stream, timestamp, message.encode()) for message in messages]


def payload_event(messages: list[str], group: str = "g", stream: str = "s", timestamp: int | None = None) -> dict[str, Any]:
    """One payload as CloudWatch Logs hands it to the processor."""
    at = now_ms() if timestamp is None else timestamp
    return awslogs(
        {
            "messageType": "DATA_MESSAGE",
            "owner": "000000000000",
            "logGroup": group,
            "logStream": stream,
            "subscriptionFilters": ["f"],
            "logEvents": [{"id": str(number), "timestamp": at, "message": text} for number, text in enumerate(messages)],
        }
    )
