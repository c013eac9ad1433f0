"""Builds what the stacks run: the function as users deploy it, and the stream engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

from engines import ROOT, TARGET

# Fat LTO would make the engine's build four times as long, and nobody deploys it.
ENGINE_PROFILE = ["--profile", "engine", "--config", 'profile.engine.inherits="dev"', "--config",
                  "profile.engine.opt-level=1"]


class BuildError(Exception):
    """cargo failed; its own output says why."""


def cargo_build(*arguments: str) -> None:
    if shutil.which("cargo") is None:
        raise BuildError("cargo is not on the PATH: install Rust from https://rustup.rs")
    if subprocess.run(["cargo", "build", "--locked", *arguments], cwd=ROOT).returncode != 0:
        raise BuildError(f"cargo build {' '.join(arguments)} failed")


def stream_engine() -> Path:
    """Path of the stream engine, built when needed. SLUICE_STREAM_ENGINE names one that is built already."""
    if given := os.environ.get("SLUICE_STREAM_ENGINE"):
        return Path(given)
    cargo_build("-p", "stream-engine", *ENGINE_PROFILE)
    return TARGET / "engine" / "stream-engine"


def log_processor() -> Path:
    """Path of the function's release binary, built when needed. SLUICE_LOG_PROCESSOR names one that is built already."""
    if given := os.environ.get("SLUICE_LOG_PROCESSOR"):
        return Path(given)
    cargo_build("--release", "-p", "log-processor")
    return TARGET / "release" / "log-processor"


def scaling_functions() -> tuple[Path, Path]:
    """Paths of scale-up's and scale-down's release binaries, built when needed. SLUICE_SCALE_UP and SLUICE_SCALE_DOWN
    name ones that are built already."""
    given = os.environ.get("SLUICE_SCALE_UP"), os.environ.get("SLUICE_SCALE_DOWN")
    if given[0] and given[1]:
        return Path(given[0]), Path(given[1])
    cargo_build("--release", "-p", "scale-up", "-p", "scale-down")
    return TARGET / "release" / "scale-up", TARGET / "release" / "scale-down"


def package(binary: Path, archive: Path) -> Path:
    """The zip that Lambda takes: one executable file, `bootstrap`."""
    entry = zipfile.ZipInfo("bootstrap")
    entry.external_attr = 0o755 << 16
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        zipped.writestr(entry, binary.read_bytes())
    return archive
