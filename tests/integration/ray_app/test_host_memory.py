"""What agents remember, on hosts with a real Postgres behind them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import pytest_asyncio

from agents.base import AgentContext, AgentResult, AgentTask
from agents.research import Research
from colony.config.model import AgentTypeConfig, Config, FleetConfig
from colony.contracts import AgentSpec, BatchRequest
from colony.errors import Unavailable
from colony.ids import SHARDS, AgentType, Id, agent_name
from colony.jobs import StepKind, StepPlan
from colony.ledger.migrate import migrate
from colony.ledger.postgres import PostgresLedger, open_ledger
from colony.memory.contracts import Scope, ScopeKind
from colony.messaging.memory import MemoryBus, MemoryMessenger
from ray_app.host import Host, open_host
from tests.servers.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.integration

POOL = 3
PASSAGES = ["Slugs eat young lettuce at night.", "Mulch keeps the soil moist.", "Beans fix nitrogen in the soil."]


class Forgetful:
    """Remembers what it is given, then fails the first time."""

    actions: Mapping[str, str] = {"learn": "remembers", "tell": "finds again"}

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        if task.action == "tell":
            found = await ctx.memory.search(task.payload["text"], scope=("job", "type"), limit=1)
            return AgentResult(value={"found": [[each.text, each.agent_id] for each in found]})
        await ctx.memory.add(task.payload["text"], scope=task.payload.get("scope", "job"))
        if task.payload.get("fail") and task.generation == 0:
            raise Unavailable("killed after it had remembered")
        return AgentResult(value={})

    async def health(self) -> str:
        return ""


CLASSES = {"research": Research, "forgetful": Forgetful}
CONFIG = Config(
    fleet=FleetConfig(types={AgentType(name): AgentTypeConfig(count=4) for name in CLASSES}, task_concurrency=32)
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[PostgresServer]:
    async with postgres_server(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
async def ledger(server: PostgresServer) -> AsyncGenerator[PostgresLedger]:
    endpoint = await server.fresh_database()
    async with open_ledger(endpoint, pool_size=POOL, name="host") as opened:
        specs = [
            AgentSpec(agent_id=agent_name(AgentType(kind), number), agent_type=AgentType(kind))
            for kind in CLASSES
            for number in range(4)
        ]
        await opened.put_agents(specs)
        yield opened
    await server.drop_database(endpoint)


@asynccontextmanager
async def host(ledger: PostgresLedger, slot: int = 0) -> AsyncGenerator[Host]:
    async with open_host(
        slot, f"incarnation-{slot}", ledger, MemoryMessenger(MemoryBus()), None, CONFIG, lambda name, _: CLASSES[name]
    ) as opened:
        await opened.assign(range(SHARDS))
        yield opened


async def job(ledger: PostgresLedger, *steps: tuple[str, str, Sequence[Mapping[str, Any]]]) -> list[BatchRequest]:
    """A job with a step for each (type, action, payloads)."""
    plans = [
        StepPlan(
            number=number,
            name=Id(f"step-{number}"),
            kind=StepKind.MAP,
            over=0,
            agent_type=kind,
            action=Id(action),
            parameters={"remember": True},
        )
        for number, (kind, action) in enumerate([(AgentType(kind), action) for kind, action, _ in steps], start=1)
    ]
    plan = await ledger.open_job("Run-1", "workflow-1", "test", plans, None, {})
    for number, (_, _, payloads) in enumerate(steps, start=1):
        await ledger.load_tasks(plan.job, number, [(None, orjson.dumps(dict(payload))) for payload in payloads])
    return [
        BatchRequest(job=plan.job, key=plan.key, step=number, first=0, end=len(payloads))
        for number, (_, _, payloads) in enumerate(steps, start=1)
    ]


async def values(ledger: PostgresLedger, batch: BatchRequest) -> list[dict[str, Any]]:
    return [orjson.loads(value) for _, value in await ledger.results(batch.job, batch.step, batch.first, batch.end)]


async def test_a_task_that_is_tried_again_on_another_host_remembers_once(ledger: PostgresLedger) -> None:
    learn = [{"text": text, "fail": True} for text in PASSAGES]
    first, second = await job(
        ledger, ("forgetful", "learn", learn), ("forgetful", "tell", [{"text": "slugs and lettuce"}])
    )
    async with host(ledger) as one:
        report = await one.run_batch(first)
        assert (report.ok, report.transient) == (0, 3)
    async with host(ledger, slot=1) as other:
        report = await other.run_batch(first.model_copy(update={"generation": 1}))
        assert (report.ok, report.failed) == (3, 0)
        assert (await other.run_batch(second)).ok == 1
    entries = await ledger.memories(Scope(ScopeKind.JOB, "Run-1"))
    assert sorted(entry.text for entry in entries) == sorted(PASSAGES)
    (told,) = await values(ledger, second)
    assert told["found"][0][0] == PASSAGES[0]


async def test_research_finds_again_what_it_cited_in_the_job(ledger: PostgresLedger) -> None:
    search, recall = await job(
        ledger,
        ("research", "search", [{"query": "who eats lettuce", "passages": PASSAGES}]),
        ("research", "recall", [{"query": "slugs at night"}]),
    )
    async with host(ledger) as one:
        assert (await one.run_batch(search)).ok == 1
        assert (await one.run_batch(recall)).ok == 1
    (found,) = await values(ledger, recall)
    assert found["hits"][0]["text"] == PASSAGES[0]
    assert found["hits"][0]["source"] == "passage 1"


async def test_many_agents_share_the_few_connections_of_their_host(
    ledger: PostgresLedger, server: PostgresServer
) -> None:
    scopes = ("job", "type", "shared")
    learn = [{"text": f"{PASSAGES[at % 3]} {at}", "scope": scopes[at % 3]} for at in range(300)]
    (batch,) = await job(ledger, ("forgetful", "learn", learn))
    async with host(ledger) as one:
        assert (await one.run_batch(batch)).ok == 300
    assert sum(size.entries for size in await ledger.memory_scopes()) == 300
    open_now = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'host'"
    assert await server.admin(open_now) <= POOL


async def test_without_pgvector_the_host_works_and_its_agents_go_without(
    server: PostgresServer,
) -> None:
    endpoint = await server.empty_database()
    await migrate(endpoint)
    async with open_ledger(endpoint, pool_size=POOL) as bare:
        await bare.put_agents(
            [AgentSpec(agent_id=agent_name(AgentType("research"), 0), agent_type=AgentType("research"))]
        )
        search, recall, learn = await job(
            bare,
            ("research", "search", [{"query": "who eats lettuce", "passages": PASSAGES}]),
            ("research", "recall", [{"query": "slugs"}]),
            ("research", "unknown", [{}]),
        )
        async with host(bare) as one:
            assert (await one.run_batch(search)).ok == 1
            assert (await one.run_batch(recall)).ok == 1
            assert (await one.run_batch(learn)).errors == {"BadInput": 1}
        assert (await values(bare, recall))[0]["hits"] == []
    await server.drop_database(endpoint)
