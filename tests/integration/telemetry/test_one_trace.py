"""One trace from what a person asks for to the agent's task: real Temporal, real hosts code, OTLP on a real socket."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client

from agents.base import AgentContext, AgentResult, AgentTask
from colony.clock import SystemClock
from colony.config.endpoints import TemporalEndpoint
from colony.config.model import AgentTypeConfig, Config, FleetConfig
from colony.config.telemetry import TelemetryConfig
from colony.config.templates import StepConfig, TemplateConfig
from colony.contracts import AgentSpec
from colony.ids import SHARDS, AgentType, Id, agent_name
from colony.jobs import StepKind
from colony.ledger.memory import MemoryLedger
from colony.llm.port import ChatAnswer, ChatRequest
from colony.messaging.memory import MemoryBus, MemoryMessenger
from colony.registry.memory import MemoryRegistry
from colony.telemetry.context import parse, trace_id_of
from colony.telemetry.open import open_tracer
from colony.telemetry.port import Tracer
from control.api.traced import TracedApi
from ray_app.fleet import HostBatchRunner
from ray_app.host import open_host
from ray_app.local_hosts import LocalHosts
from tests.servers.collector import Collector, Seen, collecting
from tests.servers.temporal import temporal_cli, temporal_server
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.client import await_job, connect, start_job
from workflows.tracing import interceptors_of
from workflows.worker import dispatch_worker, io_worker, run_workers, workflow_worker

SECRET = "what the agent is told"
TEMPLATE = TemplateConfig(
    steps=(
        StepConfig(name=Id("load"), kind=StepKind.LOAD),
        StepConfig(name=Id("talk"), kind=StepKind.MAP, over=Id("load"), agent=AgentType("talker"), action=Id("talk")),
    )
)


class Talker:
    """Asks the model."""

    actions: Mapping[str, str] = {"talk": "asks the model"}

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        answer = await ctx.llm.chat(SECRET)
        return AgentResult(value={"text": answer.text})

    async def health(self) -> str:
        return ""


class Listener:
    """A model that notes in which trace it was asked."""

    def __init__(self) -> None:
        self.traces: list[str] = []

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        self.traces.append(request.caller.trace)
        return ChatAnswer(text=SECRET, model="m", prompt_tokens=1, completion_tokens=1, finish_reason="stop")

    async def models(self) -> list[str]:
        return ["m"]


class Running:
    """A colony in one process, and the collector its processes write to."""

    def __init__(self, endpoint: TemporalEndpoint, collector: Collector, ledger: MemoryLedger, model: Listener) -> None:
        self.endpoint, self.collector, self.ledger, self.model = endpoint, collector, ledger, model
        self.config: TelemetryConfig = TelemetryConfig()

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[tuple[Client, Tracer]]:
        """As a command or the API has one."""
        async with (
            open_tracer(self.config, "client", ".") as tracer,
            connect(self.endpoint, interceptors=interceptors_of(tracer)) as client,
        ):
            yield client, tracer


@asynccontextmanager
async def running(folder: Path, *, telemetry: bool = True, url: str = "") -> AsyncGenerator[Running]:
    clock = SystemClock()
    ledger, bus, registry, model = MemoryLedger(clock), MemoryBus(), MemoryRegistry(clock), Listener()
    types = {AgentType("talker"): AgentTypeConfig(count=2)}
    config = Config(fleet=FleetConfig(hosts=1, lease_seconds=60, types=types), workflows={Id("talks"): TEMPLATE})
    await ledger.put_agents(
        [AgentSpec(agent_id=agent_name(kind, n), agent_type=kind) for kind in types for n in (0, 1)]
    )
    async with temporal_server() as endpoint:
        with collecting() as collector:
            here = Running(endpoint, collector, ledger, model)
            here.config = TelemetryConfig(enabled=telemetry, endpoint=url or collector.url)
            async with (
                open_tracer(here.config, "host", ".") as of_host,
                open_tracer(here.config, "worker", ".") as of_worker,
                open_tracer(here.config, "dispatcher", ".") as of_dispatcher,
                connect(endpoint, interceptors=interceptors_of(of_worker)) as worker,
                connect(endpoint, interceptors=interceptors_of(of_dispatcher)) as dispatcher,
            ):

                def open_one(slot: int, incarnation: str) -> Any:
                    messenger = MemoryMessenger(bus, role="host", clock=clock)
                    return open_host(
                        slot,
                        incarnation,
                        ledger,
                        messenger,
                        registry,
                        config,
                        lambda *_: Talker,
                        model=model,
                        tracer=of_host,
                    )

                hosts = LocalHosts(open_one)
                await hosts.start_host(0)
                await (await hosts.hosts())[0].assign(range(SHARDS))
                io = IoActivities(ledger, config, [folder], tracer=of_worker)
                runner = HostBatchRunner(hosts, tracer=of_dispatcher)
                shutdown = asyncio.Event()
                workers = [workflow_worker(worker), io_worker(worker, io)]
                workers.append(dispatch_worker(dispatcher, DispatchActivities(runner)))
                running = asyncio.create_task(run_workers(workers, shutdown))
                try:
                    yield here
                finally:
                    shutdown.set()
                    await running
                    await hosts.aclose()
        # Leaving the tracers sent what was left.


def chain(collector: Collector, name: str) -> list[str]:
    return collector.way(collector.named(name)[0])


JOB_WAY = [
    "job talks",
    "step talk",
    "StartActivity:dispatch_batch",
    "RunActivity:dispatch_batch",
    "host batch",
    "task talker",
]


async def test_from_a_command_to_the_call_of_a_model(tmp_path: Path) -> None:
    async with running(tmp_path) as here:
        async with here.client() as (client, tracer):
            with tracer.span("colony run talks") as span:
                started = await start_job(client, "talks", {"tasks": 3}, f"talks-{uuid.uuid4().hex}")
            await await_job(client, started.workflow_id, timeout=60)
        view = await here.ledger.job(started.key)
    collector = here.collector
    begun = parse(span.trace)
    assert begun is not None
    assert {seen.trace_id for seen in collector.spans} == {begun.trace_id} == {view.trace}
    assert chain(collector, "llm chat") == ["colony run talks", "StartWorkflow:talks", *JOB_WAY, "llm chat"]
    assert chain(collector, "RunActivity:load_step")[2:4] == ["job talks", "step load"]
    assert len(collector.named("task talker")) == 3
    assert {seen.service for seen in collector.spans} == {
        "colony-client",
        "colony-worker",
        "colony-dispatcher",
        "colony-host",
    }
    assert [found.trace_id for trace in here.model.traces if (found := parse(trace))] == [view.trace] * 3
    assert len({seen.span_id for seen in collector.spans}) == len(collector.spans)
    assert all(SECRET.encode() not in body for body in collector.bodies)
    assert collector.named("step talk")[0].seconds > 0


async def test_a_job_of_the_plain_command_line_begins_its_own_trace(tmp_path: Path) -> None:
    async with running(tmp_path) as here:
        name = f"plain-{uuid.uuid4().hex}"
        given = ["--type", "talks", "--task-queue", "colony", "--workflow-id", name, "--input", '{"tasks": 1}']
        await temporal_cli(here.endpoint, "workflow", "start", *given)
        async with connect(here.endpoint) as plain:
            result = await await_job(plain, name, timeout=60)
        view = await here.ledger.job(result.key)
    root = here.collector.named("job talks")[0]
    assert root.parent_id == ""
    assert root.trace_id == view.trace == trace_id_of(result.key)
    assert chain(here.collector, "llm chat") == [*JOB_WAY, "llm chat"]
    assert {seen.trace_id for seen in here.collector.spans} == {view.trace}


async def test_the_http_api_follows_the_trace_of_its_caller(tmp_path: Path) -> None:
    async with running(tmp_path) as here:
        async with here.client() as (client, tracer):

            async def submit(scope: Any, receive: Any, send: Any) -> None:
                started = await start_job(client, "talks", {"tasks": 1}, "over-http")
                await await_job(client, started.workflow_id, timeout=60)
                await send({"type": "http.response.start", "status": 202, "headers": []})
                await send({"type": "http.response.body", "body": b""})

            transport = httpx.ASGITransport(app=TracedApi(submit, tracer))
            async with httpx.AsyncClient(transport=transport, base_url="http://colony") as caller:
                above = "00-" + "e" * 32 + "-" + "f" * 16 + "-01"
                answer = await caller.post("/v1/jobs", headers={"traceparent": above})
        assert answer.status_code == 202
    assert chain(here.collector, "llm chat") == ["POST", "StartWorkflow:talks", *JOB_WAY, "llm chat"]
    assert {seen.trace_id for seen in here.collector.spans} == {"e" * 32}
    assert here.collector.named("POST")[0].parent_id == "f" * 16


async def test_a_worker_that_starts_anew_writes_no_span_twice(tmp_path: Path) -> None:
    """Small caches make a worker replay in the midst of jobs: the spans stay those of one way through the job."""
    async with running(tmp_path) as here, here.client() as (client, _):
        names = [f"many-{n}" for n in range(6)]
        await asyncio.gather(*(start_job(client, "talks", {"tasks": 2}, name) for name in names))
        await asyncio.gather(*(await_job(client, name, timeout=60) for name in names))
    spans = here.collector.spans
    assert len(here.collector.named("job talks")) == len(here.collector.named("step talk")) == 6
    assert len({seen.trace_id for seen in spans}) == 6
    assert all(_whole(here.collector, seen) for seen in spans)


async def test_jobs_end_well_while_the_collector_is_away(tmp_path: Path) -> None:
    async with running(tmp_path, url="http://127.0.0.1:9") as here, here.client() as (client, _):
        started = await start_job(client, "talks", {"tasks": 50}, "no-collector")
        result = await await_job(client, started.workflow_id, timeout=60)
    assert result.steps[-1].ok == 50
    assert here.collector.spans == []


async def test_without_telemetry_a_job_has_no_trace_and_its_history_no_header(tmp_path: Path) -> None:
    async with running(tmp_path, telemetry=False) as here:
        async with connect(here.endpoint) as client:
            started = await start_job(client, "talks", {"tasks": 2}, "plain")
            await await_job(client, started.workflow_id, timeout=60)
            history = (await client.get_workflow_handle("plain").fetch_history()).to_json()
        assert (await here.ledger.job(started.key)).trace == ""
    assert "_tracer-data" not in history
    assert here.collector.bodies == []


def _whole(collector: Collector, seen: Seen) -> bool:
    """Whether every span above it arrived, too."""
    return collector.way(seen)[0].startswith("StartWorkflow")
