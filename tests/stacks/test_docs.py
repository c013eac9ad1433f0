"""What the docs point to is there: pages, headings, tests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from engines import ROOT

LISTED = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
PAGES = [page for name in LISTED.stdout.splitlines() if (page := ROOT / name).exists()]


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


def test_every_page_that_the_code_names_is_there() -> None:
    named = subprocess.run(
        ["git", "grep", "-hoE", r"(^|[^/a-zA-Z])docs/[a-z/-]+[.](md|svg|png)", "--", ":!*.md", ":!tests/stacks/test_docs.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    pages = {line[line.index("docs/") :] for line in named.stdout.splitlines()}
    assert "docs/runbook.md" in pages
    assert {page for page in pages if not (ROOT / page).exists()} == set()


def test_every_path_that_a_page_names_is_there() -> None:
    # The changelog names what was.
    for page in (page for page in PAGES if page.name != "CHANGELOG.md"):
        for path in re.findall(r"`((?:shared|functions|cli|infra|tests|docs|examples)/[a-z0-9_./-]+)`", page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{page.relative_to(ROOT)}: {path}"


def test_every_log_line_that_the_runbook_quotes_is_written() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    quoted = {text for text in re.findall(r"`([a-z]+(?: [a-z]+)+)`", runbook) if not text.startswith(("aws ", "make "))}
    assert len(quoted) >= 3
    for line in quoted:
        written = subprocess.run(["git", "grep", "-qF", line, "--", "functions/*/src/*.rs", "shared/*/src/*.rs"], cwd=ROOT, check=False)
        assert written.returncode == 0, line


def test_the_index_lists_every_decision() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs" / "decisions").glob("[a-z]*.md")):
        for question in re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert f"- [{question}]({page.name}#" in index, f"{page.name}: {question}"


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "internals" / "reported-elsewhere.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| # |")]
    listed = subprocess.run(
        ["git", "grep", "-hoE", r"(fn|def) [a-z0-9_]+\(", "--", "*.rs", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    there = set(re.findall(r"(?:fn|def) (\w+)\(", listed.stdout))
    missing = {}
    for row in rows:
        named = re.findall(r"`(\w+)`", row.rsplit(" | ", 1)[-1])
        if "tested by" not in row:
            assert named, row
            missing |= {name: row.split("|")[1].strip() for name in named if name not in there}
    assert missing == {}
