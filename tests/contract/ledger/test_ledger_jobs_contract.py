"""Contract: jobs, loads, cancel, artifacts, dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import orjson
import pytest

from colony.contracts import Artifact, BadRow, JobState, StepLoad
from colony.errors import BadInput, NotFound
from colony.jobs import SourcePin
from colony.ledger.port import Ledger
from tests.contract.ledger.fleet_of_one import (
    AGENTS,
    STEPS,
    LetTimePass,
    bad,
    batch_of,
    chunks,
    good,
    loaded_job,
    open_job,
    payload,
    start_host,
)

pytestmark = pytest.mark.contract


async def test_opening_the_same_key_again_returns_the_first_plan(ledger: Ledger) -> None:
    pin = SourcePin(path="/data/reviews.csv", size=9, sha256="00", format="csv", columns={"text": "body"})
    first = await ledger.open_job("Run-A", "reviews", "review_analysis", STEPS, pin, {"a": 1})
    again = await ledger.open_job("Run-A", "other", "review_analysis", STEPS[:1], None, {})
    assert again == first
    assert await ledger.plan(first.job) == first
    assert first.source == pin
    assert first.steps == STEPS
    other = await ledger.open_job("Run-B", "reviews", "review_analysis", STEPS, None, {}, trace="a" * 32)
    assert ((await ledger.job("Run-A")).trace, (await ledger.job("Run-B")).trace) == ("", "a" * 32)
    assert {view.key: view.trace for view in await ledger.jobs()} == {"Run-A": "", "Run-B": "a" * 32}
    assert other.job != first.job


async def test_a_job_opened_twice_at_once_is_one_job(ledger: Ledger) -> None:
    plans = await asyncio.gather(
        *(ledger.open_job("Run-twice", "reviews", "review_analysis", STEPS, None, {}) for _ in range(4))
    )
    assert len({plan.job for plan in plans}) == 1
    assert len(await ledger.jobs()) == 1


async def test_unknown_jobs_are_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        await ledger.plan(999)
    with pytest.raises(NotFound):
        await ledger.job("nothing\x00here")
    with pytest.raises(NotFound):
        await ledger.request_cancel(999)
    with pytest.raises(NotFound):
        await ledger.cancel_requested(999)
    with pytest.raises(NotFound):
        await ledger.load_map(999, 1, 0)
    with pytest.raises(NotFound):
        await ledger.load_source(999, 1, chunks(1), [])


async def test_a_job_is_found_by_number_key_and_newest_of_its_workflow_id(ledger: Ledger) -> None:
    first = await open_job(ledger, "nightly")
    second = await open_job(ledger, "nightly")
    assert (await ledger.job(str(first.job))).key == first.key
    assert (await ledger.job(first.key)).job == first.job
    assert (await ledger.job("nightly")).job == second.job
    assert [view.job for view in await ledger.jobs()] == [second.job, first.job]
    assert [view.job for view in await ledger.jobs(1)] == [second.job]
    assert [view.job for view in await ledger.jobs(before=second.job)] == [first.job]
    assert await ledger.jobs(before=first.job, running_only=True) == []


async def test_a_source_is_loaded_once_with_its_bad_rows(ledger: Ledger) -> None:
    plan = await open_job(ledger)
    bad_rows: list[BadRow] = []

    async def rows() -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        async for chunk in chunks(10):
            yield chunk
        bad_rows.append(BadRow(line=7, reason="no text \x00"))
        bad_rows.append(BadRow(line=3, reason="no id"))

    assert await ledger.task_count(plan.job, 1) is None
    load = await ledger.load_source(plan.job, 1, rows(), bad_rows)
    assert load == StepLoad(tasks=10, bad_rows=2)
    assert await ledger.load_source(plan.job, 1, chunks(99), []) == load
    assert await ledger.task_count(plan.job, 1) == 10
    tasks = await ledger.open_tasks(batch_of(plan, 4, 7))
    assert [(task.seq, task.agent_id, task.payload, task.suspect) for task in tasks] == [
        (seq, None, payload(seq), 0) for seq in (4, 5, 6)
    ]
    count, first = await ledger.bad_rows(plan.job, 1)
    assert (count, [row.line for row in first]) == (2, [3])


async def test_a_load_that_breaks_leaves_nothing_and_may_be_repeated(ledger: Ledger) -> None:
    plan = await open_job(ledger)

    async def rows() -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        yield [(0, payload(0))]
        raise FileNotFoundError("the source is gone")

    with pytest.raises(FileNotFoundError):
        await ledger.load_source(plan.job, 1, rows(), [])
    assert await ledger.task_count(plan.job, 1) is None
    assert await ledger.load_source(plan.job, 1, chunks(4), []) == StepLoad(tasks=4)


async def test_two_loads_of_one_step_at_once_give_one_set_of_tasks(ledger: Ledger) -> None:
    plan = await open_job(ledger)
    loads = await asyncio.gather(*(ledger.load_source(plan.job, 1, chunks(50), []) for _ in range(3)))
    assert loads == [StepLoad(tasks=50)] * 3
    assert await ledger.outcome_multiplicity(plan.job) == {1: (50, 0)}


async def test_map_takes_good_outcomes_of_all_generations_in_order(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 6)
    host = await start_host(ledger)
    await host.commit(
        batch_of(plan, 0, 6), [good(5), bad(2, transient=True), good(0), bad(4, transient=False), good(1)]
    )
    await host.commit(batch_of(plan, 0, 6, generation=1), [good(2)])
    for _ in range(2):
        assert await ledger.load_map(plan.job, 2, 1) == StepLoad(tasks=4)
    tasks = await ledger.open_tasks(batch_of(plan, 0, 10, step=2))
    assert [(task.seq, task.payload) for task in tasks] == [
        (0, b'{"n":0}'),
        (1, b'{"n":1}'),
        (2, b'{"n":2}'),
        (3, b'{"n":5}'),
    ]
    assert await ledger.results(plan.job, 1, 1, 5) == [(1, b'{"n":1}'), (2, b'{"n":2}')]


async def test_reduce_covers_each_task_once(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 10)
    for _ in range(2):
        assert await ledger.load_reduce(plan.job, 3, 1, 4) == StepLoad(tasks=3)
    tasks = await ledger.open_tasks(batch_of(plan, 0, 10, step=3))
    assert [orjson.loads(task.payload) for task in tasks] == [
        {"step": 1, "first": 0, "end": 4},
        {"step": 1, "first": 4, "end": 8},
        {"step": 1, "first": 8, "end": 10},
    ]


async def test_reduce_over_nothing_is_nothing_and_over_an_unloaded_step_not_found(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 0)
    assert await ledger.load_reduce(plan.job, 3, 1, 4) == StepLoad(tasks=0)
    with pytest.raises(NotFound):
        await ledger.load_reduce(plan.job, 4, 2, 4)


async def test_given_tasks_keep_their_agent(ledger: Ledger) -> None:
    plan = await open_job(ledger)
    given = [(AGENTS[1], b'{"a":1}'), (None, b'{"a":2}')]
    for _ in range(2):
        assert await ledger.load_tasks(plan.job, 1, given) == StepLoad(tasks=2)
    assert [task[:3] for task in await ledger.open_tasks(batch_of(plan, 0, 9))] == [
        (0, AGENTS[1], b'{"a":1}'),
        (1, None, b'{"a":2}'),
    ]


async def test_cancel_is_a_mark_and_closing_happens_once(ledger: Ledger) -> None:
    plan = await open_job(ledger)
    other = await open_job(ledger)
    assert not await ledger.cancel_requested(plan.job)
    await ledger.request_cancel(plan.job)
    assert await ledger.cancel_requested(plan.job)
    assert (await ledger.job(plan.key)).state is JobState.RUNNING
    await ledger.close_job(plan.job, JobState.CANCELLED, "asked")
    await ledger.close_job(plan.job, JobState.DONE, "late")
    view = await ledger.job(plan.key)
    assert (view.state, view.reason, view.cancel_requested) == (JobState.CANCELLED, "asked", True)
    assert view.closed_at is not None
    assert view.closed_at >= view.opened_at
    assert [row.job for row in await ledger.jobs(running_only=True)] == [other.job]
    await ledger.close_job(other.job, JobState.DONE)
    assert await ledger.cancel_requested(other.job)
    with pytest.raises(BadInput):
        await ledger.close_job(other.job, JobState.RUNNING)


async def test_artifacts_are_replaced_by_name(ledger: Ledger) -> None:
    plan = await open_job(ledger)
    page = Artifact(name="a.html", media_type="text/html", content=b"\x00\xff")
    assert await ledger.put_artifacts(plan.job, [report_of(b"one"), page])
    assert await ledger.put_artifacts(plan.job, [report_of(b"two")])
    assert await ledger.artifacts(plan.job) == [page, report_of(b"two")]
    assert [(note.name, note.media_type, note.bytes) for note in await ledger.artifact_notes(plan.job)] == [
        ("a.html", "text/html", 2),
        (report_of(b"two").name, report_of(b"two").media_type, 3),
    ]
    assert await ledger.artifact(plan.job, "a.html") == page
    assert await ledger.artifact(plan.job, "b\x00.html") is await ledger.artifact(10**9, "a.html") is None
    assert await ledger.put_artifacts(plan.job, [])


async def test_a_closed_job_keeps_the_artifacts_it_has(ledger: Ledger) -> None:
    plan, cancelled = await open_job(ledger), await open_job(ledger)
    assert await ledger.put_artifacts(plan.job, [report_of(b"one")])
    await ledger.close_job(plan.job, JobState.DONE)
    await ledger.close_job(cancelled.job, JobState.CANCELLED)
    for job in (plan.job, cancelled.job, 10**9):
        assert not await ledger.put_artifacts(job, [report_of(b"late")]), "a worker that was thought dead"
    assert await ledger.artifacts(plan.job) == [report_of(b"one")]
    assert await ledger.artifacts(cancelled.job) == []


async def test_artifacts_are_there_all_or_none_of_them(ledger: Ledger) -> None:
    """However close and report meet, and however many write: no job ends with half a report, or that of two."""
    names = [f"{number}.md" for number in range(5)]

    async def write(job: int, content: bytes, order: Sequence[str]) -> bool:
        made = [Artifact(name=name, media_type="text/markdown", content=content) for name in order]
        return await ledger.put_artifacts(job, made)

    for _ in range(8):
        job = (await open_job(ledger)).job
        first, second, _ = await asyncio.gather(
            write(job, b"one", names), write(job, b"two", names[::-1]), ledger.close_job(job, JobState.CANCELLED)
        )
        found = await ledger.artifacts(job)
        assert [artifact.name for artifact in found] == (names if first or second else [])
        assert len({artifact.content for artifact in found}) == (1 if first or second else 0)


async def test_artifacts_cut_off_in_the_middle_are_none(ledger: Ledger) -> None:
    job = (await open_job(ledger)).job
    made = [
        Artifact(name=f"{number}.bin", media_type="application/octet-stream", content=bytes(200_000))
        for number in range(20)
    ]
    for turns in range(0, 40, 4):
        writing = asyncio.ensure_future(ledger.put_artifacts(job, made))
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        done = await asyncio.gather(writing, return_exceptions=True)
        assert len(await ledger.artifacts(job)) in ((20,) if done == [True] else (0, 20))


def report_of(content: bytes) -> Artifact:
    return Artifact(name="report.md", media_type="text/markdown", content=content)


async def test_dead_letters_and_counts_follow_the_last_outcome(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 5)
    host = await start_host(ledger)
    await host.commit(
        batch_of(plan, 0, 5),
        [
            good(0),
            bad(1, transient=True, error="Unavailable"),
            bad(2, transient=False, error="BadInput"),
            bad(3, transient=True),
        ],
    )
    assert await ledger.step_counts(plan.job, 1) == (1, 3, 2, {"BadInput": 1, "TaskTimeout": 1, "Unavailable": 1})
    await host.commit(batch_of(plan, 0, 5, generation=1), [good(1), bad(3, transient=False, error="HostCrashed")])
    assert await ledger.step_counts(plan.job, 1) == (2, 2, 0, {"BadInput": 1, "HostCrashed": 1})
    letters = await ledger.dead_letters(plan.job)
    assert [(letter.seq, letter.generation, letter.error) for letter in letters] == [
        (2, 0, "BadInput"),
        (3, 1, "HostCrashed"),
    ]
    assert letters[0].payload == {"id": "2"}
    assert letters[0].message == "too slow"
    assert await ledger.dead_letters() == letters
    assert await ledger.dead_letters(limit=1) == letters[:1]
    assert await ledger.dead_letters(plan.job, 9, after=(plan.job, 1, 2)) == letters[1:]
    assert await ledger.dead_letters(after=(plan.job, 1, 1)) == letters, "that one needs not be there"
    assert await ledger.dead_letters(after=(plan.job + 1, 7, 7)) == letters, "the newest job comes first"
    assert await ledger.dead_letters(after=(plan.job, 1, 3)) == await ledger.dead_letters(after=(0, 0, 0)) == []
    view = await ledger.job(plan.key)
    assert [(step.tasks, step.ok, step.failed) for step in view.steps] == [(0, 0, 0), (5, 2, 2), (0, 0, 0), (0, 0, 0)]
    assert view.steps[1].errors == {"BadInput": 1, "HostCrashed": 1}
    assert await ledger.outcome_multiplicity(plan.job) == {1: (5, 4)}


async def test_how_long_steps_took(ledger: Ledger, let_time_pass: LetTimePass) -> None:
    host = await start_host(ledger)
    plan = await loaded_job(ledger, 2)
    batch = batch_of(plan, 0, 2)

    async def seconds(step: int = 1) -> float:
        return (await ledger.job(plan.key)).steps[step].seconds

    await let_time_pass(0.1)
    assert await seconds() == 0, "no task was under way yet"
    await ledger.start_tasks(batch, host.incarnation, [0, 1])
    await let_time_pass(0.2)
    assert 0.2 <= await seconds() < 60, "so far"
    await host.commit(batch, [good(0)])
    before = await seconds()
    await let_time_pass(0.1)
    assert await seconds() > before + 0.09, "one task is under way still"
    await host.commit(batch, [good(1)])
    whole = await seconds()
    await let_time_pass(0.1)
    assert await seconds() == whole > 0.29
    await ledger.load_map(plan.job, 2, 1)
    await ledger.start_tasks(batch_of(plan, 0, 2, step=2), host.incarnation, [0])
    await let_time_pass(0.1)
    await ledger.close_job(plan.job, JobState.CANCELLED)
    cut_short = await seconds(2)
    await let_time_pass(0.1)
    assert await seconds(2) == cut_short > 0.09, "a job that is over goes on no longer"
    assert (await seconds(0), await seconds(3)) == (0, 0)
