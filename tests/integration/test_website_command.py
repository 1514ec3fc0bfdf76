"""`website_build` on a full stack: parts that fail go back to their authors over the bus, and the site is on disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from agents.skills.website_report import parse_site_report
from tests.documents import ROOT
from tests.running_stack import RunningStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_a_brief_becomes_a_folder_that_a_browser_can_open(full_stack: RunningStack, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "brief.yaml", full_stack.folder)
    view = json.loads(full_stack.colony("run", "website_build", "--source", "brief.yaml", "--json").stdout)
    full_stack.colony("results", str(view["job"]), "--format", "files", "--output", str(tmp_path))
    folder = tmp_path / f"job-{view['job']}"
    assert (folder / "site" / "index.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert (folder / "site" / "posts").is_dir()
    report = parse_site_report(json.loads((folder / "results.json").read_bytes()))
    mended = {row.path: (row.author, row.mended_by) for row in report.files if row.mended_by}
    assert set(mended) == {"order.html", "assets/site.css"}
    assert all(author == by for author, by in mended.values()), mended
    assert all(trouble.mended for trouble in report.troubles)
