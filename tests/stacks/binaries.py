"""Builds what the stacks run: the function as users deploy it, and the stream engine."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

from engines import ROOT, TARGET, stop_group, undisturbed

# Fat LTO would make the engine's build four times as long, and nobody deploys it.
ENGINE_PROFILE = ["--profile", "engine", "--config", 'profile.engine.inherits="dev"', "--config",
                  "profile.engine.opt-level=1"]


class BuildError(Exception):
    """cargo failed; its own output says why."""


def cargo_build(what: str, is_there: bool, *arguments: str) -> None:
    if shutil.which("cargo") is None:
        raise BuildError("cargo is not on the PATH: install Rust from https://rustup.rs")
    print(f"building {what}" + ("" if is_there else ": about 8 minutes on two cores, once"), flush=True)
    cargo = None
    try:
        # In a group of its own, so that all compilers end with it.
        with undisturbed():
            cargo = subprocess.Popen(["cargo", "build", "--locked", *arguments], cwd=ROOT, start_new_session=True)
        failed = cargo.wait() != 0
    except BaseException:
        if cargo is not None:
            with undisturbed():
                stop_group(cargo)
        raise
    if failed:
        raise BuildError(f"cargo build {' '.join(arguments)} failed")


def stream_engine() -> Path:
    """Path of the stream engine, built when needed. SLUICE_STREAM_ENGINE names one that is built already."""
    if given := os.environ.get("SLUICE_STREAM_ENGINE"):
        return Path(given)
    binary = TARGET / "engine" / "stream-engine"
    cargo_build("the stream engine", binary.exists(), "-p", "stream-engine", *ENGINE_PROFILE)
    return binary


# Everything that users deploy.
FUNCTIONS = ("log-processor", "dlq-replayer", "scale-up", "scale-down", "archiver", "stream-replayer")


def functions(*names: str) -> dict[str, Path]:
    """Paths of these functions' release binaries, built when needed. SLUICE_LOG_PROCESSOR, SLUICE_DLQ_REPLAYER and so on name
    ones that are built already."""
    given = {name: os.environ.get(f"SLUICE_{name.upper().replace('-', '_')}") for name in names}
    missing = [name for name in names if not given[name]]
    if missing:
        # In one call, so that what they share is compiled once.
        is_there = all((TARGET / "release" / name).exists() for name in missing)
        cargo_build("the functions", is_there, "--release", *(argument for name in missing for argument in ("-p", name)))
    return {name: Path(given[name] or TARGET / "release" / name) for name in names}


@functools.cache
def cli() -> Path:
    """Path of the program `sluice`, built when needed. SLUICE_CLI names one that is built already."""
    if given := os.environ.get("SLUICE_CLI"):
        return Path(given)
    binary = TARGET / "debug" / "sluice"
    cargo_build("the program sluice", binary.exists(), "-p", "sluice-cli")
    return binary


def package(binary: Path, archive: Path) -> Path:
    """The zip that Lambda takes: one executable file, `bootstrap`."""
    entry = zipfile.ZipInfo("bootstrap")
    entry.external_attr = 0o755 << 16
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        zipped.writestr(entry, binary.read_bytes())
    return archive
