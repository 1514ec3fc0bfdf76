"""The brief of a website: what a person says it shall hold, read from YAML and checked part by part. Pure.

A brief holds facts and words of its author. Nothing here adds any.
"""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import AfterValidator, Field, ValidationError, model_validator

from colony.config.yaml_lines import Document, DocumentRefused, parse_document
from colony.contracts import Frozen
from colony.errors import BadInput

MAX_BRIEF: Final = 64 * 1024
"""Most bytes of a brief: every agent that works on a part of the site is handed all of it."""

MAX_PAGES: Final = 100
MAX_POSTS: Final = 100

_SCHEMES: Final = ("https:", "http:", "mailto:", "tel:")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SPACES: Final = re.compile(r"[^\S\n]+")
_REMEDY: Final = "See examples/brief.yaml for a whole one."


class BriefInvalid(BadInput):
    """A brief that makes no site. `part` names what is wrong, such as `pages[2].title`."""

    def __init__(self, message: str, *, part: str = "", line: int = 0) -> None:
        super().__init__(message, remedy=_REMEDY)
        self.part = part
        self.line = line


def _words(text: str) -> str:
    """One line of text with something to read in it."""
    flat = " ".join(text.split())
    if flat and not any(character.isalnum() for character in flat):
        raise ValueError("has neither letter nor digit")
    return flat


def _prose(text: str) -> str:
    """Paragraphs, each on one line, an empty line between them."""
    paragraphs = (_SPACES.sub(" ", part.replace("\n", " ")).strip() for part in re.split(r"\n\s*\n", text))
    return "\n\n".join(" ".join(part.split()) for part in paragraphs if part)


def _target(text: str) -> str:
    """A page of the site, or an address outside of it."""
    flat = text.strip()
    if any(character.isspace() or ord(character) < 32 for character in flat) and _SCHEME.match(flat):
        raise ValueError("an address has no spaces")
    if _SCHEME.match(flat) and not flat.lower().startswith(_SCHEMES):
        raise ValueError("leads to a page of the site, or begins with https:, http:, mailto: or tel:")
    if flat.startswith(("//", "\\")):
        raise ValueError("leads to a page of the site, or begins with https:, http:, mailto: or tel:")
    return flat


def _date(value: str) -> str:
    try:
        return datetime.date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError("is a date such as 2026-03-31") from None


Line = Annotated[str, Field(max_length=200), AfterValidator(_words)]
Title = Annotated[str, Field(min_length=1, max_length=80), AfterValidator(_words)]
Prose = Annotated[str, Field(max_length=6_000), AfterValidator(_prose)]
Target = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_target)]

SectionKind = Literal[
    "text", "features", "steps", "numbers", "quotes", "questions", "people", "prices", "call", "contact", "posts"
]
ThemeName = Literal["meadow", "harbour", "ember", "orchid", "graphite"]
ArtName = Literal["hills", "leaves", "tiles", "orbits", "waves"]

LISTS: Final[dict[str, str]] = {
    "features": "title",
    "steps": "title",
    "numbers": "value",
    "quotes": "text",
    "questions": "title",
    "people": "title",
    "prices": "title",
}
"""Kinds of sections that are made of items -> what each item must have."""


class LinkBrief(Frozen):
    """A link with its words."""

    label: Title
    to: Target
    """Title or name of a page, or an address that begins with https:, http:, mailto: or tel:."""


class ItemBrief(Frozen):
    """One entry of a section."""

    title: Line = ""
    text: Prose = ""
    value: Annotated[str, Field(max_length=40), AfterValidator(_words)] = ""
    """A number with its unit, or a price."""
    by: Line = ""
    """Who said a quote, or the role of a person."""
    points: tuple[Line, ...] = Field(default=(), max_length=12)
    link: LinkBrief | None = None


class SectionBrief(Frozen):
    """One part of a page, from a heading to the next."""

    kind: SectionKind = "text"
    title: Line = ""
    text: Prose = ""
    items: tuple[ItemBrief, ...] = Field(default=(), max_length=24)
    link: LinkBrief | None = None
    picture: Line = ""
    """What the drawing beside a text shows, in words, for those who do not see it. Empty for no drawing."""

    @model_validator(mode="after")
    def _has_something(self) -> Self:
        needed = LISTS.get(self.kind)
        if needed is not None and not self.items:
            raise ValueError(f"a section of the kind {self.kind} needs items")
        for at, item in enumerate(self.items):
            if needed is not None and not getattr(item, needed):
                raise ValueError(f"items[{at}] of a section of the kind {self.kind} needs {needed!r}")
        if self.kind == "text" and not self.text:
            raise ValueError("a section of the kind text needs 'text'")
        if self.kind == "call" and self.link is None:
            raise ValueError("a section of the kind call needs 'link'")
        return self


