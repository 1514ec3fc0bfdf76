"""Contract: what became of one task, and steps taken over from another job."""

from __future__ import annotations

import pytest

from colony.contracts import BadRow, StepLoad
from colony.errors import NotFound
from colony.jobs import Origin
from colony.ledger.histories import Keep
from colony.ledger.port import Ledger
from tests.contract.ledger.fleet_of_one import STEPS, bad, batch_of, chunks, good, loaded_job, open_job, start_host

pytestmark = pytest.mark.contract


async def test_a_task_shows_its_outcomes_and_who_has_it(ledger: Ledger) -> None:
    plan, host = await loaded_job(ledger, 2), await start_host(ledger)
    assert await ledger.task_history(plan.job, 1, 2) is None
    history = await ledger.task_history(plan.job, 1, 0)
    assert history is not None
    assert (history.outcomes, history.attempts) == ((), ())
    batch = batch_of(plan, 0, 2)
    await ledger.start_tasks(batch, host.incarnation, [0, 1])
    await host.commit(batch, [bad(0, transient=True)])
    again = batch_of(plan, 0, 2, generation=1)
    await ledger.start_tasks(again, host.incarnation, [0])
    first, second = await ledger.task_history(plan.job, 1, 0), await ledger.task_history(plan.job, 1, 1)
    assert first is not None
    assert second is not None
    assert [(each.generation, each.ok, each.error) for each in first.outcomes] == [(0, False, "TaskTimeout")]
    assert [(each.generation, each.host, each.ended) for each in first.attempts] == [(1, "colony-host-0", False)]
    assert [each.generation for each in second.attempts] == [0]
    await ledger.end_lease(host.incarnation, crashed=True)
    ended = await ledger.task_history(plan.job, 1, 1)
    assert ended is not None
    assert [(each.ended, each.crashed) for each in ended.attempts] == [(True, True)]


async def test_a_copied_step_has_the_last_outcomes(ledger: Ledger) -> None:
    plan, host = await loaded_job(ledger, 4), await start_host(ledger)
    await host.commit(batch_of(plan, 0, 4), [good(0), bad(1, transient=True), bad(2, transient=False)])
    await host.commit(batch_of(plan, 0, 4, generation=1), [good(1)])
    other = await open_job(ledger)
    assert await ledger.copy_step(other.job, 1, plan.job, "all") == StepLoad(tasks=4)
    assert await ledger.step_counts(other.job, 1) == (2, 1, 0, {"TaskTimeout": 1})
    assert await ledger.results(other.job, 1, 0, 4) == await ledger.results(plan.job, 1, 0, 4)
    assert [task.seq for task in await ledger.open_tasks(batch_of(other, 0, 4, generation=1))] == [3]


async def test_only_good_outcomes_or_none_come_along(ledger: Ledger) -> None:
    plan, host = await loaded_job(ledger, 3), await start_host(ledger)
    await host.commit(batch_of(plan, 0, 3), [good(0), bad(1, transient=True)])
    cases: tuple[tuple[Keep, list[int]], ...] = (("good", [1, 2]), ("none", [0, 1, 2]))
    for keep, left in cases:
        other = await open_job(ledger)
        await ledger.copy_step(other.job, 1, plan.job, keep)
        await ledger.copy_step(other.job, 1, plan.job, "all")  # again changes nothing
        assert [task.seq for task in await ledger.open_tasks(batch_of(other, 0, 3))] == left


async def test_bad_rows_come_along(ledger: Ledger) -> None:
    plan = await open_job(ledger)
    await ledger.load_source(plan.job, 1, chunks(1), [BadRow(line=7, reason="no text")])
    other = await open_job(ledger)
    assert await ledger.copy_step(other.job, 1, plan.job, "none") == StepLoad(tasks=1, bad_rows=1)
    assert await ledger.bad_rows(other.job) == (1, [BadRow(line=7, reason="no text")])


async def test_a_step_nobody_loaded_is_not_copied(ledger: Ledger) -> None:
    plan, other = await loaded_job(ledger, 1), await open_job(ledger)
    assert await ledger.copy_step(other.job, 2, plan.job, "all") is None
    assert await ledger.task_count(other.job, 2) is None
    with pytest.raises(NotFound):
        await ledger.copy_step(999, 1, plan.job, "all")


async def test_a_job_remembers_what_it_goes_on_with(ledger: Ledger) -> None:
    origin = Origin(job=3, step=1)
    plan = await ledger.open_job("Run-retry", "r", "t", STEPS, None, {}, origin)
    assert plan.origin == origin
    assert (await ledger.plan(plan.job)).origin == origin


async def test_what_a_job_was_asked_is_kept(ledger: Ledger) -> None:
    plan = await open_job(ledger)
    assert await ledger.asked_of(plan.job) == {"limit": 3}
    with pytest.raises(NotFound):
        await ledger.asked_of(10**9)
