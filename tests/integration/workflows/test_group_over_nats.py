"""A `group` step with everything real but Ray: Temporal, a NATS server, and two hosts whose agents talk through it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar

import pytest

from agents.base import Agent, AgentContext, AgentResult, AgentTask
from agents.coordination import Coordination
from colony.config.model import AgentTypeConfig, Config, FleetConfig
from colony.config.templates import TemplateConfig
from colony.config.yaml_lines import parse_document
from colony.contracts import AgentSpec, BatchProgress, BatchReport, BatchRequest
from colony.dispatch import OnProgress
from colony.ids import SHARDS, AgentType, Id, agent_name, shard_of, type_subject
from colony.messaging.nats import open_messenger
from colony.messaging.port import Envelope
from ray_app.host import Host, open_host
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Colony, Opens
from tests.servers.nats import NatsServer, nats_server
from workflows.client import await_job, start_job

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

TURNS = 5
TEXT = f"""
inputs:
  questions: {{type: list, required: true}}
steps:
- {{name: load, kind: load, rows: {{$input: questions}}}}
- name: debate
  kind: group
  over: load
  members: [{{agent: optimist, action: argue}}, {{agent: sceptic, action: argue}}]
  turns: {TURNS}
  decides: {{agent: judge, action: decide}}
"""
TEMPLATES = {Id("debating"): TemplateConfig.model_validate(parse_document(TEXT).data)}


class Debater:
    """Says how many came before; agrees once told to; may be slow to answer, or crash the bus before it speaks."""

    bus: ClassVar[NatsServer | None] = None

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        heard = task.payload["discussion"]["transcript"]
        if Debater.bus is not None and len(heard) == 1:
            server, Debater.bus = Debater.bus, None
            await server.restart()
        if heard and task.payload.get("slow"):
            await asyncio.sleep(30)
        agreed = len(heard) + 1 >= int(task.payload.get("agree_at", 99))
        return AgentResult(value={"by": ctx.agent_id, "heard": len(heard), "agreed": agreed})

    async def health(self) -> str:
        return ""


class Judge:
    """Decides by counting."""

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        heard = task.payload["discussion"]["transcript"]
        speakers = [entry["said"]["by"] for entry in heard if "said" in entry]
        return AgentResult(value={"question": task.payload["question"], "after": len(heard), "speakers": speakers})

    async def health(self) -> str:
        return ""


CLASSES: dict[str, type[Agent]] = {
    "coordination": Coordination,
    "optimist": Debater,
    "sceptic": Debater,
    "judge": Judge,
}


class OnHosts:
    """Gives batches to the host that has the agents of their step."""

    def __init__(self) -> None:
        self.hosts: Sequence[Host] = ()

    async def run(self, request: BatchRequest, on_progress: OnProgress) -> BatchReport:
        """See `BatchRunner`."""
        running = asyncio.create_task(self.hosts[0].run_batch(request))
        while not running.done():
            on_progress(BatchProgress(done=0, failed=0, total=request.end - request.first))
            await asyncio.wait({running}, timeout=0.5)
        return await running


def loader(name: AgentType, _config: AgentTypeConfig) -> type[Agent]:
    return CLASSES[name]


class World:
    """The colony, its bus, and what was said on it."""

    def __init__(self, here: Colony, server: NatsServer) -> None:
        self.here = here
        self.server = server
        self.said: list[tuple[str, str]] = []

    def hear(self, subject: str, envelope: Envelope, reply: object) -> None:
        self.said.append((subject, envelope.kind))

    def spoken(self) -> dict[str, int]:
        """How often somebody was asked over the bus to say something; whoever listens hears it a moment later."""
        return {kind: self.said.count((type_subject(AgentType(who)), kind)) for who, kind in SPOKEN.items()}

    async def debates(self, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What came of each question."""
        name = f"debate-{uuid.uuid4().hex[:8]}"
        await start_job(self.here.client, "debating", {"questions": questions}, name)
        result = await await_job(self.here.client, name, timeout=120)
        step = next(each for each in result.steps if each.name == "debate")
        assert (step.ok, step.failed) == (len(questions), 0), step
        rows = await self.here.ledger.results(result.job, step.number, 0, step.tasks)
        return [json.loads(text) for _, text in rows]


