from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.clock import ManualClock
from colony.errors import BadInput, DeadlineExceeded, ModelRefused, PromptTooLong, Unavailable, WrongAnswer
from colony.llm.port import ChatMessage, ChatRequest
from colony.llm.scripted import ScriptedModel
from colony.llm.structured import chat_structured, read_answer

LABEL: dict[str, Any] = {
    "type": "object",
    "properties": {"label": {"type": "string", "maxLength": 10}},
    "required": ["label"],
    "additionalProperties": False,
}
GOOD = '{"label": "fine"}'


def ask(schema: dict[str, Any] = LABEL) -> ChatRequest:
    return ChatRequest(messages=(ChatMessage(role="user", content="a label"),), json_schema=schema)


@pytest.mark.parametrize(
    "text", [GOOD, f"  {GOOD}\n", f"```json\n{GOOD}\n```", f"Sure! Here it is:\n```\n{GOOD}\n```\nBye", f"So: {GOOD}."]
)
def test_a_value_is_found_where_models_put_it(text: str) -> None:
    assert read_answer(text, LABEL) == ({"label": "fine"}, "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("fine", "no JSON"),
        ('{"label": ', "no JSON"),
        ('{"label": NaN}', "no JSON"),
        ('{"label": 3}', "label: 3 is not of type"),
        ('{"label": "much too long a label"}', "too long"),
        ("[]", "not of type 'object'"),
        ("{}", "required"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_fault_is_named(text: str, says: str) -> None:
    reading = read_answer(text, LABEL)
    assert reading.data is None
    assert says in reading.fault


@given(st.text())
def test_no_answer_breaks_the_reader(text: str) -> None:
    reading = read_answer(text, LABEL)
    assert (reading.data is None) == bool(reading.fault)


@pytest.mark.parametrize("schema", [{"type": "no such type"}, {"$ref": "http://127.0.0.1:1/never-fetched"}])
async def test_a_schema_that_is_none_is_the_callers_fault(schema: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        await chat_structured(ScriptedModel(GOOD), ask(schema), ManualClock())


async def test_an_answer_that_fits_costs_one_call() -> None:
    model = ScriptedModel(GOOD)
    answer = await chat_structured(model, ask(), ManualClock())
    assert (answer.data, answer.calls, len(model.calls)) == ({"label": "fine"}, 1, 1)


async def test_a_repair_shows_what_was_wrong_and_counts_all_tokens() -> None:
    model = ScriptedModel()
    model.then("oh well", GOOD)
    answer = await chat_structured(model, ask(), ManualClock())
    assert (answer.data, answer.calls) == ({"label": "fine"}, 2)
    assert answer.completion_tokens == 4
    roles = [message.role for message in model.calls[1].messages]
    assert roles == ["user", "assistant", "user"]
    assert "no JSON value" in model.calls[1].messages[-1].content


async def test_there_is_one_repair_and_no_more() -> None:
    model = ScriptedModel("nonsense")
    with pytest.raises(WrongAnswer, match="no JSON value") as caught:
        await chat_structured(model, ask(), ManualClock())
    assert len(model.calls) == 2
    assert caught.value.text == "nonsense"


async def test_a_repair_that_is_refused_is_a_wrong_answer_and_other_errors_go_through() -> None:
    model = ScriptedModel()
    model.then("nonsense", PromptTooLong("now it is too long"))
    with pytest.raises(WrongAnswer):
        await chat_structured(model, ask(), ManualClock())
    model.then(ModelRefused("no"))
    with pytest.raises(ModelRefused):
        await chat_structured(model, ask(), ManualClock())
    model.then("nonsense", Unavailable("gone"))
    with pytest.raises(Unavailable):
        await chat_structured(model, ask(), ManualClock())


async def test_no_repair_without_time() -> None:
    clock = ManualClock()

    def slow(_: ChatRequest) -> str:
        clock.advance(61)
        return "nonsense"

    model = ScriptedModel(slow)
    with pytest.raises(DeadlineExceeded):
        await chat_structured(model, ask(), clock)
    assert len(model.calls) == 1
