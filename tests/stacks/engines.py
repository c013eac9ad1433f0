"""The local AWS: MiniStack for everything but the stream, ferrokinesis for the stream, both on loopback only."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import install
import running
from botocore.config import Config
from running import ROOT, undisturbed

HERE = Path(__file__).resolve().parent
REGION = "eu-central-1"
# What MiniStack knows as the account's root; nothing outside this machine does.
ENGINE_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
# What the stream engine writes beside serving: each record's arrival in milliseconds.
ARRIVALS = "arrivals.ndjson"
START_S_MAX = 30
STOP_S_MAX = 10
# Between the choice of a free port and its use another program may take it.
PORTS_TRIED_MAX = 3


class EngineError(Exception):
    """An engine did not start, answer or stop."""


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs make with the tests' own Python: the deploy tools need not be installed here."""
    return subprocess.run(
        ["make", "-o", "deploy-tools", f"DEPLOY_TOOLS={Path(sys.executable).parent}", *arguments],
        cwd=ROOT, env=plain_environment(**environment), capture_output=True, text=True,
    )  # fmt: skip


def plain_environment(**more: str) -> dict[str, str]:
    """The environment of an engine or of the AWS CLI: nothing of the person's own AWS settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {
        **kept,
        **ENGINE_CREDENTIALS,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Engines:
    """Two running engines."""

    run_directory: Path
    ministack: subprocess.Popen[bytes]
    stream: subprocess.Popen[bytes]
    endpoint: str
    stream_endpoint: str
    stay: bool
    # Key and code of each function's zip, so that it is packed and uploaded once.
    uploaded: set[tuple[str, Path]] = field(default_factory=set)

    def client(self, service: str) -> Any:
        """A boto3 client of the engine that plays this service."""
        return boto3.client(
            service,
            endpoint_url=self.stream_endpoint if service == "kinesis" else self.endpoint,
            region_name=REGION,
            aws_access_key_id=ENGINE_CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ENGINE_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"max_attempts": 3}, s3={"addressing_style": "path"}, max_pool_connections=16),
        )

    def async_queue(self) -> dict[str, int]:
        """What Lambda's asynchronous queue holds (see ministack_launcher.py)."""
        with urllib.request.urlopen(f"{self.endpoint}/_sluice/async-queue", timeout=10) as answer:
            return dict(json.load(answer))

    def cloudwatch(self) -> dict[str, Any]:
        """How the alarms stand (see metrics_and_alarms.py)."""
        with urllib.request.urlopen(f"{self.endpoint}/_sluice/cloudwatch", timeout=10) as answer:
            return dict(json.load(answer))

    def mapping(self, function: str) -> dict[str, Any]:
        """How far the event source mapping of a function is (see event_source_mapping.py); empty until it is played."""
        with urllib.request.urlopen(f"{self.endpoint}/_sluice/mappings", timeout=10) as answer:
            return dict(json.load(answer).get(function, {}))

    def fire_schedule(self, name: str) -> None:
        """Lets a schedule be due now."""
        self._post(f"{self.endpoint}/_sluice/schedules/{name}")

    def let_wait_pass(self, queue_url: str) -> int:
        """Makes every message of the queue visible that is invisible or delayed; how many there were."""
        return int(self._post(f"{self.endpoint}/_sluice/queues/{queue_url.rsplit('/', 1)[-1]}/wait-over")["visible"])

    def counted(self, queue_url: str) -> dict[str, int]:
        """Messages of a queue, hidden ones included, and the log events that they say they hold; receives none."""
        with urllib.request.urlopen(f"{self.endpoint}/_sluice/queues/{queue_url.rsplit('/', 1)[-1]}", timeout=10) as answer:
            return dict(json.load(answer))

    def let_sqs_be_down(self, seconds: float) -> None:
        """Lets SQS answer 503, to everybody, from now on for so long."""
        self._post(f"{self.endpoint}/_sluice/sqs-down/{seconds}")

    def kill_running(self, function: str) -> int:
        """Ends the function's running invocations as kill -9 does; how many there were."""
        return int(self._post(f"{self.endpoint}/_sluice/functions/{function}/kill")["killed"])

    def faults(self, stream: str, **wanted: float) -> dict[str, int]:
        """Asks the stream engine for faults (see stream-engine/src/faults.rs), without any for none; what was done so far."""
        return dict(self._post(f"{self.stream_endpoint}/_faults", {"stream": stream, **wanted})[stream])

    @staticmethod
    def _post(url: str, body: Any = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.load(answer))

    def check_alive(self) -> None:
        for name, process in (("MiniStack", self.ministack), ("the stream engine", self.stream)):
            if process.poll() is not None:
                raise EngineError(f"{name} ended with exit code {process.returncode}; see {self.run_directory}")

    def stop(self) -> None:
        with undisturbed():
            for process in (self.ministack, self.stream):
                stop_process(process)

    def leave_up(self) -> None:
        """They outlive this process; `make demo-stop` ends them."""
        _started.clear()


