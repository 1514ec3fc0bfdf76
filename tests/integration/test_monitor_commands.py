"""`colony monitor`, against a full stack: each command does what it says, and refuses what is wrong."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Generator
from typing import Any

import pytest

from tests.running_stack import RunningStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

NOBODY = "http://127.0.0.1:9/"
"""Hosts may not fetch it: the site is down after its first look."""


@pytest.fixture(scope="module")
def monitor(full_stack: RunningStack) -> Generator[str]:
    name = f"watched-{uuid.uuid4().hex[:6]}"
    given = {"sites": [{"url": NOBODY, "name": "one"}], "interval": 3600, "failures": 1}
    full_stack.colony("run", "website_monitor", "--no-wait", "--id", name, "--input", json.dumps(given))
    yield name
    full_stack.colony("cancel", name)


def sites(stack: RunningStack, name: str) -> dict[str, dict[str, Any]]:
    view = json.loads(stack.colony("monitor", name, "--json", check=False).stdout)
    return {site["site"]: site for site in view["sites"]}


def test_sites_are_shown_with_their_state(full_stack: RunningStack, monitor: str) -> None:
    deadline = time.monotonic() + 60
    while sites(full_stack, monitor)["one"]["state"] != "down":
        assert time.monotonic() < deadline, full_stack.logs()
        time.sleep(0.2)
    shown = full_stack.colony("monitor", "show", monitor, check=False)
    assert shown.returncode == 1, "a site is down"
    assert "1 open alerts" in shown.stdout


def test_sites_are_added_changed_and_removed(full_stack: RunningStack, monitor: str) -> None:
    said = full_stack.colony("monitor", "add", monitor, "http://127.0.0.1:9/two", "--name", "two", "--interval", "90")
    assert "1 added; 2 sites now" in said.stdout
    assert sites(full_stack, monitor)["two"]["interval"] == 90
    done = json.loads(full_stack.colony("monitor", "interval", monitor, "two", "120", "--json").stdout)
    assert (done["changed"], done["sites"]) == (1, 2)
    assert sites(full_stack, monitor)["two"]["interval"] == 120
    done = json.loads(full_stack.colony("monitor", "remove", monitor, "http://127.0.0.1:9/two", "--json").stdout)
    assert (done["removed"], done["sites"]) == (1, 1)
    assert set(sites(full_stack, monitor)) == {"one"}


@pytest.mark.parametrize("named", [["one"], []], ids=["by name", "all"])
def test_sites_are_paused_and_resumed(full_stack: RunningStack, monitor: str, named: list[str]) -> None:
    assert "1 paused" in full_stack.colony("monitor", "pause", monitor, *named).stdout
    assert sites(full_stack, monitor)["one"]["state"] == "paused"
    assert "1 resumed" in full_stack.colony("monitor", "resume", monitor, *named).stdout
    assert sites(full_stack, monitor)["one"]["state"] != "paused"


def test_a_report_is_written_and_printed(full_stack: RunningStack, monitor: str) -> None:
    printed = full_stack.colony("monitor", "report", monitor, "--hours", "2").stdout
    assert "# Sites from" in printed
    assert "| one | " in printed
    assert len(full_stack.colony("monitor", "secret", monitor).stdout.strip()) == 64


def test_what_is_wrong_is_refused(full_stack: RunningStack, monitor: str) -> None:
    wrong = {
        ("remove", monitor, "nobody"): "'nobody', which is not watched",
        ("add", monitor, "ftp://example.com"): "add.0.url",
        ("interval", monitor, "one", "0.1"): "interval",
        ("report", monitor, "--hours", "0"): "744 hours",
        ("pause", "no-such-job"): "no-such-job",
    }
    for arguments, said in wrong.items():
        done = full_stack.colony("monitor", *arguments, check=False)
        assert done.returncode == 2, (arguments, done.stdout, done.stderr)
        assert said in " ".join((done.stdout + done.stderr).split()), arguments
    assert set(sites(full_stack, monitor)) == {"one"}
