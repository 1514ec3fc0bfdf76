"""Contract: what is forgotten, and what never is."""

from __future__ import annotations

import asyncio
import time

import pytest

from colony.clock import ManualClock
from colony.contracts import AgentSpec, Artifact, DurableMessage, JobState, StateRow
from colony.errors import NotFound
from colony.ids import AgentType, Id
from colony.jobs import JobPlan
from colony.ledger.memory import MemoryLedger
from colony.ledger.port import Ledger
from colony.ledger.retention import Pruned
from tests.contract.ledger.fleet_of_one import (
    AGENTS,
    SHARDS_OF_AGENTS,
    Host,
    LetTimePass,
    bad,
    batch_of,
    good,
    loaded_job,
    start_host,
)
from tests.contract.ledger.test_ledger_llm_contract import call

pytestmark = pytest.mark.contract

AGE = 0.3


@pytest.fixture
async def host(ledger: Ledger) -> Host:
    await ledger.put_agents([AgentSpec(agent_id=agent_id, agent_type=AgentType("analysis")) for agent_id in AGENTS])
    return await start_host(ledger)


@pytest.fixture
def now(ledger: Ledger, manual_clock: ManualClock) -> float:
    return manual_clock.wall() if isinstance(ledger, MemoryLedger) else time.time()


async def worked_job(ledger: Ledger, host: Host, state: JobState = JobState.DONE) -> JobPlan:
    """A job of three tasks, one of them failed, with a report."""
    plan = await loaded_job(ledger, 3)
    batch = batch_of(plan, 0, 3)
    await ledger.start_tasks(batch, host.incarnation, [0, 1, 2])
    await host.commit(batch, [good(0), good(1), bad(2, transient=False)])
    await ledger.put_artifacts(plan.job, [Artifact(name="report.md", media_type="text/markdown", content=b"# so")])
    if state is not JobState.RUNNING:
        await ledger.close_job(plan.job, state)
    return plan


async def test_old_jobs_go_with_all_they_had(ledger: Ledger, host: Host, let_time_pass: LetTimePass) -> None:
    old = [await worked_job(ledger, host), await worked_job(ledger, host, JobState.FAILED)]
    await let_time_pass(AGE + 0.05)
    young = await worked_job(ledger, host)
    would = await ledger.prunable(AGE, None)
    assert would._replace(bytes=0) == Pruned(jobs=2, tasks=6, outcomes=6, artifacts=2)
    assert would.bytes > 50
    assert [view.job for view in await ledger.jobs()] == [young.job, old[1].job, old[0].job]
    assert await ledger.prune(AGE, None) == would
    assert [view.job for view in await ledger.jobs()] == [young.job]
    for plan in old:
        with pytest.raises(NotFound):
            await ledger.plan(plan.job)
        assert await ledger.artifacts(plan.job) == []
        assert await ledger.outcome_multiplicity(plan.job) == {}
        assert await ledger.task_count(plan.job, 1) is None
    assert [letter.job for letter in await ledger.dead_letters()] == [young.job]
    assert len(await ledger.results(young.job, 1, 0, 3)) == 2
    assert await ledger.prune(AGE, None) == Pruned()
    again = await loaded_job(ledger, 1)
    assert again.job > young.job


async def test_none_keeps_for_ever(ledger: Ledger, host: Host, let_time_pass: LetTimePass) -> None:
    await worked_job(ledger, host)
    await ledger.record_calls([call(1)])
    await let_time_pass(AGE + 0.05)
    assert await ledger.prunable(None, None) == await ledger.prune(None, None) == Pruned()


async def test_what_runs_stays_and_so_does_what_is_above_it(
    ledger: Ledger, host: Host, let_time_pass: LetTimePass
) -> None:
    running = await worked_job(ledger, host, JobState.RUNNING)
    parent, top, stranger = [await worked_job(ledger, host) for _ in range(3)]
    await ledger.adopt_job(running.key, parent.key)
    await ledger.adopt_job(parent.key, top.key)
    await let_time_pass(AGE + 0.05)
    assert (await ledger.prune(0, None)).jobs == 1
    assert {view.job for view in await ledger.jobs()} == {running.job, parent.job, top.job}
    with pytest.raises(NotFound):
        await ledger.plan(stranger.job)
    await ledger.close_job(running.job, JobState.DONE)
    await let_time_pass(0.01)
    assert (await ledger.prune(0, None)).jobs == 3


async def test_calls_stay_that_a_budget_may_count(ledger: Ledger, host: Host, now: float) -> None:
    parent = await worked_job(ledger, host, JobState.RUNNING)
    child = await worked_job(ledger, host)
    await ledger.adopt_job(child.key, parent.key)
    await ledger.record_calls(
        [call(number, ended_at=now - 100, job=job) for number, job in enumerate((parent.key, child.key, "other", ""))]
    )
    await ledger.record_calls([call(9, ended_at=now - 1, job="other")])
    assert await ledger.prunable(None, 50) == await ledger.prune(None, 50) == Pruned(llm_calls=2)
    assert (await ledger.prune(0, None)).jobs == 1, "the child"
    assert await ledger.tokens_of_job(parent.key) == 30
    await ledger.close_job(parent.job, JobState.DONE)
    assert await ledger.prune_calls(50) == 2


async def test_messages_go_once_they_are_done(ledger: Ledger, host: Host, let_time_pass: LetTimePass) -> None:
    for number, name in enumerate(("done", "open", "lost")):
        await ledger.put_message(
            DurableMessage(message_id=name, agent_id=AGENTS[number], kind=Id("note"), payload={"n": number})
        )
    await ledger.finish_message("done", host.incarnation, host.epochs, StateRow(AGENTS[0], b"{}"))
    await ledger.remove_agents([AGENTS[2]])
    await let_time_pass(AGE + 0.05)
    assert (await ledger.prunable(AGE, None)).messages == 2
    assert (await ledger.prune(AGE, None)).messages == 2
    assert [message.message_id for message in await ledger.open_messages(SHARDS_OF_AGENTS)] == ["open"]
    await ledger.put_agents([AgentSpec(agent_id=AGENTS[2], agent_type=AgentType("analysis"))])
    assert len(await ledger.open_messages(SHARDS_OF_AGENTS)) == 1


async def test_states_go_with_agents_that_do_not_come_back(
    ledger: Ledger, host: Host, let_time_pass: LetTimePass
) -> None:
    plan = await loaded_job(ledger, 4)
    await host.commit(batch_of(plan, 0, 4), [good(n) for n in range(4)], [StateRow(AGENTS[n], b"{}") for n in range(4)])
    await ledger.remove_agents([AGENTS[0], AGENTS[1]])
    await ledger.put_agents([AgentSpec(agent_id=AGENTS[1], agent_type=AgentType("analysis"))])
    await let_time_pass(AGE + 0.05)
    await ledger.remove_agents([AGENTS[2]])
    assert (await ledger.prunable(AGE, None)).states == 1
    assert (await ledger.prune(AGE, None)).states == 1
    assert set(await ledger.states(AGENTS)) == {AGENTS[1], AGENTS[2], AGENTS[3]}


async def test_forgetting_twice_at_once_counts_each_job_once(
    ledger: Ledger, host: Host, let_time_pass: LetTimePass
) -> None:
    for _ in range(6):
        await worked_job(ledger, host)
    await let_time_pass(0.01)
    found = await asyncio.gather(ledger.prune(0, None), ledger.prune(0, None))
    assert sum(each.jobs for each in found) == 6
    assert sum(each.tasks for each in found) == 18
    assert await ledger.prunable(0, None) == Pruned()
