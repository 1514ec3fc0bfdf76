"""The commands people use, against a full stack: deploy, run, plain Temporal CLI, results, bad input."""

from __future__ import annotations

import csv
import io
import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.running_stack import RunningStack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PRAISE = "The battery lasts for days and the screen is wonderful"
BLAME = "Terrible sound and the cable broke and support was rude"


def write_reviews(folder: Path, count: int = 60) -> Path:
    path = folder / f"reviews-{uuid.uuid4().hex[:6]}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "rating", "text"])
        for number in range(count):
            good = number % 3 != 0
            writer.writerow([f"r{number}", 3 if good else -3, f"{PRAISE if good else BLAME} {number}"])
    return path


def closed(stack: RunningStack, workflow_id: str, timeout: float = 60.0) -> dict[str, Any]:
    deadline = time.monotonic() + timeout
    while True:
        view = json.loads(stack.colony("job", workflow_id, "--json").stdout)
        if view["state"] != "running":
            return view
        assert time.monotonic() < deadline, view
        time.sleep(0.2)


def test_status_says_who_serves_and_that_all_agents_pass(full_stack: RunningStack) -> None:
    status = full_stack.status()
    assert status["profile"] == "full"
    assert all(service["state"] == "ready" for service in status["services"].values()), status["services"]
    assert status["fleet"]["desired"] == status["fleet"]["passing"] == 620
    assert sum(host["shards"] for host in status["fleet"]["hosts"]) == 1024
    assert sum(host["agents"] for host in status["fleet"]["hosts"]) == 620


def test_the_doctor_proves_each_part_and_leaves_nothing_behind(full_stack: RunningStack) -> None:
    before = full_stack.colony("jobs", "--json").stdout
    found = json.loads(full_stack.colony("doctor", "--json").stdout)
    assert [proof["name"] for proof in found["proofs"] if not proof["passed"]] == []
    assert len(found["proofs"]) > 5
    assert full_stack.colony("jobs", "--json").stdout == before


def test_deploying_again_changes_nothing_and_scaling_goes_both_ways(full_stack: RunningStack) -> None:
    again = json.loads(full_stack.deploy("--count", "620", "--json").stdout)
    assert (again["added"], again["removed"], sum(again["answered"].values())) == (0, 0, 620)
    up = json.loads(full_stack.deploy("--count", "700", "--json").stdout)
    assert (up["added"], sum(up["passing"].values())) == (80, 700)
    down = json.loads(full_stack.deploy("--count", "620", "--json").stdout)
    assert (down["removed"], sum(down["passing"].values())) == (80, 620)


def test_a_dry_run_changes_nothing(full_stack: RunningStack) -> None:
    plan = json.loads(full_stack.deploy("--count", "5000", "--dry-run", "--json").stdout)
    assert plan["added"] > 0
    assert full_stack.status()["fleet"]["desired"] == 620


