"""Takes the pictures of the how-tos: a website from the example brief, reports on reviews and on watched sites.

Needs Chromium; for developers only.

Run: .venv/bin/python -m docs.take_screenshots
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from agents.processing import clean_review
from agents.skills.monitor_report import render_monitor_html
from agents.skills.phrases import keyphrases
from agents.skills.report import RunFacts, render_html, report_of
from agents.skills.sentiment import by_lexicon
from agents.skills.tally import tally_of
from agents.skills.website_brief import parse_brief
from agents.skills.website_parts import checked, mended, plan_piece, written
from agents.skills.website_plan import rows_of
from docs.watched_day import watched_day
from tests.servers.browser import browser
from workflows.sources import pin_file, read_rows
from workflows.templates import REVIEW_ANALYSIS

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "docs" / "how-to" / "pictures"


class Shot(NamedTuple):
    """One picture."""

    name: str
    page: str
    width: int
    height: int
    dark: bool = False
    whole: bool = False


SHOTS: Final = (
    Shot("website-desktop", "index.html", 1280, 1500),
    Shot("website-dark", "about.html", 1280, 1150, dark=True),
    Shot("website-order", "order.html", 1280, 1250),
    Shot("website-phone", "index.html", 390, 1500),
    Shot("reviews-report", "report.html", 1120, 1205),
    Shot("monitor-report", "monitor.html", 1100, 905),
)


def review_report() -> str:
    """The page of `review_analysis` over the example reviews, as its agents write it."""
    source = ROOT / "examples" / "kettle.csv"
    chunks = read_rows(pin_file(source, REVIEW_ANALYSIS, {}), REVIEW_ANALYSIS.optional, [])
    rows = [clean_review(json.loads(payload)) for chunk in chunks for _, payload in chunk]
    for row in rows:
        verdict = by_lexicon(row["text"])
        row |= {"compound": verdict.compound, "label": verdict.label.value, "phrases": keyphrases(row["text"], limit=8)}
    return render_html(report_of(tally_of(rows)), RunFacts(source=source.name))


async def take() -> None:
    """Build site and reports as the agents do and photograph them."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for row in rows_of(parse_brief((ROOT / "examples" / "brief.yaml").read_bytes())):
            piece = checked(written(plan_piece(row), "author"))
            if piece.findings:
                piece = mended(piece, "author")
            path = Path(folder) / piece.part.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(piece.file, encoding="utf-8")
        (Path(folder) / "report.html").write_text(review_report(), encoding="utf-8")
        (Path(folder) / "monitor.html").write_text(render_monitor_html(watched_day()), encoding="utf-8")
        async with browser() as tab:
            for shot in SHOTS:
                await tab.open(Path(folder) / shot.page, shot.width, shot.height, dark=shot.dark)
                (FOLDER / f"{shot.name}.png").write_bytes(await tab.picture(whole=shot.whole))


if __name__ == "__main__":
    asyncio.run(take())
