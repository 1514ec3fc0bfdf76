"""A program: writes the rows of a Parquet file to its standard output as JSON Lines.

    python parquet_lines.py FILE COLUMNS MEMORY

`COLUMNS` is a JSON list of the columns to write. The first line is the list of all columns of the file; with `null`
for `COLUMNS` a second and last line says whether there are rows. On a file that cannot be read it ends with an exit
code other than 0 and the reason as the last line on standard error.

It is a process of its own for three reasons. What a decoder of a binary format does with a broken file (stop the
process, take all memory) happens to this process, which may have no more than `MEMORY` bytes. The memory of the
worker stays what it was. And Ray imports pyarrow into each of its processes wherever that is installed (see
`ray/_private/arrow_serialization.py`), so the reader is arro3, the Python side of Apache's Rust implementation, which
also goes through a file page by page instead of row group by row group.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from collections.abc import Iterator
from typing import Any, Final, cast

import arro3.core
import arro3.io
import orjson

BATCH: Final = 200
"""Rows decoded at once: with fields of a megabyte that is some hundred megabytes."""


def main(arguments: list[str]) -> None:
    """Run the program. Raises what the reader raises, which is not always an `Exception`."""
    path, wanted, memory = arguments
    # Not every system has this limit; without it a file of huge pages takes what memory there is.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    columns: list[str] | None = json.loads(wanted)
    reader = arro3.io.read_parquet(path, batch_size=BATCH)
    found = reader.schema.names
    out = sys.stdout.buffer
    out.write(orjson.dumps(found) + b"\n")
    if columns is None:
        out.write(orjson.dumps(any(batch.num_rows for batch in reader)) + b"\n")
        return
    places = [found.index(name) for name in columns]
    for batch in reader:
        values = [_values(batch.column(place)) for place in places]
        for row in zip(*values, strict=True):
            out.write(_line(dict(zip(columns, row, strict=True))))


def _values(column: arro3.core.ChunkedArray | arro3.core.Array) -> list[Any]:
    """The values of a column; None for one that Python has no value for, such as a moment in the year 200,000."""
    try:
        return _listed(column)
    except (ValueError, OverflowError):
        return list(_each(column))


def _listed(column: arro3.core.ChunkedArray | arro3.core.Array) -> list[Any]:
    # Its stub speaks of numpy, which need not be there; what it returns is a list.
    return cast("list[Any]", column.to_pylist())  # pyright: ignore[reportUnknownMemberType]


def _each(column: arro3.core.ChunkedArray | arro3.core.Array) -> Iterator[Any]:
    for index in range(len(column)):
        try:
            yield column[index].as_py()
        except (ValueError, OverflowError):
            yield None


def _line(row: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(row, default=_plain, option=_OPTIONS)
    except TypeError:  # an integer beyond 64 bits, or values within one another too deeply
        return orjson.dumps({name: _alone(value) for name, value in row.items()}, option=_OPTIONS)


def _alone(value: Any) -> Any:
    try:
        orjson.dumps(value, default=_plain, option=_OPTIONS)
    except TypeError:
        return str(value)[:1_000]
    return orjson.Fragment(orjson.dumps(value, default=_plain, option=_OPTIONS))


def _plain(value: Any) -> Any:
    """What stands for a value JSON has no form of."""
    if not isinstance(value, bytes):
        return str(value)  # numbers with a fixed point, durations
    try:
        return value.decode()  # old writers do not say that a column is text
    except UnicodeDecodeError:
        # The line is then not UTF-8, and the reader of lines says so of this row.
        return orjson.Fragment(b'"' + value.translate(None, b'"\\\n\r') + b'"')


_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS

if __name__ == "__main__":
    main(sys.argv[1:])
