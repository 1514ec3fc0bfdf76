"""Watched sites in Postgres. A round of checks is written in one transaction, whatever it changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from colony.errors import NotFound
from colony.ids import Id
from colony.ledger.postgres_connection import Database
from colony.ledger.postgres_site_rounds import save_alerts, save_sites
from colony.ledger.sites import CheckedSite, MonitorPulse, MonitorRow, TickRows
from colony.ledger.validation import clean_text
from colony.sites import AlertRow, CheckRow, NoticeRow, SiteMemory, SiteRow, SiteSpec, SiteState, day_report

_SITE: Final = "SELECT spec, memory, due_at, paused, checking FROM site"
_DUE: Final = f"""{_SITE}
 WHERE job = $1 AND due_at <= $2 AND NOT paused AND checking IS NULL ORDER BY due_at, site LIMIT $3"""

_CHECKED: Final = """
SELECT s.spec, s.memory, s.due_at, s.paused, s.checking, o.ok, o.error, o.result
  FROM site s LEFT JOIN LATERAL (
       SELECT ok, error, result FROM outcome
        WHERE job = $1 AND step = $2 AND seq = s.checking ORDER BY generation DESC LIMIT 1) o ON true
 WHERE s.job = $1 AND s.checking >= $3 AND s.checking < $4 ORDER BY s.checking"""

_PULSE: Final = """
SELECT count(*), count(*) FILTER (WHERE paused), min(due_at) FILTER (WHERE NOT paused AND checking IS NULL),
       (SELECT count(*) FROM site_notice n WHERE n.job = $1 AND NOT n.told),
       (SELECT count(*) FROM site_notice n WHERE n.job = $1 AND n.told AND n.error <> ''),
       (SELECT coalesce(max(notice), 0) FROM site_notice n WHERE n.job = $1 AND NOT n.told)
  FROM site WHERE job = $1"""

_PUT: Final = """
INSERT INTO site AS s (job, site, spec, url, memory, due_at)
SELECT $1, p.site, p.spec, p.url, $5, $6 FROM unnest($2::text[], $3::bytea[], $4::text[]) AS p (site, spec, url)
 ORDER BY p.site
ON CONFLICT (job, site) DO UPDATE SET
    spec = excluded.spec, url = excluded.url, due_at = excluded.due_at,
    memory = CASE WHEN s.url = excluded.url THEN s.memory ELSE excluded.memory END,
    checking = CASE WHEN s.url = excluded.url THEN s.checking END
