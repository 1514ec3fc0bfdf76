"""Jobs that were asked for and not handed to the workflow engine yet, and those that were: an outbox. Port and data."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from colony.contracts import Frozen

OPENING_SECONDS: Final = 86_400.0
"""For so long after its start a job is looked for that has no row: then nothing will open it."""


class SubmissionState(StrEnum):
    """Where a submission stands. Only `accepted` ever changes."""

    ACCEPTED = "accepted"
    """Kept; the workflow engine has not confirmed it."""
    STARTED = "started"
    REFUSED = "refused"
    """Will never be started: `error` and `reason` say why."""
    CANCELLED = "cancelled"
    """Given up before it was started."""


class Submission(Frozen):
    """A job as it was asked for."""

    workflow_id: str
    """Fixed here, so that starting it twice is refused by the workflow engine."""
    mark: str
    """A random word that the workflow carries: whoever finds it there knows that this submission started it."""
    template: str
    input: str
    """A JSON object."""
    digest: str
    """SHA-256 of all that was asked, in hexadecimal: equal requests have equal ones."""
    idempotency_key: str = ""
    """Word of the sender by which a request sent again is known; empty for none."""
    state: SubmissionState = SubmissionState.ACCEPTED
    key: str = ""
    """Key of the job once it is started: its first execution run id."""
    error: str = ""
    """Class of the error it was refused with."""
    reason: str = ""
    number: int = 0
    """Order of arrival, given by the ledger."""
    accepted_at: float = 0.0
    """Wall-clock seconds, given by the ledger."""


class Kept(NamedTuple):
    """What the ledger holds after `submit`."""

    submission: Submission
    fresh: bool
    """Whether it was kept now; otherwise it is an earlier one with the same idempotency key or workflow id."""


class SubmissionLedger(Protocol):
    """Keeping submissions. All methods raise as `colony.ledger.port` says."""

    async def submit(self, submission: Submission) -> Kept:
        """Keep it, unless its idempotency key or its workflow id is there: then nothing is written.

        The earlier one comes back, that of the key first; judging it is the caller's part.
        """
        ...

    async def submission(self, workflow_id: str) -> Submission | None:
        """The submission of this workflow id, or None."""
        ...

    async def submissions(
        self, limit: int, *, state: SubmissionState | None = None, before: int | None = None
    ) -> list[Submission]:
        """The newest first; only those in a state, and only those with a number below `before`, if given."""
        ...

    async def unopened_submissions(self, limit: int, *, before: int | None = None) -> list[Submission]:
        """Those whose job has no row yet: accepted ones, and those started in the last `OPENING_SECONDS`.

        The newest first; only those with a number below `before`, if given.
        """
        ...

    async def open_submissions(self, limit: int) -> list[Submission]:
        """Those accepted and nothing more, oldest first."""
        ...

    async def settle_submission(
        self, workflow_id: str, state: SubmissionState, *, key: str = "", error: str = "", reason: str = ""
    ) -> bool:
        """Say how an accepted one went on; False, and nothing changes, if it is not accepted any more."""
        ...

    async def prune_submissions(self, seconds: float) -> int:
        """Forget those settled longer ago; returns how many. Accepted ones stay."""
        ...
