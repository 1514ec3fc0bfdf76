"""Workers, dispatcher and host are killed after and half way through each activity of each step of each template.

The job ends right, what it leaves is what an undisturbed job leaves, and nothing is done twice.
"""

from __future__ import annotations

import asyncio
import csv
import functools
import io
import json
import os
import re
import shutil
import signal
import sys
import time
import zipfile
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
import pytest_asyncio
from temporalio.client import Client

from agents.builtin import BUILTIN
from colony.config.endpoints import TemporalEndpoint
from colony.contracts import AgentSpec, JobState
from colony.errors import Cancelled, NotFound
from colony.ids import AgentType, agent_name
from colony.jobs import JobPlan, StepKind
from colony.ledger.port import Ledger
from colony.ledger.postgres import open_ledger
from tests.chaos.mortal_worker import AGENTS, Setup
from tests.documents import ROOT
from tests.eventually import assert_eventually
from tests.servers.postgres import PostgresServer, postgres_server
from tests.servers.sites import Site, serve_sites
from tests.servers.temporal import temporal_server
from workflows.client import await_job, cancel_job, connect, start_job
from workflows.contracts import JobResult

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

Answer = TypeVar("Answer")


class Servers(NamedTuple):
    """Both are there once, for all tests here."""

    temporal: TemporalEndpoint
    postgres: PostgresServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Servers]:
    async with temporal_server() as temporal, postgres_server(tmp_path_factory.mktemp("postgres")) as postgres:
        yield Servers(temporal, postgres)


class Mortals:
    """A process that is started again each time it dies, and what it works for."""

    def __init__(self, setup: Setup, client: Client, ledger: Ledger) -> None:
        self.setup = setup
        self.client = client
        self.ledger = ledger
        self.folder = setup.folder

    @property
    def deaths(self) -> list[str]:
        return self.setup.deaths.places

    def die_from_now_on(self) -> None:
        self.setup.deaths.file.touch()

    @asynccontextmanager
    async def alive(self) -> AsyncGenerator[asyncio.subprocess.Process]:
        given = self.folder / "setup.json"
        given.write_text(self.setup.model_dump_json())
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.mortal_worker", str(given), cwd=ROOT, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def until(self, work: Awaitable[Answer]) -> Answer:
        """Do this while the process is kept alive; an error when it ends by itself."""
        wanted = asyncio.ensure_future(work)
        async with self.alive() as process:
            ended = asyncio.create_task(process.wait(), name="mortal worker")
            await asyncio.wait({wanted, ended}, return_when=asyncio.FIRST_COMPLETED)
            (ended if wanted.done() else wanted).cancel()
            await asyncio.gather(wanted, ended, return_exceptions=True)
            assert not wanted.cancelled(), f"its worker ended by itself with {process.returncode}"
            return wanted.result()

    async def update(self, workflow_id: str, update: str, *arguments: Any) -> Any:
        """What an update returns, with more patience than `workflows.client`: it may die several times on the way."""
        return await self.client.get_workflow_handle(workflow_id).execute_update(  # pyright: ignore[reportUnknownMemberType] -- an overload of the SDK
            update, args=arguments, rpc_timeout=timedelta(seconds=90)
        )

    async def run(self, template: str, given: Mapping[str, Any]) -> dict[str, bytes]:
        """The artifacts of a job with all those deaths: those of one without, and each task has one outcome."""
        return await self.until(self._compared(template, given))

    async def _compared(self, template: str, given: Mapping[str, Any]) -> dict[str, bytes]:
        calm, expected = await self._done(template, given)
        self.die_from_now_on()
        result, found = await self._done(template, given)
        assert outline(result) == outline(calm)
        plan = await self.ledger.plan(result.job)
        assert set(self.deaths) == places_of(plan), "it died elsewhere"
        now, then = comparable(found, result), comparable(expected, calm)
        assert set(now) == set(then)
        for name in then:
            assert now[name] == then[name], f"{name} is another one"
        return found

    async def _done(self, template: str, given: Mapping[str, Any]) -> tuple[JobResult, dict[str, bytes]]:
        started = await start_job(self.client, template, given)
        result = await await_job(self.client, started.workflow_id, timeout=850)
        assert (await self.ledger.job(started.key)).state is JobState.DONE
        assert not any(step.failed for step in result.steps), result
        pairs = await self.ledger.outcome_multiplicity(result.job)
        assert all(tasks == done for tasks, done in pairs.values()), pairs
        return result, {each.name: each.content for each in await self.ledger.artifacts(result.job)}


