"""Reading the bytes of a configuration file safely, and telling in plain words why one cannot be read."""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import Final

from colony.errors import ConfigInvalid

MAX_BYTES: Final = 10_000_000
"""Largest configuration file."""

_REASONS: Final = {
    errno.ENOENT: "does not exist",
    errno.EACCES: "may not be read by this user",
    errno.EPERM: "may not be read by this user",
    errno.ELOOP: "is a symbolic link that leads back to itself",
    errno.ENOTDIR: "lies below something that is no folder",
    errno.ENAMETOOLONG: "has a name that is too long",
    errno.EISDIR: "is a folder, not a file",
}


def read_text(path: Path) -> str:
    """The text of `path`, without a byte order mark. Raises `ConfigInvalid`."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ConfigInvalid(f"{path} is a folder, not a file.", remedy="Name the file inside it.")
        if not stat.S_ISREG(mode):
            # A pipe or device could block for ever or never end.
            raise ConfigInvalid(f"{path} is no regular file.", remedy="Write the configuration to a file.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"cannot be read ({error.strerror})")
        raise ConfigInvalid(f"{path} {reason}.", remedy="Check the path and its permissions.") from None
    except ValueError:
        raise ConfigInvalid(f"{str(path)!r} is no usable path.", remedy="Check the path.") from None
    if len(data) > MAX_BYTES:
        raise ConfigInvalid(f"{path} is larger than {MAX_BYTES // 1_000_000} MB.", remedy="Is it the right file?")
    return _decoded(path, data)


def _decoded(path: Path, data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigInvalid(f"{path} is UTF-16.", remedy="Save it as UTF-8.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigInvalid(f"{path}:{line}: is not UTF-8 text.", remedy="Save it as UTF-8.") from None
