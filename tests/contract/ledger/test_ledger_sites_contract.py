"""Contract: watched sites."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from colony.contracts import Artifact, BatchRequest, JobState, OutcomeRow
from colony.errors import NotFound
from colony.ids import SHARDS, AgentId, AgentType, Id
from colony.jobs import StepKind, StepPlan
from colony.ledger.port import Ledger
from colony.ledger.sites import CheckedSite, MonitorPulse, MonitorRow, SiteUpdate, TickRows
from colony.sites import AlertRow, CheckRow, NoticeRow, SiteMemory, SiteRow, SiteSpec, SiteState
from tests.contract.ledger.fleet_of_one import LetTimePass

pytestmark = pytest.mark.contract

STEP = StepPlan(number=0, name=Id("check"), kind=StepKind.MAP, agent_type=AgentType("monitoring"), action=Id("check"))


def spec(name: str, **fields: object) -> SiteSpec:
    return SiteSpec.model_validate({"site": name, "url": f"http://{name}.example/", **fields})


async def opened(ledger: Ledger, *names: str, key: str = "k") -> int:
    plan = await ledger.open_job(key, f"w-{key}", "website_monitor", [STEP], None, {})
    sites = [SiteRow(spec(name), SiteMemory(), 100.0 + at) for at, name in enumerate(names)]
    await ledger.open_monitor(plan.job, "secret", b"{}", sites)
    return plan.job


def tick(job: int, number: int, **fields: object) -> TickRows:
    empty = TickRows(job, 0, number, (), (), (), (), (), (), 0, f"reply {number}".encode())
    return empty._replace(**fields)  # pyright: ignore[reportArgumentType] -- fields of the tuple


def alert(site: str, state: SiteState, at: float = 1.0, reason: str = "r") -> AlertRow:
    return AlertRow(0, Id(site), state, state, reason, at)


def notice(site: str, kind: str = "site-down", at: float = 5.0) -> NoticeRow:
    return NoticeRow(0, Id(site), kind, at, "http://a/", "up", "no \x00 answer")


async def test_a_monitor_is_opened_once(ledger: Ledger) -> None:
    job = await opened(ledger, "b", "a")
    await ledger.open_monitor(job, "other", b"x", [SiteRow(spec("c"), SiteMemory(), 0.0)])
    assert await ledger.monitor(job) == MonitorRow(b"{}", "secret", 0, 0)
    assert [row.spec.site for row in await ledger.sites(job)] == ["a", "b"]
    assert await ledger.monitor_pulse(job) == MonitorPulse(2, 0, 100.0, 0, 0)
    with pytest.raises(NotFound):
        await ledger.monitor(job + 1)
    with pytest.raises(NotFound):
        await ledger.save_tick(tick(job + 1, 1))


async def test_sites_come_when_they_are_due(ledger: Ledger) -> None:
    job = await opened(ledger, "a", "b", "c", "d")
    assert [row.spec.site for row in await ledger.due_sites(job, 102.0, 10)] == ["a", "b", "c"]
    assert [row.spec.site for row in await ledger.due_sites(job, 102.0, 2)] == ["a", "b"]
    assert await ledger.pause_sites(job, [Id("a"), Id("gone")], True, 0.0) == 1
    busy = SiteUpdate(Id("b"), SiteMemory(streak=2), 101.0, 7)
    await ledger.save_tick(tick(job, 1, updates=[busy]))
    assert [row.spec.site for row in await ledger.due_sites(job, 102.0, 10)] == ["c"]
    assert await ledger.monitor_pulse(job) == MonitorPulse(4, 1, 102.0, 0, 0)
    assert await ledger.pause_sites(job, None, True, 0.0) == 3
    assert await ledger.pause_sites(job, None, False, 50.0) == 4
    assert {row.due_at for row in await ledger.sites(job)} == {50.0}


async def test_a_round_is_written_once(ledger: Ledger) -> None:
    job = await opened(ledger, "a")
    first = tick(job, 1, tasks=[(0, b'{"n":1}')], next_seq=1, notices=[notice("a")])
    again = first._replace(reply=b"other")
    replies = await asyncio.gather(ledger.save_tick(first), ledger.save_tick(again))
    assert replies[0] == replies[1]
    assert await ledger.save_tick(first._replace(reply=b"third")) == replies[0]
    assert (await ledger.monitor(job))[2:] == (1, 1)
    assert len(await ledger.notices(job, 10)) == 1
    rows = await ledger.open_tasks(BatchRequest(job=job, key="k", step=0, first=0, end=1))
    assert [(row.seq, row.payload) for row in rows] == [(0, b'{"n":1}')]


async def test_what_came_of_checks(ledger: Ledger, let_time_pass: LetTimePass) -> None:
    job = await opened(ledger, "a", "b", "c", "d")
    updates = [SiteUpdate(Id(name), SiteMemory(), 0.0, seq) for seq, name in enumerate("abcd", 5)]
    await ledger.save_tick(tick(job, 1, updates=updates, tasks=[(seq, b"{}") for seq in range(5, 9)], next_seq=9))
    await ledger.start_lease("i", "colony-host-0", 60)
    epochs = await ledger.claim_shards("i", range(SHARDS))
    batch = BatchRequest(job=job, key="k", step=0, first=5, end=9)
    agent = AgentId("monitoring-00001")
    outcomes = [
        OutcomeRow(5, agent, True, "", "", False, b'{"n":5}', 1),
        OutcomeRow(6, agent, False, "BadInput", "no", False, b"{}", 1),
    ]
    await ledger.start_tasks(batch, "i", [5, 6, 7, 8])
    await ledger.commit(batch, "i", epochs, outcomes)
    await ledger.remove_sites(job, [Id("d")], 1.0)
    found = await ledger.checked_sites(job, 0, 5, 9)
    assert [(each.row.spec.site, each.result, each.error) for each in found] == [
        ("a", b'{"n":5}', ""),
        ("b", None, "BadInput"),
        ("c", None, ""),
    ]
    assert isinstance(found[0], CheckedSite)
    assert [each.row.spec.site for each in await ledger.checked_sites(job, 0, 6, 7)] == ["b"]
    await ledger.trim_monitor(job, 0, 9, 0.0)
    assert await ledger.results(job, 0, 0, 100) == []
    assert (await ledger.step_counts(job, 0))[:2] == (0, 0)


async def test_a_site_that_is_put_again_keeps_what_is_remembered_unless_it_moved(ledger: Ledger) -> None:
    job = await opened(ledger, "a", "b")
    seen = SiteMemory(state=SiteState.UP, status=200)
    updates = [SiteUpdate(Id(name), seen, 0.0, 3) for name in "ab"]
    await ledger.save_tick(tick(job, 1, updates=updates))
    await ledger.pause_sites(job, [Id("b")], True, 0.0)
    new = await ledger.put_sites(job, [spec("a", interval=5), spec("b", url="http://moved/"), spec("c")], 9.0)
    assert new == 1
    a, b, c = await ledger.sites(job)
    assert (a.memory, a.checking, a.spec.interval, a.due_at) == (seen, 3, 5.0, 9.0)
    assert (b.memory, b.checking, b.paused) == (SiteMemory(), None, True)
    assert c == SiteRow(spec("c"), SiteMemory(), 9.0)


async def test_a_round_leaves_removed_sites_alone(ledger: Ledger) -> None:
    job = await opened(ledger, "a", "b")
    await ledger.save_tick(tick(job, 1, opened=[alert("a", SiteState.DOWN)]))
    assert await ledger.remove_sites(job, [Id("a"), Id("gone")], 77.0) == 1
    await ledger.save_tick(tick(job, 2, updates=[SiteUpdate(Id("a"), SiteMemory(), 0.0, None)]))
    assert [row.spec.site for row in await ledger.sites(job)] == ["b"]
    assert [row.closed_at for row in await ledger.alerts(job, 0.0)] == [77.0]


async def test_history_adds_up(ledger: Ledger) -> None:
    job = await opened(ledger, "a")
    one = CheckRow(Id("a"), 10, 3, 1, 1, 0.25)
    await ledger.save_tick(tick(job, 1, checks=[one, CheckRow(Id("a"), 11, -1, 1, 0, 0.0)]))
    await ledger.save_tick(tick(job, 2, checks=[one]))
    await ledger.save_tick(tick(job, 2, checks=[one]))
    assert await ledger.site_checks(job, 0) == [
        CheckRow(Id("a"), 10, 3, 2, 2, 0.5),
        CheckRow(Id("a"), 11, -1, 1, 0, 0.0),
    ]
    assert await ledger.site_checks(job, 11) == [CheckRow(Id("a"), 11, -1, 1, 0, 0.0)]
    await ledger.trim_monitor(job, 0, 0, 11 * 3600.0)
    assert [row.hour for row in await ledger.site_checks(job, 0)] == [11]


async def test_a_site_has_one_open_alert(ledger: Ledger) -> None:
    job = await opened(ledger, "a", "b")
    await ledger.save_tick(tick(job, 1, opened=[alert("a", SiteState.DEGRADED), alert("b", SiteState.DOWN)]))
    await ledger.save_tick(tick(job, 2, opened=[alert("a", SiteState.DOWN, 9.0, "worse\x00")]))
    await ledger.save_tick(tick(job, 3, opened=[alert("a", SiteState.DEGRADED, 10.0, "better")]))
    b, a = await ledger.alerts(job, 0.0)
    assert a[1:] == (Id("a"), SiteState.DEGRADED, SiteState.DOWN, "better", 1.0, None, 3)
    assert b.changes == 1
    await ledger.save_tick(tick(job, 4, closed=[(Id("a"), 20.0)]))
    await ledger.save_tick(tick(job, 5, opened=[alert("a", SiteState.DOWN, 30.0)]))
    assert [(row.site, row.opened_at, row.closed_at) for row in await ledger.alerts(job, 20.0)] == [
        ("a", 30.0, None),
        ("b", 1.0, None),
        ("a", 1.0, 20.0),
    ]
    assert len(await ledger.alerts(job, 21.0)) == 2
    await ledger.trim_monitor(job, 0, 0, 25.0)
    assert len(await ledger.alerts(job, 0.0)) == 2


async def test_notices_are_told_in_order(ledger: Ledger) -> None:
    job = await opened(ledger, "a")
    other = await opened(ledger, "a", key="other")
    await ledger.save_tick(tick(other, 1, notices=[notice("a")]))
    await ledger.save_tick(tick(job, 1, notices=[notice("a"), notice("a", "site-up"), notice("a", "site-changed")]))
    waiting = await ledger.notices(job, 2)
    assert [row.kind for row in waiting] == ["site-down", "site-up"]
    assert waiting[0].reason == "no � answer"
    assert (await ledger.monitor_pulse(job)).notices == 3
    last = (await ledger.monitor_pulse(job)).last_notice
    assert [row.kind for row in await ledger.notices(job, 9, last - 1)] == ["site-down", "site-up"]
    await ledger.settle_notices(job, waiting[0].notice)
    await ledger.settle_notices(job, waiting[1].notice, "nobody listens")
    assert [row.kind for row in await ledger.notices(job, 9)] == ["site-changed"]
    assert (await ledger.monitor_pulse(job))[3:] == (1, 1, last)
    between = await ledger.notices_between(job, waiting[0].notice, last, 9)
    assert [row.kind for row in between] == ["site-up", "site-changed"], "told or not"
    assert await ledger.notices_between(job, 0, last, 1) == waiting[:1]
    assert await ledger.notices_between(job, 0, waiting[1].notice, 9) == waiting
    assert await ledger.notices_between(job, last, last + 9, 9) == []
    await ledger.trim_monitor(job, 0, 0, 6.0)
    assert (await ledger.monitor_pulse(job))[3:] == (1, 0, last)
    assert (await ledger.monitor_pulse(other)).notices == 1


async def test_a_forgotten_job_takes_its_monitor_along(ledger: Ledger) -> None:
    job = await opened(ledger, "a")
    await ledger.save_tick(
        tick(
            job,
            1,
            opened=[alert("a", SiteState.DOWN)],
            notices=[notice("a")],
            checks=[CheckRow(Id("a"), 1, 1, 1, 1, 1.0)],
        )
    )
    await ledger.close_job(job, JobState.CANCELLED)
    await ledger.prune(0.0, None)
    with pytest.raises(NotFound):
        await ledger.monitor(job)
    assert await ledger.sites(job) == []
    assert await ledger.alerts(job, 0.0) == []
    assert await ledger.site_checks(job, 0) == []
    assert await ledger.monitor_pulse(job) == MonitorPulse(0, 0, None, 0, 0)


async def test_reports_of_days_are_forgotten_in_the_end(ledger: Ledger) -> None:
    job = await opened(ledger, "a")
    for name in ("report.md", "report-2026-01-30.md", "report-2026-01-31.html", "report-2026-02-01.md", "report-x.md"):
        await ledger.put_artifacts(job, [Artifact(name=name, media_type="text/markdown", content=b"x")])
    await ledger.trim_monitor(job, 0, 0, 1_769_904_000.0)  # 2026-02-01
    names = [artifact.name for artifact in await ledger.artifacts(job)]
    assert sorted(names) == ["report-2026-02-01.md", "report-x.md", "report.md"]


async def test_memory_is_kept_as_it_was(ledger: Ledger) -> None:
    job = await opened(ledger, "a")
    memory = SiteMemory(
        state=SiteState.DEGRADED, since=1.5, streak=-2, reached=1, seconds=0.25, digest="ab", certificate_ends=9e9
    )
    await ledger.save_tick(tick(job, 1, updates=[SiteUpdate(Id("a"), memory, 3.25, None)]))
    assert (await ledger.sites(job))[0] == SiteRow(spec("a"), memory, 3.25)
    assert orjson.loads((await ledger.monitor(job)).settings) == {}
