"""The source of a job: found below the data roots, pinned when the job opens, read as payloads when it loads.

Functions block on the file system: call them in a thread.
"""

from __future__ import annotations

import csv
import itertools
import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from colony.config.templates import TemplateConfig
from colony.contracts import MAX_PAYLOAD, BadRow
from colony.errors import BadInput
from colony.jobs import SourcePin
from workflows.contracts import MAX_ROWS, RangeSource
from workflows.rows import DELIMITERS, MAX_FIELD, Lines, Record, csv_header, csv_records, json_object, json_records
from workflows.source_briefs import BRIEF, brief_rows, pin_brief, takes_brief
from workflows.source_faults import unreadable
from workflows.source_parquet import MAGIC, PARQUET, look_parquet, parquet_records

CHUNK: Final = 1_000
"""Rows handed to the ledger at once."""

MAX_BAD_ROWS: Final = 100_000
"""More broken rows than this are no slip: the source is refused."""

NUMBERS: Final = frozenset({"rating"})
"""Payload fields that hold a number; a value that is none is left out."""

_JSON: Final = "jsonl"
_RANGE: Final = "range"
_SAMPLE: Final = 100


class Field(NamedTuple):
    """A field of a payload and the column it comes from."""

    name: str
    column: str
    required: bool


def resolve_source(path: str, roots: Sequence[Path]) -> Path:
    """The regular file `path` names, symlinks resolved, which lies below a data root.

    A relative path is looked for in each root in turn. Raises `BadInput`, or `Unavailable` where this machine is at
    fault.
    """
    if not path or "\0" in path:
        raise BadInput("The source path is empty or holds a NUL.", remedy="Name a file below a data root.")
    real_roots = [root.resolve() for root in roots]
    inside = False
    for root in real_roots:
        try:
            candidate = (root / path).resolve()
            if not any(candidate.is_relative_to(each) for each in real_roots):
                continue
            inside = True
            mode = candidate.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, RuntimeError) as error:
            raise unreadable(f"The source {path[:200]!r} cannot be looked up", error) from None
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise BadInput(f"The source {path[:200]!r} is {kind}.", remedy="Name one CSV, JSON Lines or Parquet file.")
        return candidate
    if inside:
        raise BadInput(f"The source {path[:200]!r} does not exist.", remedy=f"Looked below {_shown(real_roots)}.")
    raise BadInput(
        f"The source {path[:200]!r} is outside the data roots.",
        remedy=f"Move it below {_shown(real_roots)}, or add its folder to data_roots in agent_config.yaml.",
    )


def pin_range(source: RangeSource, template: TemplateConfig) -> SourcePin:
    """The pin of a generated source. Raises `BadInput` if the template needs columns."""
    needed = [name for name in template.columns if name not in template.optional]
    if needed:
        raise BadInput(
            f"This template reads the columns {', '.join(needed)}: a generated range has none.",
            remedy="Name a file as source.",
        )
    return SourcePin(path="", size=source.range, sha256="", format=_RANGE, columns={"bytes": str(source.bytes)})


def pin_file(path: Path, template: TemplateConfig, columns: Mapping[str, str]) -> SourcePin:
    """What the file is now: size, digest, format and which column feeds which field. Reads it once.

    Raises `BadInput` for a file that is unreadable, empty, of another format, or lacks a column; `Unavailable` where
    this machine is at fault.
    """
    if takes_brief(template):
        return pin_brief(path)
    try:
        with path.open("rb") as file:
            form = sniff(file.peek(8192)[:8192], path.suffix.lower())
            lines = Lines(file)
            if form == PARQUET:
                found, has_rows = look_parquet(path)
            else:
                found, has_rows = _look_json(lines) if form == _JSON else _look_csv(lines, DELIMITERS[form])
            lines.drain()
    except OSError as error:
        raise unreadable(f"The source {path.name!r} cannot be read", error) from None
    except csv.Error as error:
        raise BadInput(f"The header of {path.name!r} is broken: {error}.") from None
    if not has_rows:
        raise BadInput(f"The source {path.name!r} has no data rows.", remedy="Look whether it was written fully.")
    mapping = map_columns(found, template, columns)
    return SourcePin(path=str(path), size=lines.size, sha256=lines.sha256(), format=form, columns=mapping)


