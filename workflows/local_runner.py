"""The in-process twin of the hosts: a `BatchRunner` that runs agents over a ledger, for tests and for trying out.

It keeps the ledger's rules (lease, shard epochs, fenced commits) but none of a host's limits: no mailboxes, and of
messages only questions to any agent of a type; files and a model where it is given them.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from agents.base import Agent, AgentResult, AgentTask, Model
from colony.clock import SystemClock
from colony.contracts import MAX_PAYLOAD, BatchProgress, BatchReport, BatchRequest, OutcomeRow, StateRow, TaskRow
from colony.dispatch import OnProgress
from colony.errors import BadInput, NotPermitted, Transient
from colony.ids import SHARDS, AgentId, AgentType, agent_name, shard_of
from colony.jobs import JobPlan, StepPlan, parameters_of
from colony.ledger.port import Ledger
from colony.llm.port import Caller
from workflows.local_context import LocalContext
from workflows.local_model import StepModel

_CHUNK: Final = 100
_LEASE_SECONDS: Final = 3600.0
_HOST: Final = "colony-host-local"


class LocalRunner:
    """Runs batches in this process. Open it with `local_runner`."""

    def __init__(
        self,
        ledger: Ledger,
        agents: Mapping[AgentType, type[Agent]],
        incarnation: str,
        *,
        roots: Sequence[Path] = (),
        model: Model | None = None,
    ) -> None:
        """As `local_runner`; `incarnation` holds a lease already."""
        self._ledger = ledger
        self._roots = tuple(roots)
        self._model = model
        self._types = dict(agents)
        self._incarnation = incarnation
        self._agents: dict[AgentId, Agent] = {}
        self._states: dict[AgentId, Mapping[str, Any]] = {}
        self._epochs: dict[int, int] = {}
        self._clock = SystemClock()

    async def claim(self) -> None:
        """Take every shard."""
        self._epochs = await self._ledger.claim_shards(self._incarnation, range(SHARDS))

    async def run(self, request: BatchRequest, on_progress: OnProgress) -> BatchReport:
        """See `BatchRunner`."""
        started = time.monotonic()
        plan = await self._ledger.plan(request.job)
        tasks = await self._ledger.open_tasks(request)
        ended: list[OutcomeRow] = []
        cancelled = False
        for at in range(0, len(tasks), _CHUNK):
            if await self._ledger.cancel_requested(request.job):
                cancelled = True
                break
            ended += await self._run_chunk(plan, request, tasks[at : at + _CHUNK])
            failed = sum(not row.ok for row in ended)
            on_progress(BatchProgress(done=len(ended), failed=failed, total=len(tasks)))
        return _report(request, len(tasks), ended, time.monotonic() - started, cancelled)

    async def _run_chunk(self, plan: JobPlan, request: BatchRequest, tasks: Sequence[TaskRow]) -> list[OutcomeRow]:
        step = plan.steps[request.step]
        await self._ledger.start_tasks(request, self._incarnation, [task.seq for task in tasks])
        ended = [await self._run_task(plan, step, request, task) for task in tasks]
        outcomes = [outcome for outcome, _ in ended]
        last = {state.agent_id: state for _, state in ended if state is not None}
        shards = {shard_of(row.agent_id) for row in outcomes}
        epochs = {shard: self._epochs[shard] for shard in shards}
        await self._ledger.commit(request, self._incarnation, epochs, outcomes, list(last.values()))
        return outcomes

    async def _run_task(
        self, plan: JobPlan, step: StepPlan, request: BatchRequest, row: TaskRow
    ) -> tuple[OutcomeRow, StateRow | None]:
        agent_id = row.agent_id or agent_name(step.agent_type or AgentType("none"), row.seq % 10)
        task = AgentTask(
            action=step.action or "",
            payload=orjson.loads(row.payload),
            parameters=parameters_of(step, request.values),
            job=request.job,
            job_key=plan.key,
            step=request.step,
            seq=row.seq,
            generation=request.generation,
            tier=step.tier,
        )
        started = time.perf_counter()
        try:
            agent = self._agent(agent_id, step.agent_type)
            context = self._context(plan, step, agent_id)
            async with asyncio.timeout(step.task_seconds):
                result = await agent.handle(task, context)
            value = _encoded(result)
            return self._good(row, agent_id, result, value, started)
        except TimeoutError:
            return _bad(row, agent_id, "TaskTimeout", f"longer than {step.task_seconds} s", False, started), None
        except Exception as error:  # noqa: BLE001 -- an agent is code of users: whatever it raises ends this task only
            transient = isinstance(error, Transient)
            return _bad(row, agent_id, type(error).__name__, str(error), transient, started), None

    def _context(self, plan: JobPlan, step: StepPlan, agent_id: AgentId) -> LocalContext:
        state = self._states.get(agent_id, {})
        caller = Caller(agent=agent_id, agent_type=step.agent_type or "", job=plan.key)
        model = None if self._model is None else StepModel(self._model, step.tier)
        return LocalContext(
            self._ledger,
            plan.job,
            agent_id,
            state,
            self._clock,
            roots=self._roots,
            model=model,
            caller=caller,
            answer=self._answer,
        )

    async def _answer(self, agent_type: AgentType, kind: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the first agent of a type makes of a question. It belongs to no job, as a message does in a host."""
        agent_id = agent_name(agent_type, 0)
        agent = self._agent(agent_id, agent_type)
        context = LocalContext(self._ledger, 0, agent_id, {}, self._clock, roots=self._roots, model=self._model)
        result = await agent.handle(AgentTask(action=kind, payload=payload), context)
        return orjson.loads(_encoded(result))

    def _good(
        self, row: TaskRow, agent_id: AgentId, result: AgentResult, value: bytes, started: float
    ) -> tuple[OutcomeRow, StateRow | None]:
        state = None
        if result.state is not None:
            self._states[agent_id] = dict(result.state)
            state = StateRow(agent_id, orjson.dumps(dict(result.state)))
        micros = int((time.perf_counter() - started) * 1e6)
        return OutcomeRow(row.seq, agent_id, True, "", "", False, value, micros), state

    def _agent(self, agent_id: AgentId, agent_type: AgentType | None) -> Agent:
        found = self._agents.get(agent_id)
        if found is None:
            kind = None if agent_type is None else self._types.get(agent_type)
            if kind is None:
                raise NotPermitted(f"There is no agent type {agent_type} here.")
            found = self._agents[agent_id] = kind()
        return found


