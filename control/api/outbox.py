"""Starts the submissions that the workflow engine has not heard of yet: each exactly once, however often it is tried.

The workflow id is fixed when a submission is kept and the engine refuses it a second time; the mark that the workflow
carries tells an attempt whose answer was lost from a job of somebody else.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

import orjson
import structlog

from colony.errors import ColonyError, NotFound, Permanent, Transient
from colony.ledger.submissions import Submission, SubmissionLedger, SubmissionState
from workflows.engine import JobEngine

LOOK_SECONDS: Final = 5.0
"""Between two looks for submissions of other processes, or of one that died."""

AT_ONCE: Final = 8
"""Starts under way at the same moment."""

PAGE: Final = 100

_SHORTEST: Final = 0.25
_LONGEST: Final = 5.0

_log = structlog.get_logger(__name__)


class Outbox:
    """Hands submissions over. `run` is the owned task; `start` may be called beside it."""

    def __init__(self, ledger: SubmissionLedger, engine: JobEngine) -> None:
        self._ledger = ledger
        self._engine = engine
        self._poked = asyncio.Event()
        self.away = False
        """Whether the engine did not answer last time: then callers need not wait for it."""

    def poke(self) -> None:
        """Look now."""
        self._poked.set()

    async def start(self, submission: Submission) -> Submission:
        """Start it, or find out that it is started; how it stands then.

        Raises a `Transient` error while engine or ledger are away: it stays accepted.
        """
        try:
            key = await self._engine.start(
                submission.template, orjson.loads(submission.input), submission.workflow_id, submission.mark
            )
        except Transient:
            self.away = True
            raise
        except Permanent as error:
            return await self._settle(submission, SubmissionState.REFUSED, error=error)
        self.away = False
        return await self._settle(submission, SubmissionState.STARTED, key=key)

    async def _settle(
        self, submission: Submission, state: SubmissionState, *, key: str = "", error: ColonyError | None = None
    ) -> Submission:
        name = "" if error is None else type(error).__name__
        reason = "" if error is None else str(error)
        if await self._ledger.settle_submission(submission.workflow_id, state, key=key, error=name, reason=reason):
            _log.info("submission settled", workflow_id=submission.workflow_id, state=state.value, error=name)
        kept = await self._ledger.submission(submission.workflow_id)
        if kept is None:
            return submission.model_copy(update={"state": state, "key": key, "error": name, "reason": reason})
        if kept.state is SubmissionState.CANCELLED and state is SubmissionState.STARTED:
            await self.cancel_started(kept.workflow_id)
        return kept

    async def cancel_started(self, workflow_id: str) -> None:
        """Cancel a job that was given up while it was being started."""
        try:
            await self._engine.cancel(workflow_id)
        except NotFound:
            _log.info("a job given up had ended", workflow_id=workflow_id)

    async def run(self) -> None:
        """Start what is accepted, for ever. Outages are waited out."""
        pause = _SHORTEST
        while True:
            self._poked.clear()
            try:
                found = await self._round()
            except Transient as error:
                _log.info("submissions wait", error=str(error)[:200], seconds=round(pause, 2))
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 -- jitter
                pause = min(_LONGEST, pause * 2)
                continue
            pause = _SHORTEST
            if not found:
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311 -- jitter
                await self._poked.wait()
        except TimeoutError:
            return

    async def _round(self) -> int:
        """Start the oldest ones; how many there were. Raises the first `Transient` error after all had their turn."""
        page = await self._ledger.open_submissions(PAGE)
        if not page:
            return 0
        if self.away:
            await self._engine.ping()
            self.away = False
        room = asyncio.Semaphore(AT_ONCE)

        async def one(submission: Submission) -> None:
            async with room:
                await self.start(submission)

        for ended in await asyncio.gather(*map(one, page), return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended
        return len(page)
