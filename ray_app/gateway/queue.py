"""The requests that wait for one backend: priorities that age, fair among callers, equal prefixes together. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from colony.errors import Overloaded
from ray_app.gateway.contracts import HIGH, LOW
from ray_app.gateway.heap import Heap, Held

UNIT_TOKENS: Final = 1024
"""Tokens that cost a caller one more round."""

MOST_COST: Final = 8
"""Rounds the largest request costs."""


def cost_of(tokens: int) -> int:
    """Rounds a request of `tokens` costs its caller."""
    return min(MOST_COST, 1 + max(0, tokens) // UNIT_TOKENS)


@dataclass(slots=True, eq=False)
class Waiting:
    """One request in the queue."""

    request_id: str
    caller: str
    priority: int
    prefix: int
    cost: int
    arrived: float
    """Monotonic seconds; may lie before the push, for a request that waited elsewhere."""
    level: int = 0
    """The class it is in now: its priority, lifted by age."""
    in_flow: Held[Waiting] | None = field(default=None, repr=False)
    in_ageing: Held[Waiting] | None = field(default=None, repr=False)


class _Flow:
    """What one caller has waiting in one class."""

    __slots__ = ("base", "by_prefix", "by_round", "caller", "head", "requests")

    def __init__(self, caller: str, base: int) -> None:
        self.caller = caller
        self.base = base
        """Round in which it was served last, or in which it came."""
        self.requests: Heap[Waiting] = Heap()
        self.head: Waiting | None = None
        self.by_round: Held[_Flow] | None = None
        self.by_prefix: Held[_Flow] | None = None


class _Class:
    """One priority: deficit round robin over callers, in rounds.

    The quantum is one unit of cost a round, so a caller's next request is due `cost` rounds after its last. Rounds in
    which nobody is due are skipped, which makes a step O(log n) instead of a walk around the ring.
    """

    def __init__(self) -> None:
        self.flows: dict[str, _Flow] = {}
        self.waiting = 0
        self.round = 0
        self._rounds: Heap[_Flow] = Heap()
        self._prefixes: dict[int, Heap[_Flow]] = {}

    def add(self, waiting: Waiting) -> None:
        flow = self.flows.get(waiting.caller)
        if flow is None:
            flow = self.flows[waiting.caller] = _Flow(waiting.caller, self.round)
        waiting.in_flow = flow.requests.push(waiting.arrived, waiting)
        self.waiting += 1
        self._place(flow)

    def remove(self, waiting: Waiting) -> None:
        flow = self.flows[waiting.caller]
        if waiting.in_flow is not None:
            flow.requests.discard(waiting.in_flow)
            waiting.in_flow = None
        self.waiting -= 1
        self._place(flow)

    def serve(self, waiting: Waiting) -> None:
        """Take out the head that `first` gave: its caller has had its turn."""
        flow = self.flows[waiting.caller]
        if flow.by_round is not None:
            self.round = max(self.round, flow.by_round.key)
        flow.base = self.round
        self.remove(waiting)

    def first(self, prefix: int) -> Waiting | None:
        """Whose turn it is; among those of one round, one with `prefix` if there is any."""
        held = self._rounds.top()
        if held is None:
            return None
        alike = self._prefixes.get(prefix) if prefix else None
        kin = alike.top() if alike is not None else None
        # Never beyond the round: affinity changes the order in it, not who is in it.
        if kin is not None and max(kin.key, self.round) <= max(held.key, self.round):
            held = kin
        return held.item.head

    def places(self) -> Iterator[tuple[int, int, Waiting]]:
        """(round, order in it, request) of all, as if nobody else came."""
        for flow in self.flows.values():
            due, order = flow.base, 0 if flow.by_round is None else flow.by_round.tie
            for held in sorted(flow.requests, key=lambda held: (held.key, held.tie)):
                due += held.item.cost
                yield max(due, self.round), order, held.item

    def _place(self, flow: _Flow) -> None:
        """Note the flow's head and when it is due, after a change."""
        held = flow.requests.top()
        head = None if held is None else held.item
        # A head that stays in its round keeps its place in it. `serve` moves the base, so it always changes.
        if head is not None and flow.head is head and flow.by_round is not None:
            return
        self._unplace(flow)
        flow.head = head
        if head is None:
            del self.flows[flow.caller]
            return
        due = flow.base + head.cost
        flow.by_round = self._rounds.push(due, flow)
        if head.prefix:
            heap = self._prefixes.get(head.prefix)
            if heap is None:
                heap = self._prefixes[head.prefix] = Heap()
            flow.by_prefix = heap.push(due, flow)

    def _unplace(self, flow: _Flow) -> None:
        if flow.by_round is not None:
            self._rounds.discard(flow.by_round)
            flow.by_round = None
        if flow.by_prefix is not None and flow.head is not None:
            heap = self._prefixes[flow.head.prefix]
            heap.discard(flow.by_prefix)
            flow.by_prefix = None
            if not heap:
                del self._prefixes[flow.head.prefix]

    @property
    def size(self) -> int:
        """Things held in memory."""
        return self._rounds.size + sum(heap.size for heap in self._prefixes.values()) + len(self.flows)


