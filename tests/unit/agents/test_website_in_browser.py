"""The example site in a real browser, where there is one: nothing wider than the window, with scripts and without."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from agents.skills.website_brief import parse_brief
from agents.skills.website_parts import checked, mended, plan_piece, written
from agents.skills.website_plan import plan_site, rows_of
from tests.documents import ROOT
from tests.servers.browser import Browser, browser, browser_path

EXAMPLE = parse_brief((ROOT / "examples" / "brief.yaml").read_bytes())
pytestmark = [
    pytest.mark.skipif(not browser_path(), reason="no Chromium here"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]
# The page for what is not found is shown by a server at any address: it names its files from the root.
PAGES = [part.path for part in plan_site(EXAMPLE).parts if part.kind in ("page", "post")]
WIDTHS = (320, 390, 820, 821, 1280, 1920)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    for row in rows_of(EXAMPLE):
        piece = mended(checked(written(plan_piece(row), "author")), "author")
        path = folder / piece.part.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(piece.file, encoding="utf-8")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab() -> AsyncGenerator[Browser]:
    async with browser() as opened:
        yield opened


@pytest.mark.parametrize("width", WIDTHS)
async def test_no_page_is_wider_than_its_window(site: Path, tab: Browser, width: int) -> None:
    for name in PAGES:
        page = site / name
        await tab.open(page, width, 800)
        assert await tab.value("document.documentElement.scrollWidth") <= width, name
        broken = "[...document.images].filter(image => !image.naturalWidth).map(image => image.src)"
        assert await tab.value(broken) == [], name


async def test_the_menu_of_a_phone_opens_and_closes(site: Path, tab: Browser) -> None:
    await tab.open(site / "index.html", 390, 800)
    shown = "getComputedStyle(document.getElementById('menu')).display"
    assert await tab.value(shown) == "none"
    await tab.value("document.querySelector('.menu-button').click()")
    assert await tab.value(shown) == "block"
    await tab.value("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    assert await tab.value(shown) == "none"


async def test_dark_colours_follow_the_system_and_the_button(site: Path, tab: Browser) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    await tab.open(site / "index.html", 1280, 800)
    light = await tab.value(back)
    await tab.value("document.querySelector('.look').click()")
    dark = await tab.value(back)
    assert dark != light
    await tab.value("localStorage.clear()")
    await tab.open(site / "about.html", 1280, 800, dark=True)
    assert await tab.value(back) == dark


async def test_the_form_writes_an_e_mail_and_sends_nothing(site: Path, tab: Browser) -> None:
    await tab.open(site / "contact.html", 1280, 800)
    assert await tab.value("[...document.forms].every(form => form.action.startsWith('mailto:'))")
    assert await tab.value("performance.getEntriesByType('resource').every(each => each.name.startsWith('file:'))")
