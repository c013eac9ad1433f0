#!/usr/bin/env python3
"""The variables of the Makefile: one table behind `make help`, the checks before anything is built, and tests/stacks/README.md.

Runs on a bare Python 3.7 or newer, before anything is installed.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Callable, Mapping, NamedTuple, Optional, Sequence

from limits import RECORD_BYTES_MAX

ROOT = Path(__file__).resolve().parent.parent.parent
LAUNCH = ("deploy-autoscaling", "deploy-log-processing", "deploy-archive", "deploy-stream-replay")
DEPLOY = (*LAUNCH, "deploy-overview")
EXPANDED = ("template-autoscaling", "template-log-processing")
LOOKED_AT = ("autoscaling", "log-processing", "archive", "stream-replay")
QUARANTINE = ("quarantine-show", "quarantine-send-back")
WHAT_IF = ("what-if", "simulate")
TEST = ("test", "test-rust")
CHARACTERS_QUOTED_MAX = 80
# Standard variables of make, and those that belong to the tools that the recipes start.
OF_OTHERS = re.compile(
    r"(PYTHON|DEPLOY_TOOLS|PATH|HOME|TMPDIR|TERM|LANG|V|VERBOSE|SHELL|CC|CXX|AR|LD|RANLIB|(C|CPP|CXX|LD)FLAGS|NO_COLOR|NO_PROXY|no_proxy)$"
    r"|(GNU)?MAKE|\.|CARGO|RUST|AWS_|PIP_|PYTHON|PYTEST_|PROPTEST_|SLUICE_|LC_|HTTPS?_PROXY$|https?_proxy$"
)
OF_OTHERS_KNOWN = ("AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL", "CARGO_TARGET_DIR", "PYTHON", "RUSTFLAGS")

# What is wrong with a value, or nothing.
Check = Callable[[str], Optional[str]]


def quoted(text: str) -> str:
    """A person's text for an error: one line of at most 80 characters."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line if len(line) <= CHARACTERS_QUOTED_MAX else line[: CHARACTERS_QUOTED_MAX - 1] + "…"


def number(least: int, most: int) -> Check:
    def check(value: str) -> str | None:
        if re.fullmatch("[0-9]{1,20}", value) and least <= int(value) <= most:
            return None
        return f"is a whole number from {least} to {most:,}"

    return check


def decimal(least: float, most: float) -> Check:
    def check(value: str) -> str | None:
        if re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20})?", value) and least <= float(value) <= most:
            return None
        return f"is a number from {least:g} to {most:,g}"

    return check


def one_of(*allowed: str) -> Check:
    def check(value: str) -> str | None:
        if value in allowed:
            return None
        return f"is {', '.join(allowed[:-1])} or {allowed[-1]}"

    return check


def matching(pattern: str, words: str) -> Check:
    return lambda value: None if re.fullmatch(pattern, value) else f"is {words}"


def existing(value: str) -> str | None:
    try:
        is_there = Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or no home
        is_there = False
    return None if is_there else "is an existing file or directory"


def shell_words(value: str) -> str | None:
    try:
        shlex.split(value)
    except ValueError:
        return "is a list of arguments, and a quotation mark in it is not closed"
    return None


def anything(_value: str) -> str | None:
    return None


FLAG = one_of("0", "1")
STACK = matching("[A-Za-z][A-Za-z0-9-]{0,127}", "a stack name: a letter, then up to 127 letters, digits and hyphens")
BUCKET = matching("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket name: 3 to 63 lower-case letters, digits, dots and hyphens")


class Variable(NamedTuple):
    """A variable that a person may set on make's command line."""

    name: str
    # The value is checked by the entry of the first target that reads it.
    targets: Sequence[str]
    check: Check
    text: str
    default: str = ""


