from __future__ import annotations

import pytest

from colony.config.endpoints import TemporalEndpoint
from colony.contracts import JobState, JobView
from control.waits import approvals_by, spoken
from control.watch import Stillness
from workflows.client import connect_later
from workflows.contracts import PendingApproval

VIEW = JobView(job=7, key="k", template="t", workflow_id="w", state=JobState.RUNNING, opened_at=1.0, steps=())


@pytest.mark.parametrize(("shown", "told"), [(None, "Publish? Answer"), ({"n": 2}, 'Publish? ({"n":2}) Answer')])
def test_an_approval_says_what_to_look_at_and_how_to_answer(shown: object, told: str) -> None:
    pending = PendingApproval(step="ask", prompt="Publish?", shown=shown, since=1.0, until=2.0, default="reject")
    assert told in spoken(7, pending)
    assert spoken(7, pending).endswith("colony approve 7 [--reject]")
    long = pending.model_copy(update={"shown": "x" * 10_000})
    assert len(spoken(7, long)) < 500


async def test_a_job_that_stands_still_is_asked_and_each_line_is_told_once() -> None:
    asked: list[int] = []

    async def answer(view: JobView) -> list[str]:
        asked.append(view.job)
        return ["It waits."]

    still = Stillness(answer, looks=2)
    told = [await still.lines(VIEW) for _ in range(6)]
    assert told == [[], [], ["It waits."], [], [], []]
    assert len(asked) == 2
    assert await still.lines(VIEW.model_copy(update={"opened_at": 2.0})) == []
    assert len(asked) == 2, "it moved"


async def test_a_job_is_followed_without_temporal() -> None:
    """Nobody listens at that port; the first call of the client finds out."""
    asked = approvals_by(await connect_later(TemporalEndpoint(address="127.0.0.1:1")))
    assert await asked(VIEW) == []
    assert await asked(VIEW) == []
