"""The agents of one host as dictionary entries: what an idle agent costs is here (far below 1 KB)."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from agents.base import Agent
from colony.config.model import AgentTypeConfig
from colony.errors import ColonyError
from colony.ids import AgentId, AgentType, shard_of
from colony.messaging.port import Subscription

AgentLoader = Callable[[AgentType, AgentTypeConfig], type[Agent]]
"""Finds the class of an agent type; raises a `ColonyError` if it cannot be had."""

_arrivals: Final = itertools.count()

_NOTHING: Final[Mapping[str, Any]] = {}


class AgentKind:
    """What all agents of one type share."""

    __slots__ = ("_loader", "_made", "config", "name", "options", "stateful", "tags", "topics")

    def __init__(self, name: AgentType, config: AgentTypeConfig, loader: AgentLoader) -> None:
        self.name = name
        self.config = config
        self.options: Mapping[str, Any] = config.options
        self._loader = loader
        self._made: type[Agent] | None = None
        self.stateful = False
        self.tags: tuple[str, ...] = ()
        self.topics: tuple[str, ...] = ()

    def load(self) -> type[Agent]:
        """The class of this type, found once. Raises a `ColonyError` that says why it cannot be had."""
        if self._made is None:
            made = self._loader(self.name, self.config)
            self.stateful = bool(getattr(made, "stateful", False))
            self.tags = tuple(getattr(made, "actions", _NOTHING))
            self.topics = tuple(getattr(made, "topics", ()))
            self._made = made
        return self._made

    def known(self) -> bool:
        """Load if possible; False if the class cannot be had (each task then says why)."""
        try:
            self.load()
        except ColonyError:
            return False
        return True


class LiveAgent:
    """An agent that is awake."""

    __slots__ = ("agent", "state", "used_at")

    def __init__(self, agent: Agent, state: Mapping[str, Any], used_at: float) -> None:
        self.agent = agent
        self.state = state
        self.used_at = used_at


class ShardCell:
    """A shard this host owns, in one epoch. A shard that is lost and claimed again is another cell."""

    __slots__ = ("agents", "closing", "epoch", "in_use", "number", "subscription")

    def __init__(self, number: int, epoch: int) -> None:
        self.number = number
        self.epoch = epoch
        self.agents: dict[AgentId, AgentCell] = {}
        self.in_use = 0
        """Tasks and messages under way whose commit is still to come."""
        self.closing = False
        self.subscription: Subscription | None = None


class AgentCell:
    """One agent: asleep (`live` is None) until its first task or message."""

    __slots__ = ("agent_id", "kind", "live", "running", "shard", "version", "waiting")

    def __init__(self, agent_id: AgentId, kind: AgentKind, shard: ShardCell, version: int) -> None:
        self.agent_id = agent_id
        self.kind = kind
        self.shard = shard
        self.version = version
        self.live: LiveAgent | None = None
        self.running = 0
        self.waiting: list[tuple[float, int, asyncio.Future[None] | Callable[[], None]]] | None = None
        """A heap of (rank, order of arrival, who waits)."""

    def try_acquire(self) -> bool:
        """Take the right to run on this agent, if it is free now."""
        if self.running < self.kind.config.concurrency and not self.waiting:
            self.running += 1
            return True
        return False

    def when_free(self, rank: float, turn: asyncio.Future[None] | Callable[[], None]) -> None:
        """Call `turn` (a future: end it), holding the right to run, after those of a smaller rank or before in line."""
        if self.waiting is None:
            self.waiting = []
        heapq.heappush(self.waiting, (rank, next(_arrivals), turn))

    def wanted(self, rank: float) -> bool:
        """Whether somebody waits who goes before one of this `rank`."""
        return bool(self.waiting) and self.waiting[0][0] <= rank

    async def acquire(self, rank: float) -> None:
        """Wait for the right to run on this agent: the smallest `rank` goes first, equal ones in order of arrival."""
        if self.try_acquire():
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.when_free(rank, mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Hand the right to run to the next in line, or give it back."""
        while self.waiting:
            following = heapq.heappop(self.waiting)[2]
            if callable(following):
                following()
                return
            if not following.done():
                following.set_result(None)
                return
        self.waiting = None
        self.running -= 1


