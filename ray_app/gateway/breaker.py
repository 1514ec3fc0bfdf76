"""Circuit breaker of one backend and model: stops calls that would fail anyway, and lets a few probe. Pure.

See `docs/adr/0008-own-circuit-breaker.md` for why it is no library.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final, NamedTuple

from colony.config.gateway import BreakerConfig
from colony.errors import DeadlineExceeded, Unavailable, by_name


class State(StrEnum):
    """What a breaker does with calls."""

    CLOSED = "closed"
    """Lets all through."""
    OPEN = "open"
    """Lets none through."""
    HALF_OPEN = "half_open"
    """Lets a few probes through; the first that ends well closes it, one that fails opens it again."""


class Verdict(Enum):
    """What the end of a call says of the backend."""

    GOOD = "good"
    BAD = "bad"
    NOTHING = "nothing"
    """Neither: the request was at fault, or the caller went away, or it was told to come later."""


def verdict(outcome: str, *, own_deadline: bool) -> Verdict:
    """Judge a call by how it ended (see `Ended.outcome`).

    `own_deadline`: whether the caller's own time was up. An impatient caller is no sign of a broken backend.
    """
    if outcome == "ok":
        return Verdict.GOOD
    error = by_name(outcome)
    if issubclass(error, DeadlineExceeded):
        return Verdict.NOTHING if own_deadline else Verdict.BAD
    return Verdict.BAD if issubclass(error, Unavailable) else Verdict.NOTHING


class Pass(NamedTuple):
    """Leave to make one call; handed back with its verdict."""

    era: int


NEVER: Final = Pass(-1)
"""Of no era: what a request holds before it has a pass."""


class Breaker:
    """The state machine. Time is handed in, in monotonic seconds.

    Every change of state begins a new era. What comes back from a call of an older era is ignored: a slow failure of
    before cannot open a breaker that has just recovered, nor a late success close one that has opened since.
    """

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self._state = State.CLOSED
        self._era = 0
        self._failures = 0
        self._probes = 0
        self._opened = 0.0
        self._left_closed = 0.0
        self.openings = 0
        """How often it has opened."""

    def state(self, now: float) -> State:
        """CLOSED, OPEN or HALF_OPEN; open breakers become half open by time alone."""
        if self._state is State.OPEN and now >= self._opened + self._config.open_seconds:
            self._change(State.HALF_OPEN)
        return self._state

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._failures

    def opens_in(self, now: float) -> float:
        """Seconds until an open breaker lets a probe through; 0 when it is not open."""
        return self._opened + self._config.open_seconds - now if self.state(now) is State.OPEN else 0.0

    def open_for(self, now: float) -> float:
        """Seconds since it was closed last; 0 while it is."""
        return 0.0 if self.state(now) is State.CLOSED else max(0.0, now - self._left_closed)

    def enter(self, now: float) -> Pass | None:
        """Ask for one call; None when it may not be made. Every pass must come back by `leave`."""
        state = self.state(now)
        if state is State.OPEN or (state is State.HALF_OPEN and self._probes >= self._config.probes):
            return None
        if state is State.HALF_OPEN:
            self._probes += 1
        return Pass(self._era)

    def valid(self, given: Pass, now: float) -> bool:
        """Whether a call that has not been made yet may still be made."""
        return self.state(now) is State.CLOSED or given.era == self._era

    def leave(self, given: Pass, says: Verdict, now: float) -> bool:
        """A call is over. True when that opened the breaker."""
        state = self.state(now)
        if given.era != self._era:
            return False
        if state is State.HALF_OPEN:
            self._probes -= 1
        if says is Verdict.GOOD:
            self._failures = 0
            if state is State.HALF_OPEN:
                self._change(State.CLOSED)
        return says is Verdict.BAD and self.fail(now)

    def fail(self, now: float) -> bool:
        """Count a failure: that of a call, or of a health check. True when it opened the breaker."""
        state = self.state(now)
        if state is State.OPEN:
            return False
        self._failures += 1
        if state is State.CLOSED and self._failures < self._config.failures:
            return False
        if state is State.CLOSED:
            self._left_closed = now
        self._change(State.OPEN)
        self._opened = now
        self.openings += 1
        return True

    def recover(self, now: float, *, proven: bool) -> None:
        """The backend works again: close when a call of this very model has `proven` it, else let a probe through."""
        if self.state(now) is not State.CLOSED:
            self._change(State.CLOSED if proven else State.HALF_OPEN)

    def _change(self, state: State) -> None:
        self._state = state
        self._era += 1
        self._probes = 0
        if state is State.CLOSED:
            self._failures = 0
