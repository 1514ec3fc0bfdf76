"""The artifacts of a job that built a website: the site as one archive, its home page to look at, the checks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson

from agents.skills.report_model import RunFacts
from agents.skills.website_bundle import MAX_SITE, pack, standalone
from agents.skills.website_parts import piece_of
from agents.skills.website_report import SiteReport, parse_site_report, render_site_markdown
from colony.contracts import Artifact
from colony.errors import BadInput
from colony.jobs import JobPlan
from colony.ledger.port import JobLedger

ARCHIVE: Final = "site.zip"
_PAGE: Final = 20


async def site_artifacts(ledger: JobLedger, plan: JobPlan, value: Mapping[str, Any], facts: RunFacts) -> list[Artifact]:
    """`site.zip`, `index.html`, which is its home page in one file, and `report.md`.

    Raises `BadInput` for a value that `assemble_site` did not write, and for a site that is too large.
    """
    report = parse_site_report(value)
    files = dict(report.made)
    size = 0
    step, first, end = _span(value)
    for start in range(first, end, _PAGE):
        for _, result in await ledger.results(plan.job, step, start, min(start + _PAGE, end)):
            piece = piece_of(orjson.loads(result))
            files[piece.part.path] = piece.file
            size += len(piece.file)
        if size > MAX_SITE:
            raise BadInput(f"The site has more than {MAX_SITE:,} bytes.", remedy="Split the brief.")
    return await asyncio.to_thread(_artifacts, files, report, facts)


def _artifacts(files: Mapping[str, str], report: SiteReport, facts: RunFacts) -> list[Artifact]:
    return [
        Artifact(name=ARCHIVE, media_type="application/zip", content=pack(files.items())),
        Artifact(name="index.html", media_type="text/html; charset=utf-8", content=standalone(files).encode()),
        Artifact(
            name="report.md",
            media_type="text/markdown; charset=utf-8",
            content=render_site_markdown(report, facts).encode(),
        ),
    ]


def _span(value: Mapping[str, Any]) -> tuple[int, int, int]:
    span: Mapping[str, int] = value.get("range") or {}
    try:
        return span["step"], span["first"], span["end"]
    except KeyError as error:
        raise BadInput(f"The website has no range of files: {error} is missing.") from None
