"""What an error of the file system says of a source: the file is at fault, or what the machine lacks at the moment."""

from __future__ import annotations

import errno
from typing import Final

from colony.errors import BadInput, Unavailable

_PASSING: Final = frozenset(
    {
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC),
        *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT),
    }
)
"""No more open files, processes, memory or room for what is noted meanwhile; a disk or its server does not answer."""


def unreadable(what: str, error: Exception) -> BadInput | Unavailable:
    """`what`, a clause such as "The source 'a.csv' cannot be read", with its reason; `Unavailable` for what passes."""
    told = f"{what}: {_why(error)}."
    if isinstance(error, OSError) and error.errno in _PASSING:
        return Unavailable(told, remedy="It is tried again; look at the open files, memory and disks of the workers.")
    return BadInput(told)


def _why(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
