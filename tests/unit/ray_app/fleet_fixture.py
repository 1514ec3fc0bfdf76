"""A fleet inside one process: hosts over the in-memory ledger, bus and registry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from agents.base import AgentContext, AgentResult, AgentTask
from colony.clock import Clock, SystemClock
from colony.config.model import AgentTypeConfig, Config, FleetConfig
from colony.contracts import AgentSpec, BatchRequest
from colony.errors import BadInput, Overloaded, Unavailable
from colony.ids import SHARDS, AgentId, AgentType, Id, agent_name
from colony.jobs import JobPlan, StepKind, StepPlan
from colony.ledger.memory import MemoryLedger
from colony.llm.port import LanguageModel
from colony.messaging.memory import MemoryBus, MemoryMessenger
from colony.registry.memory import MemoryRegistry
from colony.telemetry.port import OFF, Tracer
from ray_app.host import Host, open_host
from ray_app.local_hosts import LocalHosts


class Echo:
    """Gives back what it got; some payloads make it misbehave."""

    actions: Mapping[str, str] = {"echo": "gives back", "work": "gives back"}

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        match task.payload.get("do"):
            case "wait":
                await asyncio.sleep(task.payload.get("seconds", 0.02))
            case "hang":
                await asyncio.sleep(3600)
            case "spin":
                await spin(task)
            case "transient":
                raise Unavailable("come back")
            case "permanent":
                raise ValueError("no good\0" + "x" * 9000)
            case "exit":
                raise SystemExit(3)
            case "overloaded":
                raise Overloaded("not now", retry_after=task.payload.get("retry_after"))
            case "large":
                return AgentResult(value={"text": "x" * 600_000})
            case "ask":
                answer = await ctx.ask(task.payload["who"], "echo", {"n": 7}, timeout=5)
                return AgentResult(value={"answer": dict(answer)})
            case "parameters":
                return AgentResult(value=dict(task.parameters))
            case "deliver":
                return AgentResult(value={"id": await ctx.deliver(task.payload["who"], "add", {"n": 1})})
            case _:
                pass
        return AgentResult(value={"by": ctx.agent_id, **task.payload})

    async def health(self) -> str:
        return ""


async def spin(task: AgentTask) -> None:
    """Ignore the first interruption."""
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        await asyncio.sleep(3600)


class Counter(Echo):
    """Counts in its durable state; `seen` is what it found before."""

    stateful = True
    topics = ("news",)

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        seen = ctx.state.get("n", 0)
        await asyncio.sleep(0)
        return AgentResult(value={"seen": seen, "by": ctx.agent_id}, state={"n": seen + 1})


class Chatter(Echo):
    """Gives back what the model said."""

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        answer = await ctx.llm.chat(task.payload["prompt"], **task.payload.get("more", {}))
        return AgentResult(value=answer.model_dump(mode="json"))


CLASSES = {"echo": Echo, "counter": Counter, "chatter": Chatter}


def loader(name: AgentType, _config: AgentTypeConfig) -> type:
    if name not in CLASSES:
        raise BadInput(f"There is no type {name}.")
    return CLASSES[name]


@dataclass
class World:
    """What the hosts of one test share."""

    hosts: int = 2
    lease: float = 5.0
    concurrency: int = 16
    clock: Clock = field(default_factory=SystemClock)
    model: LanguageModel | None = None
    tracer: Tracer = OFF

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger(self.clock)
        self.bus = MemoryBus()
        self.registry = MemoryRegistry(self.clock)
        self.config = Config(
            fleet=FleetConfig(
                hosts=self.hosts,
                lease_seconds=self.lease,
                task_concurrency=self.concurrency,
                types={AgentType(name): AgentTypeConfig(count=1) for name in CLASSES},
            )
        )

    def messenger(self, role: str = "host") -> MemoryMessenger:
        return MemoryMessenger(self.bus, role=role, clock=self.clock)

    @asynccontextmanager
    async def open(self, slot: int, incarnation: str) -> AsyncGenerator[Host]:
        async with open_host(
            slot,
            incarnation,
            self.ledger,
            self.messenger(),
            self.registry,
            self.config,
            loader,
            model=self.model,
            clock=self.clock,
            tracer=self.tracer,
        ) as host:
            yield host

    @asynccontextmanager
    async def one_host(self) -> AsyncGenerator[Host]:
        """A host that owns all shards."""
        async with self.open(0, "incarnation-0") as host:
            await host.assign(range(SHARDS))
            yield host

    @asynccontextmanager
    async def local_hosts(self) -> AsyncGenerator[LocalHosts]:
        hosts = LocalHosts(self.open)
        try:
            yield hosts
        finally:
            await hosts.aclose()

    async def agents(self, **counts: int) -> list[AgentId]:
        specs = [
            AgentSpec(agent_id=agent_name(AgentType(kind), number), agent_type=AgentType(kind))
            for kind, count in counts.items()
            for number in range(count)
        ]
        await self.ledger.put_agents(specs)
        return [spec.agent_id for spec in specs]

    async def job(
        self,
        payloads: list[dict[str, object]],
        *,
        agent: str = "echo",
        bound: list[AgentId] | None = None,
        seconds: float = 30.0,
        key: str = "run-1",
    ) -> tuple[JobPlan, BatchRequest]:
        step = StepPlan(
            number=1,
            name=Id("work"),
            kind=StepKind.MAP,
            over=0,
            agent_type=AgentType(agent),
            action=Id("work"),
            task_seconds=seconds,
        )
        plan = await self.ledger.open_job(key, "workflow-" + key, "test", [step], None, {})
        who = bound or [None] * len(payloads)
        rows = [(agent_id, orjson.dumps(payload)) for agent_id, payload in zip(who, payloads, strict=True)]
        await self.ledger.load_tasks(plan.job, 1, rows)
        return plan, BatchRequest(job=plan.job, key=plan.key, step=1, first=0, end=len(payloads))

    async def results(self, request: BatchRequest) -> list[tuple[int, dict[str, object]]]:
        rows = await self.ledger.results(request.job, request.step, request.first, request.end)
        return [(seq, orjson.loads(result)) for seq, result in rows]
