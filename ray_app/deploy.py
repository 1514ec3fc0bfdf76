"""Bring the desired agents to given numbers, and prove that every one of them answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import structlog
from pydantic import Field

from colony.clock import Clock, SystemClock
from colony.config.model import FleetConfig
from colony.contracts import AgentSpec, Frozen
from colony.errors import BadInput, ColonyError, DeadlineExceeded, Transient
from colony.ids import AgentId, AgentType, agent_name, agent_subject, shard_of
from colony.ledger.port import FleetLedger
from colony.messaging.port import Envelope, Messenger
from colony.registry.port import Registry
from ray_app.questions import PING_ALL

_log = structlog.get_logger(__name__)

_Row = TypeVar("_Row")

MAX_AGENTS: Final = 1_000_000
_WRITE_ROWS: Final = 10_000
_ASK_SECONDS: Final = 2.0
_ASKS: Final = 64
_PAUSE_SECONDS: Final = 0.1


class DeployPlan(Frozen):
    """What has to change so that the desired agents are as asked for."""

    wanted: dict[AgentType, int]
    add: tuple[AgentSpec, ...] = ()
    """New agents, and known ones with another version or type."""
    remove: tuple[AgentId, ...] = ()
    unchanged: int = 0


class DeployProgress(Frozen):
    """How far a deployment is: agents out of `wanted` that are written, that answered, that pass in the registry."""

    wanted: int
    written: int = 0
    answered: int = 0
    passing: int = 0


class DeployReport(Frozen):
    """A proven deployment. `passing` is None where there is no registry to ask."""

    added: int
    removed: int
    answered: dict[str, int] = Field(default_factory=dict[str, int])
    """By type."""
    passing: dict[str, int] | None = None
    seconds: float


def split_count(total: int, shares: Mapping[AgentType, int]) -> dict[AgentType, int]:
    """`total` agents over types in proportion to `shares`, by largest remainder; ties go by name.

    Raises `BadInput` for a negative total or when no type has a share.
    """
    whole = sum(shares.values())
    if not 0 <= total <= MAX_AGENTS:
        raise BadInput(f"{total} agents are outside 0 to {MAX_AGENTS}.")
    if whole <= 0:
        raise BadInput("No agent type has a count.", remedy="Set fleet.types.<type>.count in agent_config.yaml.")
    counts = {name: total * share // whole for name, share in shares.items()}
    rest = total - sum(counts.values())
    by_remainder = sorted(shares, key=lambda name: (-(total * shares[name] % whole), name))
    for name in by_remainder[:rest]:
        counts[name] += 1
    return counts


def wanted_counts(fleet: FleetConfig, total: int | None, chosen: Mapping[AgentType, int]) -> dict[AgentType, int]:
    """Agents by type: the configuration's counts, or `total` split by them; `chosen` types get exactly their number.

    With both, the chosen numbers count towards `total`. Raises `BadInput`.
    """
    unknown = sorted(set(chosen) - set(fleet.types))
    if unknown:
        raise BadInput(
            f"Agent type {unknown[0]} is not configured.", remedy=f"Known: {', '.join(sorted(fleet.types))}."
        )
    shares = {name: kind.count for name, kind in fleet.types.items() if name not in chosen}
    if total is None:
        return {**shares, **chosen}
    rest = total - sum(chosen.values())
    if rest < 0:
        raise BadInput(f"The chosen types alone are more than {total} agents.")
    return {**(split_count(rest, shares) if rest else dict.fromkeys(shares, 0)), **chosen}


def plan_deployment(wanted: Mapping[AgentType, int], fleet: FleetConfig, known: Iterable[AgentSpec]) -> DeployPlan:
    """Changes from the `known` desired agents to `wanted` numbers. Ids are `<type>-00000` and up, so it is idempotent.

    Agents of types that are not in `wanted` are removed.
    """
    missing = {
        agent_name(name, number): AgentSpec(
            agent_id=agent_name(name, number), agent_type=name, version=fleet.types[name].version
        )
        for name, count in wanted.items()
        for number in range(count)
    }
    total = len(missing)
    remove: list[AgentId] = []
    for spec in known:
        desired = missing.get(spec.agent_id)
        if desired is None:
            remove.append(spec.agent_id)
        elif desired == spec:
            del missing[spec.agent_id]
    return DeployPlan(
        wanted=dict(wanted), add=tuple(missing.values()), remove=tuple(remove), unchanged=total - len(missing)
    )


async def apply_and_prove(
    plan: DeployPlan,
    ledger: FleetLedger,
    messenger: Messenger,
    registry: Registry | None,
    *,
    timeout: float,
    on_progress: Callable[[DeployProgress], None] | None = None,
    clock: Clock | None = None,
) -> DeployReport:
    """Write the plan, then wait until every desired agent answered through its host and passes in the registry.

    Raises `DeadlineExceeded` after `timeout` seconds, saying what is missing.
    """
    clock = clock or SystemClock()
    started = clock.monotonic()
    progress = _Progress(sum(plan.wanted.values()), on_progress)
    try:
        async with asyncio.timeout(timeout):
            await _apply(plan, ledger, progress)
            version = await ledger.fleet_version()
            desired = {spec.agent_id: str(spec.agent_type) for spec in await ledger.agents()}
            progress.update(wanted=len(desired), written=len(desired))
            async with asyncio.TaskGroup() as proofs:
                answers = proofs.create_task(_prove_answers(desired, version, messenger, clock, progress))
                passing = proofs.create_task(_prove_passing(desired, registry, clock, progress))
    except TimeoutError:
        now = progress.now
        raise DeadlineExceeded(
            f"After {timeout:g} s {now.answered} of {now.wanted} agents answered and {now.passing} pass.",
            remedy="See `colony status` and the logs of the hosts; the deployment goes on by itself.",
        ) from None
    return DeployReport(
        added=len(plan.add),
        removed=len(plan.remove),
        answered=answers.result(),
        passing=passing.result(),
        seconds=clock.monotonic() - started,
    )


class _Progress:
    def __init__(self, wanted: int, report: Callable[[DeployProgress], None] | None) -> None:
        self.now = DeployProgress(wanted=wanted)
        self._report = report

    def update(self, **changes: int) -> None:
        self.now = self.now.model_copy(update=changes)
        if self._report is not None:
            self._report(self.now)


async def _apply(plan: DeployPlan, ledger: FleetLedger, progress: _Progress) -> None:
    written = plan.unchanged
    for part in _parts(plan.remove):
        await ledger.remove_agents(part)
    for part in _parts(plan.add):
        await ledger.put_agents(part)
        written += len(part)
        progress.update(written=written)


def _parts(rows: Sequence[_Row]) -> Iterable[Sequence[_Row]]:
    return (rows[first : first + _WRITE_ROWS] for first in range(0, len(rows), _WRITE_ROWS))


async def _prove_answers(
    desired: Mapping[AgentId, str], version: int, messenger: Messenger, clock: Clock, progress: _Progress
) -> dict[str, int]:
    """One question to each shard that should hold agents, again until its answer names exactly those.

    A host that is asked about a version it has not read yet reads it at once.
    """
    by_shard: dict[int, set[AgentId]] = {}
    for agent_id in desired:
        by_shard.setdefault(shard_of(agent_id), set()).add(agent_id)
    gate = asyncio.Semaphore(_ASKS)
    answered = 0

    async def prove(expected: set[AgentId]) -> None:
        nonlocal answered
        while True:
            async with gate:
                names = await _agents_of(min(expected), version, messenger, clock)
            if names is not None and expected == names:
                answered += len(expected)
                progress.update(answered=answered)
                return
            await clock.sleep(_PAUSE_SECONDS)

    async with asyncio.TaskGroup() as group:
        for expected in by_shard.values():
            group.create_task(prove(expected))
    return dict(Counter(desired.values()))


async def _agents_of(any_agent: AgentId, version: int, messenger: Messenger, clock: Clock) -> set[str] | None:
    question = Envelope(kind=PING_ALL, payload={"version": version}, deadline=clock.wall() + _ASK_SECONDS)
    try:
        answer = await messenger.ask(agent_subject(any_agent), question, timeout=_ASK_SECONDS)
    except ColonyError as error:
        if not isinstance(error, Transient):
            _log.debug("a shard does not answer yet", shard=shard_of(any_agent), error=str(error))
        return None
    return set(answer.payload.get("agents", ()))


async def _prove_passing(
    desired: Mapping[AgentId, str], registry: Registry | None, clock: Clock, progress: _Progress
) -> dict[str, int] | None:
    if registry is None:
        return None
    wanted = dict(Counter(desired.values()))
    while True:
        try:
            counts = {name: count for name, count in (await registry.counts()).items() if count}
        except Transient as error:
            _log.debug("the registry does not answer", error=str(error))
        else:
            progress.update(passing=sum(counts.values()))
            if counts == wanted:
                return counts
        await clock.sleep(_PAUSE_SECONDS)
