"""The Ray shell of a host: strings in, JSON bytes out, no class of ours in a pickle. No decision is made here."""

from __future__ import annotations

import asyncio
import gc
import os
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import psutil
import structlog

from agents.builtin import BUILTIN
from agents.load import load_agent_class
from colony.config.endpoints import Endpoints, read_endpoints
from colony.config.load import load_config
from colony.config.model import AgentTypeConfig, Config
from colony.contracts import BatchRequest
from colony.errors import ColonyError, DeadlineExceeded, Unavailable
from colony.fetch import open_fetcher
from colony.ids import AgentType, host_name
from colony.ledger.postgres import open_ledger
from colony.llm.http import HttpModel, open_gateway_model, open_model
from colony.messaging.nats import open_messenger
from colony.registry.open import open_registry
from colony.telemetry.open import open_tracer
from ray_app.gateway.plan import gateway_plan
from ray_app.host import Host, open_host
from ray_app.population import AgentLoader

_log = structlog.get_logger(__name__)

_POOL: Final = 6
_EXIT_SECONDS: Final = 0.5
_CLOSE_SECONDS: Final = 5.0


def agent_loader(packages: Sequence[str]) -> AgentLoader:
    """Finds agent classes by the configured path, or the built-in one of that name."""

    def load(name: AgentType, config: AgentTypeConfig) -> type[Any]:
        return load_agent_class(config.implementation or BUILTIN.get(name, ""), packages)

    return load


@asynccontextmanager
async def composed_host(home: Path, slot: int) -> AsyncGenerator[Host]:
    """A host with everything real, from what the supervisor wrote into `home`."""
    endpoints = read_endpoints(home)
    config = load_config(Path(endpoints.config_file) if endpoints.config_file else None).config
    name = str(host_name(slot))
    async with AsyncExitStack() as stack:
        tracer = await stack.enter_async_context(open_tracer(config.telemetry, "host", endpoints.folder))
        ledger = await stack.enter_async_context(open_ledger(endpoints.postgres, pool_size=_POOL, name=name))
        messenger = await stack.enter_async_context(open_messenger(endpoints.nats, role="host", name=name))
        registry = await _optional_registry(stack, endpoints)
        model = await _optional_model(stack, endpoints, config)
        fetcher = await stack.enter_async_context(open_fetcher(config.fetch))
        yield await stack.enter_async_context(
            open_host(
                slot,
                str(uuid.uuid4()),
                ledger,
                messenger,
                registry,
                config,
                agent_loader(config.fleet.packages),
                model=model,
                embeddings=model,
                fetcher=fetcher,
                data_roots=data_roots(config, endpoints),
                tracer=tracer,
            )
        )


def data_roots(config: Config, endpoints: Endpoints) -> tuple[str, ...]:
    """Folders agents may read below."""
    return config.data_roots or (endpoints.folder,)


async def _optional_model(stack: AsyncExitStack, endpoints: Endpoints, config: Config) -> HttpModel | None:
    """The gateway where there is one, else the model server itself; None when no model is configured."""
    if not gateway_plan(config).backends:
        return None
    if endpoints.gateway is not None:
        return await stack.enter_async_context(open_gateway_model(endpoints.gateway, config.model))
    if endpoints.model is not None:
        return await stack.enter_async_context(open_model(endpoints.model, config.model))
    return None


async def _optional_registry(stack: AsyncExitStack, endpoints: Endpoints) -> Any:
    try:
        return await stack.enter_async_context(open_registry(endpoints, role="host"))
    except ColonyError as error:
        _log.warning("going on without the registry", error=str(error))
        return None


