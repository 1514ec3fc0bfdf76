"""The commands that steer jobs and talk to agents, against a full stack."""

from __future__ import annotations

import csv
import json
import time
import uuid
from pathlib import Path

import pytest

from colony.ids import AgentType, agent_name
from tests.running_stack import RunningStack
from workflows.inline import INLINE

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

AGENT = str(agent_name(AgentType("analysis"), 1))


def reviews(folder: Path) -> Path:
    path = folder / f"steered-{uuid.uuid4().hex[:6]}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "rating", "text"])
        writer.writerows([f"r{number}", 3, f"The battery lasts for days {number}"] for number in range(30))
    return path


def test_an_agent_answers_and_keeps_what_is_delivered(full_stack: RunningStack) -> None:
    answer = json.loads(full_stack.colony("send", AGENT, "ping").stdout)
    assert answer["agent"] == AGENT
    assert "Told" in full_stack.colony("send", AGENT, "ping", "--tell").stdout
    assert full_stack.colony("send", "analysis-99999", "ping", check=False).returncode == 2


def test_events_are_heard_and_agents_are_not(full_stack: RunningStack) -> None:
    beat = json.loads(full_stack.colony("listen", "colony.heartbeat.>", "--count", "1", "--json").stdout)
    assert beat["subject"].startswith("colony.heartbeat.")
    assert full_stack.colony("listen", "colony.agent.>", "--timeout", "5", check=False).returncode == 2


def test_a_schedule_starts_jobs(full_stack: RunningStack) -> None:
    name = f"s-{uuid.uuid4().hex[:6]}"
    given = json.dumps({"source": str(reviews(full_stack.folder))})
    made = ("schedule", "create", name, "--template", "review_analysis", "--input", given, "--every", "86400")
    full_stack.colony(*made)
    assert full_stack.colony(*made, check=False).returncode == 2
    full_stack.colony("schedule", "trigger", name)
    full_stack.colony("schedule", "pause", name)
    assert json.loads(full_stack.colony("schedule", "show", name, "--json").stdout)["paused"] is True
    assert name in full_stack.colony("schedule", "list", "--json").stdout
    full_stack.colony("schedule", "delete", name)
    assert full_stack.colony("schedule", "show", name, check=False).returncode == 2
    unknown = ("schedule", "create", name, "--template", "nothing", "--every", "60")
    assert "review_analysis" in full_stack.colony(*unknown, check=False).stderr


def test_a_step_is_done_again_and_why_says_that_it_ended(full_stack: RunningStack) -> None:
    name = f"steered-{uuid.uuid4().hex[:6]}"
    full_stack.colony("run", "review_analysis", "--source", str(reviews(full_stack.folder)), "--id", name)
    assert full_stack.colony("retry", name, check=False).returncode == 2
    again = json.loads(full_stack.colony("retry", name, "--step", "classify", "--all", "--json").stdout)
    assert (again["workflow_id"], again["tasks"]) == (f"{name}.retry-{again['retry_of']}", 30)
    full_stack.colony("job", str(again["job"]))
    view = json.loads(full_stack.colony("job", str(again["job"]), "--json").stdout)
    assert view["state"] == "done", view
    why = json.loads(full_stack.colony("why", str(again["job"]), "--json").stdout)
    assert why["reasons"][0]["code"] == "ended"
    why = json.loads(full_stack.colony("why", f"{name}/classify/0", "--json").stdout)
    assert why["reasons"][0]["code"] == "done"


def waits_for(stack: RunningStack, name: str, code: str) -> None:
    """Until `why` gives this reason: a worker takes a moment to get there."""
    deadline = time.monotonic() + 60
    while True:
        why = json.loads(stack.colony("why", name, "--json").stdout)
        if code in [reason["code"] for reason in why["reasons"]]:
            return
        assert time.monotonic() < deadline, why
        time.sleep(0.2)


def test_a_job_that_asks_a_person_is_paused_resumed_and_approved(full_stack: RunningStack) -> None:
    name = f"asking-{uuid.uuid4().hex[:6]}"
    steps = [
        {"name": "load", "kind": "load", "rows": [{"n": 1}]},
        {"name": "ok", "kind": "approve", "prompt": "Go on?", "timeout": 600, "default": "reject"},
    ]
    full_stack.colony("run", INLINE, "--input", json.dumps({"template": {"steps": steps}}), "--id", name, "--no-wait")
    full_stack.colony("pause", name)
    waits_for(full_stack, name, "paused")
    assert json.loads(full_stack.colony("priority", name, "1", "--json").stdout)["priority"] == 1
    full_stack.colony("resume", name)
    waits_for(full_stack, name, "approval")
    assert "Go on?" in full_stack.colony("why", name).stdout
    full_stack.colony("approve", name, "--comment", "fine", "--by", "ada")
    full_stack.colony("job", name)
    assert json.loads(full_stack.colony("job", name, "--json").stdout)["state"] == "done"
    assert full_stack.colony("pause", name, check=False).returncode == 2


def test_what_failed_is_listed_and_a_plain_retry_does_it(full_stack: RunningStack) -> None:
    name, late = f"failing-{uuid.uuid4().hex[:6]}", full_stack.folder / f"late-{uuid.uuid4().hex[:6]}.txt"
    there = late.with_name(f"there-{late.name}")
    there.write_text("The battery lasts for days.", encoding="utf-8")
    rows = [{"query": "battery", "files": [str(there)]}, {"query": "battery", "files": [str(late)]}]
    steps = [
        {"name": "load", "kind": "load", "rows": rows},
        {"name": "look", "over": "load", "agent": "research", "action": "search", "error_budget": 0.5},
    ]
    full_stack.colony("run", INLINE, "--input", json.dumps({"template": {"steps": steps}}), "--id", name)
    view = json.loads(full_stack.colony("job", name, "--json").stdout)
    assert (view["state"], view["steps"][-1]["failed"]) == ("done", 1), view
    (letter,) = json.loads(full_stack.colony("dead-letters", name, "--json").stdout)
    assert (letter["job"], letter["step"], letter["seq"]) == (view["job"], 1, 1)
    assert letter["agent_id"].startswith("research-")
    assert letter["error"]
    assert late.name in letter["message"]
    assert json.loads(full_stack.colony("dead-letters", name, "--after", f"{view['job']}.1.1", "--json").stdout) == []
    late.write_text("The battery is empty.", encoding="utf-8")
    again = json.loads(full_stack.colony("retry", name, "--json").stdout)
    assert (again["retry_of"], again["step"], again["tasks"]) == (view["job"], "look", 1)
    full_stack.colony("job", str(again["job"]))
    done = json.loads(full_stack.colony("job", str(again["job"]), "--json").stdout)
    assert (done["state"], done["steps"][-1]["ok"], done["steps"][-1]["failed"]) == ("done", 2, 0), done
    assert json.loads(full_stack.colony("dead-letters", str(again["job"]), "--json").stdout) == []
    assert full_stack.colony("retry", name, check=False).returncode == 2
