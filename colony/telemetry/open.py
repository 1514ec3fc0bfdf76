"""The tracer of a process, as the configuration says. OpenTelemetry is imported only where traces are on."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from colony.config.telemetry import TelemetryConfig
from colony.errors import ColonyError
from colony.telemetry.port import OFF, Tracer

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_tracer(config: TelemetryConfig, service: str, folder: str) -> AsyncGenerator[Tracer]:
    """A tracer for the process `service`; `headers_file` is looked for from `folder`.

    Work goes before traces: with settings that do not fit there are none, and the log says why. Leaving takes at most
    two seconds, whatever the collector does.
    """
    if not config.enabled or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield OFF
        return
    # Here, since it costs a process without traces time and memory for nothing.
    from colony.telemetry.otel import exporting_tracer

    try:
        opened = exporting_tracer(config, service, Path(folder))
    except ColonyError as error:
        _log.error("no traces are written", error=str(error))
        yield OFF
        return
    try:
        yield opened
    finally:
        await opened.aclose()