class PageBrief(Frozen):
    """One page. The first one of a brief is the home page."""

    title: Title
    summary: Prose = ""
    """One or two sentences on what is found here."""
    menu: bool = True
    """Whether it stands in the navigation; it is in the footer anyway."""
    link: LinkBrief | None = None
    """The one thing a visitor shall do here."""
    sections: tuple[SectionBrief, ...] = Field(default=(), max_length=20)


class PostBrief(Frozen):
    """One entry of the news or journal."""

    title: Title
    date: Annotated[str, AfterValidator(_date)]
    text: Annotated[str, Field(min_length=1, max_length=20_000), AfterValidator(_prose)]
    summary: Prose = ""


class ContactBrief(Frozen):
    """How to reach the people behind the site. With an e-mail address there is a form."""

    email: str = Field(default="", max_length=120, pattern=r"^$|^[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$")
    phone: str = Field(default="", max_length=40, pattern=r"^[0-9+() ./-]*$")
    address: Line = ""
    hours: Line = ""


class Brief(Frozen):
    """A whole website in words."""

    name: Title
    tagline: Line = ""
    """The promise in a few words: headline of the home page."""
    description: Annotated[str, Field(min_length=1, max_length=600), AfterValidator(_prose)]
    """One to three sentences: what this is and for whom."""
    language: str = Field(default="en", pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")
    url: str = Field(default="", max_length=200, pattern=r"^$|^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?$")
    """Where the site will be: needed for the site map and the feed."""
    theme: ThemeName = "meadow"
    accent: str = Field(default="", pattern=r"^$|^#[0-9a-fA-F]{6}$")
    """Colour of the brand, in place of that of the theme."""
    art: ArtName | None = None
    """Style of the drawings; left out for that of the theme."""
    contact: ContactBrief = ContactBrief()
    pages: tuple[PageBrief, ...] = Field(min_length=1, max_length=MAX_PAGES)
    posts: tuple[PostBrief, ...] = Field(default=(), max_length=MAX_POSTS)
    small_print: Line = ""
    """Last line of every page."""

    @model_validator(mode="after")
    def _titles_differ(self) -> Self:
        for what, titles in (("pages", self.pages), ("posts", self.posts)):
            seen: set[str] = set()
            for at, each in enumerate(titles):
                folded = each.title.casefold()
                if folded in seen:
                    raise ValueError(f"{what}[{at}].title {each.title!r} is there twice")
                seen.add(folded)
        return self


def parse_brief(raw: bytes) -> Brief:
    """The brief in a YAML file. Raises `BriefInvalid` naming the part and its line."""
    if len(raw) > MAX_BRIEF:
        raise BriefInvalid(f"The brief has {len(raw):,} bytes; at most {MAX_BRIEF:,} are allowed.")
    try:
        document = parse_document(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise BriefInvalid("The brief is not UTF-8 text.") from None
    except DocumentRefused as refused:
        problem = refused.problem
        raise BriefInvalid(f"Line {problem.line} of the brief {problem.text}.", line=problem.line) from None
    for problem in document.problems:
        raise BriefInvalid(f"Line {problem.line} of the brief {problem.text}.", line=problem.line)
    data: object = document.data
    if not isinstance(data, dict):
        raise BriefInvalid("The brief is empty, or no list of `name: value` lines.")
    try:
        return Brief.model_validate(_as_written(cast("object", data)))
    except ValidationError as error:
        raise _refused(error, document) from None


def brief_of(value: Any) -> Brief:
    """The brief as it travels between agents. Raises `BriefInvalid`."""
    try:
        return Brief.model_validate(value)
    except ValidationError as error:
        raise _refused(error, None) from None


def _as_written(value: object) -> Any:
    """Numbers as text, the way people mean them in a brief (`value: 120`); the rest as it is."""
    if isinstance(value, dict):
        return {name: _as_written(each) for name, each in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_as_written(each) for each in cast("list[object]", value)]
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _refused(error: ValidationError, document: Document | None) -> BriefInvalid:
    first = error.errors(include_url=False, include_input=False)[0]
    location = tuple(part for part in first["loc"])
    part = "".join(f"[{each}]" if isinstance(each, int) else f".{str(each)[:60]}" for each in location).lstrip(".")
    line = 0 if document is None else document.line_of(location)
    at = f" (line {line})" if line else ""
    if first["type"] == "missing":
        return BriefInvalid(f"The brief lacks {part!r}{at}.", part=part, line=line)
    if first["type"] == "extra_forbidden":
        return BriefInvalid(f"The brief has {part!r}{at}, which means nothing here.", part=part, line=line)
    reason = first["msg"].removeprefix("Value error, ")[:300]
    if first["type"] == "string_pattern_mismatch":
        reason = "it is not written the way such a value is"
    return BriefInvalid(f"The brief is wrong at {part or 'the top'!r}{at}: {reason}.", part=part, line=line)
