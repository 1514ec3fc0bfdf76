"""From what a user wrote to the sites of a monitor. Raises `BadInput` that names the field. Reads the source file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from colony.config.yaml_lines import DocumentRefused, parse_document
from colony.errors import BadInput, NotPermitted
from colony.fetch.address import target_of
from colony.ids import Id
from colony.sites import MAX_SITES, SiteSpec
from workflows.monitor_contracts import MonitorInput, SiteInput
from workflows.naming import about_file
from workflows.source_faults import unreadable
from workflows.sources import resolve_source

MAX_FILE: Final = 4 * 1024 * 1024
"""Most bytes of a file that lists sites."""

_SHARED: Final = ("interval", "timeout", "slow_seconds", "certificate_days", "failures", "recoveries", "tell_changes")
_NOT_NAME: Final = re.compile(r"[^a-z0-9_]+")

T = TypeVar("T", bound=BaseModel)


def parse(model: type[T], text: str) -> T:
    """JSON text as `model`."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise _wrong(error, model) from None


def parse_value(model: type[T], value: object) -> T:
    """A JSON value as `model`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _wrong(error, model) from None


def sites_of(given: MonitorInput, roots: Sequence[Path]) -> list[SiteSpec]:
    """All sites of a new monitor, those of its source file included. Blocks on the file."""
    check_webhook(given.webhook)
    specs = specs_of(given.sites, defaults_of(given), taken=(), where="sites")
    if given.source:
        path = resolve_source(given.source, roots)
        with about_file(path.name):
            taken = [spec.site for spec in specs]
            specs += specs_of(_listed(path), defaults_of(given), taken=taken, where="row")
    if not specs:
        raise BadInput(
            "The input field 'sites' names no site.", remedy='Hand in {"sites": [{"url": "https://example.com"}]}.'
        )
    if len(specs) > MAX_SITES:
        raise BadInput(f"There are {len(specs):,} sites; a monitor watches at most {MAX_SITES:,}.")
    return specs


def defaults_of(given: MonitorInput) -> dict[str, Any]:
    """What the input says for all sites."""
    return {name: value for name in _SHARED if (value := getattr(given, name)) is not None}


def check_webhook(url: str) -> None:
    """Refuse a webhook that can be no URL."""
    if url:
        _check_url(url, "webhook")


def specs_of(
    given: Iterable[SiteInput | str], defaults: Mapping[str, Any], *, taken: Iterable[str], where: str
) -> list[SiteSpec]:
    """The sites in full, each with a name of its own; `taken` are names that are given away."""
    used = {str(name) for name in taken}
    specs: list[SiteSpec] = []
    for index, each in enumerate(given):
        site = SiteInput(url=each) if isinstance(each, str) and len(each) >= 8 else each
        field = f"{where}.{index}"
        if isinstance(site, str):
            raise BadInput(f"The input field {field!r} is wrong: {site[:40]!r} is no URL.")
        _check_url(site.url, f"{field}.url")
        name = _name(site, used, field)
        used.add(name)
        own = site.model_dump(exclude={"url", "name"}, exclude_none=True)
        specs.append(SiteSpec(site=Id(name), url=site.url, **{**defaults, **own}))
    return specs


def name_of(text: str) -> str:
    """`text` as the name of a site: what the ledger, subjects and files can hold. Empty when nothing is left."""
    return _NOT_NAME.sub("-", text.strip().lower()).strip("-_")[:64].rstrip("-_")


def _name(site: SiteInput, used: set[str], field: str) -> str:
    if site.name:
        name = name_of(site.name)
        if not name:
            raise BadInput(f"The input field '{field}.name' is wrong: {site.name[:60]!r} has no letter or digit.")
        if name in used:
            raise BadInput(f"The input field '{field}.name' is wrong: there is a site {name!r} already.")
        return name
    parts = urlsplit(site.url)
    wanted = name_of(f"{parts.netloc}{parts.path}".removeprefix("www.")) or "site"
    name, number = wanted, 1
    while name in used:
        number += 1
        name = f"{wanted[:58]}-{number}"
    return name


def _check_url(url: str, field: str) -> None:
    try:
        target_of(url)
    except NotPermitted as error:
        raise BadInput(f"The input field {field!r} is wrong: {error.message}") from None


def _listed(path: Path) -> list[SiteInput | str]:
    try:
        raw = path.read_bytes() if path.stat().st_size <= MAX_FILE else None
    except OSError as error:
        raise unreadable("The file cannot be read", error) from None
    if raw is None:
        raise BadInput(f"The file is larger than {MAX_FILE:,} bytes.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput("The file is not UTF-8.") from None
    rows = _yaml(text) if path.suffix.lower() in (".yaml", ".yml", ".json") else _csv(text)
    return [each if isinstance(each, str) else parse_value(SiteInput, each) for each in rows]


def _csv(text: str) -> list[Any]:
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise BadInput(f"The file is no CSV: {error}.") from None
    if rows and "url" not in rows[0]:
        raise BadInput("The file has no column 'url'.", remedy=f"Known columns: {', '.join(SiteInput.model_fields)}.")
    found: list[Any] = []
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise BadInput(f"Line {number} has not as many fields as the header names.")
        found.append({name: value.strip() for name, value in row.items() if value and value.strip()})
    return found


def _yaml(text: str) -> list[Any]:
    try:
        document = parse_document(text)
    except DocumentRefused as refused:
        raise BadInput(f"Line {refused.problem.line} {refused.problem.text}.") from None
    if document.problems:
        first = document.problems[0]
        raise BadInput(f"Line {first.line}: {first.text}.")
    data: Any = document.data
    if isinstance(data, dict):
        data = cast("dict[str, Any]", data).get("sites")
    if not isinstance(data, list):
        raise BadInput("The file lists no sites.", remedy="Write `sites:` and a list below, each with its `url`.")
    return cast("list[Any]", data)


def _wrong(error: ValidationError, model: type[BaseModel]) -> BadInput:
    first = error.errors(include_url=False, include_input=False)[0]
    parts = [str(part)[:60] for part in first["loc"][:4] if part not in ("SiteInput", "str")]
    where = ".".join(parts) or "the object"
    if first["type"] == "extra_forbidden":
        known = SiteInput if len(parts) > 1 else model
        return BadInput(
            f"The input has the unknown field {where!r}.", remedy=f"Known fields: {', '.join(known.model_fields)}."
        )
    return BadInput(f"The input field {where!r} is wrong: {first['msg'][:200]}.")
