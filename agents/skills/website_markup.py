"""What a page of HTML holds, read the way a browser reads it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from tinyhtml5.parser import HTMLParser

from agents.skills.stopwords import word_set

_HTML: Final = "{http://www.w3.org/1999/xhtml}"
_KNOWN: Final = word_set(
    """
    html head body title meta link script style header footer main nav section article aside h1 h2 h3 h4 h5 h6 p a ul
    ol li dl dt dd div span img figure figcaption blockquote details summary form label input textarea button select
    option address time strong em small code pre br hr table thead tbody tr th td abbr cite mark q s sub sup
    """
)
_BLOCKS: Final = word_set("p div ul ol dl h1 h2 h3 h4 h5 h6 section article figure blockquote form table")
_PHRASING: Final = word_set("p h1 h2 h3 h4 h5 h6 span button label summary time")


@dataclass
class Page:
    """Facts of one page."""

    faults: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Line and what is wrong with the markup."""
    language: str = ""
    title: str = ""
    description: str = ""
    viewport: str = ""
    headings: list[int] = field(default_factory=list[int])
    """Levels within the main part, in order."""
    ids: list[str] = field(default_factory=list[str])
    landmarks: set[str] = field(default_factory=set[str])
    addresses: list[str] = field(default_factory=list[str])
    """Of links, images, scripts and stylesheets."""
    loaded: list[str] = field(default_factory=list[str])
    """Of what a browser fetches by itself."""
    images_without_alt: list[str] = field(default_factory=list[str])
    silent_links: list[str] = field(default_factory=list[str])
    unlabelled: list[str] = field(default_factory=list[str])
    text: str = ""
    """What can be read in the main part."""


def read_page(markup: str) -> Page:
    """The facts of a page. Never raises: broken markup is among the facts."""
    parser: Any = HTMLParser()
    root = parser.parse(markup)
    page = Page()
    page.faults += [(place[0], code.replace("-", " ")) for place, code, _ in parser.errors]
    if not re.match(r"<!doctype html>", markup, re.IGNORECASE):
        page.faults.append((1, "does not begin with <!DOCTYPE html>"))
    _walk(page, root, [])
    labelled = {element.get("for") for element in root.iter(f"{_HTML}label")}
    for name in ("input", "textarea", "select"):
        for element in root.iter(_HTML + name):
            if element.get("id") not in labelled and not element.get("aria-label"):
                page.unlabelled.append(element.get("name") or name)
    for twice in sorted({each for each in page.ids if page.ids.count(each) > 1}):
        page.faults.append((0, f"the id {twice!r} is there twice"))
    page.faults += [
        (0, f"{name}={value!r} names no id")
        for element in root.iter()
        for name in ("aria-labelledby", "aria-controls", "for")
        if (value := element.get(name)) is not None and value not in page.ids
    ]
    return page


def _walk(page: Page, element: Any, above: list[str]) -> None:
    name = element.tag.removeprefix(_HTML) if isinstance(element.tag, str) else ""
    if not name or name.startswith("{"):
        return  # comments and drawings within the page
    _content(page, name, above)
    _attributes(page, element, name)
    _meaning(page, element, name, above)
    for child in element:
        _walk(page, child, [*above, name])


def _content(page: Page, name: str, above: list[str]) -> None:
    """What may stand in what, as far as the parser lets it pass."""
    if name not in _KNOWN:
        page.faults.append((0, f"<{name[:20]}> is no element of a page"))
    if name == "li" and above and above[-1] not in ("ul", "ol"):
        page.faults.append((0, "<li> is in no list"))
    if above and above[-1] in ("ul", "ol") and name != "li":
        page.faults.append((0, f"<{name}> is directly in a list"))
    if name in _BLOCKS and above and above[-1] in _PHRASING:
        page.faults.append((0, f"<{name}> is in <{above[-1]}>"))
    if name in ("a", "button") and ("a" in above or "button" in above):
        page.faults.append((0, f"<{name}> is in another link or button"))


def _attributes(page: Page, element: Any, name: str) -> None:
    for attribute, value in element.attrib.items():
        if attribute.startswith("on") or attribute == "style":
            page.faults.append((0, f"<{name}> has the attribute {attribute}"))
        elif attribute == "id":
            page.ids.append(value)
    if name == "script" and (element.text or "").strip():
        page.faults.append((0, "a script stands in the page"))
    for attribute in ("href", "src", "action"):
        address = element.get(attribute)
        if address is None:
            continue
        outside = name == "link" and element.get("rel") == "canonical"
        page.addresses.append(address)
        if name in ("script", "img") or (name == "link" and not outside):
            page.loaded.append(address)


def _meaning(page: Page, element: Any, name: str, above: list[str]) -> None:
    if name == "html":
        page.language = element.get("lang") or ""
    elif name == "title":
        page.title = _text(element)
    elif name == "meta" and element.get("name") == "description":
        page.description = element.get("content") or ""
    elif name == "meta" and element.get("name") == "viewport":
        page.viewport = element.get("content") or ""
    elif name == "img" and element.get("alt") is None:
        page.images_without_alt.append(element.get("src") or "")
    elif name in ("a", "button") and not _text(element) and not element.get("aria-label"):
        page.silent_links.append(element.get("href") or name)
    if len(name) == 2 and name[0] == "h" and name[1].isdigit() and "main" in above:
        page.headings.append(int(name[1]))
        if not _text(element):
            page.faults.append((0, f"<{name}> is empty"))
    if name in ("header", "main", "footer", "nav"):
        page.landmarks.add(name)
    if name == "main":
        page.text = _text(element)


def _text(element: Any) -> str:
    return " ".join("".join(element.itertext()).split())
