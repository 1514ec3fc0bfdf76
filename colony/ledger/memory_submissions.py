"""Submissions of jobs, in memory."""

from __future__ import annotations

from colony.ledger.memory_tables import MemoryTables
from colony.ledger.submissions import OPENING_SECONDS, Kept, Submission, SubmissionState
from colony.ledger.validation import clean_text


class MemorySubmissions:
    """See `SubmissionLedger`."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def submit(self, submission: Submission) -> Kept:
        """See `SubmissionLedger`."""
        table = self._tables.submissions
        key = submission.idempotency_key
        for earlier in table.values():
            if key and earlier.idempotency_key == key:
                return Kept(earlier, fresh=False)
        if (earlier := table.get(submission.workflow_id)) is not None:
            return Kept(earlier, fresh=False)
        self._tables.last_submission += 1
        update = {
            "state": SubmissionState.ACCEPTED,
            "number": self._tables.last_submission,
            "accepted_at": self._tables.clock.wall(),
        }
        kept = table[submission.workflow_id] = submission.model_copy(update=update)
        return Kept(kept, fresh=True)

    async def submission(self, workflow_id: str) -> Submission | None:
        """See `SubmissionLedger`."""
        return self._tables.submissions.get(workflow_id)

    async def submissions(
        self, limit: int, *, state: SubmissionState | None = None, before: int | None = None
    ) -> list[Submission]:
        """See `SubmissionLedger`."""
        found = [
            one
            for one in self._tables.submissions.values()
            if (state is None or one.state is state) and (before is None or one.number < before)
        ]
        return sorted(found, key=lambda one: -one.number)[:limit]

    async def unopened_submissions(self, limit: int, *, before: int | None = None) -> list[Submission]:
        """See `SubmissionLedger`."""
        opened = {row.plan.workflow_id for row in self._tables.jobs.values()}
        since = self._tables.clock.wall() - OPENING_SECONDS
        found = [
            one
            for name, one in self._tables.submissions.items()
            if one.state is SubmissionState.ACCEPTED
            or (
                one.state is SubmissionState.STARTED
                and name not in opened
                and self._tables.settled_submissions[name] > since
            )
        ]
        found = [one for one in found if before is None or one.number < before]
        return sorted(found, key=lambda one: -one.number)[:limit]

    async def open_submissions(self, limit: int) -> list[Submission]:
        """See `SubmissionLedger`."""
        found = self._tables.submissions.values()
        return [one for one in found if one.state is SubmissionState.ACCEPTED][:limit]

    async def settle_submission(
        self, workflow_id: str, state: SubmissionState, *, key: str = "", error: str = "", reason: str = ""
    ) -> bool:
        """See `SubmissionLedger`."""
        found = self._tables.submissions.get(workflow_id)
        if found is None or found.state is not SubmissionState.ACCEPTED:
            return False
        update = {"state": state, "key": key, "error": error, "reason": clean_text(reason)}
        self._tables.submissions[workflow_id] = found.model_copy(update=update)
        self._tables.settled_submissions[workflow_id] = self._tables.clock.wall()
        return True

    async def prune_submissions(self, seconds: float) -> int:
        """See `SubmissionLedger`."""
        before = self._tables.clock.wall() - seconds
        old = [name for name, settled_at in self._tables.settled_submissions.items() if settled_at < before]
        for name in old:
            del self._tables.settled_submissions[name], self._tables.submissions[name]
        return len(old)