RETURNING (xmax = 0)"""

_ALERTS: Final = """
SELECT alert, site, state, worst, reason, opened_at, closed_at, changes FROM alert
 WHERE job = $1 AND (closed_at IS NULL OR closed_at >= $2) ORDER BY alert DESC LIMIT $3"""

_NOTICE: Final = "SELECT notice, site, kind, at, url, before, reason FROM site_notice"

_NOTICES: Final = f"""{_NOTICE}
 WHERE job = $1 AND NOT told AND ($3::bigint IS NULL OR notice <= $3) ORDER BY notice LIMIT $2"""

# In two parts, since each has its own index.
_BETWEEN: Final = f"""
{_NOTICE} WHERE job = $1 AND NOT told AND notice > $2 AND notice <= $3 UNION ALL
{_NOTICE} WHERE job = $1 AND told AND notice > $2 AND notice <= $3 ORDER BY notice LIMIT $4"""

_NEW: Final = SiteMemory().model_dump_json().encode()


class PostgresSites:
    """See `SiteLedger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open_monitor(self, job: int, secret: str, settings: bytes, sites: Sequence[SiteRow]) -> None:
        """See `SiteLedger`."""
        async with self._database.transaction() as session:
            new = await session.changed(
                "INSERT INTO monitor (job, settings, secret) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                job,
                settings,
                secret,
            )
            if new:
                await session.changed(
                    """INSERT INTO site (job, site, spec, url, memory, due_at, paused)
                       SELECT $1, * FROM unnest($2::text[], $3::bytea[], $4::text[], $5::bytea[], $6::float8[],
                                                $7::boolean[])""",
                    job,
                    [row.spec.site for row in sites],
                    [row.spec.model_dump_json().encode() for row in sites],
                    [row.spec.url for row in sites],
                    [row.memory.model_dump_json().encode() for row in sites],
                    [row.due_at for row in sites],
                    [row.paused for row in sites],
                )

    async def monitor(self, job: int) -> MonitorRow:
        """See `SiteLedger`."""
        row = await self._database.row("SELECT settings, secret, tick, next_seq FROM monitor WHERE job = $1", job)
        if row is None:
            raise NotFound(f"Job {job} watches no sites.")
        return MonitorRow(*row)

    async def monitor_pulse(self, job: int) -> MonitorPulse:
        """See `SiteLedger`."""
        row = await self._database.row(_PULSE, job)
        return MonitorPulse(0, 0, None, 0, 0) if row is None else MonitorPulse(*row)

    async def sites(self, job: int) -> list[SiteRow]:
        """See `SiteLedger`."""
        return [_site(row) for row in await self._database.rows(f"{_SITE} WHERE job = $1 ORDER BY site", job)]

    async def due_sites(self, job: int, before: float, limit: int) -> list[SiteRow]:
        """See `SiteLedger`."""
        rows = await self._database.rows(_DUE, job, before, limit)
        return [_site(row) for row in rows]

    async def checked_sites(self, job: int, step: int, first: int, end: int) -> list[CheckedSite]:
        """See `SiteLedger`."""
        rows = await self._database.rows(_CHECKED, job, step, first, end)
        return [CheckedSite(_site(row), row["result"] if row["ok"] else None, row["error"] or "") for row in rows]

    async def save_tick(self, rows: TickRows) -> bytes:
        """See `SiteLedger`."""
        async with self._database.transaction() as session:
            kept = await session.row("SELECT tick, reply FROM monitor WHERE job = $1 FOR UPDATE", rows.job)
            if kept is None:
                raise NotFound(f"Job {rows.job} watches no sites.")
            if kept["tick"] >= rows.tick:
                return kept["reply"]
            await save_sites(session, rows)
            await save_alerts(session, rows)
            if rows.tasks:
                await session.changed(
                    """INSERT INTO task (job, step, seq, payload)
                       SELECT $1, $2, * FROM unnest($3::integer[], $4::bytea[]) ON CONFLICT DO NOTHING""",
                    rows.job,
                    rows.step,
                    [seq for seq, _ in rows.tasks],
                    [payload for _, payload in rows.tasks],
                )
            await session.changed(
                "UPDATE monitor SET tick = $2, next_seq = $3, reply = $4 WHERE job = $1",
                rows.job,
                rows.tick,
                rows.next_seq,
                rows.reply,
            )
            return rows.reply

    async def put_sites(self, job: int, specs: Sequence[SiteSpec], due_at: float) -> int:
        """See `SiteLedger`."""
        fresh = await self._database.rows(
            _PUT,
            job,
            [spec.site for spec in specs],
            [spec.model_dump_json().encode() for spec in specs],
            [spec.url for spec in specs],
            _NEW,
            due_at,
        )
        return sum(1 for (new,) in fresh if new)

    async def remove_sites(self, job: int, names: Sequence[Id], at: float) -> int:
        """See `SiteLedger`."""
        async with self._database.transaction() as session:
            await session.changed(
                "UPDATE alert SET closed_at = $3 WHERE job = $1 AND site = ANY ($2) AND closed_at IS NULL",
                job,
                list(names),
                at,
            )
            return await session.changed("DELETE FROM site WHERE job = $1 AND site = ANY ($2)", job, list(names))

    async def pause_sites(self, job: int, names: Sequence[Id] | None, paused: bool, due_at: float) -> int:
        """See `SiteLedger`."""
        return await self._database.changed(
            """UPDATE site SET paused = $3, due_at = CASE WHEN $3 THEN due_at ELSE $4 END
                WHERE job = $1 AND paused <> $3 AND ($2::text[] IS NULL OR site = ANY ($2))""",
            job,
            None if names is None else list(names),
            paused,
            due_at,
        )

    async def site_checks(self, job: int, since_hour: int) -> list[CheckRow]:
        """See `SiteLedger`."""
        rows = await self._database.rows(
            """SELECT site, hour, bucket, checks, up, seconds FROM site_check
                WHERE job = $1 AND hour >= $2 ORDER BY site, hour, bucket""",
            job,
            since_hour,
        )
        return [CheckRow(Id(site), *rest) for site, *rest in rows]

    async def alerts(self, job: int, since: float, limit: int = 1000) -> list[AlertRow]:
        """See `SiteLedger`."""
        return [
            AlertRow(number, Id(site), SiteState(state), SiteState(worst), *rest)
            for number, site, state, worst, *rest in await self._database.rows(_ALERTS, job, since, limit)
        ]

    async def notices(self, job: int, limit: int, upto: int | None = None) -> list[NoticeRow]:
        """See `SiteLedger`."""
        rows = await self._database.rows(_NOTICES, job, limit, upto)
        return [NoticeRow(number, Id(site), *rest) for number, site, *rest in rows]

    async def notices_between(self, job: int, after: int, upto: int, limit: int) -> list[NoticeRow]:
        """See `SiteLedger`."""
        rows = await self._database.rows(_BETWEEN, job, after, upto, limit)
        return [NoticeRow(number, Id(site), *rest) for number, site, *rest in rows]

    async def settle_notices(self, job: int, last: int, error: str = "") -> None:
        """See `SiteLedger`."""
        await self._database.changed(
            "UPDATE site_notice SET told = true, error = $3 WHERE job = $1 AND notice <= $2 AND NOT told",
            job,
            last,
            clean_text(error),
        )

    async def trim_monitor(self, job: int, step: int, before_seq: int, before: float) -> None:
        """See `SiteLedger`."""
        for table in ("task", "outcome"):
            await self._database.changed(
                f"DELETE FROM {table} WHERE job = $1 AND step = $2 AND seq < $3",  # noqa: S608 -- two fixed names
                job,
                step,
                before_seq,
            )
        await self._database.changed(
            "DELETE FROM attempt WHERE job = $1 AND step = $2 AND last_seq < $3", job, step, before_seq
        )
        await self._database.changed("DELETE FROM site_check WHERE job = $1 AND hour < $2", job, int(before // 3600))
        await self._database.changed("DELETE FROM alert WHERE job = $1 AND closed_at < $2", job, before)
        await self._database.changed("DELETE FROM site_notice WHERE job = $1 AND told AND at < $2", job, before)
        await self._database.changed(
            "DELETE FROM artifact WHERE job = $1 AND name ~ '^report-\\d{4}-\\d\\d-\\d\\d[.]' AND name < $2",
            job,
            day_report(before),
        )


def _site(row: Any) -> SiteRow:
    return SiteRow(
        SiteSpec.model_validate_json(row["spec"]),
        SiteMemory.model_validate_json(row["memory"]),
        row["due_at"],
        row["paused"],
        row["checking"],
    )
