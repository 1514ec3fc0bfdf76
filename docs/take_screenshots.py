"""Takes the pictures of `docs/how-to/build-a-website.md` from the example brief. Needs Chromium; for developers only.

Run: .venv/bin/python -m docs.take_screenshots
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from agents.skills.website_brief import parse_brief
from agents.skills.website_parts import checked, mended, plan_piece, written
from agents.skills.website_plan import rows_of
from tests.servers.browser import browser

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
)


async def take() -> None:
    """Build the site as the agents do and photograph it."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for row in rows_of(parse_brief((ROOT / "examples" / "brief.yaml").read_bytes())):
            piece = checked(written(plan_piece(row), "author"))
            if piece.findings:
                piece = mended(piece, "author")
            path = Path(folder) / piece.part.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(piece.file, encoding="utf-8")
        async with browser() as tab:
            for shot in SHOTS:
                await tab.open(Path(folder) / shot.page, shot.width, shot.height, dark=shot.dark)
                (FOLDER / f"{shot.name}.png").write_bytes(await tab.picture(whole=shot.whole))


if __name__ == "__main__":
    asyncio.run(take())
