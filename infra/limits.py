"""AWS's quotas and prices as the functions have them: the constants of shared/sluice/src/limits.rs, read from there.

`from limits import PUT_UNIT_BYTES` takes one. No Python here has a copy, which could drift.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent.parent / "shared/sluice/src/limits.rs"


def constants(rust: str) -> dict[str, Any]:
    """The numbers by name: products of literals and of constants that stand above."""
    found: dict[str, Any] = {}
    for name, value in re.findall(r"^pub const (\w+): \w+ =\s*([^;]+);", rust, re.MULTILINE):
        found[name] = eval(re.sub(r" as \w+", "", value), {"__builtins__": {}}, found)
    return found


CONSTANTS = constants(SOURCE.read_text())


def __getattr__(name: str) -> Any:
    if name not in CONSTANTS:
        raise AttributeError(f"{SOURCE} has no {name}")
    return CONSTANTS[name]
