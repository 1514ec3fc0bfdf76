"""How long a step took, as both ledgers see it. Pure."""

from __future__ import annotations

from colony.contracts import StepCounts


def with_seconds(counts: StepCounts, begun: float | None, ended: float | None, until: float) -> StepCounts:
    """The counts with the time from its first task under way to its last outcome, all in wall-clock seconds.

    A step that lacks outcomes has lasted up to `until`: now, or the end of its job. Without a task that ever was under
    way nothing is known.
    """
    if begun is None:
        return counts
    whole = ended is not None and counts.ok + counts.failed >= counts.tasks
    return counts.model_copy(update={"seconds": round(max(0.0, (ended if whole and ended else until) - begun), 6)})
