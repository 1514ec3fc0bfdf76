"""The part of the ledger that keeps the books on language models, as a port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from colony.llm.contracts import CachedAnswer, JobBudget, LlmCall, ModelUse


class LlmLedger(Protocol):
    """What language models were asked to do, for whom, and answers kept for equal requests.

    A job is named by its key here: the gateway also serves jobs that were never opened in this ledger.
    """

    async def record_calls(self, rows: Sequence[LlmCall]) -> int:
        """Keep calls, each once however often it is written; returns how many were new.

        Names are cut at 200 letters and cleaned of what a database cannot hold.
        """
        ...

    async def tokens_of_job(self, key: str) -> int:
        """Tokens, of prompts and answers, used by a job and all it started; 0 for one nobody knows."""
        ...

    async def calls_of_job(self, key: str) -> list[ModelUse]:
        """Which model did what for a job and all it started, by backend, model and tier."""
        ...

    async def prune_calls(self, seconds: float) -> int:
        """Forget the calls that ended longer ago; returns how many.

        Those stay that a budget may count: of running jobs, of all above them and of all those started.
        """
        ...

    async def adopt_job(self, child: str, parent: str) -> None:
        """`child` was started by `parent`. Raises `AlreadyExists` when another one did; again changes nothing."""
        ...

    async def set_job_budget(self, job: str, tokens: int | None) -> None:
        """The budget of a job and all it starts; None for none of its own."""
        ...

    async def job_budgets(self, key: str) -> list[JobBudget]:
        """A job and those above it, nearest first, with what each has used; zeros for one nobody knows."""
        ...

    async def cache_get(self, key: bytes, max_age: float) -> CachedAnswer | None:
        """The answer kept under a key, None if there is none younger than `max_age` seconds."""
        ...

    async def cache_put(self, answers: Sequence[CachedAnswer]) -> None:
        """Keep answers, `age` seconds old each; a key that has one gets the new one."""
        ...

    async def cache_prune(self, max_age: float, max_bytes: int) -> int:
        """Forget what is older, then the oldest beyond `max_bytes` of answers in all; returns how many."""
        ...
