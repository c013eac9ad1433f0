"""What `make` promises about itself."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import binaries
import engines
import install
import pytest
import running
import variables
from engines import ROOT

ODD_PLACE = "a b'c ü #x (1)"


def make(*arguments: str, cwd: str | Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {name: value for name, value in os.environ.items() if name not in variables.NAMES}
    if cwd != ROOT:
        # Another clone builds, and cleans, in a place of its own.
        settings.pop("CARGO_TARGET_DIR", None)
    return subprocess.run(
        ["make", *arguments], cwd=cwd, capture_output=True, text=True, env={**settings, "LC_ALL": "C.UTF-8", **environment}
    )


def seeds(*arguments: str, **environment: str) -> set[str]:
    """Every seed that `make test-rust` would print or use."""
    return set(re.findall(r"SEED=(\d+)", make("-n", "test-rust", *arguments, **environment).stdout))


def test_the_seed_that_is_printed_is_the_one_that_is_used() -> None:
    assert len(seeds()) == 1
    assert seeds() != seeds(), "another one each time"


@pytest.mark.parametrize("seed", ["7", "4294967295"])
def test_a_seed_that_is_asked_for_is_used(seed: str) -> None:
    assert seeds(f"SEED={seed}") == {seed}
    assert seeds(SEED=seed) == {seed}


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["demo", "EVENT=5"], "EVENT is not a variable of this Makefile; did you mean EVENTS?"),
        (["demo", "events=5"], "events is not a variable of this Makefile; did you mean EVENTS?"),
        (["package", "ARCH=arm64"], "ARCH is not a variable of this Makefile; did you mean ARCHITECTURE?"),
        (["deploy-archive", "REGION=x"], "did you mean AWS_REGION?"),
        (["deploy-archive", "PARAMETRS:=A=$."], "PARAMETRS is not a variable of this Makefile; did you mean PARAMETERS?"),
        (["build", "FUNCTIONS=archiver"], "FUNCTIONS is not a variable of this Makefile"),
        (["package", "ARCHITECTURE=x86"], "ARCHITECTURE is arm64 or x86_64, not x86"),
        (["package", "ARCHITECTURE="], "ARCHITECTURE is arm64 or x86_64, not empty"),
        (["demo", "EVENTS=five"], "EVENTS is a whole number from 1 to 5,000,000, not five"),
        (["demo", "EVENTS=0"], "EVENTS is a whole number"),
        (["demo", "EVENTS=٣"], "EVENTS is a whole number"),
        (["demo", "EVENTS=5000001"], "not 5000001"),
        (["demo", "SEED=-1"], "SEED is a whole number"),
        (["test", "SEED=18446744073709551616"], "SEED is a whole number"),
        (["demo", "FORMAT=json"], "FORMAT is kpl, gzip or single, not json"),
        (["demo", "KEEP=yes"], "KEEP is 0 or 1, not yes"),
        (["demo", "LOGS=/no/such/place"], "LOGS is an existing file or directory, not /no/such/place"),
        (["fuzz", "TARGET=evnt"], "TARGET is data, dead-letter"),
        (["simulate", "PEAK_MBPS=1e3"], "PEAK_MBPS is a number"),
        (["what-if", "ARGS='open"], "quotation mark"),
        (["what-if", "TRACE=/no/trace.csv"], "TRACE is an existing file"),
        (["deploy-archive", "BUCKET=My Bucket"], "BUCKET is a bucket name"),
        (["deploy-archive", "ARCHIVE_STACK=a_b"], "ARCHIVE_STACK is a stack name"),
        (["quarantine-show", "MAX=all"], "MAX is a whole number"),
        (["demo", "BUCKET=b-1"], "`make demo` does not use BUCKET; deploy-autoscaling,"),
        (["quarantine-send-back", "TEXT=1"], "does not use TEXT; quarantine-show would"),
        (["EVENTS=5"], "`make help` does not use EVENTS; demo and chaos would"),
        (["dmeo"], "dmeo is not a target of this Makefile; did you mean demo?"),
        (["deploy"], "deploy is not a target of this Makefile; did you mean deploy-"),
        (["demo", "LOGS=" + "x" * 500 + "\n\x1b"], "x" * 79 + "…"),
    ],
)
def test_what_make_does_not_know_is_refused_before_anything_is_done(arguments: list[str], told: str) -> None:
    refused = make(*arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert told in refused.stderr
    assert refused.stderr.endswith("Nothing was built or installed.  Stop.\n")
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr) < 600


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "EVENTS=1", "SEED=0", "KEEP=1", "SCALING=0", "FORMAT=gzip", "LOGS="],
        ["build", "CARGO_TARGET_DIR=/tmp/x", "RUSTFLAGS=-g", "CC=clang", "V=1", "PYTHON=python3", "SHELL=/bin/bash"],
        ["deploy-archive", "AWS_PROFILE=p", "BUCKET=abc", "PARAMETERS=StreamName=a"],
        ["test", "lint", "SEED=3"],
        ["chaos", "EVENTS=6000000"],
    ],
)
def test_what_make_knows_is_let_through(arguments: list[str]) -> None:
    assert make("-n", *arguments).returncode == 0


def test_the_environment_of_other_programs_is_left_alone_and_what_is_used_of_it_is_said() -> None:
    assert make("-n", "build", TARGET="x86_64-unknown-linux-gnu", LOGS="/no/such", MAX="many").returncode == 0
    assert "note: SEED=7 comes from your environment" in make("-n", "demo", SEED="7").stderr
    assert "EVENTS is a whole number from 1 to 5,000,000, not many (from your environment)" in make("-n", "demo", EVENTS="many").stderr


TEXTS = [
    "FilterPattern='{ $.level = \"ERROR\" }' B=cron(0 1 * * ? *)",
    "$(shell touch pwned) `touch pwned` $$HOME ${HOME} $@",
    "it's # not a comment; a \\ and \\n and a\nline break, 100 % ü",
    '"',
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name, target", [("PARAMETERS", "deploy-archive"), ("REASON", "quarantine-show")])
def test_the_text_of_a_person_reaches_its_program_as_written(tmp_path: Path, text: str, name: str, target: str) -> None:
    clone = cloned(tmp_path / "clone")
    program = clone / ".tools" / "deploy" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nprintf %s "${name}" > seen\nfor argument; do printf "%s\\0" "$argument"; done > arguments\n')
    program.chmod(0o755)
    no_install = tmp_path / "python"
    no_install.write_text(f'#!/bin/sh\ncase $1 in *install.py) exit 0;; esac\nexec "{sys.executable}" "$@"\n')
    no_install.chmod(0o755)
    done = make(target, f"{name}={text}", f"PYTHON={no_install}", cwd=clone, SLUICE_CLI=str(program))
    assert done.returncode == 0, done.stderr
    assert (clone / "seen").read_text() == text
    if name == "REASON":
        assert f"--reason={text}" in (clone / "arguments").read_text().split("\0")
    assert not (clone / "pwned").exists()


def cloned(place: Path) -> Path:
    """What git has of this tree, and no build."""
    for name in ("Makefile", "infra", "shared/sluice/src/limits.rs", "tests/stacks"):
        source, target = ROOT / name, place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "stream-engine"))
        else:
            shutil.copy(source, target)
    return place


def test_a_clone_in_a_folder_with_an_odd_name_works(tmp_path: Path) -> None:
    clone = cloned(tmp_path / ODD_PLACE)
    assert make("-n", "demo", cwd=clone).returncode == 0
    assert make("demo-stop", cwd=clone).stdout == "nothing to stop\n"
    (clone / "target").mkdir(exist_ok=True)
    assert make("clean", cwd=clone).returncode == 0
    assert not (clone / "target").exists()


@pytest.mark.parametrize("name", ["a:b", "a\nb", "a$HOME", 'a"b', "a\\b", "a`b"])
def test_a_folder_in_which_nothing_can_be_built_is_refused_at_once(tmp_path: Path, name: str) -> None:
    refused = make("build", cwd=cloned(tmp_path / name))
    assert refused.returncode == 2
    assert "Nothing can be built in" in refused.stderr
    assert refused.stdout == ""


def test_no_script_of_the_tools_is_started_by_its_first_line() -> None:
    """It names the directory in which it was installed, and a moved clone has another."""
    started = (ROOT / "Makefile").read_text() + "".join(
        path.read_text() for path in [*(ROOT / "tests" / "stacks").glob("*.py"), *(ROOT / "infra").glob("*.py")] if path != Path(__file__)
    )
    assert re.findall(r"\$\((?:DEPLOY_)?TOOLS\)/(?!python)\w+", started) == []
    assert re.findall(r'with_name\("(?:aws|cfn-lint|pytest)"\)', started) == []


def test_tools_of_a_moved_clone_are_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[Path] = []

    def in_place_of_pip(_lock_file: Path, target: Path) -> None:
        installed.append(target)
        (target / "bin").mkdir(parents=True, exist_ok=True)
        (target / "bin" / "python").touch()

    monkeypatch.setattr(install, "install_anew", in_place_of_pip)
    lock_file = tmp_path / "requirements.txt"
    lock_file.touch()
    for place in (tmp_path / "before", tmp_path / "after"):
        monkeypatch.setattr(install, "ROOT", place)
        place.mkdir(exist_ok=True)
        if place.name == "after":
            (tmp_path / "before" / ".tools").rename(place / ".tools")
        for _ in range(2):
            install.install(lock_file, place / ".tools" / "venv")
    assert installed == [tmp_path / "before/.tools/venv", tmp_path / "after/.tools/venv"]


def a_demo(directory: Path, *, engine: bool = False) -> subprocess.Popen[str]:
    """A process that holds the lock as a demo does, with an engine that outlives it if wanted."""
    program = f"""
