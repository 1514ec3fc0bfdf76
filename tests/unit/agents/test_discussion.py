from __future__ import annotations

import pytest

from agents.base import AgentTask
from agents.coordination import Coordination
from agents.skills.discussion import MOST_BYTES
from colony.errors import BadInput, DeadlineExceeded, NoResponders, NotPermitted
from tests.unit.agents.contexts import Bench

MEMBERS = [{"agent": "analysis", "action": "judge"}, {"agent": "research", "action": "doubt"}]


def task(**settings: object) -> AgentTask:
    return AgentTask(action="discuss", payload={"text": "x"}, parameters={"members": MEMBERS, **settings})


async def test_members_speak_in_turn_and_hear_what_was_said() -> None:
    bench = Bench()
    bench.answers = [{"a": 1}, {"b": 2}, {"c": 3}, {"final": True}]
    chair = {"agent": "coordination", "action": "decide"}
    result = (await Coordination().handle(task(turns=3, decides=chair), bench)).value
    assert result["decision"] == {"final": True}
    assert [(entry["agent"], entry["said"]) for entry in result["transcript"]] == [
        ("analysis", {"a": 1}),
        ("research", {"b": 2}),
        ("analysis", {"c": 3}),
    ]
    assert [len(asked[2]["discussion"]["transcript"]) for asked in bench.questions] == [0, 1, 2, 3]
    assert bench.questions[0][2]["text"] == "x"


async def test_it_ends_when_somebody_agrees() -> None:
    bench = Bench()
    bench.answers = [{"a": 1}, {"agreed": True}]
    result = (await Coordination().handle(task(turns=9), bench)).value
    assert (result["turns"], result["decision"]) == (2, {"agreed": True})


async def test_one_who_is_silent_loses_the_turn_and_all_silent_is_an_error_that_may_pass() -> None:
    bench = Bench()
    bench.answers = [NoResponders("nobody"), {"b": 2}]
    result = (await Coordination().handle(task(turns=2), bench)).value
    assert result["transcript"][0]["silent"] == "nobody"
    bench.answers = [NoResponders("nobody"), DeadlineExceeded("late")]
    with pytest.raises(DeadlineExceeded):
        await Coordination().handle(task(turns=2), bench)


async def test_what_never_works_is_told_and_a_flood_is_stopped() -> None:
    bench = Bench()
    bench.answers = [NotPermitted("no")]
    with pytest.raises(NotPermitted):
        await Coordination().handle(task(), bench)
    bench.answers = [{"long": "x" * MOST_BYTES}]
    with pytest.raises(BadInput, match="more than"):
        await Coordination().handle(task(), bench)
    with pytest.raises(BadInput, match="members"):
        await Coordination().handle(AgentTask(action="discuss", payload={"text": "x"}), bench)
