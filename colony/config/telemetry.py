"""The section `telemetry` of `agent_config.yaml`. Pure data."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from colony.config.section import Section


class TelemetryConfig(Section):
    """Traces by OpenTelemetry. What is left out here, the usual `OTEL_*` variables say."""

    enabled: bool = False
    """Whether traces are written. Off, nothing of OpenTelemetry is even imported."""
    endpoint: str = ""
    """Base URL of a collector that speaks OTLP over HTTP, such as `http://127.0.0.1:4318`; empty for
    `OTEL_EXPORTER_OTLP_ENDPOINT`, and without that one for port 4318 of this machine."""
    sample_ratio: float | None = Field(default=None, ge=0, le=1)
    """Share of the traces that begin here which are kept; a caller's own decision goes before. Left out:
    `OTEL_TRACES_SAMPLER`, and without that one all."""
    headers_file: str = ""
    """File with headers for the collector, one `name: value` on each line, such as its key; empty for
    `OTEL_EXPORTER_OTLP_HEADERS`."""
    task_spans: int = Field(default=20, ge=0, le=1000)
    """Most tasks of one batch that get a span of their own; the batch has one always."""

    @field_validator("endpoint")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an http or https URL")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("no user, password, query or fragment may stand in the URL; keys belong into headers_file")
        return value.rstrip("/")
