"""What agents say reaches the ledger once, or is counted as missing; nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from colony.clock import ManualClock, SystemClock
from colony.config.ledger import LedgerConfig
from colony.errors import BadInput, ColonyError, DeadlineExceeded, Unavailable
from colony.ledger.memory import MemoryLedger
from colony.ledger.transcripts import Said, TranscriptEntry
from colony.lifecycle import task_owner
from ray_app import transcripts
from ray_app.transcripts import TranscriptBook
from tests.contract.ledger.fleet_of_one import open_job
from tests.eventually import assert_eventually


class Shaky(MemoryLedger):
    """A ledger that may be away, and that writes some batches without being able to say so."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.error: ColonyError | None = None
        self.after_writing = False
        self.batches: list[int] = []

    async def write_transcript(self, entries: Sequence[TranscriptEntry]) -> int:
        if self.error is not None and not self.after_writing:
            raise self.error
        self.batches.append(len(entries))
        fresh = await super().write_transcript(entries)
        if self.error is not None:
            raise self.error
        return fresh


def said(job: int, seq: int = 0, **fields: Any) -> TranscriptEntry:
    return TranscriptEntry("", job, float(seq), Said.TELL, "a", seq=seq)._replace(**fields)


@pytest.fixture
def ledger() -> Shaky:
    return Shaky()


@pytest.fixture
async def job(ledger: Shaky) -> int:
    return (await open_job(ledger)).job


def book_of(ledger: MemoryLedger, **config: Any) -> TranscriptBook:
    return TranscriptBook(ledger, ledger._tables.clock, LedgerConfig(**config), host="h", incarnation="life")


@asynccontextmanager
async def running(book: TranscriptBook) -> AsyncGenerator[TranscriptBook]:
    async with task_owner() as tasks:
        tasks.start(book.run(), name="book")
        yield book


async def seqs(ledger: MemoryLedger, job: int) -> list[int]:
    return [entry.seq for entry in await ledger.transcript(job, 100_000) if entry.kind != Said.GAP]


async def test_a_flood_is_written_in_few_batches_under_own_ids(ledger: Shaky, job: int) -> None:
    async with running(book_of(ledger)) as book:
        for seq in range(1_000):
            book.add(said(job, seq))
        await assert_eventually(lambda: book.written == 1_000)
    assert await seqs(ledger, job) == list(range(1_000))
    assert len(ledger.batches) == 5
    entries = await ledger.transcript(job, 2_000)
    assert len({entry.entry_id for entry in entries}) == 1_000
    assert {entry.incarnation for entry in entries} == {"life"}


async def test_a_few_are_written_soon(ledger: Shaky, job: int) -> None:
    async with running(book_of(ledger)) as book:
        book.add(said(job))
        await assert_eventually(lambda: book.written == 1)


@pytest.mark.parametrize("error", [Unavailable("away"), DeadlineExceeded("no answer")])
@pytest.mark.parametrize("after_writing", [False, True])
async def test_an_outage_loses_nothing_and_doubles_nothing(
    ledger: Shaky, job: int, error: ColonyError, after_writing: bool
) -> None:
    ledger.error, ledger.after_writing = error, after_writing
    with structlog.testing.capture_logs() as logs:
        async with running(book_of(ledger)) as book:
            for seq in range(450):
                book.add(said(job, seq))
            await assert_eventually(lambda: bool(logs))
            ledger.error = None
            await assert_eventually(lambda: book.written == 450)
    assert await seqs(ledger, job) == list(range(450))
    assert [entry["log_level"] for entry in logs] == ["warning", "info"], "told once each way"


async def test_what_has_no_room_is_counted_and_the_ledger_says_so(
    ledger: Shaky, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "MOST_BUFFERED", 10)
    book = book_of(ledger)
    for seq in range(25):
        book.add(said(job, seq))
    assert book.state() == {"buffered": 10, "written": 0, "dropped": 15}
    await book.close()
    assert await seqs(ledger, job) == list(range(10))
    assert (await ledger.transcript_totals(job)).lost == 15


async def test_long_texts_fill_the_buffer_too(ledger: Shaky, job: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcripts, "MOST_LETTERS", 1_000)
    book = book_of(ledger)
    for seq in range(5):
        book.add(said(job, seq, request="x" * 600))
    assert (book.state()["buffered"], book.dropped) == (2, 3)
    assert await book.flush()
    book.add(said(job, 9))
    assert book.state()["buffered"] >= 1, "there is room again"


