"""Rows that the input or the template lists, and paths among the inputs. Functions block on the file system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import orjson
from pydantic import ValidationError

from colony.config.references import with_inputs
from colony.config.templates import InputConfig, TemplateConfig
from colony.contracts import MAX_PAYLOAD
from colony.errors import BadInput
from colony.ids import Id
from colony.jobs import SourcePin
from workflows.contracts import MAX_ROWS, RangeSource
from workflows.source_folder import files_below, pin_folder
from workflows.sources import pin_file, pin_range, resolve_source

ROWS: Final = "rows"
"""Format of a source whose rows stand in the plan."""

_LISTED: Final = 10_000
"""Characters of names up to which the files of a folder stand in the plan."""


def resolved_paths(
    values: Mapping[str, Any], declared: Mapping[Id, InputConfig], roots: Sequence[Path]
) -> dict[str, Any]:
    """`values` with the inputs of type `path` absolute. Raises `BadInput` for one outside the data roots."""
    resolved = dict(values)
    for name, config in declared.items():
        if config.type == "path" and resolved.get(name) is not None:
            resolved[name] = str(_below_roots(str(resolved[name]), roots))
    return resolved


def pin_rows(template: TemplateConfig, values: Mapping[str, Any], roots: Sequence[Path]) -> SourcePin:
    """The source that the load step of the template names, with the inputs in place. Raises `BadInput`.

    A list gives a row for each entry, a number so many numbered rows, an object one row, a path the rows of its file
    or, of a folder, a row for each file below it. Any text is such a path, whatever the type of the input it came by,
    so it is looked for below the data roots here and nothing else is opened.
    """
    load = template.steps[0]
    rows = with_inputs(load.rows, values, {str(name): each for name, each in template.inputs.items()}, "rows")
    if rows is None:
        raise BadInput("The input gives no rows.", remedy=f"The step {load.name!r} takes its rows from an input.")
    if isinstance(rows, bool | int | float):
        return pin_range(_so_many(rows), template)
    if isinstance(rows, str):
        path = _below_roots(rows, roots)
        if not path.is_dir():
            return pin_file(path, template, {})
        rows = files_below(path)
        if sum(len(row["path"]) + len(row["name"]) for row in rows) > _LISTED:
            return pin_folder(path)
    listed = cast("list[Any]", rows) if isinstance(rows, list) else [rows]
    payloads = tuple(_payload(row) for row in listed)
    if not payloads:
        raise BadInput("The list of rows is empty.")
    for at, payload in enumerate(payloads):
        if _bytes_of(at, payload) > MAX_PAYLOAD:
            raise BadInput(f"Row {at} has more than {MAX_PAYLOAD:,} bytes.")
    return SourcePin(path="", size=len(payloads), sha256="", format=ROWS, rows=payloads)


def _so_many(rows: float) -> RangeSource:
    """As many as `RangeSource` allows; 3.0 are 3."""
    try:
        return RangeSource.model_validate({"range": None if isinstance(rows, bool) else rows})
    except ValidationError:
        raise BadInput(f"{str(rows)[:40]} is no number of rows.", remedy=f"Hand in 1 to {MAX_ROWS:,}.") from None


def _bytes_of(at: int, payload: Mapping[str, Any]) -> int:
    try:
        return len(orjson.dumps(payload))
    except TypeError as error:  # half a surrogate pair, a number of a hundred digits
        raise BadInput(f"Row {at} cannot be kept: {error}.") from None


def _payload(row: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", row) if isinstance(row, dict) else {"value": row}


def _below_roots(path: str, roots: Sequence[Path]) -> Path:
    """The file or folder `path` names, symlinks resolved, below a data root. Raises `BadInput`."""
    try:
        return _folder(path, roots) or resolve_source(path, roots)
    except ValueError:  # such as half a surrogate pair, which no file system takes
        raise BadInput(
            f"The source {path[:200]!r} is no usable path.", remedy="Name a file below a data root."
        ) from None


def _folder(path: str, roots: Sequence[Path]) -> Path | None:
    if not path or "\0" in path:
        return None
    real_roots = [root.resolve() for root in roots]
    for root in real_roots:
        try:
            candidate = (root / path).resolve()
            if any(candidate.is_relative_to(each) for each in real_roots) and candidate.is_dir():
                return candidate
        except (OSError, RuntimeError):  # a loop of links, a name too long: told by the look for a file
            return None
    return None