def outline(result: JobResult) -> list[tuple[Any, ...]]:
    """What came of each step."""
    return [(step.name, step.tasks, step.ok, step.failed, step.skipped) for step in result.steps]


def places_of(plan: JobPlan) -> set[str]:
    """Where there is to die in a job of these steps."""
    places = {"open_job", "half open_job", "close_job", "half close_job"}
    for step in plan.steps:
        if step.kind is StepKind.REPORT:
            places |= {f"report {step.number}", "half put_artifacts"}
            continue
        places.add(f"load_step {step.number}")
        if step.kind is StepKind.LOAD:
            continue
        places |= {f"{kind} {step.number}" for kind in ("dispatch_batch", "half dispatch_batch", "tally_step")}
        over_load = step.over is not None and plan.steps[step.over].kind is StepKind.LOAD
        from_source = over_load or any(source.only for source in step.sources)  # what was handed off is chosen here
        load = "load_source" if from_source else "load_reduce" if step.kind is StepKind.REDUCE else "load_map"
        places.add(f"half {load} {step.number}")
    return places


AN_AGENT = re.compile(rf"\b({'|'.join(BUILTIN)})-\d{{5}}\b")
"""Which of its type has a task goes by the job's number."""

_BY_THE_CLOCK = (
    (re.compile(r"Where the time went</h2>.*?</svg>", re.DOTALL), "#"),
    (re.compile(r"\d[\d,]*\.\d+ s\b"), "# s"),
    (re.compile(r"[\d,]+ a second"), "# a second"),
    (AN_AGENT, r"\1"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "# UTC"),
    (re.compile(r"((?:tasks a second|\bjob)(?:<[^>]*>|[^\w<])+)\d[\d,]*"), r"\1#"),
)


def comparable(artifacts: Mapping[str, bytes], result: JobResult) -> dict[str, Any]:
    """Artifacts without what no two jobs share: their numbers and names, how long they took, which agents had them."""
    found: dict[str, Any] = {}
    for name, content in artifacts.items():
        if name == "results.json":
            value = json.loads(AN_AGENT.sub(r"\1", content.decode()))
            facts = value["run"]
            for fact in ("job", "workflow_id", "started", "seconds", "tasks_per_second"):
                assert facts.pop(fact) is not None
            facts["phases"] = [{**phase, "seconds": 0} for phase in facts["phases"]]
            found[name] = value
        elif name.endswith(".zip"):
            found[name] = content
        else:
            text = content.decode().replace(result.workflow_id, "#")
            for pattern, instead in _BY_THE_CLOCK:
                text = pattern.sub(instead, text)
            found[name] = text.splitlines()
    return found


@asynccontextmanager
async def mortals(servers: Servers, folder: Path, *private: str) -> AsyncGenerator[Mortals]:
    endpoint = await servers.postgres.fresh_database()
    setup = Setup(temporal=servers.temporal, postgres=endpoint, folder=folder, private=private)
    begun = time.monotonic()
    async with connect(servers.temporal) as client, open_ledger(endpoint) as ledger:
        specs = [
            AgentSpec(agent_id=agent_name(AgentType(kind), n), agent_type=AgentType(kind))
            for kind in BUILTIN
            for n in range(AGENTS)
        ]
        await ledger.put_agents(specs)
        here = Mortals(setup, client, ledger)
        try:
            yield here
        finally:
            print(f"\n{len(here.deaths)} deaths in {time.monotonic() - begun:.0f} s: {', '.join(here.deaths)}")
            for job in await ledger.jobs(running_only=True):  # of a test that failed: the next one is not to find it
                await client.get_workflow_handle(job.workflow_id).terminate()


