"""Information architecture of a website: which files there are, what each is called, what leads where. Pure.

Everything follows from the brief alone, so agents that work on different parts at the same moment agree on it.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal

from pydantic import Field

from agents.skills.website_brief import Brief, ContactBrief, PageBrief, PostBrief, SectionBrief, Target, brief_of
from agents.skills.website_theme import THEMES
from colony.contracts import Frozen
from colony.errors import BadInput

PartKind = Literal["page", "post", "missing", "style", "script", "logo", "icon", "picture"]

STYLE: Final = "assets/site.css"
SCRIPT: Final = "assets/site.js"
LOGO: Final = "assets/logo.svg"
ICON: Final = "assets/icon.svg"
HOME: Final = "index.html"
HOME_PICTURE: Final = "images/index.svg"
MISSING: Final = "404.html"
FEED: Final = "feed.xml"

IN_MENU: Final = 6
"""Most pages in the navigation; the others are reached from the footer."""

_EXTERNAL: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_RESERVED: Final = frozenset({"index", "404", "assets", "images", "posts", "feed", "sitemap", "robots"})
_NEWS: Final = "Journal"


class Place(Frozen):
    """A page, as others lead to it."""

    title: str
    path: str
    menu: bool = True


class PostPlace(Frozen):
    """A post, as a list of posts shows it."""

    title: str
    path: str
    date: str
    summary: str


class Site(Frozen):
    """What every part must know of the whole."""

    name: str
    tagline: str
    description: str
    language: str
    url: str
    theme: str
    accent: str
    art: str
    contact: ContactBrief
    small_print: str
    places: tuple[Place, ...]
    posts: tuple[PostPlace, ...] = ()
    files: tuple[str, ...]
    """Paths of all files that will be there."""

    def menu(self) -> tuple[Place, ...]:
        """The pages of the navigation."""
        return tuple(place for place in self.places if place.menu)[:IN_MENU]


class Part(Frozen):
    """One file of the site and what its author is given."""

    kind: PartKind
    path: str
    title: str
    seed: int
    page: PageBrief | None = None
    post: PostBrief | None = None
    picture: str = ""
    """Path of its large drawing."""
    pictures: dict[int, str] = Field(default_factory=dict[int, str])
    """Number of a section -> path of the drawing beside it."""
    wide: bool = False
    """For a drawing: a strip over the page instead of a picture beside text."""


class Plan(Frozen):
    """The whole site before anything is written."""

    site: Site
    parts: tuple[Part, ...]


def plan_site(brief: Brief) -> Plan:
    """The files of the site and how they hang together."""
    pages = _with_journal(brief)
    slugs = _slugs([page.title for page in pages[1:]])
    paths = [HOME, *(f"{slug}.html" for slug in slugs)]
    post_slugs = _slugs([post.title for post in brief.posts])
    newest = sorted(zip(brief.posts, post_slugs, strict=True), key=lambda pair: pair[0].date, reverse=True)
    parts: list[Part] = []
    for page, path in zip(pages, paths, strict=True):
        parts += _page_parts(brief, page, path)
    for post, slug in newest:
        picture = f"images/posts-{slug}.svg"
        path = f"posts/{slug}.html"
        parts.append(
            Part(kind="post", path=path, title=post.title, seed=_seed(brief, path), post=post, picture=picture)
        )
        parts.append(Part(kind="picture", path=picture, title=post.title, seed=_seed(brief, picture), wide=True))
    parts += _shared_parts(brief)
    site = Site(
        **brief.model_dump(include={"name", "tagline", "description", "language", "url", "theme", "accent"}),
        art=brief.art or THEMES[brief.theme].art,
        contact=brief.contact,
        small_print=brief.small_print,
        places=tuple(
            Place(title=page.title, path=path, menu=page.menu) for page, path in zip(pages, paths, strict=True)
        ),
        posts=tuple(_post_place(post, slug) for post, slug in newest),
        files=(*(part.path for part in parts), *made_last(brief.url, bool(brief.posts))),
    )
    return Plan(site=site, parts=tuple(parts))


def rows_of(brief: Brief) -> Iterator[dict[str, Any]]:
    """One row for each part: its path, and the brief, which is all an agent needs to plan it."""
    whole = brief.model_dump(mode="json", exclude_defaults=True)
    for part in plan_site(brief).parts:
        yield {"id": part.path, "part": part.path, "brief": whole}


def planned(row: Mapping[str, Any]) -> tuple[Site, Part]:
    """The site and the part a row asks for. Raises `BadInput`."""
    if not isinstance(row.get("brief"), dict):
        raise BadInput("Field 'brief' must be the brief of a website.")
    brief = brief_of(row["brief"])
    plan = _kept_plan(brief.model_dump_json())
    for part in plan.parts:
        if part.path == row.get("part"):
            return plan.site, part
    raise BadInput(f"The site has no part {str(row.get('part'))[:80]!r}.")


@lru_cache(maxsize=8)
def _kept_plan(brief: str) -> Plan:
    """An agent host is asked for the parts of one brief a hundred times in a row."""
    return plan_site(Brief.model_validate_json(brief))


def made_last(url: str, posts: bool) -> tuple[str, ...]:
    """Files that can only be written once all others are there."""
    with_url = ("sitemap.xml", *((FEED,) if posts else ())) if url else ()
    return (*with_url, "robots.txt")


def address_of(site: Site, to: Target) -> str:
    """The path a link of the brief leads to, from the root of the site; addresses outside as they are.

    A page that does not exist gets the path it would have: whether it is there is checked, not guessed.
    """
    if _EXTERNAL.match(to) or to.startswith("#"):
        return to
    wanted, mark, anchor = to.partition("#")
    folded = wanted.strip().strip("/").casefold()
    for place in (*site.places, *site.posts):
        if folded in (place.title.casefold(), place.path.casefold(), place.path.rsplit(".", 1)[0].casefold()):
            return f"{place.path}{mark}{anchor}"
    if folded in ("", "home"):
        return f"{HOME}{mark}{anchor}"
    return f"{slug_of(wanted) or 'page'}.html{mark}{anchor}"


def slug_of(title: str) -> str:
    """`title` as a part of an address: a-z, 0-9 and hyphens, at most 60; empty where nothing of it is left."""
    plain = unicodedata.normalize("NFKD", title.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.replace("'", "").lower()).strip("-")[:60].strip("-")


def _slugs(titles: list[str]) -> list[str]:
    """One for each title, none twice."""
    found: list[str] = []
    taken = set(_RESERVED)
    for number, title in enumerate(titles, 2):
        base = slug_of(title) or f"page-{number}"
        slug, again = base, 1
        while slug in taken:
            again += 1
            slug = f"{base}-{again}"
        taken.add(slug)
        found.append(slug)
    return found


def _with_journal(brief: Brief) -> list[PageBrief]:
    """The pages; where there are posts and no page lists them, one that does."""
    pages = list(brief.pages)
    listed = any(section.kind == "posts" for page in pages[1:] for section in page.sections)
    if brief.posts and not listed and not any(page.title == _NEWS for page in pages):
        pages.append(PageBrief(title=_NEWS, sections=(SectionBrief(kind="posts"),)))
    return pages


def _page_parts(brief: Brief, page: PageBrief, path: str) -> Iterator[Part]:
    stem = path.removesuffix(".html")
    picture = f"images/{stem}.svg"
    beside = {
        number: f"images/{stem}-{number + 1}.svg" for number, section in enumerate(page.sections) if section.picture
    }
    yield Part(
        kind="page",
        path=path,
        title=page.title,
        seed=_seed(brief, path),
        page=page,
        picture=picture,
        pictures=beside,
    )
    yield Part(kind="picture", path=picture, title=page.title, seed=_seed(brief, picture), wide=path != HOME)
    for number, drawing in beside.items():
        title = page.sections[number].picture
        yield Part(kind="picture", path=drawing, title=title, seed=_seed(brief, drawing))


def _shared_parts(brief: Brief) -> list[Part]:
    shared: tuple[tuple[PartKind, str, str], ...] = (
        ("missing", MISSING, "Page not found"),
        ("style", STYLE, "Stylesheet"),
        ("script", SCRIPT, "Script"),
        ("logo", LOGO, f"Logo of {brief.name}"),
        ("icon", ICON, f"Icon of {brief.name}"),
    )
    return [Part(kind=kind, path=path, title=title, seed=_seed(brief, path)) for kind, path, title in shared]


def _post_place(post: PostBrief, slug: str) -> PostPlace:
    summary = post.summary or post.text.split("\n\n", 1)[0]
    return PostPlace(title=post.title, path=f"posts/{slug}.html", date=post.date, summary=summary)


def _seed(brief: Brief, path: str) -> int:
    return zlib.crc32(f"{brief.name}|{path}".encode())
