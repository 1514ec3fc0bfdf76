"""Files that jobs may read: below the configured data roots, symlinks resolved before the check. Blocks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from colony.errors import BadInput, NotFound, NotPermitted

MAX_FILE: Final = 16 * 1024 * 1024
"""Most bytes of a file that is read."""

MAX_LISTED: Final = 2_000
"""Most files of a folder that are listed."""

_LOOKED_AT: Final = 50_000


def read_below(path: str, roots: Sequence[Path]) -> bytes:
    """The content of the file at `path`; a relative path is looked for below each root in turn.

    Raises `NotPermitted`, `NotFound`, and `BadInput` for a file that is too large.
    """
    found = _inside(path, roots)
    try:
        with os.fdopen(os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise NotFound(f"{path[:200]!r} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_FILE:
        raise BadInput(f"{path[:200]!r} is larger than {MAX_FILE} bytes.")
    return content


def list_below(path: str, roots: Sequence[Path]) -> list[str]:
    """Full paths of the regular files in the folder `path` and the folders below it, sorted; a file lists itself.

    Hidden files and folders, and links that lead out of the data roots, are left out; links to folders are not
    followed. Raises `NotPermitted`, `NotFound`, and `BadInput` for a folder with too many files.
    """
    found = _inside(path, roots)
    if found.is_file():
        return [str(found)]
    if not found.is_dir():
        raise NotFound(f"{path[:200]!r} is neither a file nor a folder below a data root.")
    listed: list[str] = []
    looked = 0
    for folder, folders, names in os.walk(found):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        looked += len(names)
        for name in sorted(names):
            each = Path(folder, name)
            if not name.startswith(".") and each.is_file() and _permitted(each.resolve(), roots):
                listed.append(str(each))
        if len(listed) > MAX_LISTED or looked > _LOOKED_AT:
            raise BadInput(f"{path[:200]!r} holds more than {MAX_LISTED:,} files.", remedy="Name a smaller folder.")
    return sorted(listed)


def _inside(path: str, roots: Sequence[Path]) -> Path:
    """Where `path` leads, below a root."""
    if not path or "\0" in path:
        raise BadInput("The path is empty or holds a NUL.")
    inside: Path | None = None
    for root in roots:
        try:
            found = (root.resolve() / path).resolve()
        except (OSError, RuntimeError) as error:
            raise NotFound(f"{path[:200]!r} cannot be looked up: {type(error).__name__}.") from error
        if _permitted(found, roots):
            inside = inside or found
            if found.exists():
                return found
    if inside is None:
        raise NotPermitted(f"{path[:200]!r} is not below a data root.", remedy="See data_roots.")
    return inside


def _permitted(found: Path, roots: Sequence[Path]) -> bool:
    return any(found.is_relative_to(root.resolve()) for root in roots)
