#!/usr/bin/env python3
"""Installs pinned Python tools into the project's own .tools/: the local engine, AWS CLI and checks into .tools/venv; with
--for-deploy AWS CLI, boto3, cargo-lambda and its linker into .tools/deploy; with --for-lint checkov into .tools/lint.

Runs on a bare Python 3.11 or newer, does nothing when everything is in place, and accepts only the files whose
hashes stand in the lock file. `--lock` writes the lock file anew from the .in file beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOLS = ROOT / ".tools"
# What is installed where.
FOR_TESTS = (HERE / "requirements.txt", TOOLS / "venv")
FOR_DEPLOY = (ROOT / "infra" / "deploy-requirements.txt", TOOLS / "deploy")
FOR_LINT = (HERE / "lint-requirements.txt", TOOLS / "lint")
PIP_TOOLS = "pip-tools==7.6.2"
PYTHON_MIN = (3, 11)


def create_venv(path: Path) -> Path:
    """A virtual environment at `path`; returns its Python."""
    try:
        venv.EnvBuilder(with_pip=True, clear=True, symlinks=os.name != "nt").create(path)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"cannot create {path}: {error}\nOn Debian and Ubuntu: apt-get install python3-venv")
    return path / "bin" / "python"


def install(lock_file: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    # Its place counts, too: the scripts of a virtual environment name the directory that they were installed in.
    origin = lock_file.read_bytes() + sys.version.encode() + os.fsencode(target.resolve())
    fingerprint = hashlib.sha256(origin).hexdigest()
    stamp = target / "installed-from"

    def is_installed() -> bool:
        return stamp.is_file() and stamp.read_text() == fingerprint and (target / "bin" / "python").exists()

    if is_installed():
        print(f"tools: {target.relative_to(ROOT)} is up to date")
        return
    with alone(target):
        if not is_installed():
            install_anew(lock_file, target)
            stamp.write_text(fingerprint)
    print("tools: ready")


@contextlib.contextmanager
def alone(target: Path) -> Iterator[None]:
    """Waits until nobody else installs or uses the tools."""
    with open(target.with_suffix(".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"tools: {target.relative_to(ROOT)} is in use here; waiting until that ends (Ctrl-C gives up)", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def in_use() -> IO[str]:
    """Keeps the tools of the tests from being replaced as long as the file is open."""
    TOOLS.mkdir(exist_ok=True)
    file = open(FOR_TESTS[1].with_suffix(".lock"), "a")  # noqa: SIM115
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def install_anew(lock_file: Path, target: Path) -> None:
    print(f"tools: installing pinned packages into {target.relative_to(ROOT)} (about a minute, once)", flush=True)
    python = create_venv(target)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps", "-r", lock_file],
        check=True,
    )
    subprocess.run([python, "-m", "pip", "check"], check=True, stdout=subprocess.DEVNULL)


def lock(lock_file: Path) -> None:
    python = create_venv(TOOLS / "lock")
    subprocess.run([python, "-m", "pip", "install", "--quiet", PIP_TOOLS], check=True)
    # No index or link locations: the lock file is for every machine, whatever mirror it uses.
    subprocess.run(
        [
            python,
            "-m",
            "piptools",
            "compile",
            "--quiet",
            "--generate-hashes",
            "--no-header",
            "--strip-extras",
            "--allow-unsafe",
            "--no-emit-index-url",
            "--no-emit-trusted-host",
            "--no-emit-find-links",
            "--output-file",
            lock_file.relative_to(ROOT),
            lock_file.with_suffix(".in").relative_to(ROOT),
        ],
        check=True,
        cwd=ROOT,
    )


def main() -> None:
    if sys.version_info < PYTHON_MIN:
        sys.exit(f"Python {PYTHON_MIN[0]}.{PYTHON_MIN[1]} or newer is needed; this is {sys.version.split()[0]}")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--for-deploy", action="store_true", help="what deploying needs, not what the tests need")
    chosen.add_argument("--for-lint", action="store_true", help="the second opinion of `make lint`, not what the tests need")
    parser.add_argument("--lock", action="store_true", help="resolve the .in file into the lock file, with hashes")
    arguments = parser.parse_args()
    lock_file, target = FOR_DEPLOY if arguments.for_deploy else FOR_LINT if arguments.for_lint else FOR_TESTS
    if arguments.lock:
        lock(lock_file)
    else:
        install(lock_file, target)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed: {' '.join(str(part) for part in error.cmd)} (exit {error.returncode})")
    except KeyboardInterrupt:
        sys.exit("tools: interrupted; the next run installs them")
    except OSError as error:
        sys.exit(f"tools: {error}")
