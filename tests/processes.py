"""Processes that may end while a test looks at them."""

from __future__ import annotations

from control.stack.identity import PROC


def command_line(pid: int) -> bytes:
    """Its arguments, with a zero byte after each; nothing for one that has ended."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
