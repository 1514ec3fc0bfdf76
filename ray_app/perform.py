"""Run one agent on one piece of work, within its time limit, whatever its code does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson
import structlog

from agents.base import Agent, AgentContext, AgentResult, AgentTask
from colony.clock import Clock
from colony.contracts import MAX_PAYLOAD
from colony.errors import BadInput, LostShard, Overloaded, TaskTimeout, Transient
from colony.ledger.port import Ledger
from ray_app.context import HostContext, Surroundings
from ray_app.lanes import Lane
from ray_app.population import AgentCell, LiveAgent, Population
from ray_app.work import NO_WORK, Work

_log = structlog.get_logger(__name__)

MESSAGE_LIMIT: Final = 500
"""Most characters of an error message kept with an outcome."""

_IDLE_SECONDS: Final = 60.0
_SLEEP_SECONDS: Final = 5.0
_GOODBYE_SECONDS: Final = 1.0


class Handled(NamedTuple):
    """What came of one piece of work. `left` means that it must run elsewhere or later: no outcome."""

    result: AgentResult | None
    value: bytes
    state: bytes | None
    error: str
    message: str
    transient: bool
    left: bool
    micros: int
    retry_after: float = 0.0
    """For work that is left: seconds until it is worth another try; 0 where nobody knows."""


class Performer:
    """Wakes agents, runs them and puts them to sleep."""

    def __init__(self, ledger: Ledger, population: Population, around: Surroundings, clock: Clock) -> None:
        self._ledger = ledger
        self._population = population
        self._around = around
        self._clock = clock

    async def perform(
        self, lane: Lane, cell: AgentCell, task: AgentTask, limit: float, work: Work | None = None
    ) -> Handled:
        """Run `task` on an agent that the lane has acquired; at most `limit` seconds.

        `work` is what a message was sent for; None for a task of a batch.
        Never raises for what the agent's code does. Raises `CancelledError` if the lane itself is stopped.
        """
        started = self._clock.monotonic()
        lane.deadline = started + limit
        asked = work is not None
        mine = work or Work(task.job, task.job_key, task.step, task.seq, task.generation)
        context = HostContext(self._around, cell, mine, lane.deadline, tier=task.tier, asked=asked)
        try:
            live = cell.live
            if live is None:
                live = await self._wake(cell, context)
            context.live = live
            result = await live.agent.handle(task, context)
            lane.deadline = 0.0
            if lane.overdue:
                return self._interrupted(lane, started, limit)
            return self._good(result, live, started, context)
        except asyncio.CancelledError as error:
            lane.deadline = 0.0
            if lane.overdue:
                return self._interrupted(lane, started, limit)
            if lane.task.cancelling():
                raise
            return self._bad(error, started)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 -- the code of users ends here
            lane.deadline = 0.0
            if lane.overdue:
                return self._interrupted(lane, started, limit)
            return self._bad(error, started)
        finally:
            lane.deadline = 0.0

    async def _wake(self, cell: AgentCell, context: AgentContext) -> LiveAgent:
        agent = cell.kind.load()()
        state: Mapping[str, Any] = {}
        if cell.kind.stateful:
            try:
                saved = await self._ledger.states([cell.agent_id])
            except Transient as error:
                raise LostShard(f"The state of {cell.agent_id} could not be read: {error}") from error
            if cell.agent_id in saved:
                state = orjson.loads(saved[cell.agent_id])
        live = LiveAgent(agent, state, self._clock.monotonic())
        cell.live = live
        self._population.awake.add(cell)
        on_wake = getattr(agent, "on_wake", None)
        if on_wake is not None:
            try:
                await on_wake(context)
            except BaseException:
                self._population.sleep(cell)
                raise
        return live

    def _good(self, result: AgentResult, live: LiveAgent, started: float, context: HostContext) -> Handled:
        now = self._clock.monotonic()
        live.used_at = now
        value = orjson.dumps(result.value, option=orjson.OPT_NON_STR_KEYS)
        state = None if result.state is None else orjson.dumps(result.state, option=orjson.OPT_NON_STR_KEYS)
        if len(value) > MAX_PAYLOAD or (state is not None and len(state) > MAX_PAYLOAD):
            raise BadInput(f"The result or state of the agent is larger than {MAX_PAYLOAD} bytes.")
        if value[:1] != b"{":
            raise BadInput("The result of the agent is not a JSON object.")
        context.handed_off(result.value)
        return Handled(result, value, state, "", "", False, False, int((now - started) * 1e6))

    def _bad(self, error: BaseException, started: float) -> Handled:
        message = str(error)[:MESSAGE_LIMIT].replace("\0", "")
        micros = int((self._clock.monotonic() - started) * 1e6)
        left = isinstance(error, (Overloaded, LostShard))
        name = type(error).__name__[:64]
        wait = (error.retry_after or 0.0) if isinstance(error, Overloaded) else 0.0
        return Handled(None, b"{}", None, name, message, isinstance(error, Transient), left, micros, wait)

    def _interrupted(self, lane: Lane, started: float, limit: float) -> Handled:
        lane.overdue = False
        while lane.task.uncancel():
            pass
        return self._bad(TaskTimeout(f"The task took longer than {limit:g} s."), started)

    async def run_sleeper(self) -> None:
        """Put idle agents to sleep, until cancelled."""
        while True:
            await self._clock.sleep(_SLEEP_SECONDS)
            before = self._clock.monotonic() - _IDLE_SECONDS
            for cell in list(self._population.awake):
                live = cell.live
                if live is not None and not cell.running and live.used_at < before and cell.try_acquire():
                    context = HostContext(self._around, cell, NO_WORK)
                    context.live = live
                    self._population.sleep(cell)
                    try:
                        await self._goodbye(live.agent, context)
                    finally:
                        cell.release()

    async def _goodbye(self, agent: Agent, context: AgentContext) -> None:
        on_sleep = getattr(agent, "on_sleep", None)
        if on_sleep is None:
            return
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await on_sleep(context)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            _log.warning("on_sleep failed", agent=str(context.agent_id), error=repr(error))
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 -- the code of users ends here
            _log.warning("on_sleep failed", agent=str(context.agent_id), error=repr(error))
