"""What `make` promises about itself."""

from __future__ import annotations

import re
import subprocess

import pytest
from engines import ROOT


def seeds(*arguments: str) -> set[str]:
    """Every seed that `make test-rust` would print or use."""
    told = subprocess.run(["make", "-n", "test-rust", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(re.findall(r"SEED=(\d+)", told.stdout))


def test_the_seed_that_is_printed_is_the_one_that_is_used() -> None:
    assert len(seeds()) == 1
    assert seeds() != seeds(), "another one each time"


@pytest.mark.parametrize("seed", ["7", "4294967295"])
def test_a_seed_that_is_asked_for_is_used(seed: str) -> None:
    assert seeds(f"SEED={seed}") == {seed}
