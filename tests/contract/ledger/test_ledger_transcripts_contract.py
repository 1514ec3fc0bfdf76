"""Contract: who said what in a job."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from colony.contracts import JobState
from colony.ledger.port import Ledger
from colony.ledger.retention import Pruned
from colony.ledger.transcripts import (
    MOST_TEXT,
    Said,
    TranscriptEntry,
    TranscriptFilter,
    TranscriptPlace,
    TranscriptTotals,
)
from tests.contract.ledger.fleet_of_one import LetTimePass, open_job

pytestmark = pytest.mark.contract


def said(job: int, number: int = 0, **fields: Any) -> TranscriptEntry:
    entry = TranscriptEntry(
        entry_id=f"e{number:06d}",
        job=job,
        at=1_700_000_000.1 + number / 8,
        kind=Said.MODEL,
        agent="research-00001",
        step=1,
        seq=number,
        incarnation="life-1",
        seconds=0.25,
        request='[{"role":"user","content":"why?"}]',
        answer="because",
        model="m",
        backend="default",
        tier="fast",
        prompt_tokens=10,
        completion_tokens=3,
        cache="miss",
    )
    return entry._replace(**fields)


def ids(entries: list[TranscriptEntry]) -> list[str]:
    return [entry.entry_id for entry in entries]


async def test_entries_come_back_as_they_were_once_however_often_they_are_written(ledger: Ledger) -> None:
    job = (await open_job(ledger)).job
    entries = [said(job, number, generation=number % 3) for number in range(60)]
    assert await ledger.write_transcript([]) == 0
    assert await ledger.write_transcript(entries[:40]) == 40
    written = await asyncio.gather(ledger.write_transcript(entries), ledger.write_transcript(entries[::-1]))
    assert sum(written) == 20
    assert await ledger.write_transcript([entries[0]._replace(answer="something else")]) == 0
    assert await ledger.transcript(job, 100) == entries


async def test_pages_follow_each_other_in_time(ledger: Ledger) -> None:
    job = (await open_job(ledger)).job
    entries = [said(job, number, at=float(number // 4)) for number in range(20)]
    await ledger.write_transcript(entries[::-1])
    found: list[TranscriptEntry] = []
    after: TranscriptPlace | None = None
    while page := await ledger.transcript(job, 7, after=after):
        assert len(page) <= 7
        found += page
        after = TranscriptPlace(page[-1].at, page[-1].entry_id)
    assert found == entries


async def test_by_agent_step_and_task(ledger: Ledger) -> None:
    job = (await open_job(ledger)).job
    await ledger.write_transcript(
        [
            said(job, 0, agent="a", peer="b", kind=Said.ASK),
            said(job, 1, agent="b", step=2),
            said(job, 2, agent="c", step=2, seq=0),
        ]
    )

    async def found(**wanted: Any) -> list[int]:
        return [int(name[1:]) for name in ids(await ledger.transcript(job, 9, wanted=TranscriptFilter(**wanted)))]

    assert await found() == [0, 1, 2]
    assert await found(agent="b") == [0, 1]
    assert await found(step=2) == [1, 2]
    assert await found(step=2, seq=0) == [2]
    assert await found(agent="c", step=1) == []


async def test_a_job_has_its_own_and_none_that_is_not_there_has_any(ledger: Ledger) -> None:
    one, other = (await open_job(ledger)).job, (await open_job(ledger)).job
    assert await ledger.write_transcript([said(one, 0), said(other, 1), said(other + 1000, 2)]) == 2
    assert ids(await ledger.transcript(one, 9)) == ["e000000"]
    assert await ledger.transcript(other + 1000, 9) == []
    assert await ledger.transcript_totals(other + 1000) == TranscriptTotals()


async def test_totals(ledger: Ledger) -> None:
    job = (await open_job(ledger)).job
    silent = {"prompt_tokens": 0, "completion_tokens": 0}
    await ledger.write_transcript(
        [
            said(job, 0),
            said(job, 1),
            said(job, 2, kind=Said.TELL, **silent),
            said(job, 3, kind=Said.GAP, lost=7, **silent),
            said(job, 4, kind=Said.GAP, lost=5, **silent),
        ]
    )
    assert await ledger.transcript_totals(job) == TranscriptTotals(
        entries=3, calls=2, prompt_tokens=20, completion_tokens=6, lost=12
    )


async def test_whatever_was_said_can_be_kept(ledger: Ledger) -> None:
    job = (await open_job(ledger)).job
    odd = said(
        job,
        request="a\0b\ud800c",
        answer="x" * (MOST_TEXT + 1),
        peer="p" * 1_000,
        message="m" * 9_000,
        prompt_tokens=2**40,
        cut=-1,
    )
    await ledger.write_transcript([odd])
    (found,) = await ledger.transcript(job, 1)
    assert found.request == "a\ufffdb?c"
    assert (len(found.answer), len(found.peer), len(found.message)) == (MOST_TEXT, 200, 4_000)
    assert (found.prompt_tokens, found.cut) == (2**31 - 1, 0)
    assert await ledger.write_transcript([odd]) == 0


async def test_it_goes_with_its_job(ledger: Ledger, let_time_pass: LetTimePass) -> None:
    old, young = (await open_job(ledger)).job, (await open_job(ledger)).job
    await ledger.write_transcript([said(old, number) for number in range(12)])
    await ledger.write_transcript([said(young, 50)])
    await ledger.close_job(old, JobState.DONE)
    await let_time_pass(0.35)
    would = await ledger.prunable(0.3, None)
    assert (would.jobs, would.transcripts) == (1, 12)
    assert would.bytes >= 12 * len("because")
    assert await ledger.prune(0.3, None) == would
    assert await ledger.transcript(old, 100) == []
    assert len(await ledger.transcript(young, 100)) == 1
    assert await ledger.write_transcript([said(old, 99)]) == 0, "a host that is late writes nothing any more"
    assert await ledger.prune(0.3, None) == Pruned()