async def test_review_analysis(servers: Servers, tmp_path: Path) -> None:
    async with mortals(servers, tmp_path) as here:
        lines = [
            [n, "Great battery, I love it." if n % 2 else "Awful, it broke.", 5 if n % 2 else 1] for n in range(600)
        ]
        with (here.folder / "reviews.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["id", "text", "rating"], *lines])
        found = await here.run("review_analysis", {"source": "reviews.csv"})
        assert set(found) == {"report.md", "report.html", "results.json"}
        assert json.loads(found["results.json"])["report"]["reviews"] == 600


async def test_content_creation(servers: Servers, tmp_path: Path) -> None:
    async with mortals(servers, tmp_path) as here:
        shutil.copytree(ROOT / "examples" / "garden" / "corpus", here.folder / "corpus")
        shutil.copy(ROOT / "examples" / "garden" / "topics.csv", here.folder)
        # Posts leave out what others say already, those that are drafted first: with that the order is in the words.
        given = {"source": "topics.csv", "corpus": "corpus", "most_alike": 1}
        found = await here.run("content_creation", given)
        with zipfile.ZipFile(io.BytesIO(found["posts.zip"])) as archive:
            assert len(set(archive.namelist())) == len(archive.namelist()) == 12


async def test_website_build(servers: Servers, tmp_path: Path) -> None:
    async with mortals(servers, tmp_path) as here:
        shutil.copy(ROOT / "examples" / "brief.yaml", here.folder)
        found = await here.run("website_build", {"source": "brief.yaml"})
        assert set(found) == {"site.zip", "index.html", "report.md", "results.json"}


async def test_website_monitor(servers: Servers, tmp_path: Path) -> None:
    async with serve_sites(2) as (site, hook):
        private = tuple(f"127.0.0.1:{each.port}" for each in (site, hook))
        async with mortals(servers, tmp_path, *private) as here:
            here.die_from_now_on()
            await here.until(watch_a_site(here, site, hook))
            assert set(here.deaths) >= {
                "open_monitor", "half open_job", "half open_monitor", "monitor_tick", "half save_tick",
                "dispatch_batch 0", "half dispatch_batch 0", "change_sites", "half put_sites", "half remove_sites",
                "send_notices", "half settle_notices", "drop_notices", "report_monitor", "half put_artifacts",
                "cancel_job", "half request_cancel", "close_job", "half close_job",
            }  # fmt: skip


async def watch_a_site(here: Mortals, site: Site, hook: Site) -> None:
    """It goes down and comes back, each is told; what cannot be told is given up; and the monitor is stopped."""
    sites = [{"url": site.url, "name": "site"}, {"url": f"{site.url}old", "name": "old", "interval": 3600}]
    given = {"interval": 1, "failures": 2, "recoveries": 2, "sites": sites, "webhook": f"{hook.url}hook"}
    started = await start_job(here.client, "website_monitor", given)

    async def job() -> int:
        try:
            return (await here.ledger.job(started.key)).job
        except NotFound:
            return 0

    number = await assert_eventually(job, 60)

    async def reached(state: str) -> bool:
        return [row.memory.state.value for row in await here.ledger.sites(number) if row.spec.site == "site"] == [state]

    async def told() -> bool:
        return not (await here.ledger.monitor_pulse(number)).notices

    change = {"add": [{"url": f"{site.url}new", "interval": 3600}], "remove": ["old"]}
    await here.update(started.workflow_id, "change_sites", change)
    assert sorted(row.spec.url for row in await here.ledger.sites(number)) == [site.url, f"{site.url}new"]
    for mode, state in (("ok", "up"), ("error", "down"), ("ok", "up")):
        site.mode = mode
        await assert_eventually(functools.partial(reached, state), 120)
    await assert_eventually(lambda: len({event["event"] for event in hook.events}) == 2, 60)
    # A webhook is told at least once: who listens knows an event again by its number.
    assert list({event["event"]: event["kind"] for event in hook.events}.values()) == ["site-down", "site-up"]
    assert [(alert.site, alert.changes) for alert in await here.ledger.alerts(number, 0.0)] == [("site", 1)]
    assert set(await here.update(started.workflow_id, "report")) == {"report.md", "report.html"}
    assert [each.name for each in await here.ledger.artifacts(number)] == ["report.html", "report.md"]
    hook.post_status, site.mode = 410, "error"
    await assert_eventually(functools.partial(reached, "down"), 60)
    await assert_eventually(told, 60)
    assert (await here.ledger.monitor_pulse(number)).failed_notices == 1, "one was given up, once"
    await cancel_job(here.client, started.workflow_id)
    with pytest.raises(Cancelled):
        await await_job(here.client, started.workflow_id, timeout=180)
    assert (await here.ledger.job(started.key)).state is JobState.CANCELLED
