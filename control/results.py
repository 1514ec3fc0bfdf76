"""Results of a job as text: the report, the rows, or everything."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from colony.contracts import JobView
from colony.errors import NotFound
from colony.jobs import StepKind
from colony.ledger.port import Ledger
from control.session import ledger_here

CHUNK = 5_000

_DATA: Final = "results.json"


Form = Literal["json", "csv", "md"]

MEDIA_TYPES: Final[Mapping[Form, str]] = {"json": "application/json", "csv": "text/csv", "md": "text/markdown"}


async def render_results(name: str, form: Form) -> str:
    """`md` is the report, `csv` the rows of the last map step, `json` both and the counts. Raises `NotFound`."""
    async with ledger_here() as ledger:
        return "".join([piece async for piece in result_pieces(ledger, await ledger.job(name), form)])


async def result_pieces(ledger: Ledger, view: JobView, form: Form) -> AsyncGenerator[str]:
    """The same in pieces, so that nobody holds all rows at once. Raises `NotFound` before the first."""
    if form == "md":
        yield await _artifact(ledger, view, "report.md")
        return
    if form == "csv":
        columns = dict.fromkeys([field async for chunk in _chunks(ledger, view) for row in chunk for field in row])
        yield as_csv([], columns)
        async for chunk in _chunks(ledger, view):
            yield as_csv(chunk, columns, header=False)
        return
    artifacts = {item.name: item.content.decode() for item in await ledger.artifacts(view.job) if item.name == _DATA}
    head = {"job": view.model_dump(mode="json"), "report": json.loads(artifacts.get(_DATA, "null"))}
    yield json.dumps(head, indent=2)[:-2] + ',\n  "rows": ['
    first = True
    async for chunk in _chunks(ledger, view):
        for row in chunk:
            yield ("" if first else ",") + "\n" + textwrap.indent(json.dumps(row, indent=2), "    ")
            first = False
    yield "]\n}\n" if first else "\n  ]\n}\n"


async def last_rows(ledger: Ledger, view: JobView) -> list[dict[str, Any]]:
    """Results of the last map step, in order."""
    return [row async for chunk in _chunks(ledger, view) for row in chunk]


async def _chunks(ledger: Ledger, view: JobView) -> AsyncGenerator[list[dict[str, Any]]]:
    plan = await ledger.plan(view.job)
    maps = [step for step in plan.steps if step.kind is StepKind.MAP]
    if not maps:
        return
    total = await ledger.task_count(view.job, maps[-1].number) or 0
    for first in range(0, total, CHUNK):
        chunk = await ledger.results(view.job, maps[-1].number, first, min(total, first + CHUNK))
        yield [json.loads(result) for _, result in chunk]


def as_csv(rows: Sequence[dict[str, Any]], columns: Iterable[str] | None = None, *, header: bool = True) -> str:
    """A table; nested values as JSON. Columns are, unless given, the fields of the rows in order of appearance."""
    if columns is None:
        columns = dict.fromkeys(field for row in rows for field in row)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), lineterminator="\n")
    if header:
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