@pytest.mark.parametrize(
    "arguments",
    [["--count", "-1"], ["--count", "1.5"], ["--type", "wizard=3"], ["--type", "research"], ["--count", "99999999"]],
)
def test_bad_counts_are_refused(full_stack: RunningStack, arguments: list[str]) -> None:
    done = full_stack.deploy(*arguments, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert full_stack.status()["fleet"]["desired"] == 620


def test_the_plain_temporal_command_runs_a_job(full_stack: RunningStack) -> None:
    source = write_reviews(full_stack.folder)
    workflow_id = f"plain-{uuid.uuid4().hex[:8]}"
    full_stack.temporal(
        *("workflow", "start", "--type", "review_analysis", "--task-queue", "colony"),
        *("--workflow-id", workflow_id, "--input", json.dumps({"source": str(source)})),
    )
    view = closed(full_stack, workflow_id)
    assert view["state"] == "done", view
    progress = full_stack.temporal("workflow", "query", "--workflow-id", workflow_id, "--type", "progress")
    assert "classify" in progress.stdout
    full_stack.temporal("workflow", "result", "--workflow-id", workflow_id)  # it ends after its job
    described = full_stack.temporal("workflow", "describe", "--workflow-id", workflow_id)
    assert "COMPLETED" in described.stdout.upper()
    report = full_stack.colony("results", workflow_id).stdout
    assert "battery" in report.lower()
    rows = list(csv.DictReader(io.StringIO(full_stack.colony("results", workflow_id, "--format", "csv").stdout)))
    assert len(rows) == 60
    assert {row["label"] for row in rows} >= {"positive", "negative"}


def test_run_follows_a_job_and_refuses_its_id_a_second_time(full_stack: RunningStack) -> None:
    source = write_reviews(full_stack.folder)
    name = f"run-{uuid.uuid4().hex[:8]}"
    done = full_stack.colony("run", "review_analysis", "--source", str(source), "--id", name)
    assert "done" in done.stdout
    again = full_stack.colony("run", "review_analysis", "--source", str(source), "--id", name, check=False)
    assert again.returncode == 2
    assert name in again.stdout + again.stderr
    late = full_stack.colony("cancel", name, check=False)
    assert late.returncode == 2
    assert "is done. See it with `colony job " in " ".join((late.stdout + late.stderr).split())


BAD_INPUTS = {
    "missing file": '{"source": "nowhere.csv"}',
    "outside the data roots": '{"source": "/etc/passwd"}',
    "no object": '"reviews.csv"',
    "a list": "[1, 2]",
    "unknown field": '{"source": "x.csv", "wrong": 1}',
    "no source": "{}",
    "source of a wrong type": '{"source": 7}',
}


@pytest.mark.parametrize("given", BAD_INPUTS.values(), ids=BAD_INPUTS.keys())
def test_bad_input_fails_the_workflow_and_never_hangs(full_stack: RunningStack, given: str) -> None:
    workflow_id = f"bad-{uuid.uuid4().hex[:8]}"
    full_stack.temporal(
        *("workflow", "start", "--type", "review_analysis", "--task-queue", "colony"),
        *("--workflow-id", workflow_id, "--input", given),
    )
    done = full_stack.temporal("workflow", "result", "--workflow-id", workflow_id, "--output", "json", check=False)
    assert '"FAILED"' in done.stdout.upper() or done.returncode != 0
    assert "BadInput" in done.stdout + done.stderr, done.stdout + done.stderr


def test_an_unknown_template_fails(full_stack: RunningStack) -> None:
    done = full_stack.colony("run", "no_such_template", "--input", "{}", check=False)
    assert done.returncode == 2
    assert "review_analysis" in done.stdout + done.stderr


FILES = {
    "empty": b"",
    "only a header": b"id,rating,text\n",
    "wrong column": b"a,b,c\n1,2,3\n",
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
def test_a_useless_file_fails_with_its_reason(full_stack: RunningStack, content: bytes) -> None:
    path = full_stack.folder / f"useless-{uuid.uuid4().hex[:6]}.csv"
    path.write_bytes(content)
    done = full_stack.colony("run", "review_analysis", "--source", str(path), check=False)
    assert done.returncode != 0
    assert path.name in done.stdout + done.stderr


def test_bad_rows_are_listed_and_the_rest_is_processed(full_stack: RunningStack) -> None:
    path = full_stack.folder / f"mixed-{uuid.uuid4().hex[:6]}.csv"
    huge = b"x" * 5_000_000
    path.write_bytes(
        b"id,rating,text\n"
        + f"a,3,{PRAISE}\n".encode() * 5
        + b"b,1\n"
        + b"c,2,\xff\xfe\n"
        + b"d,1,"
        + huge
        + b"\n"
        + f"e,-3,{BLAME}\n".encode()
    )
    name = f"mixed-{uuid.uuid4().hex[:6]}"
    full_stack.colony("run", "review_analysis", "--source", str(path), "--id", name)
    report = full_stack.colony("results", name).stdout
    data = json.loads(full_stack.colony("results", name, "--format", "json").stdout)
    assert len(data["rows"]) == 6
    assert data["report"]["run"]["bad_rows"] == 3
    assert "line 7" in report.lower() or "7" in report


def test_hosts_show_under_their_names_in_ray(full_stack: RunningStack) -> None:
    import subprocess
    import sys

    exported = full_stack.colony("env").stdout
    command = f"{exported}\n{Path(sys.executable).with_name('ray')} list actors --filter state=ALIVE --format json"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, env=full_stack.environment, check=True
    )
    names = {actor["name"] for actor in json.loads(done.stdout)}
    assert {"colony-host-0", "colony-host-1"} <= names


def test_no_secret_is_in_a_log_or_on_a_command_line(full_stack: RunningStack) -> None:
    import psutil

    secrets = [path.read_text().strip() for path in (full_stack.home / "secrets").iterdir() if path.is_file()]
    secrets = [secret for secret in secrets if len(secret) >= 16]
    assert secrets
    for path in (full_stack.home / "logs").glob("*.log*"):
        text = path.read_text(errors="replace")
        assert not any(secret in text for secret in secrets), path
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        assert not any(secret in line for secret in secrets), process
    assert all(path.stat().st_mode & 0o077 == 0 for path in (full_stack.home / "secrets").iterdir())