class Population:
    """Shards and agents of this host, and the dictionary that dispatches messages."""

    def __init__(self, types: Mapping[AgentType, AgentTypeConfig], loader: AgentLoader) -> None:
        self._types = types
        self._loader = loader
        self._kinds: dict[AgentType, AgentKind] = {}
        self._by_type: dict[AgentType, list[AgentCell]] = {}
        self.shards: dict[int, ShardCell] = {}
        self.agents: dict[AgentId, AgentCell] = {}
        self.awake: set[AgentCell] = set()
        self.turn = 0
        """Counts choices among the agents of a type, so that each has its turn."""

    def kind(self, name: AgentType) -> AgentKind:
        """What agents of a type share; made on first use."""
        found = self._kinds.get(name)
        if found is None:
            found = AgentKind(name, self._types.get(name) or AgentTypeConfig(), self._loader)
            self._kinds[name] = found
        return found

    def add_shard(self, number: int, epoch: int) -> ShardCell:
        """Own a shard from now on."""
        self.drop_shard(number)
        cell = ShardCell(number, epoch)
        self.shards[number] = cell
        return cell

    def drop_shard(self, number: int) -> None:
        """Forget a shard with the memory of its agents."""
        shard = self.shards.pop(number, None)
        if shard is None:
            return
        shard.closing = True
        for agent_id in list(shard.agents):
            self.drop_agent(agent_id)

    def add_agent(self, agent_id: AgentId, agent_type: AgentType, version: int) -> bool:
        """Know an agent of an owned shard; True if that changed something."""
        shard = self.shards.get(shard_of(agent_id))
        if shard is None:
            return False
        known = self.agents.get(agent_id)
        if known is not None and known.version == version and known.kind.name == agent_type:
            return False
        self._by_type.clear()
        if known is not None:
            # The very same cell: what runs or waits on it must not overlap with what comes next.
            known.kind = self.kind(agent_type)
            known.version = version
            self.sleep(known)
            return True
        cell = AgentCell(agent_id, self.kind(agent_type), shard, version)
        self.agents[agent_id] = cell
        shard.agents[agent_id] = cell
        return True

    def drop_agent(self, agent_id: AgentId) -> None:
        """Forget an agent and its memory."""
        cell = self.agents.pop(agent_id, None)
        if cell is None:
            return
        cell.shard.agents.pop(agent_id, None)
        self.sleep(cell)
        self._by_type.clear()

    def sleep(self, cell: AgentCell) -> None:
        """Drop the memory of an agent; its durable state is in the ledger."""
        cell.live = None
        self.awake.discard(cell)

    def of_type(self, name: AgentType) -> list[AgentCell]:
        """Agents of a type, ordered by shard, so that neighbours share the rows a commit locks."""
        found = self._by_type.get(name)
        if found is None:
            found = sorted(
                (cell for cell in self.agents.values() if cell.kind.name == name),
                key=lambda cell: (cell.shard.number, cell.agent_id),
            )
            self._by_type[name] = found
        return found

    def of_type_name(self, name: str) -> list[AgentCell]:
        """Agents of the type called `name`, which need not be a known one."""
        return self.of_type(cast(AgentType, name)) if name in self._kinds else []

    def of_topic(self, topic: str) -> list[AgentCell]:
        """Agents of all types that want a topic."""
        kinds = [kind for kind in self._kinds.values() if topic in kind.topics]
        return [cell for kind in kinds for cell in self.of_type(kind.name)]

    def kinds_here(self) -> list[AgentKind]:
        """The types of which this host has agents."""
        # Not by `of_type`: sorting a hundred thousand for this would hold the loop up.
        return list({cell.kind for cell in self.agents.values()})

    def choose(self, cells: Sequence[AgentCell]) -> AgentCell | None:
        """The next of these agents that is free, else the next; None if all are leaving this host."""
        busy: AgentCell | None = None
        for _ in range(len(cells)):
            self.turn += 1
            cell = cells[self.turn % len(cells)]
            if cell.shard.closing:
                continue
            if cell.running < cell.kind.config.concurrency:
                return cell
            busy = busy or cell
        return busy

    def find(self, name: str) -> AgentCell | None:
        """The agent called `name`, which need not be a valid id."""
        # An Id hashes and compares as the string it is: no validation for a look-up.
        return self.agents.get(cast(AgentId, name))

    def epoch(self) -> int:
        """The highest epoch held."""
        return max((shard.epoch for shard in self.shards.values()), default=0)
