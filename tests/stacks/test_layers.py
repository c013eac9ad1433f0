"""No import runs upward, and no modules import each other in a circle, in any crate of the workspace."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CRATES = [*tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]]

# From the ground up: a module imports only from those before it. A new module gets its place here.
LAYERS = {
    "shared/sluice": "quote limits config time ports gzip invocation logs records delivery telemetry scaling",
    "functions/archiver": "config event open join letter report decide handler",
    "functions/dlq-replayer": "config event decide report run replay handler",
    "functions/log-processor": "config event decide report hand_over forwarder handler",
    "functions/stream-replayer": "config filter event function_event progress decide report run send shard handler",
}

Imports = dict[str, set[str]]


def code_of(file: Path) -> str:
    """A file without its comments and its tests, which stand last."""
    text = file.read_text().split("\n#[cfg(test)]\nmod tests", 1)[0]
    return re.sub(r"//.*", "", text)


def names_in(tree: str) -> Iterator[str]:
    """The first names of a list such as `{a::B, c::{D, E}, F}`, or of `a::B`."""
    depth = 0
    inner = tree.strip().removeprefix("{").removesuffix("}") if tree.strip().startswith("{") else tree
    for part in re.split(r"([{},])", inner):
        depth += (part == "{") - (part == "}")
        if depth == 0 and (name := re.match(r"\s*(\w+)", part)):
            yield name[1]


def imported(code: str, prefix: str) -> Iterator[str]:
    """The first name of every path that begins with `prefix::`, in `use` and elsewhere."""
    for path in re.finditer(rf"\b{prefix}::(\{{[^;]*?\}}(?=;)|\w+)", code):
        yield from names_in(path[1])


def modules_in(folder: Path) -> dict[str, list[Path]]:
    """The files of each module of a folder."""
    modules = {file.stem: [file] for file in folder.glob("*.rs") if file.stem not in ("lib", "main", "mod")}
    for sub in folder.iterdir():
        if sub.is_dir() and sub.name != "bin":
            modules.setdefault(sub.name, []).extend(sub.rglob("*.rs"))
    return modules


def imports_in(folder: Path, prefix: str) -> Imports:
    """What each module of a folder imports of the others, by itself or as the folder's own file passes it on."""
    modules = modules_in(folder)
    own = next((folder / name for name in ("lib.rs", "mod.rs", "main.rs") if (folder / name).exists()), None)
    passed_on = {}
    for module, tree in re.findall(r"pub(?:\(\w+\))? use (?:self::)?(\w+)::([^;]+);", code_of(own) if own else ""):
        passed_on |= {name: module for name in re.findall(r"\w+", tree)}
    found: Imports = {}
    for module, files in modules.items():
        names = {name for file in files for name in imported(code_of(file), prefix)}
        found[module] = {passed_on.get(name, name) for name in names} & modules.keys() - {module}
    return found


def folders(crate: str) -> Iterator[tuple[Path, str]]:
    """Every folder of a crate, and what its modules call it."""
    source = ROOT / crate / "src"
    yield source, "crate"
    yield from ((folder, "super") for folder in source.rglob("*") if folder.is_dir())


@pytest.mark.parametrize("crate", CRATES)
def test_no_modules_import_each_other(crate: str) -> None:
    for folder, prefix in folders(crate):
        try:
            TopologicalSorter(imports_in(folder, prefix)).prepare()
        except CycleError as error:
            pytest.fail(f"{folder.relative_to(ROOT)}: {' → '.join(reversed(error.args[1]))}")


@pytest.mark.parametrize("crate", LAYERS)
def test_no_import_runs_upward(crate: str) -> None:
    layers = LAYERS[crate].split()
    imports = imports_in(ROOT / crate / "src", "crate")
    assert sorted(imports) == sorted(layers), "each module has its layer"
    rank = layers.index
    upward = [f"{module} → {name}" for module in layers for name in imports[module] if rank(name) > rank(module)]
    assert upward == []


def test_a_circle_and_an_import_through_the_folders_own_file_are_seen(tmp_path: Path) -> None:
    (tmp_path / "lib.rs").write_text("mod a;\nmod b;\npub use a::{One, Two};\n")
    (tmp_path / "a.rs").write_text("use std::fmt;\nuse crate::{b::Three, c};\n")
    (tmp_path / "b.rs").write_text("// crate::c\nfn f() -> crate::Two {}\n\n#[cfg(test)]\nmod tests { use crate::c; }\n")
    (tmp_path / "c.rs").write_text("use crate::b;")
    assert imports_in(tmp_path, "crate") == {"a": {"b", "c"}, "b": {"a"}, "c": {"b"}}
