"""Errors about a source name its file."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from colony.errors import BadInput


@contextmanager
def about_file(name: str) -> Generator[None]:
    """A `BadInput` from the block gets the name of the file in front, unless it says it already."""
    try:
        yield
    except BadInput as error:
        if not name or name in error.message:
            raise
        raise BadInput(f"{name}: {error.message}", remedy=error.remedy) from None
