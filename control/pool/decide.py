"""What to load, unload and refuse. Pure: time and memory are handed in.

Weights are mapped from their file: however many models serve it, they count once. The machine calls memory that mapped
files use "available", since it could take it back; but then every answer would read the weights from the disk again.
So the weights of what is loaded are taken off what is available, and so is what a loaded model was promised and has
not used yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from colony.errors import ColonyError, ModelRefused, Overloaded

LATER: Final = 30.0
"""Seconds after which to ask again where nothing of ours will become free."""

_MEGA: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of the machine, or of the control group this runs in. Bytes."""

    total: int
    available: int
    """What processes could still take, caches of files counted as free."""
    reserve: int
    """Stays free."""
    most: int = 0
    """Most that all models may take; 0 for no limit of its own."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model to load. Bytes."""

    name: str
    file: str
    """What tells files apart; models of one file share its weights."""
    weights: int
    private: int
    """What it takes for itself alone, at most."""
    critical: bool = False


@dataclass(frozen=True, slots=True)
class Resident:
    """A loaded model."""

    model: Wanted
    used: int
    """Bytes it has taken for itself so far."""
    last_used: float
    leased_until: float = 0.0
    """Somebody may be calling it until then."""

    def free_to_go(self, now: float) -> bool:
        """Whether it may be unloaded: not critical, and nobody calls it."""
        return not self.model.critical and self.leased_until <= now


@dataclass(frozen=True, slots=True)
class Admit:
    """Load it, once these are unloaded."""

    unload: tuple[str, ...] = ()


def room(memory: Memory, residents: Iterable[Resident]) -> int:
    """Bytes left for another model and its weights; negative when there is too little already."""
    residents = tuple(residents)
    weights = _weights(residents)
    pending = sum(max(0, resident.model.private - resident.used) for resident in residents)
    left = memory.available - memory.reserve - weights - pending
    if memory.most:
        taken = weights + sum(max(resident.model.private, resident.used) for resident in residents)
        left = min(left, memory.most - taken)
    return left


def admit(wanted: Wanted, residents: Collection[Resident], memory: Memory, now: float) -> Admit:
    """Whether the model may be loaded, and what must go first: the least recently used, as few as possible.

    Raises `ModelRefused` when it can never fit this machine, `Overloaded` when it does not fit what is left now.
    """
    ceiling = memory.total - memory.reserve
    if memory.most:
        ceiling = min(ceiling, memory.most)
    if wanted.weights + wanted.private > ceiling:
        raise _never(wanted, ceiling)
    oldest_first = sorted((r for r in residents if r.free_to_go(now)), key=lambda r: r.last_used)
    going: list[Resident] = []
    for candidate in (None, *oldest_first):
        if candidate is not None:
            going.append(candidate)
        if _fits(wanted, residents, going, memory):
            break
    else:
        raise _not_now(wanted, residents, going, memory, now)
    for candidate in tuple(going):
        fewer = [resident for resident in going if resident is not candidate]
        if _fits(wanted, residents, fewer, memory):
            going = fewer
    return Admit(tuple(resident.model.name for resident in going))


def idle(residents: Iterable[Resident], now: float, idle_seconds: float) -> tuple[str, ...]:
    """Names of those to unload because nobody called them for `idle_seconds`."""
    return tuple(
        resident.model.name
        for resident in residents
        if resident.free_to_go(now) and now - max(resident.last_used, resident.leased_until) >= idle_seconds
    )


def _fits(wanted: Wanted, residents: Iterable[Resident], going: Collection[Resident], memory: Memory) -> bool:
    return _missing(wanted, residents, going, memory) <= 0


def _missing(wanted: Wanted, residents: Iterable[Resident], going: Collection[Resident], memory: Memory) -> int:
    """Bytes that lack once `going` are unloaded."""
    stay = [resident for resident in residents if resident not in going]
    freed = sum(resident.used for resident in going)
    after = Memory(memory.total, memory.available + freed, memory.reserve, memory.most)
    mapped = any(resident.model.file == wanted.file for resident in stay)
    return wanted.private + (0 if mapped else wanted.weights) - room(after, stay)


def _weights(residents: Iterable[Resident]) -> int:
    return sum({resident.model.file: resident.model.weights for resident in residents}.values())


def _never(wanted: Wanted, ceiling: int) -> ColonyError:
    return ModelRefused(
        f"The model {wanted.name!r} needs {_mb(wanted.weights + wanted.private)} MB "
        f"({_mb(wanted.weights)} weights, {_mb(wanted.private)} for its context); "
        f"all models together may have {_mb(ceiling)} MB.",
        remedy="Lower its slots or context, or use a smaller file.",
    )


def _not_now(
    wanted: Wanted, residents: Collection[Resident], going: Collection[Resident], memory: Memory, now: float
) -> ColonyError:
    missing = _missing(wanted, residents, going, memory)
    ends = [r.leased_until - now for r in residents if not r.model.critical and r.leased_until > now]
    names = ", ".join(r.model.name for r in residents if r not in going) or "none"
    return Overloaded(
        f"The model {wanted.name!r} does not fit: {_mb(missing)} MB are missing beside the models in use ({names}) "
        f"and {_mb(memory.reserve)} MB of reserve.",
        remedy="Try again once they are idle; or lower slots or context, or give the machine more memory.",
        retry_after=min(ends, default=LATER),
    )


def _mb(count: int) -> int:
    return -(-count // _MEGA)
