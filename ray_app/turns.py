"""Whose turn it is among the batches of a host: priorities that age, tenants that take turns. Pure.

A place is the right to run agents, held by one lane; a turn ends when its lane is done, or has had its share and others
wait. The order is the one of the gateway's queue, with batches for requests and tenants for callers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

from ray_app.gateway.contracts import HIGH
from ray_app.gateway.queue import MOST_COST, FairQueue, Waiting

AGEING_SECONDS: Final = 5.0
"""A batch rises by one priority for each such time in which it gets nothing: about what one of quick tasks takes."""

TURN_SECONDS: Final = 0.1
"""A lane keeps its place for at least so long, however many wait: handing on costs more than a quick task."""

_UNIT_SECONDS: Final = 1.0


@dataclass(slots=True, eq=False)
class Claim:
    """On whose behalf lanes ask for places: one batch, with what its lanes have had so far."""

    priority: int
    """1 is first, 5 last."""
    tenant: str
    since: float
    """Monotonic seconds at which the batch came to the host."""
    used: float = 0.0
    """Seconds its lanes held places, added up, as far as they use up its age."""
    last_turn: float = 0.0
    """Seconds of its last turn; the next is paid by it."""

    @property
    def arrived(self) -> float:
        """Its time in line: the time it came, later by what it had, but never later than its last turn ended."""
        return self.since + self.used

    def level(self, now: float, ageing: float = AGEING_SECONDS) -> int:
        """The class it is in: its priority, lifted by age."""
        return max(HIGH, self.priority - int(max(0.0, now - self.arrived) / ageing))

    def rank(self, now: float) -> float:
        """Its place in line for one agent, smallest first: overtaken only by what is better and comes soon after."""
        return rank_of(self.level(now), now)

    def charge(self, seconds: float, now: float) -> None:
        """A turn ended that took so long.

        Many lanes at once use up the age of a batch quickly, and no more than that: what is charged beyond would keep
        the batch from ageing for longer than its turns took, and put every newer one of its tenant before it.
        """
        self.last_turn = seconds
        self.used = min(self.used + seconds, max(self.used, now - self.since))


def rank_of(priority: int, now: float) -> float:
    """The place in line for one agent of what has a `priority` and comes `now`."""
    return now + priority * AGEING_SECONDS


def cost_of_turn(seconds: float) -> int:
    """What a lane that held its place for `seconds` pays for its next turn: 1 to `MOST_COST`."""
    return min(MOST_COST, 1 + int(max(0.0, seconds) / _UNIT_SECONDS))


class Turns:
    """Hands out `places`. Time is handed in, in monotonic seconds; it never goes back.

    Nothing starves: a batch of priority `p` is in the first class once it got nothing for `(p - 1) * AGEING_SECONDS`.
    From then on a turn of it begins after at most `(S + 1) * C` turns of others, where `C` are the tenants that wait in
    the first class, and `S` is the cost of it and of what its tenant has there that came before `Claim.arrived`, which
    is never in the future: a finite lot, however many come later and however many lanes it had (see `FairQueue`).
    """

    def __init__(self, places: int, ageing: float = AGEING_SECONDS) -> None:
        self.free = places
        self._ageing = ageing
        # How much may wait is settled by the admission of the host.
        self._queue = FairQueue(sys.maxsize, ageing)

    def __len__(self) -> int:
        """Lanes that wait."""
        return len(self._queue)

    def ask(self, name: str, claim: Claim, now: float) -> bool:
        """Ask for a place. True: the place is yours. False: it comes as the answer to somebody's `end`."""
        if self.free:
            self.free -= 1
            return True
        cost = cost_of_turn(claim.last_turn)
        self._queue.push(Waiting(name, claim.tenant, claim.priority, 0, cost, claim.arrived), now)
        return False

    def withdraw(self, name: str) -> None:
        """Wait no more."""
        self._queue.cancel(name)

    def end(self, now: float) -> str | None:
        """Give a place back; returns the name that has it from now on, if any waits."""
        following = self._queue.pop(now)
        if following is None:
            self.free += 1
            return None
        return following.request_id

    def outranked(self, claim: Claim, now: float) -> bool:
        """Whether some lane that waits should have the place of one that holds it for `claim` and had its turn."""
        head = self._queue.head(now)
        return head is not None and head.level <= claim.level(now, self._ageing)
