"""What came of building a website: its files, what the checks found, who mended what. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import Field, ValidationError

from agents.skills.report_markdown import run_sections
from agents.skills.report_model import RunFacts
from agents.skills.website_bundle import last_files
from agents.skills.website_findings import RULES, Finding, Rule
from agents.skills.website_parts import Piece
from agents.skills.website_plan import PartKind
from colony.contracts import Frozen
from colony.errors import BadInput

KIND: Final = "website"


class FileRow(Frozen):
    """One file of the site."""

    path: str
    kind: PartKind
    bytes: int
    author: str
    mended_by: str = ""


class Trouble(Frozen):
    """Something a check found."""

    path: str
    finding: Finding
    mended: bool


class RuleRow(Frozen):
    """One rule over the whole site."""

    rule: Rule
    found: int
    left: int


class SiteReport(Frozen):
    """A built site without its files."""

    name: str
    files: tuple[FileRow, ...]
    made: dict[str, str] = Field(default_factory=dict[str, str])
    """Path -> text of the files that were made last."""
    troubles: tuple[Trouble, ...] = ()
    words: dict[str, int] = Field(default_factory=dict[str, int])
    """Who worded the pages -> how many."""

    def rules(self) -> list[RuleRow]:
        """Every rule with what it found and what is left of it."""
        return [
            RuleRow(
                rule=rule,
                found=sum(each.finding.rule == rule for each in self.troubles),
                left=sum(each.finding.rule == rule and not each.mended for each in self.troubles),
            )
            for rule in RULES
        ]

    def pages(self) -> int:
        """How many pages and posts there are."""
        return sum(row.kind in ("page", "post") for row in self.files)


class Tally:
    """Adds up pieces one after the other, so that not all files of a site are in memory."""

    def __init__(self) -> None:
        self._site: Piece | None = None
        self._files: list[FileRow] = []
        self._troubles: list[Trouble] = []
        self._words: dict[str, int] = {}

    def add(self, pieces: Iterable[Piece]) -> None:
        """Count the next pieces."""
        for piece in pieces:
            self._site = self._site or piece
            part = piece.part
            size = len(piece.file.encode())
            self._files.append(
                FileRow(path=part.path, kind=part.kind, bytes=size, author=piece.author, mended_by=piece.mended_by)
            )
            self._troubles += [Trouble(path=part.path, finding=each, mended=True) for each in piece.sent_back]
            self._troubles += [Trouble(path=part.path, finding=each, mended=False) for each in piece.findings]
            if part.kind in ("page", "post"):
                self._words[piece.copy_.by] = self._words.get(piece.copy_.by, 0) + 1

    def report(self) -> SiteReport:
        """The whole. What was planned and is not there is a broken link. Raises `BadInput` without any piece."""
        if self._site is None:
            raise BadInput("There is no part of a website to put together.")
        site = self._site.site
        made = last_files(site)
        there = {row.path for row in self._files} | set(made)
        missing = [
            Trouble(
                path=path, finding=Finding(rule="links", text="the file was planned and is not there"), mended=False
            )
            for path in site.files
            if path not in there
        ]
        left = {(each.path, each.finding) for each in self._troubles if not each.mended}
        return SiteReport(
            name=site.name,
            files=tuple(self._files),
            made=made,
            # Sent back and found again: it was not mended.
            troubles=tuple(
                each for each in (*self._troubles, *missing) if not (each.mended and (each.path, each.finding) in left)
            ),
            words=self._words,
        )


def parse_site_report(value: Mapping[str, Any]) -> SiteReport:
    """The report in a result of `assemble_site`. Raises `BadInput`."""
    try:
        return SiteReport.model_validate(value.get("report"))
    except ValidationError as error:
        raise BadInput(f"The report of the website is broken: {error.error_count()} fields.") from None


def render_site_markdown(report: SiteReport, run: RunFacts) -> str:
    """The report for people: checks, what was mended, files, the run."""
    left = sum(not each.mended for each in report.troubles)
    total = sum(row.bytes for row in report.files) + sum(len(text.encode()) for text in report.made.values())
    state = "All checks hold." if not left else f"{left} findings are left."
    lines = [
        f"# {_cell(report.name)}",
        "",
        f"{report.pages()} pages, {len(report.files) + len(report.made)} files, {total:,} bytes. {state}",
        "Open `site/index.html` in a browser; put the folder `site` on any server to publish it.",
        "",
        "## Checks",
        "",
        "| check | found | left | what holds |",
        "|---|---:|---:|---|",
        *(f"| {row.rule} | {row.found} | {row.left} | {RULES[row.rule]} |" for row in report.rules()),
        "",
    ]
    if report.troubles:
        lines += ["## Sent back to their authors", "", "| file | check | finding | now |", "|---|---|---|---|"]
        rows = ((each.path, each.finding, "mended" if each.mended else "left") for each in report.troubles)
        lines += [f"| {path} | {found.rule} | {_cell(found.text)} | {now} |" for path, found, now in rows]
        lines.append("")
    lines += ["## Files", "", "| file | bytes | by | mended by |", "|---|---:|---|---|"]
    lines += [f"| {row.path} | {row.bytes:,} | {row.author} | {row.mended_by} |" for row in report.files]
    lines += [f"| {path} | {len(text.encode()):,} | | |" for path, text in report.made.items()]
    return "\n".join([*lines, "", *run_sections(run)]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
