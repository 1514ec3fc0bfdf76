"""The artifacts of a job that wrote posts: the posts as one archive, their index, the table of their quality."""

from __future__ import annotations

import asyncio
import contextlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import orjson
from pydantic import ValidationError

from agents.content_choice import WRITE_TEASER
from agents.skills.content_alike import ALIKE, Likeness
from agents.skills.content_choice import Lead, Teaser
from agents.skills.content_index import (
    Choice,
    Collection,
    Finished,
    Row,
    Slugs,
    render_index,
    render_quality,
    row_of,
)
from agents.skills.content_page import render_post
from agents.skills.report_markdown import run_sections
from agents.skills.report_model import RunFacts
from colony.contracts import Artifact, Frozen
from colony.errors import BadInput
from colony.jobs import JobPlan
from colony.ledger.port import JobLedger

KIND: Final = "posts"
"""What `assemble_posts` calls its value."""

ARCHIVE: Final = "posts.zip"
M = TypeVar("M", bound=Frozen)
_PAGE: Final = 200
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The oldest date of the format: equal posts make equal archives."""


async def post_artifacts(ledger: JobLedger, plan: JobPlan, value: Mapping[str, Any], facts: RunFacts) -> list[Artifact]:
    """`posts.zip`, `index.md`, `quality.md`, and `report.md`, which is the table again for those who look for it.

    Raises `BadInput` for a value that `assemble_posts` did not write.
    """
    span: Mapping[str, int] = value.get("range") or {}
    try:
        step, first, end = span["step"], span["first"], span["end"]
        whole = Collection.model_validate(value["collection"])
        held = frozenset(place for place, mark in enumerate(value.get("held", "")) if mark == "x")
        most_alike = float(value.get("most_alike", ALIKE))
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"The collection of posts is broken: {type(error).__name__}.") from error
    choice = await _choice(ledger, plan)
    archive = PostArchive(held, {each.text: each for each in whole.alike if each.share >= most_alike})
    for start in range(first, end, _PAGE):
        page = await ledger.results(plan.job, step, start, min(start + _PAGE, end))
        await asyncio.to_thread(archive.add, [result for _, result in page])
    facts = facts.model_copy(update={"model": ", ".join(sorted(whole.models))})
    quality = render_quality(archive.rows, whole, facts.failed, run_sections(facts), most_alike)
    return [
        Artifact(name=ARCHIVE, media_type="application/zip", content=archive.close()),
        _markdown("index.md", render_index(archive.rows, "Posts", choice)),
        _markdown("quality.md", quality),
        _markdown("report.md", quality),
    ]


async def _choice(ledger: JobLedger, plan: JobPlan) -> Choice | None:
    """Which post agents chose to lead the index; None where they did not, whatever the reason."""
    lead = await _left_by(ledger, plan, "announce_lead", "lead", Lead)
    teaser = await _left_by(ledger, plan, WRITE_TEASER, "", Teaser)
    if lead is None:
        return None
    said = teaser.text if teaser is not None and teaser.place == lead.post.place else ""
    reasons = tuple((each.by, each.reason) for each in lead.reasons)
    return Choice(place=lead.post.place, teaser=said, reasons=reasons)


async def _left_by(ledger: JobLedger, plan: JobPlan, action: str, field: str, model: type[M]) -> M | None:
    """What the last step with an action left, or a field of it."""
    for step in reversed([each for each in plan.steps if each.action == action]):
        for _, result in await ledger.results(plan.job, step.number, 0, 1):
            value: Any = orjson.loads(result)
            said: Any = value.get(field) if field else {name: value.get(name) for name in model.model_fields}
            with contextlib.suppress(ValidationError):  # of a template that uses the action otherwise
                return model.model_validate(said)
    return None


class PostArchive:
    """The posts as files in an archive, and a row of each."""

    def __init__(self, held: frozenset[int], alike: Mapping[int, Likeness]) -> None:
        """`held`: places of posts that are copies; `alike`: by place, what others a post is much like."""
        self.rows: list[Row] = []
        self._held = held
        self._alike = alike
        self._slugs = Slugs()
        self._file = io.BytesIO()
        self._archive = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED)

    def add(self, results: Sequence[bytes]) -> None:
        """Write the next posts. Blocks for the packing."""
        for result in results:
            one = Finished.model_validate(orjson.loads(result))
            place = len(self.rows)
            if place in self._held and "alike" not in one.check.faults:
                check = one.check.model_copy(update={"faults": (*one.check.faults, "alike")})
                one = one.model_copy(update={"check": check})
            slug = self._slugs.take(one.post.title)
            near = self._alike.get(place)
            # The later one of two names the earlier one: that may stay as it is.
            like = (self.rows[near.other].title, near.share) if near is not None and near.other < place else None
            self.rows.append(row_of(one, slug))
            page = render_post(one.topic, one.post, one.passages, one.check, slug, like)
            entry = zipfile.ZipInfo(f"{slug}.md", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            self._archive.writestr(entry, page.encode())

    def close(self) -> bytes:
        """The whole archive."""
        self._archive.close()
        return self._file.getvalue()


def _markdown(name: str, text: str) -> Artifact:
    return Artifact(name=name, media_type="text/markdown; charset=utf-8", content=text.encode())
