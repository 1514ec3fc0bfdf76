"""`website_monitor` on a real Temporal server, with a real host, fetcher and sites of this process."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nats.errors import Error as NatsError
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from agents.monitoring import Monitoring
from colony.clock import SystemClock
from colony.config.endpoints import TemporalEndpoint
from colony.config.model import AgentTypeConfig, Config, FetchConfig, FleetConfig
from colony.contracts import AgentSpec, JobState
from colony.errors import BadInput, Cancelled, NotFound
from colony.fetch import open_fetcher
from colony.ids import SHARDS, AgentType, agent_name
from colony.ledger.memory import MemoryLedger
from colony.ledger.sites import TickRows
from colony.messaging.codec import decode
from colony.messaging.events import ensure_event_stream
from colony.messaging.memory import MemoryBus, MemoryMessenger
from colony.messaging.nats import open_messenger
from colony.messaging.permissions import EVENT_STREAM
from colony.messaging.port import Envelope, Messenger
from colony.registry.memory import MemoryRegistry
from colony.sites import SiteRow
from ray_app.fleet import HostBatchRunner
from ray_app.host import Host, open_host
from ray_app.local_hosts import LocalHosts
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import keep_history
from tests.servers.nats import nats_server
from tests.servers.sites import Site, serve_sites
from tests.servers.temporal import temporal_cli
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.activities_monitor import MonitorActivities
from workflows.attributes import JOB_KIND, PRIORITY, TENANT, registered_attributes
from workflows.client import await_job, cancel_job, connect, start_job, update_job
from workflows.webhooks import SIGNATURE, is_signed
from workflows.worker import dispatch_worker, io_worker, run_workers, workflow_worker

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

QUICK = {"interval": 1, "failures": 2, "recoveries": 2}


@dataclass
class Watching:
    """A colony in one process."""

    client: Client
    ledger: MemoryLedger
    folder: Path
    facts: list[tuple[str, Envelope]]
    handles: list[WorkflowHandle[Any, Any]]

    async def start(self, **given: Any) -> WorkflowHandle[Any, Any]:
        started = await start_job(self.client, "website_monitor", {**QUICK, **given})
        self.handles.append(self.client.get_workflow_handle(started.workflow_id))
        return self.handles[-1]

    def told(self) -> list[str]:
        """The events of sites that the bus has; the webhook may be told before it."""
        return [subject for subject, _ in self.facts if subject.startswith("colony.event.site-")]

    async def end(self) -> None:
        """A monitor runs for ever, and the next test numbers its jobs from 1 again."""
        for handle in self.handles:
            if (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
                await handle.terminate()

    async def job(self, handle: WorkflowHandle[Any, Any]) -> int:
        async def opened() -> int:
            try:
                return (await self.ledger.job(handle.id)).job
            except NotFound:
                return 0

        return await assert_eventually(opened, 30)

    async def sites(self, handle: WorkflowHandle[Any, Any]) -> dict[str, SiteRow]:
        return {row.spec.site: row for row in await self.ledger.sites(await self.job(handle))}

    async def reaches(self, handle: WorkflowHandle[Any, Any], timeout: float = 40.0, **states: str) -> None:
        async def reached() -> bool:
            rows = await self.sites(handle)
            assert {name: rows[name].memory.state.value for name in states if name in rows} == states
            return True

        await assert_eventually(reached, timeout)


Opens = Callable[..., AbstractAsyncContextManager[Watching]]


@pytest.fixture
def watching(temporal: TemporalEndpoint, tmp_path: Path) -> Opens:
    @asynccontextmanager
    async def opened(
        *sites: Site, workers: bool = True, ledger: MemoryLedger | None = None, news: Messenger | None = None
    ) -> AsyncGenerator[Watching]:
        """With `news` the events go there."""
        clock, bus = SystemClock(), MemoryBus()
        ledger = ledger or MemoryLedger(clock)
        kind = AgentType("monitoring")
        config = Config(
            fleet=FleetConfig(hosts=1, lease_seconds=60, types={kind: AgentTypeConfig(count=20)}),
            fetch=FetchConfig(allow_private=tuple(f"127.0.0.1:{site.port}" for site in sites)),
        )
        await ledger.put_agents([AgentSpec(agent_id=agent_name(kind, n), agent_type=kind) for n in range(20)])
        facts: list[tuple[str, Envelope]] = []

        async def keep(subject: str, fact: Envelope) -> None:
            facts.append((subject, fact))

        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(connect(temporal))
            fetcher = await stack.enter_async_context(open_fetcher(config.fetch))

            def open_one(slot: int, incarnation: str) -> AbstractAsyncContextManager[Host]:
                messenger = MemoryMessenger(bus, role="host", clock=clock)
                registry = MemoryRegistry(clock)
                return open_host(
                    slot,
                    incarnation,
                    ledger,
                    messenger,
                    registry,
                    config,
                    lambda *_: Monitoring,
                    fetcher=fetcher,
                    clock=clock,
                )

            hosts = LocalHosts(open_one)
            stack.push_async_callback(hosts.aclose)
            await hosts.start_host(0)
            await (await hosts.hosts())[0].assign(range(SHARDS))
            listener = MemoryMessenger(bus, role="client", clock=clock)
            await listener.subscribe("colony.event.>", keep)
            messenger = news or MemoryMessenger(bus, role="worker", clock=clock)
            monitor = MonitorActivities(
                ledger,
                [tmp_path],
                messenger=messenger,
                poster=fetcher,
                check_fleet=True,
                attributes=await registered_attributes(client),
                deployment="colony-test",
            )
            io = io_worker(client, IoActivities(ledger, config, [tmp_path]), monitor=monitor)
            dispatch = dispatch_worker(client, DispatchActivities(HostBatchRunner(hosts)))
            shutdown = asyncio.Event()
            every = [workflow_worker(client), io, dispatch] if workers else [io, dispatch]
            running = asyncio.create_task(run_workers(every, shutdown))
            here = Watching(client, ledger, tmp_path, facts, [])
            try:
                yield here
            finally:
                await here.end()
                shutdown.set()
                await running

    return opened


async def test_down_and_up_again_is_told_once(watching: Opens) -> None:
    async with serve_sites(3) as (good, bad, hook), watching(good, bad, hook) as here:
        named = [{"url": good.url, "name": "good", "keyword": "hello"}, {"url": bad.url, "name": "bad"}]
        handle = await here.start(sites=named, webhook=hook.url + "hook")
        await here.reaches(handle, good="up", bad="up")
        assert hook.posts == []
        bad.mode = "error"
        await here.reaches(handle, bad="down", good="up")
        bad.mode = "ok"
        await here.reaches(handle, bad="up")
        await assert_eventually(lambda: len(hook.events) >= 2, 30)
        assert [(event["kind"], event["site"]) for event in hook.events] == [("site-down", "bad"), ("site-up", "bad")]
        job = await here.job(handle)
        secret = (await here.ledger.monitor(job)).secret
        headers, body = hook.posts[0]
        assert is_signed(body, secret, headers[SIGNATURE.lower()], SystemClock().wall())
        assert not is_signed(body, "other", headers[SIGNATURE.lower()], SystemClock().wall())
        [alert] = await here.ledger.alerts(job, 0.0)
        assert (alert.site, alert.worst, alert.changes) == ("bad", "down", 1)
        assert alert.closed_at is not None
        assert alert.closed_at > alert.opened_at
        await assert_eventually(lambda: len(here.told()) >= 2, 30)
        assert here.told() == ["colony.event.site-down.bad", "colony.event.site-up.bad"]
        names = await handle.execute_update("report", 1.0)
        assert names == ["report.md", "report.html"]
        text = next(each.content.decode() for each in await here.ledger.artifacts(job) if each.name == "report.md")
        assert "| bad | up |" in text
        assert "| bad | down |" in text
        await cancel_job(here.client, handle.id)
        with pytest.raises(Cancelled):
            await await_job(here.client, handle.id, timeout=60)
        assert (await here.ledger.job(handle.id)).state is JobState.CANCELLED
        await keep_history(here, handle.id, "website_monitor")


async def test_sites_that_misbehave_are_found_and_hold_up_nobody(watching: Opens, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = await asyncio.to_thread(
        subprocess.run,
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3", "-subj", "/CN=other.example",
         "-keyout", str(key), "-out", str(certificate)],
        capture_output=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    async with (
        serve_sites(6) as plain,
        serve_sites(1, certificate=(certificate, key)) as [wrong],
        watching(*plain, wrong) as here,
    ):
        hang, redirect, endless, refuse, good, keyword = plain
        for site, mode in ((hang, "hang"), (redirect, "redirect"), (endless, "endless"), (refuse, "refuse")):
            site.mode = mode
        pairs = {"hang": hang, "redirect": redirect, "endless": endless, "refuse": refuse, "good": good, "wrong": wrong}
        sites: list[dict[str, Any]] = [{"name": name, "url": site.url, "timeout": 3} for name, site in pairs.items()]
        sites += [{"name": "keyword", "url": keyword.url, "keyword": "goodbye"}]
        sites += [{"name": "private", "url": "http://127.0.0.1:9/"}]
        handle = await here.start(sites=sites)
        bad = dict.fromkeys(("hang", "redirect", "endless", "refuse", "wrong", "keyword", "private"), "down")
        await here.reaches(handle, 60, good="up", **bad)
        rows = await here.sites(handle)
        problems = {name: row.memory.problem for name, row in rows.items()}
        for name, said in {
            "hang": "no answer in time",
            "redirect": "redirects for ever",
            "endless": "too large",
            "refuse": "no answer",
            "wrong": "certificate is not valid",
            "keyword": "keyword is missing",
            "private": "may not be fetched",
            "good": "",
        }.items():
            assert said in problems[name], name
        assert endless.sent < 25_000_000 * endless.requests, "the page is left, and not read to its end"
        checks = good.requests
        await assert_eventually(lambda: good.requests >= checks + 3, 30)
        assert good.requests > hang.requests


async def test_a_site_that_flaps_is_not_told(watching: Opens) -> None:
    async with serve_sites(1) as [site], watching(site) as here:
        handle = await here.start(sites=[{"url": site.url, "name": "flap"}], failures=3)
        await here.reaches(handle, flap="up")
        for mode in ("error", "ok", "error", "error", "ok"):
            site.mode = mode
            seen = site.requests
            await assert_eventually(lambda seen=seen: site.requests > seen, 30)
        assert await here.ledger.alerts(await here.job(handle), 0.0) == []


async def test_a_running_monitor_is_changed(watching: Opens) -> None:
    async with serve_sites(3) as (one, two, slow), watching(one, two, slow) as here:
        slow.mode = "hang"
        handle = await here.start(sites=[{"url": one.url, "name": "one"}, {"url": slow.url, "name": "slow"}])
        done = await handle.execute_update("change_sites", {"add": [{"url": two.url, "name": "two", "interval": 2}]})
        assert (done["added"], done["sites"]) == (1, 3)
        await here.reaches(handle, one="up", two="up")
        assert (await here.sites(handle))["two"].spec.failures == 2
        # Removed while its check is under way.
        await assert_eventually(lambda: slow.requests >= 1, 30)
        assert (await handle.execute_update("change_sites", {"remove": [slow.url]}))["removed"] == 1
        assert (await handle.execute_update("change_sites", {"interval": {"one": 3600}}))["changed"] == 1
        assert (await here.sites(handle))["one"].spec.interval == 3600
        assert (await handle.execute_update("pause", "two"))["paused"] == 1
        await asyncio.sleep(0)
        row = (await here.sites(handle))["two"]
        assert row.paused
        assert (await handle.execute_update("resume"))["resumed"] == 1
        seen = two.requests
        await assert_eventually(lambda: two.requests > seen, 30)
        assert set(await here.sites(handle)) == {"one", "two"}
        for change, said in (
            ({"remove": ["nobody"]}, "'remove' names the site 'nobody'"),
            ({"add": [{"url": "ftp://example.com"}]}, "add.0.url"),
            ({"interval": {"one": 0.1}}, "interval"),
            ({"wrong": 1}, "unknown field 'wrong'"),
        ):
            with pytest.raises(WorkflowUpdateFailedError) as failed:
                await handle.execute_update("change_sites", change)
            assert isinstance(failed.value.cause, ApplicationError)
            assert said in failed.value.cause.message
        assert set(await here.sites(handle)) == {"one", "two"}


async def test_a_monitor_is_found_by_its_attributes_and_its_priority_is_changed(watching: Opens) -> None:
    async with serve_sites(1) as [site], watching(site) as here:
        handle = await here.start(sites=[{"url": site.url, "name": "site"}], priority=4, tenant="acme")
        await here.reaches(handle, site="up")
        attributes = (await handle.describe()).typed_search_attributes
        assert (attributes[JOB_KIND], attributes[TENANT], attributes[PRIORITY]) == ("website_monitor", "acme", 4)
        assert await update_job(here.client, handle.id, "set_priority", 2) == 2

        async def changed() -> bool:
            return (await handle.describe()).typed_search_attributes[PRIORITY] == 2

        await assert_eventually(changed, 30)
        told = [fact.payload for subject, fact in here.facts if subject.startswith("colony.event.job-opened.")]
        assert [(each["template"], each["tenant"]) for each in told] == [("website_monitor", "acme")]
        await update_job(here.client, handle.id, "cancel")
        with pytest.raises(Cancelled):
            await await_job(here.client, handle.id, timeout=60)
        assert (await here.ledger.job(handle.id)).state is JobState.CANCELLED


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "'sites' names no site"),
        ({"sites": ["http://a.example/"], "priority": 9}, "priority"),
        ({"sites": []}, "'sites' names no site"),
        ({"sites": ["nonsense"]}, "sites.0.url"),
        ({"sites": [{"url": "http://a.example/", "interval": 0}]}, "sites.0.interval"),
        ({"sites": [{"url": "http://a.example/", "colour": 1}]}, "sites.0.colour"),
        ({"sites": [{"url": "file:///etc/passwd"}]}, "sites.0.url"),
        ({"sites": ["http://a.example/"], "webhook": "mailto:me"}, "webhook"),
        ({"sites": ["http://a.example/"], "colour": 1}, "unknown field 'colour'"),
        ({"source": "missing.csv"}, "missing.csv"),
        (
            {"sites": [{"url": "http://a.example/", "name": "x"}, {"url": "http://b.example/", "name": "X"}]},
            "sites.1.name",
        ),
    ],
)
async def test_wrong_input_fails_the_workflow(watching: Opens, given: dict[str, Any], field: str) -> None:
    async with watching() as here:
        started = await start_job(here.client, "website_monitor", given)
        with pytest.raises(BadInput) as refused:
            await await_job(here.client, started.workflow_id, timeout=60)
        assert field in str(refused.value)
        assert (await here.ledger.job(started.key)).state is JobState.FAILED


@pytest.mark.parametrize("arguments", [[], ["--input", "[1]"], ["--input", "{}", "--input", "{}"]])
async def test_any_arguments_fail_instead_of_hanging(
    watching: Opens,
    temporal: TemporalEndpoint,
    arguments: list[str],
) -> None:
    async with watching() as here:
        name = f"odd-{uuid.uuid4().hex[:8]}"
        start = ("workflow", "start", "--type", "website_monitor", "--task-queue", "colony", "--workflow-id", name)
        code, said = await temporal_cli(temporal, *start, *arguments)
        assert code == 0, said
        with pytest.raises(BadInput, match="one argument"):
            await await_job(here.client, name, timeout=60)


async def test_a_webhook_that_is_away_gets_all_of_it_later(watching: Opens) -> None:
    async with serve_sites(2) as (site, hook), watching(site, hook) as here:
        hook.post_status = 503
        handle = await here.start(sites=[{"url": site.url, "name": "site"}], webhook=hook.url)
        await here.reaches(handle, site="up")
        site.mode = "error"
        await here.reaches(handle, site="down")
        tried = hook.requests
        await assert_eventually(lambda: hook.requests > tried, 30)
        hook.post_status = 204
        await assert_eventually(lambda: hook.posts, 40)
        assert [event["kind"] for event in hook.events] == ["site-down"]
        await assert_eventually(here.told, 30)
        assert here.told() == ["colony.event.site-down.site"]


async def test_a_webhook_that_refuses_is_given_up_and_the_next_event_is_told(watching: Opens) -> None:
    async with serve_sites(2) as (site, hook), watching(site, hook) as here:
        hook.post_status = 400
        handle = await here.start(sites=[{"url": site.url, "name": "site"}], webhook=hook.url)
        await here.reaches(handle, site="up")
        site.mode = "error"
        job = await here.job(handle)

        async def given_up() -> bool:
            return (await here.ledger.monitor_pulse(job)).failed_notices == 1

        await assert_eventually(given_up, 40)
        hook.post_status, site.mode = 200, "ok"
        await assert_eventually(lambda: hook.posts, 40)
        assert [event["kind"] for event in hook.events] == ["site-up"]


async def test_watching_goes_on_when_the_worker_is_gone_for_a_while(watching: Opens) -> None:
    async with serve_sites(1) as [site], watching(site, workers=False) as here:
        stop = asyncio.Event()
        first = asyncio.create_task(run_workers([workflow_worker(here.client)], stop))
        handle = await here.start(sites=[{"url": site.url, "name": "site"}])
        await here.reaches(handle, site="up")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        site.mode = "error"
        seen = site.requests
        stop = asyncio.Event()
        second = asyncio.create_task(run_workers([workflow_worker(here.client)], stop))
        await here.reaches(handle, 60, site="down")
        assert site.requests > seen
        job = await here.job(handle)
        assert len(await here.ledger.alerts(job, 0.0)) == 1
        tasks, done = (await here.ledger.outcome_multiplicity(job))[0]
        assert tasks - done <= 1
        stop.set()
        await second


async def test_a_source_file_lists_the_sites(watching: Opens) -> None:
    async with serve_sites(2) as (one, two), watching(one, two) as here:
        (here.folder / "sites.csv").write_text(f"url,name,keyword\n{one.url},one,hello\n{two.url},,\n")
        handle = await here.start(source="sites.csv")
        await here.reaches(handle, one="up")
        assert len(await here.sites(handle)) == 2


class Gated(MemoryLedger):
    """A ledger that can take as long as one likes to write a round."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.gate = asyncio.Event()
        self.gate.set()
        self.writing = False
        self.cut = False

    async def save_tick(self, rows: TickRows) -> bytes:
        self.writing = not self.gate.is_set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cut = True
            raise
        return await super().save_tick(rows)