def sniff(head: bytes, suffix: str) -> str:
    """The format of a file by its first bytes, else by its suffix. Raises `BadInput` for what is not supported."""
    if head.startswith(MAGIC):
        return PARQUET
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            raise BadInput(f"The source is {name}.", remedy="Convert it to CSV or JSON Lines in UTF-8.")
    body = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not body:
        raise BadInput("The source is empty.", remedy="Look whether it was written fully.")
    if b"\0" in head:
        raise BadInput("The source is a binary file.", remedy="Convert it to CSV or JSON Lines in UTF-8.")
    if body.startswith(b"{"):
        return _JSON
    if body.startswith(b"[") and suffix in {".json", ".jsonl", ".ndjson"}:
        raise BadInput("The source is one JSON array.", remedy="Write one JSON object a line (JSON Lines).")
    if suffix in {".jsonl", ".ndjson"}:
        return _JSON
    first = body.split(b"\n", 1)[0]
    counts = {form: first.count(mark.encode()) for form, mark in DELIMITERS.items()}
    return max(counts, key=lambda form: counts[form])


def map_columns(found: Sequence[str], template: TemplateConfig, given: Mapping[str, str]) -> dict[str, str]:
    """Payload field -> column. Raises `BadInput` naming what was found when a required one is missing.

    A template without columns takes them all under their own names.
    """
    if not template.columns:
        if given:
            raise BadInput("This template takes all columns as they are.", remedy="Leave out `columns`.")
        return {name: name for name in found if name}
    unknown = sorted(set(given) - set(template.columns))
    if unknown:
        raise BadInput(
            f"`columns` names the field {unknown[0][:80]!r}, which this template does not know.",
            remedy=f"It knows {', '.join(template.columns)}.",
        )
    by_folded = {name.casefold(): name for name in reversed(found)}
    mapping: dict[str, str] = {}
    for name, candidates in template.columns.items():
        if name in given:
            wanted: Sequence[str] = (given[name],)
        else:
            wanted = candidates or (name,)
        column = next((by_folded[each.casefold()] for each in wanted if each.casefold() in by_folded), None)
        if column is not None:
            mapping[name] = column
        elif name in given or name not in template.optional:
            raise BadInput(
                f"No column for {name!r}: looked for {_list(wanted)}, found {_list(found)}.",
                remedy=f'Name it in the input: {{"columns": {{"{name}": "<column>"}}}}.',
            )
    return mapping


def read_rows(pin: SourcePin, optional: Sequence[str], bad: list[BadRow]) -> Iterator[list[tuple[int, bytes]]]:
    """Chunks of (seq, payload); broken rows go to `bad` meanwhile. Seqs are dense from 0.

    Raises `BadInput` at the end when the file is not the one that was pinned, so that nothing of it is kept, and for
    more rows than a source may have; `Unavailable` where this machine is at fault.
    """
    if pin.format == _RANGE:
        yield from _chunked(_range_payloads(pin.size, int(pin.columns["bytes"])))
        return
    if pin.format == BRIEF:
        yield list(brief_rows(pin))
        return
    fields = [Field(name, column, name not in optional) for name, column in pin.columns.items()]
    try:
        with Path(pin.path).open("rb") as file:
            lines = Lines(file)
            payloads = _payloads(_records(pin, lines, [field.column for field in fields]), fields, bad)
            for chunk in _chunked(payloads):
                if chunk[-1][0] >= MAX_ROWS:  # kilobytes of Parquet may say that they are a thousand million rows
                    raise _too_many(pin)
                yield chunk
            lines.drain()
            # Another process read the rows of a Parquet file by its name, perhaps of one that was put in its place.
            same = pin.format != PARQUET or os.path.samestat(os.fstat(file.fileno()), Path(pin.path).stat())
    except (OSError, ValueError) as error:
        raise unreadable(f"The source {pin.path!r} cannot be read any more", error) from None
    if not same or (lines.size, lines.sha256()) != (pin.size, pin.sha256):
        raise BadInput(
            f"The source {pin.path!r} changed after the job was opened.", remedy="Start a new job for the new file."
        )


