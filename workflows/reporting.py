"""The artifacts of a job: its last outcome as JSON, and as a page for people."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

import orjson

from agents.skills.report import (
    BadRowFact,
    Phase,
    RunFacts,
    parse_report,
    render_generic_markdown,
    render_html,
    render_markdown,
)
from agents.skills.website_report import KIND as WEBSITE
from colony.contracts import Artifact, StepCounts
from colony.errors import BadInput
from colony.jobs import JobPlan
from colony.ledger.port import JobLedger
from workflows.contracts import ReportInput
from workflows.reporting_posts import KIND, post_artifacts
from workflows.reporting_site import site_artifacts

_SHOWN_BAD_ROWS: Final = 20
MOST_RESULTS: Final = 1_000
"""Outcomes that stand in a report; the ledger has them all."""


async def artifacts_of(ledger: JobLedger, plan: JobPlan, request: ReportInput) -> list[Artifact]:
    """`report.md`, `results.json`, for reviews `report.html`, for posts their files.

    Raises `BadInput` when there is nothing to report.
    """
    over = plan.steps[request.step].over if request.over is None else request.over
    if over is None:
        raise BadInput(f"Report step {request.step} is over no step.")
    results = await _first_results(ledger, plan.job, over)
    if not results:
        raise BadInput(f"Step {plan.steps[over].name} has no good outcome to report.")
    value = results[0] if len(results) == 1 else {"results": results}
    good, _, _, _ = await ledger.step_counts(plan.job, over)
    facts = (await _facts(ledger, plan, request)).model_copy(
        update={"results_shown": len(results), "results_total": max(good, len(results))}
    )
    if value.get("kind") == KIND:
        # What steps after it lack, such as the choice of one to lead the index, makes no post less.
        before = [step for step in request.counts if step.number <= over]
        posts = await post_artifacts(ledger, plan, value, facts.model_copy(update={"failed": _failed(plan, before)}))
        return [*posts, _data(value, facts)]
    if value.get("kind") == WEBSITE:
        return [*await site_artifacts(ledger, plan, value, facts), _data(value, facts)]
    if value.get("kind") == "reviews":
        facts = facts.model_copy(update={"model": ", ".join(parse_report(value).model_names())})
    return [*render(value, facts), _data(value, facts)]


def _data(value: Mapping[str, Any], facts: RunFacts) -> Artifact:
    content = orjson.dumps({**value, "run": facts.model_dump(mode="json")})
    return Artifact(name="results.json", media_type="application/json", content=content)


def render(value: Mapping[str, Any], facts: RunFacts) -> list[Artifact]:
    """What people read: Markdown and HTML of a review report, Markdown of anything else."""
    if value.get("kind") != "reviews":
        return [_markdown(render_generic_markdown(value, facts))]
    report = parse_report(value)
    page = render_html(report, facts).encode()
    return [
        _markdown(render_markdown(report, facts)),
        Artifact(name="report.html", media_type="text/html; charset=utf-8", content=page),
    ]


def _markdown(text: str) -> Artifact:
    return Artifact(name="report.md", media_type="text/markdown; charset=utf-8", content=text.encode())


async def _first_results(ledger: JobLedger, job: int, step: int) -> list[dict[str, Any]]:
    """The first good outcomes of a step, at most `MOST_RESULTS`, wherever among its tasks they are."""
    tasks = await ledger.task_count(job, step) or 0
    found: list[dict[str, Any]] = []
    for first in range(0, tasks, MOST_RESULTS):
        page = await ledger.results(job, step, first, min(tasks, first + MOST_RESULTS))
        found += [orjson.loads(result) for _, result in page[: MOST_RESULTS - len(found)]]
        if len(found) == MOST_RESULTS:
            break
    return found


async def _facts(ledger: JobLedger, plan: JobPlan, request: ReportInput) -> RunFacts:
    fleet = await ledger.fleet_size()
    count, rows = await ledger.bad_rows(plan.job, _SHOWN_BAD_ROWS)
    agent_steps = {step.number for step in plan.steps if step.agent_type is not None}
    done = [step for step in request.counts if step.number in agent_steps]
    tasks = sum(step.tasks for step in done)
    seconds = max(0.001, time.time() - request.started_at)
    return RunFacts(
        job=plan.job,
        workflow_id=plan.workflow_id,
        template=plan.template,
        source=PurePath(plan.source.path).name if plan.source is not None else "",
        started=request.started_at,
        seconds=seconds,
        tasks=tasks,
        tasks_per_second=tasks / seconds,
        bad_rows=count,
        bad_row_list=tuple(BadRowFact(line=row.line, reason=row.reason) for row in rows),
        failed=_failed(plan, request.counts),
        phases=tuple(
            Phase(name=step.name, seconds=step.seconds, tasks=step.tasks if step.number in agent_steps else 0)
            for step in request.counts
        ),
        agents=fleet.agents,
        hosts=fleet.hosts,
    )


def _failed(plan: JobPlan, counts: Sequence[StepCounts]) -> dict[str, int]:
    """Tasks that failed for good, by error class."""
    failed: dict[str, int] = {}
    for step in counts:
        if plan.steps[step.number].agent_type is not None:
            for error, number in step.errors.items():
                failed[error] = failed.get(error, 0) + number
    return failed