# Everything that was started here and has not been stopped.
_started: list[subprocess.Popen[bytes]] = []


# For the life of this process, and of its engines.
tools_in_use = functools.cache(install.in_use)


def start_process(held: running.Held, command: list[Any], **settings: Any) -> subprocess.Popen[bytes]:
    """Starts a process in a group of its own, which Ctrl-C in the terminal does not reach: `stop_started` stops it."""
    kept_open = [held.fileno(), tools_in_use().fileno()]
    with undisturbed():
        process = subprocess.Popen[bytes](command, start_new_session=True, pass_fds=kept_open, **settings)
        _started.append(process)
        held.add(process.pid)
    return process


def stop_started() -> None:
    with undisturbed():
        while _started:
            stop_group(_started.pop())


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """Ends one that `start_process` started, if it has not ended already."""
    with undisturbed():
        if process in _started:
            _started.remove(process)
            stop_group(process)


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and the functions it started; it leads a process group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def start_stream(held: running.Held, binary: Path, run_directory: Path, stay: bool) -> tuple[subprocess.Popen[bytes], str]:
    with open(run_directory / "stream.log", "wb") as log:
        process = start_process(
            held,
            [binary, "0", "--arrivals", run_directory / ARRIVALS] + ([] if stay else ["--until-stdin-closes"]),
            stdin=subprocess.DEVNULL if stay else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=plain_environment(),
        )
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    if not line.startswith("listening on "):
        raise EngineError(f"the stream engine did not start; see {run_directory / 'stream.log'}")
    return process, line.removeprefix("listening on ").strip()


def start_ministack(
    held: running.Held, run_directory: Path, stream_endpoint: str, stay: bool, minute_s: float | None
) -> tuple[subprocess.Popen[bytes], str]:
    temporary = run_directory / "tmp"
    temporary.mkdir()
    deadline = time.monotonic() + START_S_MAX
    for _ in range(PORTS_TRIED_MAX):
        port = free_port()
        endpoint = f"http://127.0.0.1:{port}"
        environment = plain_environment(
            BIND_HOST="127.0.0.1",
            GATEWAY_PORT=str(port),
            MINISTACK_HOST="127.0.0.1",
            MINISTACK_REGION=REGION,
            # SigV4 is checked and every function runs under its role's policies: the template's least privilege, for real.
            AUTH="true",
            # On its own process, or the functions do not get them.
            AWS_ENDPOINT_URL=endpoint,
            AWS_ENDPOINT_URL_KINESIS=stream_endpoint,
            SLUICE_ARRIVALS=str(run_directory / ARRIVALS),
            SLUICE_MINUTE_SECONDS=str(minute_s or ""),
            # AWS's default quota. MiniStack's own default is what this machine's memory holds, far below the 100 that must
            # stay unreserved.
            LAMBDA_ACCOUNT_CONCURRENCY="1000",
            LOG_LEVEL="WARNING",
            TMPDIR=str(temporary),
            STATE_DIR=str(run_directory / "state"),
            S3_DATA_DIR=str(run_directory / "s3"),
        )
        with open(run_directory / "ministack.log", "ab") as log:
            process = start_process(
                held,
                [sys.executable, HERE / "ministack_launcher.py"] + (["--stay"] if stay else []),
                stdin=subprocess.DEVNULL if stay else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=run_directory,
            )
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(urllib.error.URLError, OSError):
                with urllib.request.urlopen(f"{endpoint}/_sluice/async-queue", timeout=1) as answer:
                    if answer.headers.get("x-sluice-pid") != str(process.pid):
                        break  # the engine of another clone has the port
                return process, endpoint
            time.sleep(0.05)
        stop_group(process)
        _started.remove(process)
        if time.monotonic() > deadline:
            break
    raise EngineError(f"MiniStack did not start within {START_S_MAX} s; see {run_directory / 'ministack.log'}")


def start(held: running.Held, stream_binary: Path, run_directory: Path, stay: bool = False, minute_s: float | None = None) -> Engines:
    """Starts both engines with their state under `run_directory`, which is emptied first.

    A CloudWatch minute takes `minute_s` seconds; without it no alarm is evaluated and no schedule is due by itself.
    """
    shutil.rmtree(run_directory, ignore_errors=True)
    run_directory.mkdir(parents=True)
    try:
        stream, stream_endpoint = start_stream(held, stream_binary, run_directory, stay)
        ministack, endpoint = start_ministack(held, run_directory, stream_endpoint, stay, minute_s)
    except BaseException:
        stop_started()
        raise
    return Engines(run_directory, ministack, stream, endpoint, stream_endpoint, stay)
