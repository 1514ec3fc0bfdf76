"""A host's part of a trace: the batch, some of its tasks, what they ask of models and of each other."""

from __future__ import annotations

from colony.llm.port import ChatAnswer, ChatRequest
from colony.telemetry.context import SpanName, parse
from ray_app.fleet import HostBatchRunner
from tests.spans import Spans, below, facts, span_id, trace_id
from tests.unit.ray_app.fleet_fixture import World

ABOVE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


class Listening:
    """A model that notes by whom and in which trace it was asked."""

    def __init__(self) -> None:
        self.traces: list[str] = []

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        self.traces.append(request.caller.trace)
        return ChatAnswer(text="secret words", model="m", prompt_tokens=3, completion_tokens=2, finish_reason="stop")

    async def models(self) -> list[str]:
        return ["m"]


async def test_a_batch_its_tasks_and_their_calls_are_one_trace() -> None:
    spans, model = Spans("host"), Listening()
    world = World(tracer=spans.tracer, model=model)
    await world.agents(chatter=3)
    _, request = await world.job([{"prompt": "a prompt"} for _ in range(3)], agent="chatter")
    async with world.one_host() as host:
        report = await host.run_batch(request, ABOVE)
    assert report.ok == 3
    batch, tasks, chats = spans.one("host batch"), spans.named("task chatter"), spans.named("llm chat")
    assert {trace_id(span) for span in spans.all} == {"a" * 32}
    assert batch.parent is not None
    assert batch.parent.span_id == int("b" * 16, 16)
    assert len(tasks) == len(chats) == 3
    assert all(below(task, batch) for task in tasks)
    assert {chat.parent.span_id for chat in chats if chat.parent} == {span_id(task) for task in tasks}
    assert {found.span_id for trace in model.traces if (found := parse(trace))} == {
        f"{span_id(chat):016x}" for chat in chats
    }
    assert facts(batch)["colony.batch.ok"] == 3
    assert "prompt" not in " ".join(str(facts(span)) for span in spans.all)
    assert "secret" not in " ".join(str(facts(span)) for span in spans.all)


async def test_spans_of_tasks_are_bounded_and_the_others_work_for_the_batch() -> None:
    spans, model = Spans("host"), Listening()
    world = World(tracer=spans.tracer, model=model, hosts=1)
    await world.agents(chatter=2)
    most = world.config.telemetry.task_spans
    _, request = await world.job([{"prompt": "p"} for _ in range(most + 5)], agent="chatter")
    async with world.one_host() as host:
        await host.run_batch(request, ABOVE)
    assert len(spans.named("task chatter")) == most
    batch = spans.one("host batch")
    assert sum(below(chat, batch) for chat in spans.named("llm chat")) == 5


async def test_a_failed_task_says_the_class_of_its_error_and_no_more() -> None:
    spans = Spans("host")
    world = World(tracer=spans.tracer)
    await world.agents(echo=1)
    _, request = await world.job([{"do": "permanent"}])
    async with world.one_host() as host:
        await host.run_batch(request, ABOVE)
    task = spans.one("task echo")
    assert not task.status.is_ok
    assert task.status.description == "ValueError"
    assert not task.events


async def test_messages_between_agents_belong_to_the_trace_of_the_task() -> None:
    spans = Spans("host")
    world = World(tracer=spans.tracer)
    agents = await world.agents(echo=2)
    _, request = await world.job([{"do": "ask", "who": agents[1]}], bound=[agents[0]])
    async with world.one_host() as host:
        report = await host.run_batch(request, ABOVE)
    assert report.ok == 1
    assert below(spans.one("ask echo"), spans.one("task echo"))
    assert below(spans.one("message"), spans.one("ask echo"))


async def test_a_batch_of_a_trace_that_is_not_kept_writes_nothing_and_says_so_to_the_model() -> None:
    spans, model = Spans("host"), Listening()
    world = World(tracer=spans.tracer, model=model)
    await world.agents(chatter=1)
    _, request = await world.job([{"prompt": "p"}], agent="chatter")
    async with world.one_host() as host:
        await host.run_batch(request, str(SpanName("a" * 32, "b" * 16, sampled=False)))
    assert spans.all == []
    assert [found.sampled for trace in model.traces if (found := parse(trace))] == [False]


async def test_the_dispatcher_hands_its_span_to_the_host() -> None:
    spans = Spans("dispatcher")
    world = World(tracer=spans.tracer)
    await world.agents(echo=1)
    _, request = await world.job([{}])
    async with world.local_hosts() as hosts:
        await hosts.start_host(0)
        await (await hosts.hosts())[0].assign(range(1024))
        with spans.tracer.span("dispatch"):
            await HostBatchRunner(hosts, tracer=spans.tracer).run(request, lambda progress: None)
    assert below(spans.one("host batch"), spans.one("dispatch"))


async def test_without_a_tracer_nothing_is_written_and_the_job_still_names_its_trace() -> None:
    model = Listening()
    world = World(model=model)
    await world.agents(chatter=1)
    _, request = await world.job([{"prompt": "p"}], agent="chatter")
    async with world.one_host() as host:
        report = await host.run_batch(request, ABOVE)
    assert report.ok == 1
    assert parse(model.traces[0]) is not None
