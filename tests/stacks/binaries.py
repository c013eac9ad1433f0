"""Builds what the stacks run, as the Rust tests build it: nothing compiles twice, and nothing waits for a release build."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

from engines import start_process, stop_process
from running import ROOT, TARGET, Held

# Everything that users deploy.
FUNCTIONS = ("log-processor", "dlq-replayer", "scale-up", "scale-down", "archiver", "stream-replayer")
STREAM_ENGINE = "stream-engine"
COST_OF_FIRST_BUILD = "about 4 minutes on two cores and 1.5 GB under target/, once"


class BuildError(Exception):
    """cargo failed; its own output says why."""


def cargo_build(packages: list[str]) -> list[str]:
    """The command that builds these packages with the features of every other build here; see tests/same-features."""
    return ["cargo", "build", "--locked", *(part for name in ["same-features", *packages] for part in ("-p", name))]


class Build:
    """Binaries in the making, in one call, so that what they share is compiled once.

    SLUICE_LOG_PROCESSOR, SLUICE_STREAM_ENGINE and so on name ones that are built already. With a file for what cargo says,
    it gives way to whatever else runs.
    """

    def __init__(self, held: Held, *names: str, log: Path | None = None) -> None:
        given = {name: os.environ.get(f"SLUICE_{name.upper().replace('-', '_')}") for name in names}
        self.paths = {name: Path(given[name] or TARGET / "debug" / name) for name in names}
        self.log = log
        missing = [name for name in names if not given[name]]
        self._cargo = self._start(held, missing) if missing else None

    def _start(self, held: Held, packages: list[str]) -> subprocess.Popen[bytes]:
        if shutil.which("cargo") is None:
            raise BuildError("cargo is not on the PATH: install Rust from https://rustup.rs")
        command = cargo_build(packages)
        if self.log is None:
            first = not all(self.paths[name].exists() for name in packages)
            print(f"building {', '.join(packages)}" + (f": {COST_OF_FIRST_BUILD}" if first else ""), flush=True)
            return start_process(held, command, cwd=ROOT)
        with open(self.log, "wb") as log:
            return start_process(held, ["nice", "-n", "19", *command], cwd=ROOT, stdout=log, stderr=log)

    def wait(self, progress: Callable[[str], None] = lambda _: None) -> dict[str, Path]:
        """Their paths, as soon as they are there; `progress` hears what cargo last said in its log."""
        while self._cargo is not None:
            try:
                failed = self._cargo.wait(timeout=0.5) != 0
            except subprocess.TimeoutExpired:
                progress("".join(self.log.read_text().splitlines()[-1:]) if self.log else "")
            except BaseException:
                stop_process(self._cargo)
                raise
            else:
                if failed:
                    raise BuildError("cargo build failed" + (f"; see {self.log}" if self.log else ""))
                stop_process(self._cargo)
                self._cargo = None
        return self.paths


def package(binary: Path, archive: Path) -> Path:
    """The zip that Lambda takes: one executable file, `bootstrap`."""
    entry = zipfile.ZipInfo("bootstrap")
    entry.external_attr = 0o755 << 16
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        zipped.writestr(entry, binary.read_bytes())
    return archive