class HostActor:
    """One host as a Ray actor. Answers are `{"value": ...}` or `{"error": class, "message": text}` as JSON bytes."""

    def __init__(self, home: str, slot: int) -> None:
        self._home = Path(home)
        self._slot = slot
        self._host: Host | None = None
        self._life: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        # What was imported stays for ever: the collector need not look at it again.
        gc.collect()
        gc.freeze()

    async def start(self) -> bytes:
        """Start the host; returns its incarnation and where its process is."""

        async def begin() -> Any:
            if self._host is None:
                started: asyncio.Future[Host] = asyncio.get_running_loop().create_future()
                self._life = asyncio.create_task(self._live(started), name="host")
                self._host = await started
            return self._identity(self._host)

        return await _answer(begin)

    async def identity(self) -> bytes:
        """Incarnation and process; `Unavailable` while it has not started."""

        async def tell() -> Any:
            return self._identity(self._running())

        return await _answer(tell)

    async def wait_over(self) -> bytes:
        """Returns when the host is over. Its caller learns of the death of this process by the error it gets."""
        await self._over.wait()
        return b"{}"

    async def assign(self, shards: bytes) -> bytes:
        """See `Host.assign`."""
        return await _answer(lambda: self._running().assign(orjson.loads(shards)))

    async def refresh(self) -> bytes:
        """See `Host.refresh`."""
        return await _answer(lambda: self._running().refresh())

    async def run_batch(self, request: bytes, trace: bytes = b"") -> bytes:
        """See `Host.run_batch`."""
        return await _answer(
            lambda: self._running().run_batch(BatchRequest.model_validate_json(request), trace.decode("ascii"))
        )

    async def progress(self, request: bytes) -> bytes:
        """See `Host.progress`."""

        async def ask() -> Any:
            return self._running().progress(BatchRequest.model_validate_json(request))

        return await _answer(ask)

    async def status(self) -> bytes:
        """See `Host.status`."""

        async def ask() -> Any:
            return self._running().status()

        return await _answer(ask)

    async def drain(self) -> bytes:
        """See `Host.drain`; the process exits afterwards."""
        return await _answer(lambda: self._running().drain())

    async def stop(self) -> bytes:
        """Fall silent at once; the process exits afterwards. Its lease is left to run out or be ended."""
        return await _answer(lambda: self._running().fence("stopped"))

    def _running(self) -> Host:
        if self._host is None:
            raise Unavailable(f"{host_name(self._slot)} has not started.")
        return self._host

    def _identity(self, host: Host) -> dict[str, Any]:
        process = psutil.Process()
        return {"incarnation": host.incarnation, "pid": process.pid, "created": process.create_time()}

    async def _live(self, started: asyncio.Future[Host]) -> None:
        try:
            async with composed_host(self._home, self._slot) as host:
                started.set_result(host)
                reason = await host.ended
                # Also if closing it hangs, as an agent that cannot be interrupted makes it do.
                asyncio.get_running_loop().call_later(_CLOSE_SECONDS, _exit)
                _log.info("host is over", host=host.name, reason=reason)
        except Exception as error:  # noqa: BLE001 -- told to the caller of `start`, or logged with its trace
            if not started.done():
                started.set_exception(error)
                return
            _log.exception("host ended badly", slot=self._slot)
        finally:
            self._over.set()
            if self._host is not None or started.done():
                # Answers under way still leave; then the process must be gone, whatever hangs.
                asyncio.get_running_loop().call_later(_EXIT_SECONDS, _exit)


def _exit() -> None:
    os._exit(0)


async def _answer(work: Callable[[], Awaitable[Any]]) -> bytes:
    """Run a call and put what came of it into JSON bytes."""
    try:
        value = await work()
    except TimeoutError as error:
        return _failure(DeadlineExceeded(str(error) or "A step of the call took too long."))
    except ColonyError as error:
        return _failure(error)
    except Exception as error:  # noqa: BLE001 -- a fault of ours: logged, and its class and text cross, no pickle
        _log.exception("a call failed")
        return orjson.dumps({"error": type(error).__name__, "message": str(error)[:2000]})
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    return orjson.dumps({"value": value})


def _failure(error: ColonyError) -> bytes:
    return orjson.dumps({"error": type(error).__name__, "message": str(error)})
