"""`ctx.llm` as an agent sees it, and what its calls say of themselves."""

from __future__ import annotations

from typing import Any

import pytest

from colony.errors import DeadlineExceeded, Overloaded, PromptTooLong
from colony.llm.scripted import ScriptedModel
from colony.llm.trace import traceparent
from tests.unit.ray_app.fleet_fixture import World

SHAPE: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


async def chatted(scripted: ScriptedModel | None, prompt: str = "hello", *, seconds: float = 30.0, **more: Any) -> Any:
    """What came of one task that asks the model: its value, or the batch report when it failed."""
    world = World(model=scripted)
    await world.agents(chatter=1)
    _, request = await world.job([{"prompt": prompt, "more": more}], agent="chatter", seconds=seconds)
    async with world.one_host() as host:
        report = await host.run_batch(request)
    results = await world.results(request)
    return results[0][1] if results else report


async def test_a_call_carries_agent_type_job_tier_and_the_time_left() -> None:
    model = ScriptedModel("fine")
    await chatted(model, seconds=7.0, temperature=0.4, seed=3, cache="always", priority=1, model="tiny")
    call = model.calls[0]
    assert (call.caller.agent, call.caller.agent_type, call.caller.job) == ("chatter-00000", "chatter", "run-1")
    assert call.caller.trace.split("-")[1] == traceparent("run-1").split("-")[1]
    assert (call.tier, call.model, call.temperature, call.seed) == ("fast", "tiny", 0.4, 3)
    assert (call.cache, call.priority) == ("always", 1)
    assert 0 < call.timeout <= 7.0, "no call outlives its task"


async def test_turns_before_the_prompt_and_the_tier_of_a_call() -> None:
    model = ScriptedModel("fine")
    turns = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    await chatted(model, "three", messages=turns, system="be brief", tier="complex")
    assert [turn.content for turn in model.calls[0].messages] == ["be brief", "one", "two", "three"]
    assert model.calls[0].tier == "complex"


async def test_an_answer_with_a_schema_comes_as_data_after_one_repair() -> None:
    model = ScriptedModel()
    model.then("I think 4", '{"n": 4}')
    value = await chatted(model, schema=SHAPE)
    assert value["data"] == {"n": 4}
    assert value["calls"] == 2
    assert "JSON" in model.calls[1].messages[-1].content


@pytest.mark.parametrize(
    ("said", "error"),
    [("never JSON", "WrongAnswer"), (PromptTooLong("too long"), "PromptTooLong"), (DeadlineExceeded("late"), "Deadl")],
)
async def test_what_goes_wrong_is_an_outcome(said: Any, error: str) -> None:
    report = await chatted(ScriptedModel(lambda _: said), schema=SHAPE)
    assert next(iter(report.errors)).startswith(error)


async def test_an_overloaded_model_is_no_attempt_and_says_when_to_come_back() -> None:
    report = await chatted(ScriptedModel(lambda _: Overloaded("full", retry_after=12.5)))
    assert (report.failed, report.left, report.left_reason, report.retry_after) == (0, 1, "Overloaded", 12.5)


async def test_without_a_model_a_call_is_refused() -> None:
    assert (await chatted(None)).errors == {"NotPermitted": 1}
