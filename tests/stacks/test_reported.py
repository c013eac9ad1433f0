"""docs/reported-elsewhere.md names a test for each case: each is there."""

from __future__ import annotations

import re
import subprocess

from engines import ROOT


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "reported-elsewhere.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| # |")]
    listed = subprocess.run(
        ["git", "grep", "-hoE", r"(fn|def) [a-z0-9_]+\(", "--", "*.rs", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    there = set(re.findall(r"(?:fn|def) (\w+)\(", listed.stdout))
    missing = {}
    for row in rows:
        named = re.findall(r"`(\w+)`", row.rsplit(" | ", 1)[-1])
        if "held by" not in row:
            assert named, row
            missing |= {name: row.split("|")[1].strip() for name in named if name not in there}
    assert missing == {}
