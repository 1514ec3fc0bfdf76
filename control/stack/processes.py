"""Our own processes: a Python module each, ready when it says so in a file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

from colony.config.model import Config
from control.processes.ready import is_ready
from control.stack.context import StackContext
from control.stack.paths import REPOSITORY
from control.stack.spec import ServiceSpec
from ray_app.gateway.plan import gateway_plan


@dataclass(frozen=True, slots=True)
class OwnProcess:
    """One process of ours."""

    name: str
    depends_on: tuple[str, ...]
    follows: tuple[str, ...] = ()
    stop_seconds: float = 15.0
    port: str = ""
    """Name of the port it listens on."""
    stop_stage: int = 0
    ray: bool = False
    """Whether it talks to Ray and so gets the token."""
    beats: bool = False
    """Whether it says again and again that it lives."""


SILENT_SECONDS: Final = 10.0
"""A sign of life older than this is none; one is given every 2 s."""

PATIENCE: Final = 10.0
"""Seconds without a sign of life, after those, until a process is started again."""


OWN: Final = (
    OwnProcess("worker", ("postgres", "temporal", "nats"), stop_seconds=25.0, beats=True),
    OwnProcess(
        "dispatcher",
        ("postgres", "temporal", "nats", "consul", "ray"),
        follows=("ray",),
        stop_seconds=25.0,
        ray=True,
        beats=True,
    ),
    OwnProcess("model", (), port="model", stop_stage=1),
    # Not Temporal: jobs are taken while that is away.
    OwnProcess("api", ("postgres",), port="api", beats=True),
)


def wanted(context: StackContext) -> tuple[OwnProcess, ...]:
    """The processes this configuration asks for."""
    embedded = serves_embedded(context.config)
    return tuple(process for process in OWN if process.name != "model" or embedded)


def serves_embedded(config: Config) -> bool:
    """Whether a backend of the gateway is the embedded one, so that its server must run here."""
    return any(backend.kind == "embedded" for backend in gateway_plan(config).backends.values())


def spec(context: StackContext, process: OwnProcess) -> ServiceSpec:
    """How to run it."""
    environment = context.process_environment()
    if process.ray:
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(context.secret("ray-token"))}

    async def probe(pid: int) -> bool:
        oldest = SILENT_SECONDS if process.beats else None
        return is_ready(context.paths.home, process.name, pid, oldest=oldest)

    return ServiceSpec(
        name=process.name,
        provider="Colony",
        address=context.address(process.port) if process.port else "",
        command=(sys.executable, "-m", f"control.processes.{process.name}"),
        environment=environment,
        folder=REPOSITORY,
        probe=probe,
        patience=PATIENCE if process.beats else None,
        depends_on=process.depends_on,
        follows=process.follows,
        stop_stage=process.stop_stage,
        stop_seconds=process.stop_seconds,
        start_seconds=90.0,
    )