@asynccontextmanager
async def local_runner(
    ledger: Ledger,
    agents: Mapping[AgentType, type[Agent]],
    *,
    roots: Sequence[Path] = (),
    model: Model | None = None,
) -> AsyncGenerator[LocalRunner]:
    """A runner that owns all shards of `ledger` until it is closed: there must be no other host.

    Its agents read files below `roots` and ask `model`; without them there is neither.
    """
    incarnation = str(uuid.uuid4())
    await ledger.start_lease(incarnation, _HOST, _LEASE_SECONDS)
    runner = LocalRunner(ledger, agents, incarnation, roots=roots, model=model)
    try:
        await runner.claim()
        yield runner
    finally:
        await ledger.end_lease(incarnation, crashed=False)


def _encoded(result: AgentResult) -> bytes:
    value = orjson.dumps(dict(result.value))
    if len(value) > MAX_PAYLOAD:
        raise BadInput(f"The result has {len(value):,} bytes; at most {MAX_PAYLOAD:,} are allowed.")
    return value


def _bad(row: TaskRow, agent_id: AgentId, error: str, message: str, transient: bool, started: float) -> OutcomeRow:
    micros = int((time.perf_counter() - started) * 1e6)
    return OutcomeRow(row.seq, agent_id, False, error, message[:1000], transient, b"{}", micros)


def _report(
    request: BatchRequest, tasks: int, ended: Sequence[OutcomeRow], seconds: float, cancelled: bool
) -> BatchReport:
    errors: dict[str, int] = {}
    for row in ended:
        if not row.ok:
            errors[row.error] = errors.get(row.error, 0) + 1
    return BatchReport(
        ok=sum(row.ok for row in ended),
        failed=sum(not row.ok for row in ended),
        skipped=request.end - request.first - tasks,
        left=tasks - len(ended),
        errors=errors,
        transient=sum(row.transient for row in ended),
        left_reason="Cancelled" if cancelled else "",
        seconds=seconds,
        cancelled=cancelled,
    )
