"""The port in which workflows and hosts meet: hand a batch to whoever can run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from colony.contracts import BatchProgress, BatchReport, BatchRequest

OnProgress = Callable[[BatchProgress], None]


class BatchRunner(Protocol):
    """Runs batches on hosts.

    Delivery is "at least once": a batch may run twice, its tasks commit once (the ledger sees to it).
    """

    async def run(self, request: BatchRequest, on_progress: OnProgress) -> BatchReport:
        """Run a batch to its end on one host or, where tasks are bound to agents, on several in turn.

        `on_progress` is called about once a second with real progress of the hosts, and not when the host is silent.
        Raises `Unavailable` when the host died or does not answer, `Overloaded` when no host takes work now.
        """
        ...
