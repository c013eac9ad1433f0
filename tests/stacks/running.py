#!/usr/bin/env python3
"""Who runs engines in this clone: a demo, the stack tests, or what `make demo KEEP=1` left up.

A lock on a file says whether anybody does, and the engines hold it with the one who started them. The kernel drops it with
the last of them, so neither a kill -9 nor a restart leaves it behind. What stands in the file says who it is.

`running.py stop` is `make demo-stop`; `running.py check` fails while anything runs. Both need a bare Python only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute()
DEMO = TARGET / "demo"
STACK_TESTS = TARGET / "stack-tests"
# A demo that is asked to end stops its engines first.
END_S_MAX = 30


class Busy(Exception):
    """Somebody else is at work here; one line that says who, and what to do."""


def identity(pid: int) -> str | None:
    """What tells a process from a later one with the same number; nothing when there is none."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # Fields 3 and 22 of proc(5). A zombie has ended.
        return None if after_name[0] == "Z" else f"{boot} {after_name[19]}"
    if Path("/proc/self/stat").exists():
        return None
    told = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    )
    return told.stdout.strip() or None


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Holds Ctrl-C and SIGTERM back until the block is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, _frame: arrived.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0])


@dataclass
class Held:
    """The lock of one directory, in hand."""

    file: IO[str]
    what: str
    engines: list[tuple[int, str | None]] = field(default_factory=list)

    def fileno(self) -> int:
        return self.file.fileno()

    def add(self, pid: int) -> None:
        """Notes an engine, the leader of a process group."""
        self.engines.append((pid, identity(pid)))
        self.write()

    def write(self) -> None:
        now = {
            "what": self.what,
            "pid": os.getpid(),
            "identity": identity(os.getpid()),
            "since": time.time(),
            "engines": self.engines,
        }
        self.file.seek(0)
        self.file.truncate()
        json.dump(now, self.file)
        self.file.flush()


def lock_file(directory: Path) -> Path:
    return directory / "running.json"


def lock(directory: Path) -> IO[str] | None:
    """The locked file, or nothing when somebody else has it."""
    directory.mkdir(parents=True, exist_ok=True)
    file = open(lock_file(directory), "a+")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def state(directory: Path) -> dict[str, Any]:
    """What the one who holds the lock wrote; empty when it has not written yet."""
    try:
        return dict(json.loads(lock_file(directory).read_text()))
    except (OSError, ValueError):
        return {}


def owner_lives(now: dict[str, Any]) -> bool:
    return bool(now) and identity(now["pid"]) == now["identity"]


def described(directory: Path) -> str:
    now = state(directory)
    if not now:
        return "somebody is starting engines here"
    since = time.localtime(now["since"])
    at = time.strftime("%H:%M" if since[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M", since)
    if owner_lives(now):
        return f"{now['what']} is running here (pid {now['pid']}, since {at})"
    return f"the engines of {now['what']} are up here (since {at})"


def hold(directory: Path, what: str, remedy: str) -> Held:
    """Takes the lock of a directory, or says who has it."""
    file = lock(directory)
    if file is None:
        raise Busy(f"{described(directory)}; {remedy}")
    held = Held(file, what)
    held.write()
    return held


def is_free(directory: Path) -> bool:
    if not lock_file(directory).exists():
        return True
    file = lock(directory)
    if file is None:
        return False
    file.close()
    return True


def becomes_free(directory: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not is_free(directory):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def stop(directory: Path, force: bool) -> bool:
    """Stops what was left up here, and with `force` also a demo that is running; false when there is nothing."""
    if is_free(directory):
        return False
    now = state(directory)
    if owner_lives(now):
        if not force:
            raise Busy(f"{described(directory)}; press Ctrl-C there, or FORCE=1 stops it")
        send(now["pid"], now["identity"], signal.SIGTERM)
        if becomes_free(directory, END_S_MAX):
            return True
        # Read again: it may have started more since.
        now = state(directory)
        send(now["pid"], now["identity"], signal.SIGKILL)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid, known in now.get("engines", []):
            send(pid, known, number, group=True)
        if becomes_free(directory, END_S_MAX / 3):
            return True
    raise Busy(f"{described(directory)} and does not end")


def send(pid: int, known: str | None, number: signal.Signals, group: bool = False) -> None:
    """A signal to this very process, and to nobody who has its number by now."""
    if known is not None and identity(pid) == known:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(pid, number)


def main() -> int:
    try:
        if sys.argv[1:] == ["stop"]:
            print("stopped" if stop(DEMO, os.environ.get("FORCE") == "1") else "nothing to stop")
            return 0
        if sys.argv[1:] == ["check"]:
            for directory in (DEMO, STACK_TESTS):
                if not is_free(directory):
                    raise Busy(f"{described(directory)}; end it first (`make demo-stop FORCE=1` stops a demo)")
            return 0
    except (Busy, PermissionError) as error:
        print(error, file=sys.stderr)
        return 2
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main())
