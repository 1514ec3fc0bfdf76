"""Workers, dispatcher and host are killed after each activity of each template: the job ends right, nothing twice."""

from __future__ import annotations

import asyncio
import csv
import functools
import io
import json
import shutil
import sys
import zipfile
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from temporalio.client import Client

from agents.builtin import BUILTIN
from colony.contracts import AgentSpec, JobState
from colony.errors import NotFound
from colony.ids import AgentType, agent_name
from colony.ledger.port import Ledger
from colony.ledger.postgres import open_ledger
from tests.chaos.mortal_worker import AGENTS, Setup
from tests.documents import ROOT
from tests.eventually import assert_eventually
from tests.servers.postgres import postgres_server
from tests.servers.sites import Site, serve_sites
from tests.servers.temporal import temporal_server
from workflows.client import await_job, cancel_job, connect, start_job

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(420)]

Answer = TypeVar("Answer")
EVERY_JOB = {"open_job", "load_step", "tally_step", "report", "close_job"}


class Mortals:
    """A process that is started again each time it dies, and what it works for."""

    def __init__(self, setup: Setup, client: Client, ledger: Ledger) -> None:
        self.setup = setup
        self.client = client
        self.ledger = ledger
        self.folder = setup.folder
        self.lives = 0

    @property
    def deaths(self) -> list[str]:
        return self.setup.deaths.read_text().splitlines()

    async def keep_alive(self) -> None:
        given = self.folder / "setup.json"
        given.write_text(self.setup.model_dump_json())
        while True:
            self.lives += 1
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.chaos.mortal_worker", str(given), cwd=ROOT
            )
            try:
                code = await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            assert code == -9, f"ended by itself with {code}"

    async def until(self, work: Awaitable[Answer]) -> Answer:
        """Do this while the process is kept alive; an error when it ends by itself."""
        wanted = asyncio.ensure_future(work)
        alive = asyncio.create_task(self.keep_alive(), name="mortal worker")
        await asyncio.wait({wanted, alive}, return_when=asyncio.FIRST_COMPLETED)
        (alive if wanted.done() else wanted).cancel()
        await asyncio.gather(wanted, alive, return_exceptions=True)
        if alive.done() and not alive.cancelled():
            alive.result()
        return wanted.result()

    async def run(self, template: str, given: Mapping[str, Any]) -> dict[str, bytes]:
        """The artifacts of a job that was done, each of its tasks with one outcome."""
        started = await start_job(self.client, template, given)
        result = await self.until(await_job(self.client, started.workflow_id, timeout=380))
        assert (await self.ledger.job(started.key)).state is JobState.DONE
        assert not any(step.failed for step in result.steps), result
        pairs = await self.ledger.outcome_multiplicity(result.job)
        assert all(tasks == done for tasks, done in pairs.values()), pairs
        assert set(self.deaths) == EVERY_JOB | {f"dispatch_batch {step}" for step in pairs}
        return {each.name: each.content for each in await self.ledger.artifacts(result.job)}


@asynccontextmanager
async def mortals(folder: Path, *private: str) -> AsyncGenerator[Mortals]:
    servers = folder / "postgres"
    servers.mkdir()
    (folder / "data").mkdir()
    async with temporal_server() as temporal, postgres_server(servers) as postgres:
        endpoint = await postgres.fresh_database()
        setup = Setup(temporal=temporal, postgres=endpoint, folder=folder / "data", private=private)
        setup.deaths.touch()
        async with connect(temporal) as client, open_ledger(endpoint) as ledger:
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
                print(f"\n{here.lives} lives; died after: {', '.join(here.deaths)}")


async def test_review_analysis(tmp_path: Path) -> None:
    async with mortals(tmp_path) as here:
        lines = [
            [n, "Great battery, I love it." if n % 2 else "Awful, it broke.", 5 if n % 2 else 1] for n in range(600)
        ]
        with (here.folder / "reviews.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["id", "text", "rating"], *lines])
        found = await here.run("review_analysis", {"source": "reviews.csv"})
        assert set(found) == {"report.md", "report.html", "results.json"}
        assert json.loads(found["results.json"])["report"]["reviews"] == 600


async def test_content_creation(tmp_path: Path) -> None:
    async with mortals(tmp_path) as here:
        shutil.copytree(ROOT / "examples" / "garden" / "corpus", here.folder / "corpus")
        shutil.copy(ROOT / "examples" / "garden" / "topics.csv", here.folder)
        found = await here.run("content_creation", {"source": "topics.csv", "corpus": "corpus"})
        with zipfile.ZipFile(io.BytesIO(found["posts.zip"])) as archive:
            assert len(set(archive.namelist())) == len(archive.namelist()) == 12


async def test_website_build(tmp_path: Path) -> None:
    async with mortals(tmp_path) as here:
        shutil.copy(ROOT / "examples" / "brief.yaml", here.folder)
        found = await here.run("website_build", {"source": "brief.yaml"})
        assert set(found) == {"site.zip", "index.html", "report.md", "results.json"}


async def test_website_monitor(tmp_path: Path) -> None:
    async with serve_sites(2) as (site, hook):
        private = tuple(f"127.0.0.1:{each.port}" for each in (site, hook))
        async with mortals(tmp_path, *private) as here:
            await here.until(watch_a_site(here, site, hook))
            assert {"open_monitor", "monitor_tick", "send_notices", "dispatch_batch 0"} <= set(here.deaths)


async def watch_a_site(here: Mortals, site: Site, hook: Site) -> None:
    """It goes down and comes back, each is told, and the monitor is stopped."""
    given = {"interval": 1, "failures": 2, "recoveries": 2, "sites": [{"url": site.url, "name": "site"}]}
    started = await start_job(here.client, "website_monitor", {**given, "webhook": f"{hook.url}hook"})

    async def job() -> int:
        try:
            return (await here.ledger.job(started.key)).job
        except NotFound:
            return 0

    number = await assert_eventually(job, 120)

    async def reached(state: str) -> bool:
        return [row.memory.state.value for row in await here.ledger.sites(number)] == [state]

    for mode, state in (("ok", "up"), ("error", "down"), ("ok", "up")):
        site.mode = mode
        await assert_eventually(functools.partial(reached, state), 120)
    await assert_eventually(lambda: len({event["event"] for event in hook.events}) == 2, 60)
    # A webhook is told at least once: who listens knows an event again by its number.
    assert list({event["event"]: event["kind"] for event in hook.events}.values()) == ["site-down", "site-up"]
    assert [(alert.site, alert.changes) for alert in await here.ledger.alerts(number, 0.0)] == [("site", 1)]
    await cancel_job(here.client, started.workflow_id)

    async def closed() -> bool:
        return (await here.ledger.job(started.key)).state is not JobState.RUNNING

    await assert_eventually(closed, 60)
