from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.skills.website_brief import Brief, parse_brief
from agents.skills.website_checks import findings_of, resolved
from agents.skills.website_parts import Piece, checked, mended, plan_piece, written
from agents.skills.website_plan import rows_of
from agents.skills.website_theme import THEMES, channels, colour_of, contrast, faults_of, tokens_of, toned
from tests.documents import ROOT

EXAMPLE = parse_brief((ROOT / "examples" / "brief.yaml").read_bytes())
PIECES = {piece.part.path: piece for piece in (written(plan_piece(row), "author") for row in rows_of(EXAMPLE))}
COLOURS = st.tuples(*[st.integers(0, 255)] * 3).map(lambda three: "#" + "".join(f"{each:02x}" for each in three))


def rules_of(piece: Piece, text: str) -> set[str]:
    return {finding.rule for finding in findings_of(piece.site, piece.part, text)}


@pytest.mark.parametrize("path", sorted(PIECES))
def test_every_part_holds_once_it_is_mended(path: str) -> None:
    assert checked(mended(PIECES[path], "author")).findings == ()


@pytest.mark.parametrize(
    ("pattern", "put", "rule"),
    [
        (r"<!DOCTYPE html>\n", "", "html"),
        (r"</h1>", "", "html"),
        (r"<main", "<main><p><div></div></p", "html"),
        (r' lang="en"', "", "html"),
        (r"<title>.*</title>", "<title></title>", "html"),
        (r'id="content"', 'id="content" id="x"', "html"),
        (r'id="content"', 'id="content" onclick="x()"', "html"),
        (r"</main>", "<blink>x</blink></main>", "html"),
        (r'width=device-width, initial-scale=1', "width=1200", "viewport"),
        (r"<h1>(.*?)</h1>", r"<h1>\1</h1><h1>again</h1>", "headings"),
        (r"<h2(.*?)</h2>", r"<h4\1</h4>", "headings"),
        (r'<img class="strip"(.*?) alt=""', r'<img class="strip"\1', "alt"),
        (r"<label.*?</label>", "", "alt"),
        (r'href="order.html"', 'href="orders.html"', "links"),
        (r'href="order.html"', 'href="javascript:x()"', "links"),
        (r'href="#content"', 'href="#nothing"', "links"),
        (r'src="assets/logo.svg"', 'src="https://cdn.example/logo.svg"', "links"),
        (r"</main>", "x" * 100_001 + "</main>", "size"),
    ],
)  # fmt: skip
def test_what_is_broken_on_a_page_is_found(pattern: str, put: str, rule: str) -> None:
    path = "about.html" if "h2" in pattern else "contact.html"
    piece = PIECES[path]
    broken = re.sub(pattern, put, piece.file, count=1, flags=re.S)
    assert broken != piece.file
    assert rules_of(piece, piece.file) == set()
    assert rule in rules_of(piece, broken)


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        ("assets/site.css", "a{color:red", "contrast"),
        ("assets/site.css", "a{color}", "css"),
        ("assets/site.css", "@import url(https://x.example/a.css);", "css"),
        ("assets/site.css", ".wide{width:1200px}", "viewport"),
        ("assets/site.css", "@media print{.wide{min-width:900px}}", "viewport"),
        ("assets/site.js", "fetch('/x')", "script"),
        ("assets/site.js", "element.innerHTML = value", "script"),
        ("assets/logo.svg", "<svg", "svg"),
        ("assets/logo.svg", '<!DOCTYPE svg [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg"/>', "svg"),
        ("assets/logo.svg", '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1" onload="x()"/>', "svg"),
        ("assets/logo.svg", '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>', "alt"),
        ("assets/logo.svg", "", "size"),
    ],
)
def test_what_is_broken_in_other_files_is_found(path: str, text: str, rule: str) -> None:
    assert rule in rules_of(PIECES[path], text)


@given(st.text(max_size=300))
def test_any_text_is_checked_without_an_error(text: str) -> None:
    for path in ("index.html", "assets/site.css", "assets/logo.svg", "assets/site.js"):
        findings_of(PIECES[path].site, PIECES[path].part, text)


def test_links_never_leave_the_site() -> None:
    assert resolved(["posts"], "../index.html") == "index.html"
    assert resolved(["posts"], "../../index.html") == ""


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the well-known grey that just fails
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@given(COLOURS)
def test_any_brand_colour_becomes_readable(accent: str) -> None:
    for theme in THEMES:
        tokens = tokens_of(theme, accent, readable=True)
        assert faults_of(tokens.light) == []
        assert faults_of(tokens.dark) == []
    assert colour_of(*channels(accent)) == accent
    assert contrast(toned(accent, "#ffffff", 4.5, darker=True), "#ffffff") >= 4.5


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_themes_are_readable_as_they_are(theme: str) -> None:
    tokens = tokens_of(theme)
    assert faults_of(tokens.light) == faults_of(tokens.dark) == []


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=60))
def test_whatever_a_brief_says_the_pages_are_valid(words: str) -> None:
    said = f"a {words}"
    section = {"title": said, "text": said, "picture": said, "link": {"label": said, "to": "Home"}}
    card = {"kind": "features", "title": said, "items": [{"title": said, "text": said}]}
    page = {"title": said[:80], "summary": said, "sections": [section, card]}
    brief = Brief.model_validate({"name": said[:80], "description": said, "pages": [page]})
    for row in rows_of(brief):
        piece = checked(written(plan_piece(row), "author"))
        assert piece.findings == (), piece.findings