TABLE = (
    Variable("FORMAT", ("demo",), one_of("kpl", "gzip", "single"), "kpl, gzip or single: how events lie in records", "kpl"),
    Variable("TRANSFORM", ("demo",), one_of("envelope", "passthrough"), "envelope or passthrough: what is sent for an event", "envelope"),
    Variable("LOGS", ("demo",), existing, "a file or directory of your own log lines, instead of generated ones"),
    Variable("EVENTS", ("demo",), number(1, 5_000_000), "how many log events to generate", "120000"),
    Variable("EVENTS", ("chaos",), number(1, 2**32 - 1), "log events of each seed", "10000"),
    Variable("SEED", ("demo", "chaos"), number(0, 2**63), "the seed to draw from"),
    Variable("SEED", TEST, number(0, 2**64 - 1), "repeats the property tests of a run that printed this seed"),
    Variable("SEED", ("fuzz",), number(1, 2**32 - 1), "the seed to draw from"),
    Variable("SCALING", ("demo",), FLAG, "0 leaves out the second act: the load changes, and the stream scales", "1"),
    Variable("FAILURES", ("demo",), FLAG, "0 leaves out the third act: the stream fails, and one payload is poison", "1"),
    Variable("CONSUMERS", ("demo",), FLAG, "0 leaves out the last act: the stream is archived and replayed", "1"),
    Variable("KEEP", ("demo",), FLAG, "1 leaves the engines up and prints how to talk to them", "0"),
    Variable("FORCE", ("demo", "demo-stop"), FLAG, "1 first stops a demo that is running here", "0"),
    Variable("SEEDS", ("scenarios", "chaos"), number(1, 10**9), "how many seeds to run", "1000"),
    Variable("FRESH", ("chaos",), FLAG, "1 starts over instead of resuming an interrupted run", "0"),
    Variable("MINUTES", ("fuzz",), number(1, 100_000), "minutes for each fuzz target", "10"),
    Variable(
        "TARGET",
        ("fuzz",),
        one_of("data", "dead-letter", "event", "payload", "records", "text"),
        "the one fuzz target to run: data, dead-letter, event, payload, records or text",
    ),
    Variable("TRACE", WHAT_IF, existing, "a CSV file of your traffic, instead of generated traffic"),
    Variable("PEAK_MBPS", WHAT_IF, decimal(0.000001, 10_000), "scales the traffic to this peak, in MB/s"),
    Variable("EVENT_BYTES", WHAT_IF, decimal(1, RECORD_BYTES_MAX), "mean size of a log event, in bytes"),
    Variable("ARGS", WHAT_IF, shell_words, "more arguments of the program, as --html report.html"),
    Variable(
        "ARCHITECTURE",
        ("package", *LAUNCH, "verify"),
        one_of("arm64", "x86_64"),
        "arm64 or x86_64; Lambda charges a fifth less for arm64",
        "arm64",
    ),
    Variable("BUCKET", (*LAUNCH, "preflight", "removal-plan"), BUCKET, "the S3 bucket in your region that holds the code"),
    Variable("PARAMETERS", (*DEPLOY, *EXPANDED, "preflight"), anything, "the stack's parameters, as Name=value Name=value"),
    Variable("SKIP_PREFLIGHT", LAUNCH, FLAG, "1 does not look first for what would make the launch fail", "0"),
    Variable("STACK", ("preflight",), one_of(*LOOKED_AT), f"the one stack to look at: {', '.join(LOOKED_AT[:-1])} or {LOOKED_AT[-1]}"),
    Variable("ENGINE", ("verify",), one_of("aws", "local"), "aws or local: your account, or the local engines", "aws"),
    Variable("YES", ("verify",), FLAG, "1 does not ask before it begins", "0"),
    Variable(
        "CLEAN_UP",
        ("verify",),
        matching("sluice-verify-[a-z0-9]{6}", "the prefix of a run: sluice-verify- and six letters or digits"),
        "only removes what the run with this prefix left behind",
    ),
    Variable(
        "AUTOSCALING_STACK",
        ("deploy-autoscaling", "deploy-overview", "preflight", "removal-plan"),
        STACK,
        "the stack's name",
        "sluice-autoscaling",
    ),
    Variable(
        "LOG_PROCESSING_STACK",
        ("deploy-log-processing", "deploy-overview", "preflight", "removal-plan", *QUARANTINE),
        STACK,
        "the stack's name",
        "sluice-log-processing",
    ),
    Variable(
        "ARCHIVE_STACK", ("deploy-archive", "deploy-overview", "preflight", "removal-plan"), STACK, "the stack's name", "sluice-archive"
    ),
    Variable(
        "STREAM_REPLAY_STACK",
        ("deploy-stream-replay", "deploy-overview", "preflight", "removal-plan"),
        STACK,
        "the stack's name",
        "sluice-stream-replay",
    ),
    Variable("OVERVIEW_STACK", ("deploy-overview", "removal-plan"), STACK, "the stack's name", "sluice-overview"),
    Variable("QUARANTINE_QUEUE", QUARANTINE, anything, "the queue, by its URL or its name, instead of the stack that has it"),
    Variable("REASON", QUARANTINE, anything, "only messages with this reason"),
    Variable("MAX", QUARANTINE, number(1, 10**9), "at most this many messages"),
    Variable("TEXT", ("quarantine-show",), FLAG, "1 shows the text of the log messages, too", "0"),
    Variable("JSON", ("quarantine-show", "preflight"), FLAG, "1 prints all details as JSON", "0"),
    Variable("DRY_RUN", ("quarantine-send-back",), FLAG, "1 prints what would be sent back, and leaves it", "0"),
)
NAMES = tuple(dict.fromkeys(variable.name for variable in TABLE))


def of(name: str, target: str) -> Variable:
    """The variable as this target reads it."""
    return next(variable for variable in TABLE if variable.name == name and target in variable.targets)