@asynccontextmanager
async def debating(colony: Opens, agents: dict[str, int]) -> AsyncGenerator[World]:
    runner = OnHosts()
    config = Config(
        fleet=FleetConfig(
            hosts=2, lease_seconds=60, types={AgentType(name): AgentTypeConfig(count=1) for name in CLASSES}
        )
    )
    specs = [
        AgentSpec(agent_id=agent_name(AgentType(kind), number), agent_type=AgentType(kind))
        for kind, count in agents.items()
        for number in range(count)
    ]
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        here = await stack.enter_async_context(colony({}, TEMPLATES, wrap=lambda _: runner))
        await here.ledger.put_agents(specs)
        hosts: list[Host] = []
        for slot in range(2):
            bus = await stack.enter_async_context(open_messenger(server.endpoint, role="host", name=f"host {slot}"))
            host = await stack.enter_async_context(
                open_host(slot, f"incarnation-{slot}", here.ledger, bus, None, config, loader)
            )
            hosts.append(host)
        # All but the sceptics on one host, so that each turn of theirs crosses from one to the other.
        sceptics = {shard_of(spec.agent_id) for spec in specs if spec.agent_type == "sceptic"}
        await hosts[0].assign([shard for shard in range(SHARDS) if shard not in sceptics])
        await hosts[1].assign(sorted(sceptics))
        runner.hosts = hosts
        world = World(here, server)
        ear = await stack.enter_async_context(open_messenger(server.endpoint, role="host", name="ear"))
        await ear.subscribe_raw("colony.type.>", world.hear)
        yield world


async def test_agents_discuss_over_nats_within_their_turns_and_one_decides(colony: Opens) -> None:
    async with debating(colony, {"coordination": 2, "optimist": 3, "sceptic": 3, "judge": 1}) as world:
        found = await world.debates([{"question": f"q{number}"} for number in range(8)])
        for number, each in enumerate(found):
            assert each["item"] == {"question": f"q{number}"}
            assert each["turns"] == len(each["transcript"]) == TURNS, "the limit of turns"
            assert [entry["agent"] for entry in each["transcript"]] == ["optimist", "sceptic"] * 2 + ["optimist"]
            assert [entry["said"]["heard"] for entry in each["transcript"]] == list(range(TURNS))
            decision = each["decision"]
            assert (decision["question"], decision["after"]) == (f"q{number}", TURNS)
            assert [by.rpartition("-")[0] for by in decision["speakers"]] == ["optimist", "sceptic"] * 2 + ["optimist"]
        await assert_eventually(lambda: sum(world.spoken().values()) >= 8 * 3)
        assert world.spoken() == {"argue": 8 * 2, "decide": 8}, "each contribution went over the bus, once"


SPOKEN = {"sceptic": "argue", "judge": "decide"}


async def test_a_discussion_ends_when_somebody_agrees(colony: Opens) -> None:
    async with debating(colony, {"coordination": 1, "optimist": 1, "sceptic": 1, "judge": 1}) as world:
        (found,) = await world.debates([{"question": "q", "agree_at": 2}])
        assert [entry["agent"] for entry in found["transcript"]] == ["optimist", "sceptic"]
        assert found["decision"]["after"] == 2


async def test_a_member_that_nobody_is_loses_its_turns(colony: Opens) -> None:
    async with debating(colony, {"coordination": 1, "optimist": 1, "judge": 1}) as world:
        (found,) = await world.debates([{"question": "q"}])
        assert ["said" in entry for entry in found["transcript"]] == [True, False, True, False, True]
        assert found["decision"]["speakers"] == ["optimist-00000"] * 3


async def test_a_discussion_outlives_a_crash_of_the_bus(colony: Opens) -> None:
    async with debating(colony, {"coordination": 1, "optimist": 1, "sceptic": 1, "judge": 1}) as world:
        Debater.bus = world.server
        (found,) = await world.debates([{"question": "q"}])
        assert Debater.bus is None, "nobody crashed it"
        assert found["turns"] == TURNS
        assert found["decision"]["after"] == TURNS

        async def again() -> bool:
            return (await world.debates([{"question": "q"}]))[0]["decision"]["speakers"] != []

        await assert_eventually(again, 60)
