"""One round of a monitor against the ledger: what finished checks say goes in, checks that are due come out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from colony.ids import Id
from colony.ledger.port import SiteLedger
from colony.ledger.sites import CheckedSite, SiteUpdate, TickRows
from colony.sites import SiteRow
from workflows.contracts import Range
from workflows.monitor_contracts import CHECK_STEP, LaneRange, MonitorTick, TickReply
from workflows.monitoring import MAX_ROUND, MAX_SEQ, Turn, judge, next_due, pick, take

_AGAIN_SECONDS = 5.0
"""A check that could not be made, through no fault of its site, is made again after so long."""


async def round_rows(ledger: SiteLedger, request: MonitorTick) -> TickRows:
    """What this round writes."""
    monitor = await ledger.monitor(request.job)
    turns: list[tuple[SiteRow, Turn | None]] = []
    for part in request.finished:
        checked = await ledger.checked_sites(request.job, CHECK_STEP.number, part.first, part.end)
        turns += [(each.row, _turn(each, request.now)) for each in checked]
    due = await ledger.due_sites(request.job, request.now + request.gap / 2, MAX_ROUND * 4)
    chosen = pick(due, request.free)
    handed, next_seq = _hand_out(chosen, monitor.next_seq)
    done = [turn for _, turn in turns if turn is not None]
    reply = TickReply(
        lanes=tuple(handed),
        changes=sum(len(turn.notices) for turn in done),
        blocked=sum(map(len, chosen.values())) < len(due),
    )
    return TickRows(
        job=request.job,
        step=CHECK_STEP.number,
        tick=request.tick,
        updates=[*_absorbed(turns, request.now), *_handed(chosen, handed)],
        checks=[turn.check for turn in done],
        opened=[turn.opened for turn in done if turn.opened is not None],
        closed=[(turn.check.site, request.now) for turn in done if turn.closed],
        notices=[notice for turn in done for notice in turn.notices],
        tasks=list(_tasks(chosen, handed)),
        next_seq=next_seq,
        reply=reply.model_dump_json().encode(),
    )


def _turn(checked: CheckedSite, now: float) -> Turn | None:
    """What a check makes of its site; None for a check that could not be made."""
    if checked.result is None:
        return None
    spec, memory = checked.row.spec, checked.row.memory
    return take(spec, memory, judge(spec, orjson.loads(checked.result), now), now)


def _absorbed(turns: Iterable[tuple[SiteRow, Turn | None]], now: float) -> Iterable[SiteUpdate]:
    for row, turn in turns:
        if turn is None:
            again = now + min(row.spec.interval, _AGAIN_SECONDS)
            yield SiteUpdate(row.spec.site, row.memory, again, None)
        else:
            yield SiteUpdate(row.spec.site, turn.memory, next_due(row.due_at, row.spec.interval, now), None)


def _hand_out(chosen: dict[int, list[SiteRow]], next_seq: int) -> tuple[list[LaneRange], int]:
    first = 0 if next_seq + sum(map(len, chosen.values())) > MAX_SEQ else next_seq
    handed: list[LaneRange] = []
    for lane, rows in chosen.items():
        handed.append(LaneRange(lane=lane, first=first, end=first + len(rows)))
        first += len(rows)
    return handed, first


def _handed(chosen: dict[int, list[SiteRow]], handed: Sequence[LaneRange]) -> Iterable[SiteUpdate]:
    for part in handed:
        for seq, row in enumerate(chosen[part.lane], part.first):
            yield SiteUpdate(row.spec.site, row.memory, row.due_at, seq)


def _tasks(chosen: dict[int, list[SiteRow]], handed: Sequence[LaneRange]) -> Iterable[tuple[int, bytes]]:
    for part in handed:
        for seq, row in enumerate(chosen[part.lane], part.first):
            yield seq, task_payload(row)


def task_payload(row: SiteRow) -> bytes:
    """What the agent gets that looks at a site."""
    spec = row.spec
    return orjson.dumps(
        {"site": spec.site, "url": spec.url, "keyword": spec.keyword, "timeout": spec.timeout}, default=str
    )


def named_sites(rows: Sequence[SiteRow], wanted: Iterable[str]) -> tuple[list[Id], list[str]]:
    """Names of the sites that `wanted` means, by name or URL, and what of it means none."""
    by_name: dict[str, Id] = {row.spec.url: row.spec.site for row in rows}
    by_name |= {row.spec.site: row.spec.site for row in rows}
    found: list[Id] = []
    unknown: list[str] = []
    for each in wanted:
        if each in by_name:
            found.append(by_name[each])
        else:
            unknown.append(each)
    return found, unknown


def seqs_of(ranges: Iterable[Range]) -> int:
    """How many checks some ranges hold."""
    return sum(part.size for part in ranges)
