"""HTML of one page: semantic, accessible, every text of the brief escaped. Pure but for reading its templates once."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from agents.skills.text import one_line
from agents.skills.website_brief import ItemBrief, LinkBrief, PageBrief, SectionBrief
from agents.skills.website_copy import Copy
from agents.skills.website_images import mark
from agents.skills.website_plan import HOME, MISSING, Part, Site, address_of, slug_of

TEMPLATES: Final = Path(__file__).parent / "website_templates"

_HEADINGS: Final[Mapping[str, str]] = {
    "features": "At a glance",
    "steps": "Step by step",
    "people": "People",
    "prices": "Prices",
}
"""Plain headings for sections that have none but hold headings of their own."""
_READ_ON: Final = 3
_SHORT: Final = 180
_LONGEST_TITLE: Final = 65


def page_html(site: Site, part: Part, copy: Copy, *, mended: bool = False) -> str:
    """The page. `mended` leaves out links that lead to nowhere: their words stay."""
    root = _root(site, part)
    page = part.page
    sections = () if page is None else page.sections
    home = part.path == HOME
    linked = partial(_linked, site, root, mended)
    shown = (
        _environment()
        .get_template("page.html.j2")
        .render(
            site=site,
            part=part,
            copy=copy,
            root=root,
            home=home,
            title=_title(site, part),
            absolute=f"{site.url.rstrip('/')}/{'' if home else part.path}",
            show_lead=bool(page is not None and (page.summary or copy.by != "brief")),
            first=linked(None if page is None else page.link),
            second=linked(_second(site, page)) if home and page is not None else None,
            others=[post for post in site.posts if post.path != part.path][:_READ_ON],
            parts=[_section(part, section, number, linked) for number, section in enumerate(sections)],
        )
    )
    return _tidy(shown)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "paragraphs": lambda text: [piece for piece in str(text).split("\n\n") if piece],
        "day": _day,
        "dialled": lambda number: re.sub(r"[^0-9+]", "", str(number)),
        "short": lambda text: one_line(str(text), _SHORT),
    }
    return environment


def _linked(site: Site, root: str, mended: bool, link: LinkBrief | None) -> dict[str, Any] | None:
    """A link as the template needs it; without `href` its label is plain text."""
    if link is None:
        return None
    address = address_of(site, link.to)
    outside = address.lower().startswith(("http:", "https:"))
    inside = re.match(r"[a-z][a-z0-9+.-]*:", address, re.IGNORECASE) is None and not address.startswith("#")
    if inside and mended and address.partition("#")[0] not in site.files:
        return {"label": link.label, "href": "", "outside": False}
    return {"label": link.label, "href": f"{root}{address}" if inside else address, "outside": outside}


def _root(site: Site, part: Part) -> str:
    """The way from this page to the root of the site."""
    if part.path == MISSING and site.url:
        # A server shows this page at any address: only a path from its root leads anywhere.
        path = re.sub(r"^https?://[^/]+", "", site.url).strip("/")
        return f"/{path}/" if path else "/"
    return "../" * part.path.count("/")


def _title(site: Site, part: Part) -> str:
    if part.path == HOME:
        whole = f"{site.name} - {site.tagline}" if site.tagline else site.name
    else:
        whole = f"{part.title} - {site.name}"
    return whole if len(whole) <= _LONGEST_TITLE else one_line(site.name if part.path == HOME else part.title, 65)


def _second(site: Site, page: PageBrief) -> LinkBrief | None:
    """A quieter way on beside the main one: the next page of the navigation."""
    taken = address_of(site, page.link.to) if page.link is not None else ""
    for place in site.menu()[1:]:
        if place.path != taken:
            return LinkBrief(label=place.title, to=place.title)
    return None


_Linked = Callable[[LinkBrief | None], dict[str, Any] | None]


def _section(part: Part, section: SectionBrief, number: int, linked: _Linked) -> dict[str, Any]:
    titled = section.title or _HEADINGS.get(section.kind, "")
    return {
        **{name: getattr(section, name) for name in ("kind", "text", "picture")},
        "link": linked(section.link),
        "title": titled,
        "anchor": f"{slug_of(titled) or section.kind}-{number + 1}",
        "picture_path": part.pictures.get(number, ""),
        "tinted": number % 2 == 0 and section.kind != "call",
        "turned": number % 4 >= 2,
        "entries": [_item(part, item, number, at, linked) for at, item in enumerate(section.items)],
    }


def _item(part: Part, item: ItemBrief, number: int, at: int, linked: _Linked) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(item, name) for name in ItemBrief.model_fields}
    initials = [word[0].upper() for word in item.title.split() if word[0].isalpha()]
    return {
        **fields,
        "link": linked(item.link),
        "initials": "".join([initials[0], initials[-1]] if len(initials) > 1 else initials),
        # Drawn by us, no text of the brief in it.
        "mark": Markup(mark(part.seed + number, at)),  # noqa: S704
    }


def _day(date: str) -> str:
    day = datetime.date.fromisoformat(date)
    return f"{day.day} {day:%B %Y}"


def _tidy(page: str) -> str:
    """Without the empty lines that templates leave."""
    return "\n".join(line.rstrip() for line in page.split("\n") if line.strip()) + "\n"