def targets_of(name: str) -> list[str]:
    return [target for variable in TABLE if variable.name == name for target in variable.targets]


def problem(variable: Variable, value: str) -> str | None:
    """What is wrong with a value. An empty one counts as not given, except for a name that has a default."""
    if not value and variable.check is not STACK and variable.name != "ARCHITECTURE":
        return None
    wrong = variable.check(value)
    return f"{variable.name} {wrong}, not {quoted(value) or 'empty'}" if wrong else None


def makefile_targets() -> dict[str, str]:
    """Every target and what it says about itself."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    texts = dict(re.findall(r"^([a-z-]+):.*?## (.*)$", makefile, re.MULTILINE))
    return {name: texts.get(name, "") for line in re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE) for name in line.split()}


def nearest(name: str, names: Sequence[str]) -> str:
    """A question about the name that was probably meant, or nothing."""
    by_fold = {known.casefold(): known for known in names}
    folded = name.casefold()
    near = difflib.get_close_matches(folded, by_fold, 1, 0.6)
    if not near and len(folded) > 2:
        near = [known for known in by_fold if known.startswith(folded) or folded.startswith(known)][:1]
    return f"; did you mean {by_fold[near[0]]}?" if near else ""


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def path_problem(path: str) -> str | None:
    """Why nothing can be built in this directory, or nothing."""
    for characters, reason in (
        (":", "PATH and LD_LIBRARY_PATH, which cargo sets, end a directory at it"),
        ("\n\r", "cargo's lists of files end a name at it"),
        ('$`"\\', "the AWS CLI and the linker's script take it for a variable or a quotation"),
    ):
        for character in characters:
            if character in path:
                shown = quoted(character)
                return f"Nothing can be built in {quoted(path)}, because of the {shown}: {reason}. Move the clone to another directory."
    try:
        path.encode()
    except UnicodeEncodeError:
        return f"Nothing can be built in {path!a}: its name is not UTF-8. Move the clone to another directory."
    return None


def problems(goals: Sequence[str], given: Mapping[str, str], inherited: Mapping[str, str], directory: str) -> list[str]:
    """Everything that keeps make from starting, one line each.

    `given` stood on the command line; `inherited` was in the environment, where a name may well belong to something else:
    of those, only what a goal reads is looked at.
    """
    found = [text for text in [path_problem(directory)] if text]
    known = makefile_targets()
    goals = list(goals) or ["help"]
    for goal in goals:
        if goal not in known:
            found.append(f"{quoted(goal)} is not a target of this Makefile{nearest(goal, list(known))} (`make help` lists all)")
    for name, value in given.items():
        if name in NAMES:
            read_by = [goal for goal in goals if goal in targets_of(name)]
            if not read_by and all(goal in known for goal in goals):
                found.append(f"`make {' '.join(goals)}` does not use {name}; {listed(targets_of(name))} would")
            found += [text for text in {problem(of(name, goal), value) for goal in read_by} if text]
        elif not OF_OTHERS.match(name):
            found.append(f"{quoted(name)} is not a variable of this Makefile{nearest(name, NAMES + OF_OTHERS_KNOWN)}")
    for name, value in inherited.items():
        for text in {problem(of(name, goal), value) for goal in goals if goal in targets_of(name)}:
            if text:
                found.append(f"{text} (from your environment)")
    return found


def print_help() -> None:
    print("make TARGET [VARIABLE=value …]\n")
    targets = {name: text for name, text in makefile_targets().items() if text}
    for name, text in targets.items():
        print(f"  {name:<26}  {text}")
        for variable in TABLE:
            if name in variable.targets and name == next(goal for goal in variable.targets if goal in targets):
                others = [goal for goal in variable.targets if goal != name]
                default = f" [{variable.default}]" if variable.default else ""
                print(f"      {variable.name:<21} {variable.text}{default}" + (f" (also {', '.join(others)})" if others else ""))


def main(arguments: Sequence[str]) -> int:
    if arguments == ["help"]:
        print_help()
        return 0
    if arguments[:1] == ["run"]:
        # A program with the person's own arguments after ours: quotation marks group words, and nothing is expanded.
        command = [*arguments[1:], *shlex.split(os.environ.get("ARGS", ""))]
        os.execvp(command[0], command)
    # check GOALS NAME=value …: what stood on make's command line. The rest may have come with the environment.
    goals = arguments[1].split()
    given = dict(text.split("=", 1) for text in arguments[2:])
    inherited = {name: os.environ[name] for name in NAMES if name in os.environ and name not in given}
    found = problems(goals, given, inherited, os.getcwd())
    for text in found:
        print(text, file=sys.stderr)
    for name, value in inherited.items():
        if not found and any(goal in targets_of(name) for goal in goals):
            print(f"note: {name}={quoted(value)} comes from your environment", file=sys.stderr)
    # make's $(shell) sees the output, not the exit code.
    print("refused" if found else "ok")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
