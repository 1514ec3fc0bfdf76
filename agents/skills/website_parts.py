"""One part of a website on its way from plan to checked file. Pure but for the model that may word a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from agents.skills.website_checks import Finding, findings_of
from agents.skills.website_copy import Copy, copy_of
from agents.skills.website_images import logo_svg, picture_svg
from agents.skills.website_page import page_html
from agents.skills.website_plan import Part, Site, planned
from agents.skills.website_style import script_js, style_css
from colony.contracts import Frozen
from colony.errors import BadInput


class Piece(Frozen):
    """A part, what it must know of the site, and how far it has come."""

    site: Site
    part: Part
    copy_: Copy = Copy()
    file: str = ""
    """Its text, once it is written."""
    author: str = ""
    """The agent that wrote it."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with the file as it is."""
    sent_back: tuple[Finding, ...] = ()
    """What was wrong with the first version, which went back to its author."""
    mended_by: str = ""
    """The agent that wrote the second version."""


def piece_of(payload: Mapping[str, Any]) -> Piece:
    """The piece in a payload. Raises `BadInput`."""
    try:
        return Piece.model_validate(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"])
        raise BadInput(f"Field {where!r} makes this no part of a website: {first['msg'][:200]}.") from None


def value_of(piece: Piece) -> dict[str, Any]:
    """The piece as the result of a task."""
    return piece.model_dump(mode="json", exclude_defaults=True)


def plan_piece(row: Mapping[str, Any]) -> Piece:
    """From a row of the brief to a planned part. Raises `BadInput`."""
    site, part = planned(row)
    return Piece(site=site, part=part, copy_=copy_of(site, part))


def written(piece: Piece, author: str) -> Piece:
    """With its file, as the brief says it."""
    return piece.model_copy(update={"file": _file(piece, mended=False), "author": author})


def checked(piece: Piece) -> Piece:
    """With what is wrong with its file."""
    return piece.model_copy(update={"findings": tuple(findings_of(piece.site, piece.part, piece.file))})


def mended(piece: Piece, author: str) -> Piece:
    """Written once more, with what was found in mind: words of the brief alone, readable colours, no dead links."""
    plain = piece.model_copy(update={"copy_": copy_of(piece.site, piece.part)})
    return plain.model_copy(
        update={
            "file": _file(plain, mended=True),
            "sent_back": piece.findings,
            "findings": (),
            "mended_by": author,
        }
    )


def _file(piece: Piece, *, mended: bool) -> str:
    match piece.part.kind:
        case "page" | "post" | "missing":
            return page_html(piece.site, piece.part, piece.copy_, mended=mended)
        case "style":
            return style_css(piece.site, mended=mended)
        case "script":
            return script_js()
        case "logo" | "icon":
            return logo_svg(piece.site, piece.part)
        case "picture":
            return picture_svg(piece.site, piece.part)
