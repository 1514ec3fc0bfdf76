"""The books on language models, in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from colony.errors import AlreadyExists
from colony.ledger.memory_tables import LlmJobRow, MemoryTables
from colony.ledger.validation import clean_text, kept_call
from colony.llm.contracts import CachedAnswer, JobBudget, LlmCall, ModelUse


class MemoryLlm:
    """See `LlmLedger`."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def record_calls(self, rows: Sequence[LlmCall]) -> int:
        """See `LlmLedger`."""
        before = len(self._tables.llm_calls)
        for row in rows:
            kept = kept_call(row)
            self._tables.llm_calls.setdefault((kept.ended_at, kept.request_id), kept)
        return len(self._tables.llm_calls) - before

    async def tokens_of_job(self, key: str) -> int:
        """See `LlmLedger`."""
        return sum(row.prompt_tokens + row.completion_tokens for row in self._calls(clean_text(key)))

    async def calls_of_job(self, key: str) -> list[ModelUse]:
        """See `LlmLedger`."""
        groups: dict[tuple[str, str, str], list[LlmCall]] = defaultdict(list)
        for row in self._calls(clean_text(key)):
            groups[row.backend, row.model, row.tier].append(row)
        return [
            ModelUse(
                *group,
                calls=len(rows),
                failed=sum(row.outcome not in ("ok", "cancelled") for row in rows),
                cached=sum(row.cache != "miss" for row in rows),
                prompt_tokens=sum(row.prompt_tokens for row in rows),
                completion_tokens=sum(row.completion_tokens for row in rows),
                seconds=sum(row.seconds for row in rows),
            )
            for group, rows in sorted(groups.items())
        ]

    async def adopt_job(self, child: str, parent: str) -> None:
        """See `LlmLedger`."""
        row = self._tables.llm_jobs.setdefault(clean_text(child), LlmJobRow())
        if row.parent not in ("", clean_text(parent)):
            raise AlreadyExists(f"The job {child!r} was started by another one.")
        row.parent = clean_text(parent)

    async def set_job_budget(self, job: str, tokens: int | None) -> None:
        """See `LlmLedger`."""
        self._tables.llm_jobs.setdefault(clean_text(job), LlmJobRow()).tokens = tokens

    async def job_budgets(self, key: str) -> list[JobBudget]:
        """See `LlmLedger`."""
        found: list[JobBudget] = []
        job = clean_text(key)
        while len(found) < 32 and (job or not found):
            row = self._tables.llm_jobs.get(job, LlmJobRow())
            found.append(JobBudget(job, row.parent, row.tokens, await self.tokens_of_job(job)))
            job = row.parent
        return found

    async def cache_get(self, key: bytes, max_age: float) -> CachedAnswer | None:
        """See `LlmLedger`."""
        found = self._tables.llm_cache.get(key)
        if found is None:
            return None
        answer, put_at = found
        age = max(0.0, self._tables.clock.monotonic() - put_at)
        return answer._replace(age=age) if age < max_age else None

    async def cache_put(self, answers: Sequence[CachedAnswer]) -> None:
        """See `LlmLedger`."""
        now = self._tables.clock.monotonic()
        for answer in answers:
            kept = answer._replace(model=clean_text(answer.model), age=0.0)
            self._tables.llm_cache[answer.key] = (kept, now - answer.age)

    async def cache_prune(self, max_age: float, max_bytes: int) -> int:
        """See `LlmLedger`."""
        until, total = self._tables.clock.monotonic() - max_age, 0
        newest_first = sorted(self._tables.llm_cache.items(), key=lambda item: (-item[1][1], item[0]))
        gone: list[bytes] = []
        for key, (answer, put_at) in newest_first:
            total += len(answer.answer)
            if total > max_bytes or put_at < until:
                gone.append(key)
        for key in gone:
            del self._tables.llm_cache[key]
        return len(gone)

    def _calls(self, job: str) -> list[LlmCall]:
        """The calls of a job and of all it started."""
        jobs, waiting = {job}, [job]
        while waiting:
            above = waiting.pop()
            below = {key for key, row in self._tables.llm_jobs.items() if row.parent == above and above} - jobs
            jobs |= below
            waiting += below
        return [row for row in self._tables.llm_calls.values() if row.job in jobs and row.job]
