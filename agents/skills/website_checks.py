"""Tests of the files of a website: what a browser, a reader and a screen reader would stumble over. Pure.

HTML is parsed by the rules of the standard (tinyhtml5), CSS likewise (tinycss2). Nothing is rendered: what needs a
browser is judged by rules that make it hold, such as widths that never exceed the window.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree

from agents.skills.website_check_css import css_findings
from agents.skills.website_findings import Finding, Rule
from agents.skills.website_markup import Page, read_page
from agents.skills.website_plan import MISSING, Part, Site

BUDGETS: Final = {
    "page": 100_000,
    "post": 100_000,
    "missing": 20_000,
    "style": 40_000,
    "script": 10_000,
    "logo": 5_000,
    "icon": 5_000,
    "picture": 60_000,
}
"""Most bytes of a file of each kind."""

_EXTERNAL: Final = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
_SAFE: Final = ("https:", "http:", "mailto:", "tel:")
_TITLE: Final = range(1, 71)
_DESCRIPTION: Final = range(5, 161)
_CODE: Final = re.compile(r"\beval\s*\(|\binnerHTML\b|\bdocument\.write\b|\bfetch\s*\(|XMLHttpRequest|https?://")


def findings_of(site: Site, part: Part, text: str) -> list[Finding]:
    """What is wrong with one file; empty for nothing."""
    found = list(_size(part, text))
    match part.kind:
        case "page" | "post" | "missing":
            found += _page(site, part, read_page(text))
        case "style":
            found += css_findings(text)
        case "script":
            found += [Finding(rule="script", text=f"uses {use.group(0)}") for use in _CODE.finditer(text)]
        case "logo" | "icon" | "picture":
            found += _drawing(text)
    return found


def _size(part: Part, text: str) -> Iterator[Finding]:
    size, most = len(text.encode()), BUDGETS[part.kind]
    if size > most:
        yield Finding(rule="size", text=f"{size:,} bytes; at most {most:,} are allowed")
    if not text.strip():
        yield Finding(rule="size", text="the file is empty")


def _page(site: Site, part: Part, page: Page) -> Iterator[Finding]:
    for line, what in page.faults:
        yield Finding(rule="html", text=what, line=line)
    yield from _head(page)
    yield from _headings(page)
    yield from _words(page)
    yield from _links(site, part, page)


def _head(page: Page) -> Iterator[Finding]:
    if not page.language:
        yield Finding(rule="html", text="the page names no language")
    if len(page.title) not in _TITLE:
        yield Finding(rule="html", text=f"the title has {len(page.title)} characters")
    if len(page.description) not in _DESCRIPTION:
        yield Finding(rule="html", text=f"the description has {len(page.description)} characters")
    if "width=device-width" not in page.viewport or re.search(r"user-scalable\s*=\s*no|maximum-scale", page.viewport):
        yield Finding(rule="viewport", text="the page does not follow the width of the window, or forbids to zoom")


def _headings(page: Page) -> Iterator[Finding]:
    if page.headings.count(1) != 1:
        yield Finding(rule="headings", text=f"there are {page.headings.count(1)} headings of the first level, not one")
    before = 0
    # Headings in the header and footer are of their own, so only those of the main part must follow each other.
    for level in page.headings:
        if level > before + 1 and before:
            yield Finding(rule="headings", text=f"a heading of level {level} follows one of level {before}")
        before = level


def _words(page: Page) -> Iterator[Finding]:
    for source in page.images_without_alt:
        yield Finding(rule="alt", text=f"the image {source!r} has no alternative text")
    for address in page.silent_links:
        yield Finding(rule="alt", text=f"the link to {address!r} has no words")
    for name in page.unlabelled:
        yield Finding(rule="alt", text=f"the field {name!r} has no label")
    for landmark in ("header", "main", "footer", "nav"):
        if landmark not in page.landmarks:
            yield Finding(rule="html", text=f"there is no <{landmark}>")


def _links(site: Site, part: Part, page: Page) -> Iterator[Finding]:
    base = part.path.rsplit("/", 1)[0].split("/") if "/" in part.path else []
    for address in page.addresses:
        if _EXTERNAL.match(address):
            if not address.lower().startswith(_SAFE):
                yield Finding(rule="links", text=f"the address {address[:80]!r} is not safe")
            continue
        path, _, anchor = address.partition("#")
        if part.path == MISSING and path.startswith("/"):
            path = path.rsplit("/", 1)[-1] if path.rsplit("/", 1)[-1] in site.files else _below(path, site)
        target = resolved(base, path) if path else part.path
        if target not in site.files:
            yield Finding(rule="links", text=f"{address[:80]!r} leads nowhere")
        elif anchor and target == part.path and anchor not in page.ids:
            yield Finding(rule="links", text=f"{address[:80]!r} leads to no part of the page")
    for address in page.loaded:
        if _EXTERNAL.match(address):
            yield Finding(rule="links", text=f"{address[:80]!r} is loaded from elsewhere")


def resolved(base: list[str], path: str) -> str:
    """The path from the root of the site; empty for one that leaves it."""
    parts = list(base)
    for step in path.split("/"):
        if step == "..":
            if not parts:
                return ""
            parts.pop()
        elif step not in ("", "."):
            parts.append(step)
    return "/".join(parts)


def _below(path: str, site: Site) -> str:
    """An absolute path without the folder the site lies in."""
    root = re.sub(r"^https?://[^/]+", "", site.url).strip("/")
    return path.strip("/").removeprefix(root).strip("/")


def _drawing(text: str) -> Iterator[Finding]:
    if "<!" in text:
        yield Finding(rule="svg", text="declares entities or holds comments")
        return
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 -- without declarations there is nothing to expand
    except ElementTree.ParseError as error:
        yield Finding(rule="svg", text=f"is not well-formed: {error}")
        return
    names = [element.tag.rpartition("}")[2] for element in root.iter()]
    if root.tag != "{http://www.w3.org/2000/svg}svg" or "viewBox" not in root.attrib:
        yield Finding(rule="svg", text="is no drawing with a viewBox")
    if "title" not in names:
        yield Finding(rule="alt", text="the drawing has no title")
    for element in root.iter():
        handlers = [name for name in element.attrib if name.startswith("on") or name.endswith("href")]
        if handlers or element.tag.endswith("}script"):
            yield Finding(rule="svg", text="holds a script or a link")


__all__ = ["BUDGETS", "Finding", "Rule", "findings_of", "resolved"]
