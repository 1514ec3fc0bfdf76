"""Results of a job as text: the report, the rows, or everything."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from colony.contracts import JobView
from colony.errors import NotFound
from colony.jobs import StepKind
from colony.ledger.port import Ledger
from control.session import ledger_here

CHUNK = 5_000


async def render_results(name: str, form: str) -> str:
    """`md` is the report, `csv` the rows of the last map step, `json` both and the counts. Raises `NotFound`."""
    async with ledger_here() as ledger:
        view = await ledger.job(name)
        if form == "md":
            return await _artifact(ledger, view, "report.md")
        rows = await last_rows(ledger, view)
        if form == "csv":
            return as_csv(rows)
        artifacts = {item.name: item.content.decode() for item in await ledger.artifacts(view.job)}
        report = json.loads(artifacts.get("results.json", "null"))
        return json.dumps({"job": view.model_dump(mode="json"), "report": report, "rows": rows}, indent=2) + "\n"


async def last_rows(ledger: Ledger, view: JobView) -> list[dict[str, Any]]:
    """Results of the last map step, in order."""
    plan = await ledger.plan(view.job)
    maps = [step for step in plan.steps if step.kind is StepKind.MAP]
    if not maps:
        return []
    total = await ledger.task_count(view.job, maps[-1].number) or 0
    rows: list[dict[str, Any]] = []
    for first in range(0, total, CHUNK):
        chunk = await ledger.results(view.job, maps[-1].number, first, min(total, first + CHUNK))
        rows.extend(json.loads(result) for _, result in chunk)
    return rows


def as_csv(rows: list[dict[str, Any]]) -> str:
    """A table whose columns are the fields of the rows, in order of first appearance; nested values as JSON."""
    columns = list(dict.fromkeys(field for row in rows for field in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({field: _cell(value) for field, value in row.items()})
    return out.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value


async def _artifact(ledger: Ledger, view: JobView, name: str) -> str:
    for item in await ledger.artifacts(view.job):
        if item.name == name:
            return item.content.decode()
    raise NotFound(
        f"Job {view.job} has no {name}: it is {view.state}.", remedy=f"Look at it with `colony job {view.job}`."
    )
