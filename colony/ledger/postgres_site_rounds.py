"""The parts of a round of checks that Postgres writes, inside the caller's transaction."""

from __future__ import annotations

from typing import Final

from colony.ledger.postgres_connection import Session
from colony.ledger.sites import TickRows
from colony.ledger.validation import clean_text

_UPDATE: Final = """
UPDATE site SET memory = u.memory, due_at = u.due_at, checking = u.checking
  FROM unnest($2::text[], $3::bytea[], $4::float8[], $5::integer[]) AS u (site, memory, due_at, checking)
 WHERE site.job = $1 AND site.site = u.site"""

_COUNT: Final = """
INSERT INTO site_check AS c (job, hour, site, bucket, checks, up, seconds)
SELECT $1, * FROM unnest($2::integer[], $3::text[], $4::smallint[], $5::integer[], $6::integer[], $7::float8[])
ON CONFLICT (job, hour, site, bucket) DO UPDATE SET
    checks = c.checks + excluded.checks, up = c.up + excluded.up, seconds = c.seconds + excluded.seconds"""

_OPEN: Final = """
INSERT INTO alert AS a (job, site, state, worst, reason, opened_at)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::float8[])
ON CONFLICT (job, site) WHERE closed_at IS NULL DO UPDATE SET
    state = excluded.state, reason = excluded.reason, changes = a.changes + 1,
    worst = CASE WHEN a.worst = 'down' THEN a.worst ELSE excluded.worst END"""

_NOTICE: Final = """
INSERT INTO site_notice (job, site, kind, at, url, before, reason)
SELECT $1, n.* FROM unnest($2::text[], $3::text[], $4::float8[], $5::text[], $6::text[], $7::text[]) AS n"""


async def save_sites(session: Session, rows: TickRows) -> None:
    """The sites of a round, and their checks."""
    if rows.updates:
        await session.changed(
            _UPDATE,
            rows.job,
            [row.site for row in rows.updates],
            [row.memory.model_dump_json().encode() for row in rows.updates],
            [row.due_at for row in rows.updates],
            [row.checking for row in rows.updates],
        )
    if rows.checks:
        await session.changed(
            _COUNT,
            rows.job,
            [row.hour for row in rows.checks],
            [row.site for row in rows.checks],
            [row.bucket for row in rows.checks],
            [row.checks for row in rows.checks],
            [row.up for row in rows.checks],
            [row.seconds for row in rows.checks],
        )


async def save_alerts(session: Session, rows: TickRows) -> None:
    """What a round makes of alerts, and what there is to tell."""
    if rows.opened:
        await session.changed(
            _OPEN,
            rows.job,
            [row.site for row in rows.opened],
            [row.state.value for row in rows.opened],
            [row.worst.value for row in rows.opened],
            [clean_text(row.reason) for row in rows.opened],
            [row.opened_at for row in rows.opened],
        )
    if rows.closed:
        await session.changed(
            """UPDATE alert SET closed_at = c.at, state = 'up' FROM unnest($2::text[], $3::float8[]) AS c (site, at)
                WHERE alert.job = $1 AND alert.site = c.site AND closed_at IS NULL""",
            rows.job,
            [site for site, _ in rows.closed],
            [at for _, at in rows.closed],
        )
    if rows.notices:
        await session.changed(
            _NOTICE,
            rows.job,
            [row.site for row in rows.notices],
            [row.kind for row in rows.notices],
            [row.at for row in rows.notices],
            [row.url for row in rows.notices],
            [row.before for row in rows.notices],
            [clean_text(row.reason) for row in rows.notices],
        )
