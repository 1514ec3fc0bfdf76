"""Sources that are one document instead of rows: the brief of a website, a row for each part of the site.

Functions block on the file system: call them in a thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson

from agents.skills.website_brief import MAX_BRIEF, BriefInvalid, parse_brief
from agents.skills.website_plan import rows_of
from colony.config.templates import TemplateConfig
from colony.errors import BadInput
from colony.jobs import SourcePin
from workflows.source_faults import unreadable

BRIEF: Final = "website_brief"
"""What a load step names as the parameter `source`, and the format of the pin."""


def takes_brief(template: TemplateConfig) -> bool:
    """Whether the source of a template is a brief."""
    return template.steps[0].parameters.get("source") == BRIEF


def pin_brief(path: Path) -> SourcePin:
    """The brief as it is now. Raises `BadInput` naming the part that is missing or wrong, before the job begins.

    Raises `Unavailable` where this machine is at fault.
    """
    raw = _read(path)
    parse_brief(raw)
    return SourcePin(path=str(path), size=len(raw), sha256=hashlib.sha256(raw).hexdigest(), format=BRIEF)


def brief_rows(pin: SourcePin) -> Iterator[tuple[int, bytes]]:
    """(seq, payload) of each part of the site. Raises `BadInput` when the brief is not the one that was pinned."""
    raw = _read(Path(pin.path))
    if hashlib.sha256(raw).hexdigest() != pin.sha256:
        raise BadInput(
            f"The source {pin.path!r} changed after the job was opened.", remedy="Start a new job for the new file."
        )
    for seq, row in enumerate(rows_of(parse_brief(raw))):
        yield seq, orjson.dumps(row)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BRIEF + 1)
    except OSError as error:
        raise unreadable(f"The source {path.name!r} cannot be read", error) from None
    if len(raw) > MAX_BRIEF:
        raise BriefInvalid(f"The brief {path.name!r} has more than {MAX_BRIEF:,} bytes.")
    return raw
