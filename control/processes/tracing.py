"""The traces of a process: its tracer, and what stands around its calls of Temporal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from temporalio.client import Interceptor

from colony.config.endpoints import Endpoints
from colony.config.model import Config
from colony.telemetry.open import open_tracer
from colony.telemetry.port import Tracer


class Tracing(NamedTuple):
    """How a process takes part in traces."""

    tracer: Tracer
    interceptors: Sequence[Interceptor]
    """For its client of Temporal; none where traces are off."""


@asynccontextmanager
async def open_tracing(endpoints: Endpoints, config: Config, service: str) -> AsyncGenerator[Tracing]:
    """What the configuration says for the process `service`. Leaving takes two seconds at most."""
    async with open_tracer(config.telemetry, service, endpoints.folder) as tracer:
        if not tracer.on:
            yield Tracing(tracer, ())
            return
        # here: a process without traces must not import OpenTelemetry
        from workflows.tracing import interceptors_of

        yield Tracing(tracer, interceptors_of(tracer))
