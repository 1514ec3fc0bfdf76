"""Contract: submissions of jobs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from colony.ledger.port import Ledger
from colony.ledger.submissions import Submission, SubmissionState
from tests.contract.ledger.fleet_of_one import LetTimePass

pytestmark = pytest.mark.contract


def asked(number: int = 0, **fields: Any) -> Submission:
    given: dict[str, Any] = {
        "workflow_id": f"job-{number}",
        "mark": f"mark-{number}",
        "template": "review_analysis",
        "input": '{"source":"ä.csv"}',
        "digest": f"{number:064x}",
        **fields,
    }
    return Submission(**given)


async def test_a_submission_is_kept_as_it_was(ledger: Ledger) -> None:
    kept, fresh = await ledger.submit(asked(idempotency_key="k"))
    assert fresh
    assert kept.number > 0
    assert kept.accepted_at > 0
    assert kept.model_copy(update={"number": 0, "accepted_at": 0.0}) == asked(idempotency_key="k")
    assert await ledger.submission("job-0") == kept
    assert await ledger.submission("job-1") is None
    assert await ledger.submission("\x00") is None


async def test_the_same_key_or_id_gives_what_was_kept_first(ledger: Ledger) -> None:
    first = (await ledger.submit(asked(1, idempotency_key="k"))).submission
    assert await ledger.submit(asked(2, idempotency_key="k")) == (first, False)
    assert await ledger.submit(asked(1, idempotency_key="other", digest="x")) == (first, False)
    second = (await ledger.submit(asked(2))).submission
    # Both are taken, by two: the one with the key comes back.
    assert await ledger.submit(asked(2, idempotency_key="k")) == (first, False)
    assert await ledger.submit(asked(2)) == (second, False)
    assert [one.workflow_id for one in await ledger.submissions(10)] == ["job-2", "job-1"]


async def test_of_many_at_once_one_is_fresh(ledger: Ledger) -> None:
    kept = await asyncio.gather(*(ledger.submit(asked(number, idempotency_key="k")) for number in range(20)))
    assert sum(one.fresh for one in kept) == 1
    assert len({one.submission.workflow_id for one in kept}) == 1


async def test_only_accepted_ones_are_settled_and_only_once(ledger: Ledger) -> None:
    for number in range(3):
        await ledger.submit(asked(number))
    assert await ledger.settle_submission("job-0", SubmissionState.STARTED, key="run-0")
    assert not await ledger.settle_submission("job-0", SubmissionState.CANCELLED)
    assert await ledger.settle_submission("job-1", SubmissionState.REFUSED, error="BadInput", reason="no \x00 file")
    assert not await ledger.settle_submission("job-9", SubmissionState.STARTED)
    assert [one.workflow_id for one in await ledger.open_submissions(10)] == ["job-2"]
    started = await ledger.submission("job-0")
    refused = await ledger.submission("job-1")
    assert started is not None
    assert refused is not None
    assert (started.state, started.key) == (SubmissionState.STARTED, "run-0")
    assert (refused.state, refused.error) == (SubmissionState.REFUSED, "BadInput")
    assert refused.reason.startswith("no ")


async def test_lists_are_ordered_and_paged(ledger: Ledger) -> None:
    for number in range(5):
        await ledger.submit(asked(number))
    await ledger.settle_submission("job-3", SubmissionState.STARTED, key="r")
    assert [one.workflow_id for one in await ledger.open_submissions(2)] == ["job-0", "job-1"]
    newest = await ledger.submissions(2, state=SubmissionState.ACCEPTED)
    assert [one.workflow_id for one in newest] == ["job-4", "job-2"]
    older = await ledger.submissions(10, before=newest[-1].number)
    assert [one.workflow_id for one in older] == ["job-1", "job-0"]


async def test_settled_ones_are_forgotten_and_their_names_free_again(
    ledger: Ledger, let_time_pass: LetTimePass
) -> None:
    await ledger.submit(asked(0, idempotency_key="k"))
    await ledger.submit(asked(1))
    await ledger.settle_submission("job-0", SubmissionState.STARTED, key="r")
    assert await ledger.prune_submissions(3600) == 0
    await let_time_pass(0.05)
    assert await ledger.prune_submissions(0.01) == 1
    assert await ledger.submission("job-0") is None
    assert (await ledger.submit(asked(0, idempotency_key="k"))).fresh
    assert len(await ledger.open_submissions(10)) == 2


async def test_those_without_a_row_are_listed_until_they_have_one(ledger: Ledger) -> None:
    for number in range(5):
        await ledger.submit(asked(number))
    for number in (1, 2, 3):
        await ledger.settle_submission(f"job-{number}", SubmissionState.STARTED, key=f"run-{number}")
    await ledger.settle_submission("job-4", SubmissionState.REFUSED, error="BadInput")
    await ledger.open_job("run-2", "job-2", "review_analysis", (), None, {})
    found = await ledger.unopened_submissions(10)
    assert [one.workflow_id for one in found] == ["job-3", "job-1", "job-0"]
    first = await ledger.unopened_submissions(1)
    rest = await ledger.unopened_submissions(10, before=first[0].number)
    assert [*first, *rest] == found
