"""Rows of CSV and JSON Lines files as a stream: one record at a time, broken ones named, none believed.

Nothing here holds more than one record in memory, whatever the file contains.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final, NamedTuple, cast

import orjson

MAX_FIELD: Final = 256 * 1024
"""Most characters of one field."""

MAX_LINE: Final = 1024 * 1024
"""Most bytes of one line; what is longer is cut and its record is bad."""

DELIMITERS: Final = {"csv": ",", "tsv": "\t", "csv-semicolon": ";"}

_BOM: Final = b"\xef\xbb\xbf"


class Record(NamedTuple):
    """One record of a file: its values by column, or what is wrong with it."""

    line: int
    """Line it starts on, from 1."""
    values: Sequence[Any] | None
    """In the order of the columns that were asked for; None where the record has no such column."""
    reason: str = ""


class Lines:
    """The lines of a file, each at most `MAX_LINE` bytes, with size and digest of all that was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0
        self.number = 0
        """Number of the line returned last, from 1."""
        self.cut = 0
        """Number of the last line that was too long; 0 for none."""

    def __iter__(self) -> Iterator[bytes]:
        """Each line with its line end; the byte order mark is left out."""
        while line := self._read():
            self.number += 1
            if not line.endswith(b"\n") and len(line) == MAX_LINE:
                self.cut = self.number
                while (rest := self._read()) and not rest.endswith(b"\n"):
                    pass
                line = line[:-1] + b"\n"
            yield line.removeprefix(_BOM) if self.number == 1 else line

    def text(self) -> Iterator[str]:
        """Each line as text; bytes that are not UTF-8 become lone surrogates."""
        for line in self:
            yield line.decode("utf-8", "surrogateescape")

    def sha256(self) -> str:
        """Digest of what was read so far, as hex."""
        return self._digest.hexdigest()

    def drain(self) -> None:
        """Read to the end."""
        while block := self._file.read(MAX_LINE):
            self._digest.update(block)
            self.size += len(block)

    def _read(self) -> bytes:
        line = self._file.readline(MAX_LINE)
        self._digest.update(line)
        self.size += len(line)
        return line


def csv_header(lines: Lines, delimiter: str) -> list[str]:
    """The names of the columns; empty for an empty file. Raises `csv.Error`."""
    for row in csv.reader(lines.text(), delimiter=delimiter, strict=True):
        if row:
            return [name.strip() for name in row]
    return []


def csv_records(lines: Lines, delimiter: str, columns: Sequence[str]) -> Iterator[Record]:
    """The records after the header. `columns` must be names of the header."""
    # Process-wide in the csv module: every user of it here wants the same bound.
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(lines.text(), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    places: list[int] = []
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record(line, None, f"broken line: {error}")
            continue
        if not row:
            continue
        if header is None:
            header = [name.strip() for name in row]
            places = [header.index(name) for name in columns]
        elif lines.cut >= line:
            yield Record(line, None, f"line longer than {MAX_LINE:,} bytes")
        elif len(row) != len(header):
            yield Record(line, None, f"broken line: {len(row)} fields where the header names {len(header)}")
        else:
            yield Record(line, [row[place] for place in places])


def json_records(lines: Lines, columns: Sequence[str]) -> Iterator[Record]:
    """One JSON object a line; blank lines are skipped."""
    for raw in lines:
        if not raw.strip():
            continue
        if lines.cut == lines.number:
            yield Record(lines.number, None, f"line longer than {MAX_LINE:,} bytes")
            continue
        found = json_object(raw)
        if isinstance(found, str):
            yield Record(lines.number, None, found)
        else:
            yield Record(lines.number, [found.get(name) for name in columns])


def json_object(raw: bytes) -> dict[str, Any] | str:
    """The object on a line, or what is wrong with it."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            return "not UTF-8"
        return f"broken line: {error.msg[:200]}"
    if not isinstance(value, dict):
        return "broken line: not a JSON object"
    return cast("dict[str, Any]", value)
