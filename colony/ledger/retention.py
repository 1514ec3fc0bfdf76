"""What the ledger forgets after a while: the port, and what is told about it."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Pruned(NamedTuple):
    """What was forgotten, or would be."""

    jobs: int = 0
    tasks: int = 0
    outcomes: int = 0
    messages: int = 0
    artifacts: int = 0
    states: int = 0
    """States of agents that were removed."""
    llm_calls: int = 0
    memories: int = 0
    """Entries that agents remembered in jobs that are gone."""
    transcripts: int = 0
    """Entries of transcripts: calls and messages of those jobs."""
    bytes: int = 0
    """About: of the contents of rows; of the files where a whole partition went."""
    waiting: int = 0
    """Jobs of which rows are left, since others hold what is needed to remove them: they go with a later call."""

    def plus(self, other: Pruned) -> Pruned:
        """Both together."""
        return Pruned(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class RetentionLedger(Protocol):
    """Forgetting. Ages are in seconds; None keeps for ever.

    A job goes by the time it was closed, never while it or a job it started (or one started by those) runs. Messages
    go by the time they were done, and with agents that were removed; states by the time their agents were removed.
    """

    async def prunable(self, jobs_age: float | None, calls_age: float | None) -> Pruned:
        """What `prune` would forget now. Reads all of it: may take minutes for millions of rows."""
        ...

    async def prune(self, jobs_age: float | None, calls_age: float | None) -> Pruned:
        """Forget what is older, in many short transactions; what was forgotten.

        May run beside itself and beside jobs: it waits a moment for a lock, then leaves the rest for a later call.
        Stopped in the middle, it goes on with the next call: a job disappears for readers at once, its rows follow.
        """
        ...
