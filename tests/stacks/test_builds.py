"""Nothing compiles twice: each build of a profile asks for the same features of every crate that others wrote."""

from __future__ import annotations

import functools
import json
import re
import shlex
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import binaries
import variables
from engines import ROOT, make

# Instrumented, or for one program alone: they share nothing with other builds anyway.
PROFILES_APART = {"fuzz", "simulate"}


def cargo(*arguments: str) -> str:
    return subprocess.run(["cargo", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def made() -> set[str]:
    """Every cargo command of the Makefile that compiles."""
    recipes = make("-n", *variables.makefile_targets()).stdout
    return {found.strip() for found in re.findall(r"\bcargo (?:build|run|test|nextest run|clippy|doc)\b[^;&|\n]*", recipes)}


def profile(command: str) -> str:
    named = re.search(r"--profile[ =](\S+)", command)
    return named[1] if named else "release" if "--release" in command else "dev"


@functools.cache
def features(command: str) -> dict[str, set[str]]:
    """Crate and version → the features with which this command compiles it."""
    words = shlex.split(command.split(" -- ")[0])
    chosen = [word for at, word in enumerate(words) if word in ("-p", "--workspace", "--no-default-features") or words[at - 1] == "-p"]
    tests = words[1] in ("test", "nextest") or "--all-targets" in words
    edges = "normal,build,dev" if tests else "normal,build"
    found = defaultdict(set)
    for line in cargo("tree", "--locked", "--prefix", "none", "--edges", edges, "--format", "{p}|{f}", *chosen).splitlines():
        crate, _, of_crate = line.removesuffix(" (*)").partition("|")
        if str(ROOT) not in crate:
            found[crate.removesuffix(" (proc-macro)")].add(of_crate)
    return dict(found)


def differences(commands: Iterable[str]) -> list[str]:
    by_crate: dict[str, dict[str, str]] = defaultdict(dict)
    for command in sorted(commands):
        for crate, found in features(command).items():
            by_crate[crate].setdefault(" and ".join(sorted(found)), command)
    return [f"{crate}: {told}" for crate, told in sorted(by_crate.items()) if len(told) > 1]


def test_builds_of_one_profile_share_what_they_compile() -> None:
    """A difference is mended in tests/same-features/Cargo.toml: name there the features that one of the commands lacks. A new
    package with tests has `same-features.workspace = true` among its dev-dependencies."""
    commands = made()
    assert {profile(command) for command in commands} == {"dev", "release", "simulate"}
    # Any act of the demo may be left out, and whoever works on one package tests that alone.
    members = json.loads(cargo("metadata", "--locked", "--no-deps", "--format-version", "1"))
    names = [member["name"] for member in members["packages"] if member["id"] in members["workspace_default_members"]]
    commands |= {" ".join(binaries.cargo_build([name])) for name in (binaries.STREAM_ENGINE, *binaries.FUNCTIONS)}
    commands |= {f"cargo test -p {name}" for name in names}
    with ThreadPoolExecutor() as pool:
        list(pool.map(features, commands))
    for one in {profile(command) for command in commands} - PROFILES_APART:
        assert differences(command for command in commands if profile(command) == one) == []


def test_what_users_deploy_has_nothing_that_only_tests_want() -> None:
    (command,) = (command for command in made() if profile(command) == "release" and "-p log-processor" in command)
    (tokio,) = (found for crate, found in features(command).items() if crate.startswith("tokio v"))
    assert not any("test-util" in one.split(",") for one in tokio)
    assert not any(crate.startswith("ferrokinesis ") for crate in features(command))


def test_a_difference_is_told_with_both_commands() -> None:
    (told,) = [told for told in differences(["cargo build -p log-processor", "cargo nextest run"]) if told.startswith("tokio v")]
    assert "test-util" in told and "cargo build -p log-processor" in told and "cargo nextest run" in told
