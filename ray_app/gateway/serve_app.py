"""The Ray Serve application `colony-gateway`: replicas of the HTTP gateway, and with several an owner of the queues.

Import path for `serve deploy`: `ray_app.gateway.serve_app:build`. A thin shell: what it runs is in `compose`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from colony.config.endpoints import home_from_environment
from colony.config.gateway import BatchConfig, ReplicasConfig
from colony.errors import Unavailable
from colony.lifecycle import Vitals
from colony.telemetry.open import open_tracer
from colony.telemetry.port import Tracer
from ray_app.gateway.api.app import build_app
from ray_app.gateway.application import stack_tag
from ray_app.gateway.batching import Collect, Done, Many, One, ReportingGate, batched
from ray_app.gateway.compose import Backends, Setting, open_gate, open_owner_alone, read_setting
from ray_app.gateway.contracts import BackendCall
from ray_app.gateway.lifespan import LifespanApp, Served
from ray_app.gateway.owner_remote import RemoteOwner, served
from ray_app.gateway.ports import Owner
from ray_app.gateway.traced import TracedGate, traced_backends

_serve: Any = serve  # annotated in part only

UNLIMITED: Final = 100_000
"""Requests one replica takes: the gate refuses with a status of its own what is too much, Serve must not."""

STOP_SECONDS: Final = 10.0
DRAIN_SECONDS: Final = 120.0
"""Longest time a replica that is stopped for want of load, or for a new configuration, finishes what it has under way:
as long as a request has unless its caller says otherwise."""

REPORT_SECONDS: Final = 2.0
LOOK_BACK_SECONDS: Final = 10.0
"""How often a replica tells Serve its load, and over how long Serve takes the mean."""

CHECK_EVERY: Final = 3.0
CHECK_SECONDS: Final = 6.0
"""Serve gives up a replica whose check failed three times."""

BATCHES_AT_ONCE: Final = 64
"""A batch that is slow must not hold up the next: how many calls a server gets, the owner decides."""


class GatewayShell:
    """One replica of the gateway: an ASGI application, opened and closed with the replica."""

    def __init__(self, home: str, owner: Any = None) -> None:
        self._home = Path(home)
        self._owner = owner
        self._live = LifespanApp(self._opened, stack_tag(self._home))

    async def __serve_build_asgi_app__(self) -> LifespanApp:
        """What Serve serves. Raises what keeps it from opening, so that Serve shows it."""
        await self._live.start()
        return self._live

    async def check_health(self) -> None:
        """Asked by Serve; raises when another replica is needed."""
        await self._live.check()

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[Served]:
        setting = await asyncio.to_thread(read_setting, self._home)
        telemetry = setting.config.telemetry
        async with (
            open_tracer(telemetry, "gateway", setting.endpoints.folder) as tracer,
            self._gated(setting, tracer) as served,
        ):
            yield served

    @asynccontextmanager
    async def _gated(self, setting: Setting, tracer: Tracer) -> AsyncGenerator[Served]:
        owner = None if self._owner is None else RemoteOwner(HandleAsk(self._owner))
        vitals = Vitals()
        sizes: Counter[int] = Counter()
        batch = setting.config.gateway.batch

        def joined(backends: Backends) -> Backends:
            found = batched(backends, setting.plan.backends, collecting(batch), sizes, batch)
            return traced_backends(found, tracer) if tracer.on else found

        async with open_gate(setting, vitals, owner=owner, joined=joined) as gate:
            reporting = ReportingGate(TracedGate(gate, tracer) if tracer.on else gate, sizes, self._name(setting))
            yield Served(reporting, build_app(reporting, setting.api), vitals)

    def _name(self, setting: Setting) -> str:
        """Tells this replica from others; empty where it is the only one."""
        several = setting.config.gateway.replicas.most > 1
        return str(_serve.get_replica_context().replica_id.unique_id) if several else ""


def collecting(config: BatchConfig) -> Collect:
    """`@serve.batch` as the forming of batches asks for it."""

    def collect(many: Many) -> One:
        async def calls_together(calls: list[BackendCall]) -> list[Done]:
            return await many(calls)

        return _serve.batch(
            max_batch_size=config.size, batch_wait_timeout_s=config.wait, max_concurrent_batches=BATCHES_AT_ONCE
        )(calls_together)

    return collect


class OwnerShell:
    """Queues, limits and breakers for all replicas: JSON bytes in, JSON bytes out."""

    def __init__(self, home: str) -> None:
        self._home = Path(home)
        self._stack = AsyncExitStack()
        self._vitals = Vitals()
        self._owner: Owner | None = None
        self._opening = asyncio.Lock()

    async def call(self, method: str, payload: bytes) -> bytes:
        """One call of the port `Owner`."""
        return await served(await self._open(), method, payload)

    async def check_health(self) -> None:
        """Asked by Serve; raises when another owner is needed."""
        self._vitals.check()
        async with asyncio.timeout(CHECK_SECONDS):
            await (await self._open()).state()

    async def _open(self) -> Owner:
        if self._owner is None:
            async with self._opening:
                if self._owner is None:
                    setting = await asyncio.to_thread(read_setting, self._home)
                    self._owner = await self._stack.enter_async_context(open_owner_alone(setting, self._vitals))
        return self._owner


class HandleAsk:
    """Calls `OwnerShell.call` through a handle of Serve."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def __call__(self, method: str, payload: bytes) -> bytes:
        """See `owner_remote.Ask`."""
        response = self._handle.call.remote(method, payload)
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()
            raise
        except (RayError, RayServeException) as error:
            raise Unavailable("The owner of the gateway's queues does not answer.") from error


def build(args: dict[str, Any]) -> Any:
    """The application. `args["home"]` is the data directory, else `COLONY_HOME` says it."""
    home = str(args.get("home") or home_from_environment())
    replicas = read_setting(Path(home)).config.gateway.replicas
    gateway = _serve.deployment(
        name="gateway",
        max_ongoing_requests=UNLIMITED,
        graceful_shutdown_timeout_s=DRAIN_SECONDS,
        health_check_period_s=CHECK_EVERY,
        health_check_timeout_s=CHECK_SECONDS,
        ray_actor_options={"num_cpus": 0},
        **scaling(replicas),
    )(_serve.ingress()(GatewayShell))
    if replicas.most == 1:
        return gateway.bind(home)
    owner = _serve.deployment(
        name="gateway-owner",
        num_replicas=1,
        max_ongoing_requests=UNLIMITED,
        graceful_shutdown_timeout_s=STOP_SECONDS,
        health_check_period_s=CHECK_EVERY,
        health_check_timeout_s=CHECK_SECONDS,
        ray_actor_options={"num_cpus": 0},
    )(OwnerShell)
    return gateway.bind(home, owner.bind(home))


def scaling(replicas: ReplicasConfig) -> dict[str, Any]:
    """How many replicas, in Serve's words. Pure."""
    if replicas.least == replicas.most:
        return {"num_replicas": replicas.most}
    return {
        "autoscaling_config": {
            "min_replicas": replicas.least,
            "max_replicas": replicas.most,
            "target_ongoing_requests": replicas.in_flight,
            "upscale_delay_s": replicas.busy_seconds,
            "downscale_delay_s": replicas.calm_seconds,
            "metrics_interval_s": REPORT_SECONDS,
            "look_back_period_s": LOOK_BACK_SECONDS,
        }
    }