import subprocess, sys, time
sys.path.insert(0, {str(Path(running.__file__).parent)!r})
import running
from pathlib import Path
held = running.hold(Path({str(directory)!r}), "a demo", "FORCE=1 stops it and goes on")
if {engine}:
    engine = subprocess.Popen(["sleep", "600"], pass_fds=[held.fileno()], start_new_session=True)
    held.add(engine.pid)
print("ready", flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


@pytest.mark.parametrize("goal", ["demo-stop", "clean"])
def test_a_running_demo_is_left_alone(target: Path, goal: str) -> None:
    demo = a_demo(target / "demo")
    try:
        # A clone of its own for clean, which would remove this one's build.
        clone = cloned(target.parent / "clone")
        refused = make(goal, f"CARGO_TARGET_DIR={target}", cwd=clone)
        assert refused.returncode == 2
        assert re.search(rf"a demo is running here \(pid {demo.pid}, since \d\d:\d\d\)", refused.stderr)
        assert "Traceback" not in refused.stderr
        assert demo.poll() is None
    finally:
        demo.kill()
        demo.wait()


def second_demo(target: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Ends where it would build, if it comes so far."""
    settings = {**os.environ, "CARGO_TARGET_DIR": str(target), "PATH": "/nowhere", **environment}
    for name in [name for name in settings if name.startswith("SLUICE_")]:
        del settings[name]
    return subprocess.run([sys.executable, ROOT / "tests/stacks/demo.py"], capture_output=True, text=True, env=settings)


def test_a_second_demo_is_refused_and_force_stops_the_first(target: Path) -> None:
    first = a_demo(target / "demo")
    try:
        refused = second_demo(target)
        assert refused.returncode == 2
        assert re.fullmatch(rf"a demo is running here \(pid {first.pid}, since \d\d:\d\d\); FORCE=1 stops it and goes on\n", refused.stderr)
        assert first.poll() is None
        forced = second_demo(target, FORCE="1")
        assert "stopped the demo that was here" in forced.stdout
        assert "cargo is not on the PATH" in forced.stderr
        assert first.wait(10) == -signal.SIGTERM
    finally:
        first.kill()
        first.wait()


def test_engines_that_were_left_up_are_named_and_stopped(target: Path) -> None:
    first = a_demo(target / "demo", engine=True)
    first.kill()
    first.wait()
    engine = running.state(target / "demo")["engines"][0][0]
    assert "the engines of a demo are up here" in second_demo(target).stderr
    assert make("demo-stop", f"CARGO_TARGET_DIR={target}").stdout == "stopped\n"
    assert running.identity(engine) is None
    assert make("demo-stop", f"CARGO_TARGET_DIR={target}").stdout == "nothing to stop\n"


def test_a_stale_note_harms_nobody_and_holds_nobody_up(target: Path) -> None:
    """Killed, or the machine restarted: the number belongs to another process by now."""
    first = a_demo(target / "demo", engine=True)
    note = running.state(target / "demo")
    os.killpg(note["engines"][0][0], signal.SIGKILL)
    first.kill()
    first.wait()
    # Processes are told apart by when they began, in hundredths of a second.
    time.sleep(0.05)
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        running.send(bystander.pid, note["identity"], signal.SIGKILL)
        running.send(bystander.pid, note["engines"][0][1], signal.SIGKILL, group=True)
        assert running.becomes_free(target / "demo", 5)
        assert not running.stop(target / "demo", force=True)
        assert "cargo is not on the PATH" in second_demo(target).stderr
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_build_leaves_no_compiler_behind(target: Path, tmp_path: Path, number: signal.Signals) -> None:
    cargo = tmp_path / "bin" / "cargo"
    cargo.parent.mkdir()
    cargo.write_text("#!/bin/sh\nsleep 600 &\necho $! > $CARGO_TARGET_DIR/compiler\nwait\n")
    cargo.chmod(0o755)
    settings = {**os.environ, "CARGO_TARGET_DIR": str(target), "PATH": f"{cargo.parent}:{os.environ['PATH']}"}
    for name in [name for name in settings if name.startswith("SLUICE_")]:
        del settings[name]
    demo = subprocess.Popen([sys.executable, ROOT / "tests/stacks/demo.py"], stderr=subprocess.PIPE, text=True, env=settings)
    while not (target / "compiler").exists() or not (target / "compiler").read_text():
        time.sleep(0.05)
    demo.send_signal(number)
    told = demo.communicate(timeout=30)[1]
    assert (demo.returncode, "Traceback" in told) == (130, False)
    compiler = int((target / "compiler").read_text())
    deadline = time.monotonic() + 5
    while running.identity(compiler) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running.identity(compiler) is None
    assert running.is_free(target / "demo")


@pytest.fixture
def background_build(target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], binaries.Build]:
    """Starts a build in the background, with a script in cargo's place."""

    # Not the engines of the other tests.
    monkeypatch.setattr(engines, "_started", [])

    def start(script: str) -> binaries.Build:
        cargo = tmp_path / "bin" / "cargo"
        cargo.parent.mkdir()
        cargo.write_text(f"#!/bin/sh\n{script}\n")
        cargo.chmod(0o755)
        monkeypatch.setenv("PATH", f"{cargo.parent}:{os.environ['PATH']}")
        monkeypatch.delenv("SLUICE_SCALE_UP", raising=False)
        return binaries.Build(running.hold(target / "demo", "a demo", ""), "scale-up", log=tmp_path / "build.log")

    return start


def test_a_build_in_the_background_tells_how_far_it_is_and_where_it_failed(background_build: Any, tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(binaries.BuildError, match=re.escape(str(tmp_path / "build.log"))):
        background_build("echo Compiling scale-up; sleep 1.2; exit 101").wait(told.append)
    assert told[-1] == "Compiling scale-up"


def test_a_build_in_the_background_ends_with_the_engines(background_build: Any, tmp_path: Path) -> None:
    background_build(f"echo $$ > {tmp_path}/compiler; exec sleep 600")
    while not (tmp_path / "compiler").exists() or not (tmp_path / "compiler").read_text():
        time.sleep(0.05)
    engines.stop_started()
    assert running.identity(int((tmp_path / "compiler").read_text())) is None


def test_the_help_names_every_variable_and_the_page_those_of_the_demo() -> None:
    told = make("help").stdout
    readme = (ROOT / "tests/stacks/README.md").read_text()
    for variable in variables.TABLE:
        assert re.search(rf"^      {variable.name} ", told, re.MULTILINE), variable.name
        for target in variable.targets:
            assert target in variables.makefile_targets(), target
        if variable.targets == ("demo",):
            row = next(line for line in readme.splitlines() if line.startswith("|") and f"`{variable.name}=" in line)
            assert variable.default in row.replace(",", ""), row


def test_the_table_names_the_functions_and_fuzz_targets_that_there_are() -> None:
    names = {
        name
        for path in (ROOT / "tests/fuzz/src/targets").glob("*.rs")
        for name in re.findall(r'^    name: "(.+)",', path.read_text(), re.MULTILINE)
    }
    assert {name for name in names if variables.problem(variables.of("TARGET", "fuzz"), name)} == set()
