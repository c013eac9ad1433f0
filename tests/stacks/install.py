#!/usr/bin/env python3
"""Installs the pinned Python tools (local engine, AWS CLI, checks) into the project's own .tools/venv.

Runs on a bare Python 3.11 or newer, does nothing when everything is in place, and accepts only the files whose
hashes stand in requirements.txt. `--lock` writes requirements.txt anew from requirements.in.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOLS = ROOT / ".tools"
VENV = TOOLS / "venv"
LOCK_FILE = HERE / "requirements.txt"
PIP_TOOLS = "pip-tools==7.6.2"
PYTHON_MIN = (3, 11)


def create_venv(path: Path) -> Path:
    """A virtual environment at `path`; returns its Python."""
    try:
        venv.EnvBuilder(with_pip=True, clear=True, symlinks=os.name != "nt").create(path)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"cannot create {path}: {error}\nOn Debian and Ubuntu: apt-get install python3-venv")
    return path / "bin" / "python"


def install() -> None:
    fingerprint = hashlib.sha256(LOCK_FILE.read_bytes() + sys.version.encode()).hexdigest()
    stamp = VENV / "installed-from"
    if stamp.is_file() and stamp.read_text() == fingerprint and (VENV / "bin" / "python").exists():
        print(f"tools: {VENV.relative_to(ROOT)} is up to date")
        return
    print(f"tools: installing pinned packages into {VENV.relative_to(ROOT)} (about a minute, once)", flush=True)
    python = create_venv(VENV)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes",
         "--no-deps", "-r", LOCK_FILE],
        check=True,
    )
    subprocess.run([python, "-m", "pip", "check"], check=True, stdout=subprocess.DEVNULL)
    stamp.write_text(fingerprint)
    print("tools: ready")


def lock() -> None:
    python = create_venv(TOOLS / "lock")
    subprocess.run([python, "-m", "pip", "install", "--quiet", PIP_TOOLS], check=True)
    # No index or link locations: the lock file is for every machine, whatever mirror it uses.
    subprocess.run(
        [python, "-m", "piptools", "compile", "--quiet", "--generate-hashes", "--no-header", "--strip-extras",
         "--allow-unsafe", "--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links",
         "--output-file", LOCK_FILE.relative_to(ROOT), (HERE / "requirements.in").relative_to(ROOT)],
        check=True,
        cwd=ROOT,
    )


def main() -> None:
    if sys.version_info < PYTHON_MIN:
        sys.exit(f"Python {PYTHON_MIN[0]}.{PYTHON_MIN[1]} or newer is needed; this is {sys.version.split()[0]}")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lock", action="store_true", help="resolve requirements.in into requirements.txt, with hashes")
    if parser.parse_args().lock:
        lock()
    else:
        install()


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed: {' '.join(str(part) for part in error.cmd)} (exit {error.returncode})")
