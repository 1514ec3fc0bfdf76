"""The slots of one replica, and what its calls looked like. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from ray_app.gateway.contracts import BackendLoad, Kind

EXTRA: Final = 2
"""Calls admitted beyond the slots: they wait inside the server, so that a slot that falls free is filled at once.

Not with a hosted provider: its slots are what it allows, and one more is refused.
"""

LOAD_AGE: Final = 15.0
"""Seconds after which what a server said of its load is forgotten."""

_PAUSES: Final = (1.0, 30.0)
"""Seconds: the first and the longest pause of a replica that says it is overloaded."""


class Joint(NamedTuple):
    """What a call brings to one that goes out with others of its kind."""

    kind: Kind
    weight: int = 1
    """Its inputs; 1 for prompts, see `slots_of`."""


def slots_of(kind: Kind, weight: int, together: int) -> int:
    """Slots that calls of a kind take which go out together, up to `together` of their weight at once.

    A server works on a list of inputs as on one thing. Of a list of prompts it may work on each in a slot of its own:
    one such list is let in as one, what goes beyond it call by call.
    """
    if kind is Kind.COMPLETION:
        return min(weight, 1) + max(0, weight - together)
    return -(-weight // together)


class Health(StrEnum):
    """What is known of a replica."""

    UP = "up"
    SUSPECT = "suspect"
    """A call failed; nothing new goes there until a check, or a call under way, has worked."""
    DOWN = "down"
    """A check failed."""


@dataclass(slots=True, eq=False)
class Replica:
    """One replica as the owner sees it. Times are monotonic seconds."""

    name: str
    slots: int
    together: int = 1
    """Inputs that may go out as one call."""
    extra: int = EXTRA
    """Calls admitted beyond the slots."""
    health: Health = Health.UP
    since: float = 0.0
    """When its health changed."""
    problem: str = ""
    """Why it is not up."""
    draining: bool = False
    in_flight: int = 0
    joint: Counter[Kind] = field(default_factory=Counter[Kind])
    """Weight of those that go out together with others of their kind."""
    peak: int = 0
    calls: int = 0
    worked: float = 0.0
    """When a call or a check last ended well."""
    model: str = ""
    """Model of its last call: what a check asks for."""
    paused_until: float = 0.0
    """It said it is overloaded: nothing new until then."""
    sizes: dict[int, int] = field(default_factory=dict[int, int])
    """In flight when a call began, that call included -> how often: the sizes of the batches it worked on."""
    _joining: int = 0
    """How many those are."""
    _refusals: int = 0
    _others: int = 0
    _others_at: float = float("-inf")

    @property
    def admitted(self) -> int:
        """Most calls at once; calls that go out together count as `slots_of` says."""
        return self.slots + self.extra

    @property
    def taken(self) -> int:
        """Slots that its calls take, waiting ones included."""
        joint = sum(slots_of(kind, weight, self.together) for kind, weight in self.joint.items())
        return self.in_flight - self._joining + joint

    @property
    def usable(self) -> bool:
        """Whether it may ever get new calls as it is."""
        return self.health is not Health.DOWN and not self.draining

    def free(self, now: float, joins: Joint | None = None) -> bool:
        """Whether it takes a call now; `joins` of one that goes out together with others."""
        return (
            self.health is Health.UP
            and not self.draining
            and self.taken + self._more(joins) <= self.admitted
            and self.paused_until <= now
        )

    def _more(self, joins: Joint | None) -> int:
        """Slots that one call more would take."""
        if joins is None:
            return 1
        kind, weight = joins
        before = self.joint[kind]
        return slots_of(kind, before + weight, self.together) - slots_of(kind, before, self.together)

    def begin(self, model: str, joins: Joint | None = None) -> None:
        """A call begins."""
        self.in_flight += 1
        if joins is not None:
            self.joint[joins.kind] += joins.weight
            self._joining += 1
        self.calls += 1
        self.model = model
        self.peak = max(self.peak, self.in_flight)
        self.sizes[self.in_flight] = self.sizes.get(self.in_flight, 0) + 1

    def end(self, joins: Joint | None = None) -> None:
        """A call ended."""
        self.in_flight -= 1
        if joins is not None:
            self.joint[joins.kind] -= joins.weight
            self._joining -= 1

    def refused(self, now: float) -> float:
        """It answered that it is overloaded: leave it alone for a while. Returns until when."""
        first, most = _PAUSES
        if self.paused_until <= now:  # one wave of refusals is one reason to pause
            self.paused_until = now + min(most, first * 2 ** min(self._refusals, 10))
            self._refusals += 1
        return self.paused_until

    def answered(self, now: float) -> None:
        """A call or a check ended well."""
        self.worked = now
        self._refusals = 0

    def turn(self, health: Health, problem: str, now: float) -> None:
        """Note a change of health."""
        if health is not self.health:
            self.since = now
        self.health, self.problem = health, problem

    def report(self, load: BackendLoad | None, now: float) -> None:
        """Note what the server said of its load: what is not ours is that of others."""
        if load is not None:
            self._others = max(0, load.running + load.waiting - self.in_flight)
            self._others_at = now

    def outstanding(self, now: float) -> int:
        """Work on it: ours, and that of others as far as it is known."""
        return self.taken + (self._others if now - self._others_at <= LOAD_AGE else 0)

    def shown(self, now: float) -> dict[str, Any]:
        """For `colony llm`."""
        calls = sum(self.sizes.values())
        return {
            "health": self.health.value,
            "problem": self.problem,
            "draining": self.draining,
            "in_flight": self.in_flight,
            "slots": self.slots,
            "taken": self.taken,
            "admitted": self.admitted,
            "others": self.outstanding(now) - self.taken,
            "peak": self.peak,
            "calls": self.calls,
            "paused": round(max(0.0, self.paused_until - now), 1),
            "batch_sizes": dict(sorted(self.sizes.items())),
            "mean_batch": round(sum(size * count for size, count in self.sizes.items()) / calls, 2) if calls else 0.0,
        }
