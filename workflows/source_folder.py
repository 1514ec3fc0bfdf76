"""A folder as a source: a row for each file below it. Functions block on the file system: call them in a thread."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from colony.errors import BadInput
from colony.jobs import SourcePin
from workflows.source_faults import unreadable

FOLDER: Final = "folder"
"""Format of a source whose rows are found again when the job loads: too many to stand in its plan."""

MOST_FILES: Final = 10_000

_LOOKED_AT: Final = 50_000
"""Names that are looked at; what is no file counts too, so that no folder takes more memory than this."""

_CHUNK: Final = 1_000


def files_below(folder: Path) -> list[dict[str, Any]]:
    """`path`, `name` and `bytes` of each file below a folder, by path. Raises `BadInput`.

    Left out are links and what is hidden.
    """
    found: list[dict[str, Any]] = []
    for path in sorted(_seen(folder)):
        if path.is_symlink() or not path.is_file():
            continue
        found.append({"path": str(path), "name": str(path.relative_to(folder)), "bytes": path.stat().st_size})
        if len(found) > MOST_FILES:
            raise _too_many(folder, MOST_FILES)
    if not found:
        raise BadInput(f"The folder {folder.name!r} holds no files.")
    return found


def _seen(folder: Path) -> list[Path]:
    """What may be a file below a folder; links to folders are not followed. Raises `BadInput`, `OSError`."""
    seen: list[Path] = []
    looked = 0
    for base, folders, names in os.walk(folder, onerror=_told):
        looked += len(folders) + len(names)
        if looked > _LOOKED_AT:
            raise _too_many(folder, _LOOKED_AT)
        folders[:] = [name for name in folders if not name.startswith(".")]
        seen += [Path(base, name) for name in names if not name.startswith(".")]
    return seen


def _told(error: OSError) -> None:
    if not isinstance(error, PermissionError):  # else a part of the files would pass for all of them
        raise error


def _too_many(folder: Path, most: int) -> BadInput:
    return BadInput(f"The folder {folder.name!r} holds more than {most:,} files.", remedy="Name a smaller folder.")


def pin_folder(folder: Path) -> SourcePin:
    """What is in the folder now: how many files, and a digest of their names and sizes. Raises `BadInput`."""
    payloads = _payloads(folder)
    return SourcePin(path=str(folder), size=len(payloads), sha256=_digest(payloads), format=FOLDER)


def folder_rows(pin: SourcePin) -> Iterator[list[tuple[int, bytes]]]:
    """Chunks of (seq, payload). Raises `BadInput` when the files are not those that were pinned."""
    try:
        payloads = _payloads(Path(pin.path))
    except OSError as error:
        raise unreadable(f"The folder {pin.path!r} cannot be read any more", error) from None
    if _digest(payloads) != pin.sha256:
        raise BadInput(
            f"The files below {pin.path!r} changed after the job was opened.", remedy="Start a new job for them."
        )
    for first in range(0, len(payloads), _CHUNK):
        yield list(enumerate(payloads[first : first + _CHUNK], first))


def _payloads(folder: Path) -> list[bytes]:
    try:
        return [orjson.dumps(row) for row in files_below(folder)]
    except TypeError:
        raise BadInput(f"A name below the folder {folder.name!r} is not UTF-8.", remedy="Rename the file.") from None


def _digest(payloads: list[bytes]) -> str:
    return hashlib.sha256(b"\n".join(payloads)).hexdigest()
