"""The demos as a new user starts them, one after the other: the first starts the stack, the others find it."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.running_stack import ROOT, RunningStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", name="stack")
def nothing_yet() -> Generator[RunningStack]:
    folder = Path(tempfile.mkdtemp(prefix="dm-", dir="/tmp"))
    folder.chmod(0o755)
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    stack = RunningStack(folder / "h", folder)
    try:
        yield stack
    finally:
        stack.colony("down", timeout=120.0, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def reports_of(stack: RunningStack, template: str) -> Path:
    """The folder with what the newest job of a template made."""
    views = json.loads(stack.colony("jobs", "--json").stdout)
    job = next(view["job"] for view in views if view["template"] == template)
    return stack.home / "reports" / f"job-{job}"


def test_the_monitor_starts_a_stack_and_sees_sites_fail_and_recover(stack: RunningStack) -> None:
    told = stack.colony("demo-monitor", timeout=540).stdout
    posts, events, signed = map(int, re.findall(r"Webhook: (\d+) POSTs with (\d+) events, (\d+) with", told)[0])
    assert 0 < posts == signed <= events
    assert "down" in told
    assert "Alerts" in told
    assert list(reports_of(stack, "website_monitor").glob("*.md"))


def test_content_becomes_posts_with_citations(stack: RunningStack) -> None:
    told = stack.colony("demo-content", timeout=240).stdout
    folder = reports_of(stack, "content_creation")
    posts = list((folder / "posts").glob("*.md"))
    assert len(posts) == 12
    assert all(post.read_text(encoding="utf-8").startswith("---\n") for post in posts)
    assert (folder / "index.md").is_file()
    assert (folder / "quality.md").is_file()
    assert "The posts" in told


def test_a_brief_becomes_a_site(stack: RunningStack) -> None:
    told = stack.colony("demo-website", timeout=240).stdout
    home = reports_of(stack, "website_build") / "site" / "index.html"
    assert home.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "Look at it" in told
