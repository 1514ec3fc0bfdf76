"""Pages of lists: bounds and cursors. Pure."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query

WAITING: Final = "w"
"""Cursor in the jobs that are not started yet."""

OPENED: Final = "j"
"""Cursor in the jobs that have a row."""

_SAID: Final = "`next` of the page before."

Limit = Annotated[int, Query(ge=1, le=500, description="Most items of a page.")]
JobCursor = Annotated[str | None, Query(pattern=r"^[wj][0-9]{1,18}$", description=_SAID)]
NameCursor = Annotated[str, Query(max_length=1000, description=_SAID)]
AgentCursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,4}:[a-z0-9][a-z0-9_-]{0,63}$", description=_SAID)]
LetterCursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}\.[0-9]{1,6}\.[0-9]{1,9}$", description=_SAID)]
MessageCursor = Annotated[str, Query(max_length=200, description=_SAID)]


def job_cursor(cursor: str | None) -> tuple[str, int | None]:
    """Which list a page is in, and below which number."""
    return (WAITING, None) if cursor is None else (cursor[0], int(cursor[1:]))


def letter_cursor(cursor: str | None) -> tuple[int, int, int] | None:
    """Job, step and seq of the last task of the page before."""
    if cursor is None:
        return None
    job, step, seq = map(int, cursor.split("."))
    return job, step, seq


def agent_cursor(cursor: str | None) -> tuple[int, str]:
    """Shard and id of the last agent of the page before."""
    if cursor is None:
        return 0, ""
    shard, _, agent_id = cursor.partition(":")
    return int(shard), agent_id
