from __future__ import annotations

import asyncio

import pytest

from colony.errors import Overloaded
from colony.llm.port import ChatMessage, ChatRequest
from colony.llm.scripted import ScriptedModel


def ask(text: str, stop: tuple[str, ...] = ()) -> ChatRequest:
    return ChatRequest(messages=(ChatMessage(role="user", content=text),), stop=stop)


async def test_script_first_then_the_rule() -> None:
    model = ScriptedModel(lambda request: request.messages[0].content.upper())
    model.then("first", Overloaded("busy"))
    assert (await model.chat(ask("a"))).text == "first"
    with pytest.raises(Overloaded):
        await model.chat(ask("b"))
    assert (await model.chat(ask("c"))).text == "C"
    assert [call.messages[0].content for call in model.calls] == ["a", "b", "c"]


async def test_stop_words_cut_the_answer() -> None:
    assert (await ScriptedModel("yes END no").chat(ask("a", stop=("END",)))).text == "yes "


async def test_it_knows_how_many_ran_at_once() -> None:
    model = ScriptedModel(delay=0.01)
    await asyncio.gather(*(model.chat(ask("a")) for _ in range(7)))
    assert model.most_at_once == 7