class FairQueue:
    """Bounded queue of one backend. Time is handed in, in monotonic seconds; it never goes back.

    - A lower number of priority goes first. Every `ageing` seconds of waiting lift a request by one, up to 1.
    - Within a priority, callers take turns (deficit round robin by cost: a request of many tokens takes several
      turns). A caller's own requests go by age.
    - Among callers whose turn it is, one with the prefix that was served last goes first.

    Nothing starves. A request of priority `p` is in the first class after `(p - 1) * ageing` seconds. From then on it
    goes within the round under way and `S` more, each of at most one request for each caller, where `S` is the cost of
    it and of all requests of its own caller that are no younger. So at most `(S + 1) * C` others go before it, `C`
    being the most callers that wait in the first class at once (never more than `length`), whatever comes later.

    Push, take, cancel: O(log n) on average.
    """

    def __init__(self, length: int, ageing: float) -> None:
        self.length = length
        self._ageing = ageing
        self._classes = {level: _Class() for level in range(HIGH, LOW + 1)}
        self._ageings: Heap[Waiting] = Heap()
        self._all: dict[str, Waiting] = {}
        self._prefix = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Waiting]:
        """All that wait, in order of arrival here."""
        return iter(tuple(self._all.values()))

    @property
    def full(self) -> bool:
        """Whether a push would be refused."""
        return len(self._all) >= self.length

    @property
    def size(self) -> int:
        """Things held in memory: what a test of leaks looks at."""
        return len(self._all) + self._ageings.size + sum(entry.size for entry in self._classes.values())

    def push(self, waiting: Waiting, now: float) -> None:
        """Add a request. Raises `Overloaded` when the queue is full."""
        if self.full:
            raise Overloaded("The queue is full.")
        age = int(max(0.0, now - waiting.arrived) / self._ageing)
        waiting.level = max(HIGH, waiting.priority - age)
        self._all[waiting.request_id] = waiting
        self._enter(waiting)

    def head(self, now: float) -> Waiting | None:
        """The request to serve next, left in place."""
        self._age(now)
        for entry in self._classes.values():
            if entry.waiting:
                return entry.first(self._prefix)
        return None

    def take(self, waiting: Waiting) -> None:
        """Serve the head: it leaves, and its caller has had its turn."""
        self._prefix = waiting.prefix
        self._leave(waiting, served=True)

    def pop(self, now: float) -> Waiting | None:
        """`head` and `take`."""
        waiting = self.head(now)
        if waiting is not None:
            self.take(waiting)
        return waiting

    def cancel(self, request_id: str) -> Waiting | None:
        """Take a request out without serving it; None when it does not wait."""
        waiting = self._all.get(request_id)
        if waiting is not None:
            self._leave(waiting, served=False)
        return waiting

    def place(self, request_id: str, now: float) -> int:
        """How many would go before it as things are now; -1 when it does not wait. O(n log n)."""
        self._age(now)
        waiting = self._all.get(request_id)
        if waiting is None:
            return -1
        before = sum(entry.waiting for level, entry in self._classes.items() if level < waiting.level)
        places = list(self._classes[waiting.level].places())
        mine = next(place[:2] for place in places if place[2] is waiting)
        return before + sum(1 for place in places if place[:2] < mine)

    def by_priority(self) -> dict[int, int]:
        """Requests in each class, age counted as of the last look."""
        return {level: entry.waiting for level, entry in self._classes.items()}

    def callers(self) -> int:
        """Callers that wait."""
        return len({waiting.caller for waiting in self._all.values()})

    def _leave(self, waiting: Waiting, *, served: bool) -> None:
        del self._all[waiting.request_id]
        if waiting.in_ageing is not None:
            self._ageings.discard(waiting.in_ageing)
            waiting.in_ageing = None
        entry = self._classes[waiting.level]
        if served:
            entry.serve(waiting)
        else:
            entry.remove(waiting)

    def _enter(self, waiting: Waiting) -> None:
        self._classes[waiting.level].add(waiting)
        if waiting.level > HIGH:
            lifted = waiting.priority - waiting.level + 1
            waiting.in_ageing = self._ageings.push(waiting.arrived + lifted * self._ageing, waiting)
        else:
            waiting.in_ageing = None

    def _age(self, now: float) -> None:
        while (held := self._ageings.top()) is not None and held.key <= now:
            waiting = held.item
            self._ageings.discard(held)
            self._classes[waiting.level].remove(waiting)
            waiting.level -= 1
            self._enter(waiting)