async def test_a_job_that_says_too_much_does_not_crowd_out_others(ledger: Shaky, job: int) -> None:
    other = (await open_job(ledger)).job
    book = book_of(ledger, transcript_entries=3)
    for seq in range(8):
        book.add(said(job, seq))
    book.add(said(other))
    await book.close()
    assert await seqs(ledger, job) == [0, 1, 2]
    assert await seqs(ledger, other) == [0]
    assert (await ledger.transcript_totals(job)).lost == 5


async def test_gaps_are_told_now_and_then_while_it_runs(
    ledger: Shaky, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "GAP_SECONDS", 0.0)
    async with running(book_of(ledger, transcript_entries=1)) as book:
        for seq in range(4):
            book.add(said(job, seq))
        await assert_eventually(lambda: book.written >= 2)
        assert (await ledger.transcript_totals(job)).lost == 3
        book.add(said(job, 9))
        await assert_eventually(lambda: book.written >= 3)
    assert (await ledger.transcript_totals(job)).lost == 4


async def test_what_the_ledger_refuses_is_dropped_loudly(ledger: Shaky, job: int) -> None:
    ledger.error = BadInput("no")
    book = book_of(ledger)
    book.add(said(job))
    with structlog.testing.capture_logs() as logs:
        assert await book.flush()
    assert (book.dropped, [entry["log_level"] for entry in logs]) == (1, ["error"])


async def test_closing_writes_the_rest_but_never_hangs(
    ledger: Shaky, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "CLOSE_SECONDS", 0.01)

    async def hang(_: Sequence[TranscriptEntry]) -> int:
        await asyncio.Event().wait()
        return 0

    book = book_of(ledger)
    book.add(said(job))
    monkeypatch.setattr(ledger, "write_transcript", hang)
    with structlog.testing.capture_logs() as logs:
        await book.close()
    assert (book.state()["buffered"], book.dropped, len(logs)) == (0, 1, 1)


class Slow(Shaky):
    """A ledger whose writes wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.writing, self.go = asyncio.Event(), asyncio.Event()

    async def write_transcript(self, entries: Sequence[TranscriptEntry]) -> int:
        self.writing.set()
        await self.go.wait()
        return await super().write_transcript(entries)


@pytest.mark.parametrize("answers", [True, False])
async def test_closing_inside_a_write_loses_nothing_uncounted(monkeypatch: pytest.MonkeyPatch, answers: bool) -> None:
    ledger = Slow()
    job = (await open_job(ledger)).job
    async with running(book_of(ledger)) as book:
        for seq in range(250):
            book.add(said(job, seq))
        await ledger.writing.wait()
        if answers:
            ledger.go.set()
        else:
            monkeypatch.setattr(transcripts, "CLOSE_SECONDS", 0.01)
        await book.close()
        assert (book.written, book.dropped) == ((250, 0) if answers else (0, 250))
        book.add(said(job, 999))
    assert (book.state()["buffered"], book.written + book.dropped) == (0, 251)
    assert len(await seqs(ledger, job)) == book.written


async def test_a_write_that_outlives_the_close_is_counted_when_it_ends(
    ledger: Shaky, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "CLOSE_SECONDS", 0.01)
    writing, go = asyncio.Event(), asyncio.Event()

    async def stubborn(_: Sequence[TranscriptEntry]) -> int:
        writing.set()
        try:
            await go.wait()
        except asyncio.CancelledError:
            await go.wait()
        raise Unavailable("away")

    monkeypatch.setattr(ledger, "write_transcript", stubborn)
    async with running(book_of(ledger)) as book:
        book.add(said(job))
        await writing.wait()
        await book.close()
        assert book.dropped == 0
        go.set()
    assert book.state() == {"buffered": 0, "written": 0, "dropped": 1}


async def test_notes_of_gaps_do_not_pile_up_while_the_ledger_is_away(
    ledger: Shaky, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "GAP_SECONDS", 0.0)
    ledger.error = Unavailable("away")
    book = book_of(ledger, transcript_entries=1)
    book.add(said(job))
    for seq in range(1, 50):
        assert not await book.flush()
        book.add(said(job, seq))
    assert book.state() == {"buffered": 1, "written": 0, "dropped": 49}
    ledger.error = None
    await book.close()
    assert (await ledger.transcript_totals(job)).lost == 49


def test_a_job_out_of_mind_costs_no_memory() -> None:
    book = book_of(MemoryLedger(ManualClock()), transcript_entries=1)
    for job in range(5_000):
        book.add(said(job))
        book.add(said(job))
    assert len(book._taken) <= 1_001
    assert len(book._lost) <= 1_001
