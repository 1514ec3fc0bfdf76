"""What all batches of one host share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from colony.ledger.port import Ledger
from ray_app.commits import Committer
from ray_app.lanes import LaneWatch
from ray_app.lease import LeaseKeeper
from ray_app.perform import Performer
from ray_app.places import Places
from ray_app.population import Population

_PACES_KEPT: Final = 500


@dataclass
class Crew:
    """The agents of a host, what runs them, and how much may run at once."""

    ledger: Ledger
    population: Population
    performer: Performer
    committer: Committer
    lease: LeaseKeeper
    watch: LaneWatch
    concurrency: int
    places: Places
    """`concurrency` of them, shared by all batches."""
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a suspect task runs alone."""
    pace: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    """(job, step) -> tasks a second, as last seen."""

    def note_pace(self, step: tuple[int, int], tasks: int, seconds: float) -> None:
        """Remember how fast the tasks of a (job, step) are, for its next batch."""
        if seconds > 0 and tasks:
            self.pace[step] = tasks / seconds
            while len(self.pace) > _PACES_KEPT:
                self.pace.pop(next(iter(self.pace)))