async def test_a_cancel_while_a_round_is_under_way(watching: Opens) -> None:
    ledger = Gated()
    async with serve_sites(1) as [site], watching(site, ledger=ledger) as here:
        handle = await here.start(sites=[{"url": site.url, "name": "site"}])
        await here.reaches(handle, site="up")
        job = await here.job(handle)
        ledger.gate.clear()
        await assert_eventually(lambda: ledger.writing, 30)
        tick = (await ledger.monitor(job)).tick
        await cancel_job(here.client, handle.id)
        with pytest.raises(Cancelled):
            await await_job(here.client, handle.id, timeout=60)
        assert (await ledger.job(handle.id)).state is JobState.CANCELLED
        # The round itself is told to stop: nothing of it is written after the end.
        await assert_eventually(lambda: ledger.cut, 30)
        ledger.gate.set()
        assert (await ledger.monitor(job)).tick == tick
        assert (await ledger.job(handle.id)).state is JobState.CANCELLED


async def test_an_event_outlives_the_absence_of_the_bus_and_the_webhook_does_not_wait(watching: Opens) -> None:
    news = MemoryBus()
    heard: list[Envelope] = []

    async def keep(subject: str, fact: Envelope) -> None:
        if fact.kind.startswith("site-"):  # that the job was opened is told too
            heard.append(fact)

    async with (
        serve_sites(2) as (site, hook),
        watching(site, hook, news=MemoryMessenger(news, role="worker")) as here,
    ):
        await MemoryMessenger(news, role="client").subscribe("colony.event.>", keep)
        handle = await here.start(sites=[{"url": site.url, "name": "site"}], webhook=hook.url)
        await here.reaches(handle, site="up")
        news.available = False
        site.mode = "error"
        await assert_eventually(lambda: hook.posts, 40)
        assert not heard
        news.available = True
        await assert_eventually(lambda: heard, 40)
        site.mode = "ok"
        await assert_eventually(lambda: len({fact.message_id for fact in heard}) == 2, 40)
        assert list(dict.fromkeys(fact.kind for fact in heard)) == ["site-down", "site-up"]
        await cancel_job(here.client, handle.id)
        with pytest.raises(Cancelled):
            await await_job(here.client, handle.id, timeout=60)
        await keep_history(here, handle.id, "monitor_without_bus")


