"""Who said what for a job: calls of models and messages, by the task they were said for; and the tier of a step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from agents.base import AgentContext, AgentResult, AgentTask
from colony.config.ledger import LedgerConfig
from colony.config.model import AgentTypeConfig
from colony.contracts import BatchRequest, DurableMessage
from colony.errors import DeadlineExceeded, Overloaded, Unavailable
from colony.ids import SHARDS, AgentId, AgentType, Id, agent_name, agent_subject, shard_of, topic_subject
from colony.jobs import StepKind, StepPlan, Tier
from colony.ledger.transcripts import Said, TranscriptEntry
from colony.llm.port import ChatAnswer, ChatRequest
from colony.llm.scripted import ScriptedModel
from colony.messaging.port import Envelope
from tests.eventually import assert_eventually
from tests.unit.ray_app import fleet_fixture
from tests.unit.ray_app.fleet_fixture import Echo, World

FIRST = AgentId("talker-00000")


class Talker(Echo):
    """Says what its payload says; `then` is done by whoever it asks."""

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        said: dict[str, Any] = {}
        for what, more in task.payload.get("say", ()):
            said[what] = await self._say(what, more, ctx)
        return AgentResult(value={"said": said, **task.payload.get("result", {})})

    async def _say(self, what: str, more: Mapping[str, Any], ctx: AgentContext) -> Any:
        match what:
            case "chat":
                return (await ctx.llm.chat(**more)).text
            case "ask":
                return dict(await ctx.ask(more["who"], "talk", more["payload"], timeout=more.get("timeout", 5.0)))
            case "ask_type":
                return dict(await ctx.ask_type(more["who"], "talk", more["payload"], timeout=5.0))
            case "tell":
                return await ctx.tell(more["who"], "talk", more["payload"])
            case "publish":
                return await ctx.publish(more["topic"], "talk", more["payload"])
            case _:
                return await ctx.deliver(more["who"], "talk", more["payload"])


class Gateway(ScriptedModel):
    """Says where its answers come from."""

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        answer = await super().chat(request)
        return answer.model_copy(update={"backend": "near", "cache": "hit"})


@pytest.fixture(autouse=True)
def talker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fleet_fixture.CLASSES, "talker", Talker)


async def tasks(world: World, *payloads: dict[str, object], tier: Tier = "", generation: int = 0) -> BatchRequest:
    """Tasks of the first talker."""
    step = StepPlan(
        number=3,
        name=Id("talk"),
        kind=StepKind.MAP,
        over=0,
        agent_type=AgentType("talker"),
        action=Id("talk"),
        tier=tier,
        task_seconds=5.0,
    )
    plan = await world.ledger.open_job("run-1", "w", "test", [step], None, {})
    await world.ledger.load_tasks(plan.job, 3, [(FIRST, orjson.dumps(payload)) for payload in payloads])
    return BatchRequest(job=plan.job, key=plan.key, step=3, generation=generation, first=0, end=len(payloads))


async def transcript(world: World, request: BatchRequest, least: int) -> list[TranscriptEntry]:
    await assert_eventually(lambda: len(world.ledger._tables.transcripts.get(request.job, {})) >= least)
    return await world.ledger.transcript(request.job, 1_000)


async def test_a_call_of_a_model_with_all_that_is_known_of_it() -> None:
    world = World(model=Gateway("because"))
    await world.agents(talker=1)
    chat = {"prompt": "why?", "system": "be brief", "tier": "complex"}
    request = await tasks(world, {"say": [["chat", chat]]}, generation=2)
    async with world.one_host() as host:
        assert (await host.run_batch(request)).ok == 1
        (entry,) = await transcript(world, request, 1)
    assert orjson.loads(entry.request) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "why?"},
    ]
    assert (entry.kind, entry.agent, entry.peer, entry.answer) == (Said.MODEL, "talker-00000", "", "because")
    assert (entry.step, entry.seq, entry.generation, entry.incarnation) == (3, 0, 2, "incarnation-0")
    assert (entry.model, entry.backend, entry.cache, entry.tier) == ("scripted", "near", "hit", "complex")
    assert (entry.prompt_tokens, entry.completion_tokens) == (3, 1)
    assert 0 <= entry.seconds < 60
    assert abs(entry.at - world.clock.wall()) < 60


async def test_a_repaired_answer_is_two_calls() -> None:
    model = ScriptedModel()
    model.then("I think 4", '{"n": 4}')
    world = World(model=model)
    await world.agents(talker=1)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    request = await tasks(world, {"say": [["chat", {"prompt": "how many?", "schema": schema}]]})
    async with world.one_host() as host:
        await host.run_batch(request)
        entries = await transcript(world, request, 2)
    assert [entry.answer for entry in entries] == ["I think 4", '{"n": 4}']


@pytest.mark.parametrize("error", [DeadlineExceeded("late"), Overloaded("full")])
async def test_a_call_that_failed_says_why(error: Exception) -> None:
    world = World(model=ScriptedModel(lambda _: error))  # type: ignore[arg-type, return-value]
    await world.agents(talker=1)
    request = await tasks(world, {"say": [["chat", {"prompt": "why?"}]]})
    async with world.one_host() as host:
        await host.run_batch(request)
        (entry,) = await transcript(world, request, 1)
    assert (entry.error, entry.message, entry.answer) == (type(error).__name__, str(error), "")
    assert "why?" in entry.request


async def test_messages_of_each_class_with_what_came_back() -> None:
    world = World(hosts=1)
    first, second = await world.agents(talker=2)
    inner = {"n": 1, "api_key": "hunter22"}
    say = [
        ["ask", {"who": second, "payload": inner}],
        ["tell", {"who": second, "payload": inner}],
        ["deliver", {"who": second, "payload": inner}],
    ]
    request = await tasks(world, {"say": say, "result": {"hand_off": {"agent": "echo", "action": "work"}}})
    async with world.one_host() as host:
        report = await host.run_batch(request)
        assert report.ok == 1, report
        entries = await transcript(world, request, 4)
    by_kind = {entry.kind: entry for entry in entries}
    assert set(by_kind) == {Said.ASK, Said.TELL, Said.DELIVER, Said.HAND_OFF}
    for kind in (Said.ASK, Said.TELL, Said.DELIVER):
        entry = by_kind[kind]
        assert (entry.agent, entry.peer, entry.subject) == (first, second, "talk")
        assert orjson.loads(entry.request) == {"n": 1, "api_key": "[hidden]"}
    assert orjson.loads(by_kind[Said.ASK].answer) == {"said": {}}
    assert (by_kind[Said.HAND_OFF].peer, by_kind[Said.HAND_OFF].subject) == ("type:echo", "work")


async def test_what_is_published_reaches_all_who_want_the_topic_and_stands_in_the_transcript() -> None:
    world = World(hosts=1)
    await world.agents(talker=1, counter=3)
    say = [["publish", {"topic": "news", "payload": {"n": 1}}]]
    request = await tasks(world, {"say": say}, {"say": [["publish", {"topic": "not a name", "payload": {}}]]})
    async with world.one_host() as host:
        await assert_eventually(lambda: topic_subject("news") in host._groups._running)
        report = await host.run_batch(request)
        assert (report.ok, report.errors) == (1, {"BadInput": 1})
        (entry,) = await transcript(world, request, 1)
        counters = [agent_name(AgentType("counter"), number) for number in range(3)]

        async def counted() -> bool:
            return len(await world.ledger.states(counters)) == 3

        await assert_eventually(counted)
    assert (entry.kind, entry.peer, entry.subject) == (Said.PUBLISH, "topic:news", "talk")
    assert (entry.step, entry.seq, orjson.loads(entry.request)) == (3, 0, {"n": 1})


async def test_a_question_to_any_of_a_type_names_who_answered() -> None:
    world = World()
    await world.agents(talker=1, echo=1)
    request = await tasks(world, {"say": [["ask_type", {"who": "echo", "payload": {"n": 1}}]]})
    async with world.one_host() as host:
        assert (await host.run_batch(request)).ok == 1
        (entry,) = await transcript(world, request, 1)
    assert (entry.kind, entry.peer) == (Said.ASK, "echo-00000")


async def test_a_question_nobody_answers_is_told_with_its_error() -> None:
    world = World()
    await world.agents(talker=1)
    request = await tasks(world, {"say": [["ask", {"who": "nobody-00001", "payload": {"n": 1}, "timeout": 0.05}]]})
    async with world.one_host() as host:
        await host.run_batch(request)
        (entry,) = await transcript(world, request, 1)
    assert (entry.peer, entry.answer) == ("nobody-00001", "")
    assert entry.error


@pytest.mark.parametrize("way", ["ask", "tell", "deliver"])
async def test_who_is_asked_speaks_for_the_same_task_and_on_the_same_account(way: str) -> None:
    model = ScriptedModel("because")
    world = World(model=model)
    _, second = await world.agents(talker=2)
    inner = {"say": [["chat", {"prompt": "why?"}]]}
    request = await tasks(world, {"n": 0}, {"say": [[way, {"who": second, "payload": inner}]]}, {"n": 2})
    async with world.one_host() as host:
        assert (await host.run_batch(request)).ok == 3
        entries = await transcript(world, request, 2)
    assert {(entry.kind, entry.step, entry.seq) for entry in entries} == {(way, 3, 1), (Said.MODEL, 3, 1)}
    (call,) = [entry for entry in entries if entry.kind == Said.MODEL]
    assert call.agent == second
    assert model.calls[0].caller.job == request.key


async def test_what_belongs_to_no_job_is_not_kept() -> None:
    world = World(model=ScriptedModel("because"))
    (who,) = await world.agents(talker=1)
    request = await tasks(world)
    envelope = Envelope(kind="talk", payload={"say": [["chat", {"prompt": "why?"}]]}, sender="a-person")
    async with world.one_host() as host:
        await world.messenger("client").ask(agent_subject(who), envelope, timeout=5.0)
        await host.drain(0.1)
    assert await world.ledger.transcript(request.job, 9) == []


async def test_it_can_be_switched_off() -> None:
    world = World(model=ScriptedModel("because"))
    world.config = world.config.model_copy(update={"ledger": LedgerConfig(transcripts=False)})
    await world.agents(talker=1)
    request = await tasks(world, {"say": [["chat", {"prompt": "why?"}]]})
    async with world.one_host() as host:
        assert (await host.run_batch(request)).ok == 1
    assert await world.ledger.transcript(request.job, 9) == []


async def test_a_host_that_ends_writes_what_it_heard() -> None:
    world = World(model=ScriptedModel("because"))
    await world.agents(talker=1)
    request = await tasks(world, *({"say": [["chat", {"prompt": str(seq)}]]} for seq in range(20)))
    async with world.one_host() as host:
        await host.run_batch(request)
    assert len(await world.ledger.transcript(request.job, 99)) == 20


async def test_a_task_that_is_interrupted_leaves_its_call() -> None:
    world = World(model=ScriptedModel("because", delay=60.0))
    await world.agents(talker=1)
    request = await tasks(world, {"say": [["chat", {"prompt": "why?"}]]})
    async with world.one_host() as host:
        batch = asyncio.create_task(host.run_batch(request))
        await assert_eventually(lambda: bool(world.model.calls))  # type: ignore[union-attr]
        await host.fence("a test")
        await batch
    (entry,) = await world.ledger.transcript(request.job, 9)
    assert entry.error == "Cancelled"


@pytest.mark.parametrize(
    ("of_call", "of_step", "of_type", "used"),
    [
        ("complex", "standard", "fast", "complex"),
        ("", "standard", "fast", "standard"),
        ("", "", "complex", "complex"),
        ("fast", "complex", "complex", "fast"),
    ],
)
async def test_the_tier_of_a_call_goes_before_the_steps_and_that_before_the_types(
    of_call: str, of_step: Tier, of_type: Any, used: str
) -> None:
    model = ScriptedModel("because")
    world = World(model=model)
    world.config.fleet.types[AgentType("talker")] = AgentTypeConfig(count=1, tier=of_type)
    await world.agents(talker=1)
    request = await tasks(world, {"say": [["chat", {"prompt": "why?", "tier": of_call}]]}, tier=of_step)
    async with world.one_host() as host:
        assert (await host.run_batch(request)).ok == 1
    assert model.calls[0].tier == used


async def test_the_tier_of_a_step_is_not_that_of_agents_its_agents_ask() -> None:
    model = ScriptedModel("because")
    world = World(model=model)
    _, second = await world.agents(talker=2)
    inner = {"say": [["chat", {"prompt": "why?"}]]}
    request = await tasks(world, {"say": [["ask", {"who": second, "payload": inner}]]}, tier="complex")
    async with world.one_host() as host:
        assert (await host.run_batch(request)).ok == 1
    assert model.calls[0].tier == "fast"


async def test_a_task_that_is_tried_again_shows_each_try() -> None:
    model = ScriptedModel("because")
    model.then(Unavailable("gone for a moment"))
    world = World(model=model)
    await world.agents(talker=1)
    request = await tasks(world, {"say": [["chat", {"prompt": "why?"}]]})
    async with world.one_host() as host:
        assert (await host.run_batch(request)).transient == 1
        assert (await host.run_batch(request.model_copy(update={"generation": 1}))).ok == 1
    entries = await world.ledger.transcript(request.job, 9)
    assert [(entry.generation, entry.error, entry.answer) for entry in entries] == [
        (0, "Unavailable", ""),
        (1, "", "because"),
    ]


async def test_a_task_that_runs_again_after_its_host_died_shows_both_lives() -> None:
    model = ScriptedModel("because", delay=60.0)
    world = World(model=model)
    await world.agents(talker=1)
    request = await tasks(world, {"say": [["chat", {"prompt": "why?"}]]})
    async with world.open(0, "first-life") as host:
        await host.assign(range(SHARDS))
        batch = asyncio.create_task(host.run_batch(request))
        await assert_eventually(lambda: bool(model.calls))
    await asyncio.gather(batch, return_exceptions=True)
    await world.ledger.end_lease("first-life", crashed=True)
    world.model = ScriptedModel("because")
    async with world.open(0, "second-life") as host:
        await host.assign(range(SHARDS))
        assert (await host.run_batch(request)).ok == 1
    entries = await world.ledger.transcript(request.job, 9)
    assert [(entry.incarnation, entry.generation, entry.error) for entry in entries] == [
        ("first-life", 0, "Cancelled"),
        ("second-life", 0, ""),
    ]


async def test_agents_of_another_host_speak_for_the_same_task() -> None:
    model = ScriptedModel("because")
    world = World(model=model)
    names = await world.agents(talker=8)
    second = next(name for name in names if shard_of(name) != shard_of(FIRST))
    inner = {"say": [["chat", {"prompt": "why?"}]]}
    request = await tasks(world, {"say": [["ask", {"who": second, "payload": inner}]]})
    there = shard_of(second)
    async with world.open(0, "here") as host, world.open(1, "there") as other:
        await host.assign([shard for shard in range(SHARDS) if shard != there])
        await other.assign([there])
        assert (await host.run_batch(request)).ok == 1
    entries = await world.ledger.transcript(request.job, 9)
    assert [(entry.kind, entry.agent, entry.incarnation, entry.step, entry.seq) for entry in entries] == [
        (Said.ASK, FIRST, "here", 3, 0),
        (Said.MODEL, second, "there", 3, 0),
    ]


@pytest.mark.parametrize("swept", [True, False])
async def test_a_durable_message_belongs_to_its_job_also_when_it_is_swept(
    monkeypatch: pytest.MonkeyPatch, swept: bool
) -> None:
    model = ScriptedModel("because")
    world = World(model=model)
    _, second = await world.agents(talker=2)
    inner = {"say": [["chat", {"prompt": "why?"}]]}
    request = await tasks(world, {"say": [["deliver", {"who": second, "payload": inner}]]})
    if swept:
        put = world.ledger.put_message

        async def lost(message: DurableMessage) -> bool:
            await put(message)
            raise DeadlineExceeded("the answer was lost, and the message is not sent")

        monkeypatch.setattr(world.ledger, "put_message", lost)
    async with world.one_host() as host:
        report = await host.run_batch(request)
        assert (report.ok, report.transient) == ((0, 1) if swept else (1, 0))
        if swept:
            await host.assign([])
            await host.assign(range(SHARDS))
        entries = await transcript(world, request, 2)
    (call,) = [entry for entry in entries if entry.kind == Said.MODEL]
    assert (call.agent, call.job, call.step, call.seq) == (second, request.job, 3, 0)
    assert model.calls[0].caller.job == request.key


async def test_a_ledger_that_is_away_stops_no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(model=ScriptedModel("because"))
    await world.agents(talker=1)
    request = await tasks(world, {"say": [["chat", {"prompt": "why?"}]]})
    write = world.ledger.write_transcript

    async def away(_: Any) -> int:
        raise Unavailable("no ledger")

    monkeypatch.setattr(world.ledger, "write_transcript", away)
    async with world.one_host() as host:
        assert (await host.run_batch(request)).ok == 1
        monkeypatch.setattr(world.ledger, "write_transcript", write)
        assert len(await transcript(world, request, 1)) == 1
