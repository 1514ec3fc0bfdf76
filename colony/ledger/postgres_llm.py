"""The books on language models, in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from colony.errors import AlreadyExists
from colony.ledger.postgres_connection import Database
from colony.ledger.validation import clean_text, kept_call
from colony.llm.contracts import CachedAnswer, JobBudget, LlmCall, ModelUse

MOST_GENERATIONS: Final = 32
"""Jobs above a job that are looked at."""


class PostgresLlm:
    """See `LlmLedger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record_calls(self, rows: Sequence[LlmCall]) -> int:
        """See `LlmLedger`. One round trip."""
        if not rows:
            return 0
        # By key, so that two writers of the same rows do not wait for each other in a circle.
        kept = sorted((kept_call(row) for row in rows), key=lambda row: (row.ended_at, row.request_id))
        return await self._database.changed(
            """INSERT INTO llm_call (request_id, ended_at, agent, agent_type, job, kind, backend, model, tier,
                                     prompt_tokens, completion_tokens, queued, first, seconds, cache, outcome)
               SELECT r.request_id, to_timestamp(r.ended_at), r.agent, r.agent_type, r.job, r.kind, r.backend, r.model,
                      r.tier, r.prompt_tokens, r.completion_tokens, r.queued, r.first, r.seconds, r.cache, r.outcome
                 FROM unnest($1::text[], $2::double precision[], $3::text[], $4::text[], $5::text[], $6::text[],
                             $7::text[], $8::text[], $9::text[], $10::integer[], $11::integer[],
                             $12::double precision[], $13::double precision[], $14::double precision[],
                             $15::text[], $16::text[])
                      AS r (request_id, ended_at, agent, agent_type, job, kind, backend, model, tier, prompt_tokens,
                            completion_tokens, queued, first, seconds, cache, outcome)
               ON CONFLICT DO NOTHING""",
            *(list(column) for column in zip(*kept, strict=True)),
        )

    async def tokens_of_job(self, key: str) -> int:
        """See `LlmLedger`."""
        return await self._database.value("SELECT llm_tokens_of($1)", clean_text(key))

    async def calls_of_job(self, key: str) -> list[ModelUse]:
        """See `LlmLedger`."""
        rows = await self._database.rows(
            """SELECT c.backend, c.model, c.tier, count(*) AS calls,
                      count(*) FILTER (WHERE c.outcome NOT IN ('ok', 'cancelled')) AS failed,
                      count(*) FILTER (WHERE c.cache <> 'miss') AS cached,
                      sum(c.prompt_tokens)::bigint AS prompt_tokens,
                      sum(c.completion_tokens)::bigint AS completion_tokens,
                      sum(c.seconds) AS seconds
                 FROM llm_call c JOIN llm_jobs_of($1) j ON c.job = j.job
                WHERE c.job <> ''
                GROUP BY c.backend, c.model, c.tier
                ORDER BY c.backend, c.model, c.tier""",
            clean_text(key),
        )
        return [ModelUse(*row) for row in rows]

    async def adopt_job(self, child: str, parent: str) -> None:
        """See `LlmLedger`."""
        changed = await self._database.changed(
            """INSERT INTO llm_job AS j (job, parent) VALUES ($1, $2)
               ON CONFLICT (job) DO UPDATE SET parent = excluded.parent WHERE j.parent IN ('', excluded.parent)""",
            clean_text(child),
            clean_text(parent),
        )
        if not changed:
            raise AlreadyExists(f"The job {child!r} was started by another one.")

    async def set_job_budget(self, job: str, tokens: int | None) -> None:
        """See `LlmLedger`."""
        await self._database.changed(
            """INSERT INTO llm_job (job, tokens) VALUES ($1, $2)
               ON CONFLICT (job) DO UPDATE SET tokens = excluded.tokens""",
            clean_text(job),
            tokens,
        )

    async def job_budgets(self, key: str) -> list[JobBudget]:
        """See `LlmLedger`."""
        rows = await self._database.rows(
            """WITH RECURSIVE line (job, depth) AS (
                   SELECT $1::text COLLATE "C", 1
                   UNION ALL
                   SELECT j.parent, line.depth + 1 FROM line JOIN llm_job j USING (job)
                    WHERE j.parent <> '' AND line.depth < $2)
               SELECT line.job, coalesce(j.parent, ''), j.tokens, llm_tokens_of(line.job)
                 FROM line LEFT JOIN llm_job j USING (job) ORDER BY line.depth""",
            clean_text(key),
            MOST_GENERATIONS,
        )
        return [JobBudget(*row) for row in rows]

    async def cache_get(self, key: bytes, max_age: float) -> CachedAnswer | None:
        """See `LlmLedger`."""
        row = await self._database.row(
            """SELECT key, answer, model, prompt_tokens, completion_tokens,
                      greatest(0, extract(epoch FROM clock_timestamp() - put_at))::double precision AS age
                 FROM llm_cache WHERE key = $1 AND put_at > clock_timestamp() - make_interval(secs => $2)""",
            key,
            max_age,
        )
        return None if row is None else CachedAnswer(*row)

    async def cache_put(self, answers: Sequence[CachedAnswer]) -> None:
        """See `LlmLedger`."""
        last = {answer.key: answer for answer in answers}
        rows = [last[key] for key in sorted(last)]
        await self._database.changed(
            """INSERT INTO llm_cache (key, answer, model, prompt_tokens, completion_tokens, put_at)
               SELECT r.key, r.answer, r.model, r.prompt_tokens, r.completion_tokens,
                      clock_timestamp() - make_interval(secs => r.age)
                 FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::integer[], $5::integer[],
                             $6::double precision[])
                      AS r (key, answer, model, prompt_tokens, completion_tokens, age)
               ON CONFLICT (key) DO UPDATE SET
                   answer = excluded.answer, model = excluded.model, prompt_tokens = excluded.prompt_tokens,
                   completion_tokens = excluded.completion_tokens, put_at = excluded.put_at""",
            [row.key for row in rows],
            [row.answer for row in rows],
            [clean_text(row.model) for row in rows],
            [row.prompt_tokens for row in rows],
            [row.completion_tokens for row in rows],
            [row.age for row in rows],
        )

    async def cache_prune(self, max_age: float, max_bytes: int) -> int:
        """See `LlmLedger`."""
        return await self._database.changed(
            """DELETE FROM llm_cache WHERE key IN (
                   SELECT key FROM (
                       SELECT key, put_at, sum(octet_length(answer)) OVER (ORDER BY put_at DESC, key) AS until
                         FROM llm_cache) AS kept
                    WHERE kept.until > $2 OR kept.put_at < clock_timestamp() - make_interval(secs => $1))""",
            max_age,
            max_bytes,
        )