async def test_events_come_over_a_real_bus_that_crashes(watching: Opens) -> None:
    heard: list[tuple[str, Envelope]] = []

    async def keep(subject: str, fact: Envelope) -> None:
        if fact.kind.startswith("site-"):  # that the job was opened is told too
            heard.append((subject, fact))

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        roles = ("worker", "client", "dispatcher")
        worker, listener, dispatcher = [
            await stack.enter_async_context(open_messenger(server.endpoint, role=role, name=role)) for role in roles
        ]
        await ensure_event_stream(dispatcher.jetstream())
        await listener.subscribe("colony.event.>", keep)
        [site] = await stack.enter_async_context(serve_sites(1))
        here = await stack.enter_async_context(watching(site, news=worker))
        handle = await here.start(sites=[{"url": site.url, "name": "shop"}])
        await here.reaches(handle, shop="up")
        site.mode = "error"
        await assert_eventually(lambda: heard, 40)
        assert heard[0][0] == "colony.event.site-down.shop"
        assert heard[0][1].payload["url"] == site.url
        await server.kill()
        site.mode = "ok"
        await here.reaches(handle, shop="up")
        await server.start()

        async def kept() -> list[str]:
            """Events in the log of the bus, each once."""
            reader = await listener.jetstream().subscribe("colony.event.>", stream=EVENT_STREAM, ordered_consumer=True)
            found: dict[str, str] = {}
            with contextlib.suppress(TimeoutError):
                while True:
                    message = await reader.next_msg(timeout=1)
                    found[decode(message.data).message_id] = message.subject
            await reader.unsubscribe()
            return [subject for subject in found.values() if subject.endswith(".shop")]

        async def both() -> bool:
            try:
                found = await kept()
            except NatsError:  # the server takes connections before its log is there again
                return False
            assert found == ["colony.event.site-down.shop", "colony.event.site-up.shop"]
            return True

        await assert_eventually(lambda: worker.connected and listener.connected, 40)
        await assert_eventually(both, 40)
        site.mode = "error"
        await assert_eventually(lambda: len({fact.message_id for _, fact in heard}) >= 2, 40)