def _too_many(pin: SourcePin) -> BadInput:
    name = Path(pin.path).name
    return BadInput(f"The source {name!r} has more than {MAX_ROWS:,} rows.", remedy="Split it into several files.")


def _records(pin: SourcePin, lines: Lines, columns: Sequence[str]) -> Iterator[Record]:
    """The records of a file; of one that is no text, `lines` is read for the digest only, after its rows."""
    if pin.format == PARQUET:
        return parquet_records(Path(pin.path), columns)
    return json_records(lines, columns) if pin.format == _JSON else csv_records(lines, DELIMITERS[pin.format], columns)


def _look_csv(lines: Lines, delimiter: str) -> tuple[list[str], bool]:
    header = csv_header(lines, delimiter)
    return header, bool(header) and any(line.strip() for line in lines)


def _look_json(lines: Lines) -> tuple[list[str], bool]:
    found: dict[str, None] = {}
    has_rows = False
    for raw in itertools.islice(lines, _SAMPLE):
        has_rows = has_rows or bool(raw.strip())
        value = json_object(raw)
        if not isinstance(value, str):
            found.update(dict.fromkeys(value))
    return list(found), has_rows


def _payloads(records: Iterator[Record], fields: Sequence[Field], bad: list[BadRow]) -> Iterator[bytes]:
    for line, values, reason in records:
        made = reason if values is None else payload_of(line, values, fields)
        if isinstance(made, bytes):
            yield made
            continue
        bad.append(BadRow(line=line, reason=made))
        if len(bad) > MAX_BAD_ROWS:
            raise BadInput(
                f"More than {MAX_BAD_ROWS:,} rows of the source are broken; line {line}: {made}.",
                remedy="Look whether the file is what it seems to be.",
            )


def payload_of(line: int, values: Sequence[Any], fields: Sequence[Field]) -> bytes | str:
    """The payload of one record as JSON, or why it is none."""
    payload: dict[str, Any] = {}
    for field, value in zip(fields, values, strict=True):
        if field.name in NUMBERS:
            number = _number(value)
            if number is not None:
                payload[field.name] = number
            continue
        text = _text(value)
        if text is None and not field.required:
            continue
        if text is None:
            return f"{field.name} is {type(value).__name__}, not text"
        if len(text) > MAX_FIELD:
            return f"{field.name} is longer than {MAX_FIELD:,} characters"
        if text.strip():
            payload[field.name] = text
        elif field.required:
            return f"no {field.name}"
    payload.setdefault("id", str(line))
    payload["line"] = line
    try:
        raw = orjson.dumps(payload)
    except TypeError:
        return "not UTF-8"
    return raw if len(raw) <= MAX_PAYLOAD else f"larger than {MAX_PAYLOAD:,} bytes"


def _text(value: object) -> str | None:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value)
    return None


def _number(value: object) -> float | None:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _range_payloads(count: int, size: int) -> Iterator[bytes]:
    for number in range(count):
        start = b'{"n":%d,"pad":"' % number
        yield start + b"x" * max(0, size - len(start) - 2) + b'"}'


def _chunked(payloads: Iterator[bytes]) -> Iterator[list[tuple[int, bytes]]]:
    numbered = enumerate(payloads)
    while chunk := list(itertools.islice(numbered, CHUNK)):
        yield chunk


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:20]) or "none"
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


def _shown(roots: Sequence[Path]) -> str:
    return ", ".join(os.fspath(root) for root in roots[:5]) or "a data root (none is configured)"


_FOREIGN: Final = {
    b"PARE": "an encrypted Parquet file",
    b"\x1f\x8b": "compressed by gzip",
    b"PK\x03\x04": "a zip archive or spreadsheet",
    b"(\xb5/\xfd": "compressed by zstd",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"%PDF": "a PDF",
}
