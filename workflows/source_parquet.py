"""Parquet files as sources: read by a process of its own (see `workflows.parquet_lines`), seen here as JSON Lines.

Functions block on the file system: call them in a thread.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

import orjson

from colony.errors import BadInput, Unavailable
from workflows.rows import MAX_LINE, Lines, Record, json_records

PARQUET: Final = "parquet"
"""The format of the pin."""

MAGIC: Final = b"PAR1"

MAX_HEADER: Final = MAX_LINE
"""Most bytes of the names of all columns, as JSON."""

MEMORY: Final = 1 << 30
"""Bytes of memory the reading process may have."""

_PROGRAM: Final = Path(__file__).with_name("parquet_lines.py")
_TOLD: Final = 2_000
_ENDED_BY_OTHERS: Final = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP})
_CLASSES: Final = re.compile(r"^(?:[\w.]+: )?(?:C Data interface error: )?")
_REASON: Final = re.compile(r'(?:General|EOF|NYI|ArrowError|External)\("((?:[^"\\]|\\.)*)')


def look_parquet(path: Path, *, memory: int = MEMORY) -> tuple[list[str], bool]:
    """The columns of a file and whether it has rows. Raises `BadInput` for a broken file, or `Unavailable`."""
    with _reading(path, None, memory) as file:
        columns = _header(file, path)
        rows = file.readline()
    return cast("list[str]", orjson.loads(columns)), rows.strip() == b"true"


def parquet_records(path: Path, columns: Sequence[str], *, memory: int = MEMORY) -> Iterator[Record]:
    """The rows of a file in its order, each with its number, from 1, as its line; memory is bounded.

    Raises `BadInput` for a file that is broken, perhaps after good rows, or `Unavailable`.
    """
    with _reading(path, columns, memory) as file:
        _header(file, path)
        yield from json_records(Lines(file), columns)


def _header(file: BinaryIO, path: Path) -> bytes:
    line = file.readline(MAX_HEADER + 1)
    if len(line) > MAX_HEADER:
        raise BadInput(
            f"The names of the columns of the Parquet file {path.name!r} have more than {MAX_HEADER:,} bytes.",
            remedy="Write it with shorter names or fewer columns, or convert it to JSON Lines.",
        )
    return line


@contextmanager
def _reading(path: Path, columns: Sequence[str] | None, memory: int) -> Generator[BinaryIO]:
    """What the program writes. Who leaves early ends the program; who reads to the end learns whether it failed."""
    command = [
        *(sys.executable, "-I", os.fspath(_PROGRAM), os.fspath(path)),
        *(orjson.dumps(columns).decode(), str(memory)),
    ]
    # In a file, not a pipe: nobody reads it while the rows come, and a full pipe would stop the program.
    with tempfile.TemporaryFile() as said:
        environment = {**os.environ, "RUST_BACKTRACE": "0"}
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, env=environment
        ) as child:
            try:
                file = cast("BinaryIO", child.stdout)
                yield file
                while file.read(1 << 20):
                    pass
                code = child.wait()
            except BaseException:
                child.kill()
                raise
        if code:
            said.seek(max(0, said.seek(0, os.SEEK_END) - _TOLD))
            raise _failed(path, code, said.read().decode(errors="replace"), memory)


def _failed(path: Path, code: int, said: str, memory: int) -> BadInput | Unavailable:
    if code in _ENDED_BY_OTHERS:
        return Unavailable(f"The process that reads {path.name!r} was ended by the signal {-code}.")
    if "memory allocation" in said or "MemoryError" in said or "AllocError" in said:
        return BadInput(
            f"The Parquet file {path.name!r} needs more than {memory:,} bytes of memory to be read.",
            remedy="Write it with smaller pages and shorter fields, or convert it to JSON Lines.",
        )
    found = _REASON.search(said)
    lines = [line for line in said.splitlines() if line.strip()]
    reason = found[1] if found else _CLASSES.sub("", lines[-1]) if lines else f"exit code {code}"
    return BadInput(
        f"The Parquet file {path.name!r} cannot be read: {reason[:300].rstrip('.')}.",
        remedy="Look whether it was written fully, or convert it to JSON Lines in UTF-8.",
    )
