"""Temporal: the real server on Postgres, or the dev server of the wheel."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import yaml

from colony.config.endpoints import TemporalEndpoint, read_secret
from colony.errors import BadInput, Permanent, Unavailable
from control.stack.context import LOOPBACK, StackContext
from control.stack.probes import http_answers, http_json
from control.stack.run_command import run_command
from control.stack.spec import ServiceSpec

DYNAMIC_CONFIG: Final = Path(__file__).with_name("temporal_dynamic_config.yaml")

HISTORY_SHARDS: Final = 4
"""Fixed for the life of the database."""

NAMESPACE: Final = "default"
RETENTION: Final = "259200s"
"""Closed workflows are kept three days; results are in the ledger for as long as the user wants."""

MEMORY_LIMIT: Final = "400MiB"
"""Go collects harder when the heap comes near; not a hard limit."""


def endpoint(context: StackContext) -> TemporalEndpoint:
    """Where the workflow engine is."""
    provider = context.providers["temporal"]
    keys = context.config.temporal.codec_key_file
    key_file = str((context.folder / keys).resolve()) if keys else ""
    if provider.kind == "configured":
        namespace = context.config.servers.temporal_namespace
        return TemporalEndpoint(address=provider.address, namespace=namespace, codec_key_file=key_file)
    has_ui = provider.kind == "embedded" or "temporal-ui" in context.providers
    ui = f"http://{context.address('temporal-ui')}" if has_ui else ""
    address = context.address("temporal")
    return TemporalEndpoint(address=address, namespace=NAMESPACE, ui=ui, own=True, codec_key_file=key_file)


def codec_url(context: StackContext) -> str:
    """Where the web UI has payloads decrypted."""
    return f"http://{context.address('api')}/codec"


def spec(context: StackContext) -> ServiceSpec:
    """The server that the context decided on."""
    return _server(context) if context.providers["temporal"].kind == "binary" else _dev_server(context)


def _server(context: StackContext) -> ServiceSpec:
    provider, ports = context.providers["temporal"], context.ports
    if provider.binary is None:
        raise BadInput("temporal-server is not here.", remedy="Run `make servers`.")

    async def prepare() -> None:
        await _ensure_schema(context)

    async def finish() -> None:
        await _ensure_namespace(context)

    return ServiceSpec(
        name="temporal",
        provider=provider.label,
        address=context.address("temporal"),
        command=(str(provider.binary), "--allow-no-auth", "start"),
        environment=context.server_environment(
            DB="postgres12_pgx",
            POSTGRES_SEEDS=LOOPBACK,
            DB_PORT=str(ports["postgres"]),
            POSTGRES_USER="temporal",
            POSTGRES_PWD=read_secret(context.secret("postgres-temporal")),
            DBNAME="temporal",
            VISIBILITY_DBNAME="temporal_visibility",
            NUM_HISTORY_SHARDS=str(HISTORY_SHARDS),
            SQL_MAX_CONNS="12",
            SQL_MAX_IDLE_CONNS="4",
            SQL_VIS_MAX_CONNS="4",
            SQL_VIS_MAX_IDLE_CONNS="2",
            BIND_ON_IP=LOOPBACK,
            TEMPORAL_BROADCAST_ADDRESS=LOOPBACK,
            FRONTEND_GRPC_PORT=str(ports["temporal"]),
            FRONTEND_HTTP_PORT=str(ports["temporal-http"]),
            FRONTEND_MEMBERSHIP_PORT=str(ports["temporal-frontend-membership"]),
            HISTORY_GRPC_PORT=str(ports["temporal-history"]),
            HISTORY_MEMBERSHIP_PORT=str(ports["temporal-history-membership"]),
            MATCHING_GRPC_PORT=str(ports["temporal-matching"]),
            MATCHING_MEMBERSHIP_PORT=str(ports["temporal-matching-membership"]),
            WORKER_GRPC_PORT=str(ports["temporal-worker"]),
            WORKER_MEMBERSHIP_PORT=str(ports["temporal-worker-membership"]),
            PROMETHEUS_ENDPOINT=context.address("temporal-metrics"),
            DYNAMIC_CONFIG_FILE_PATH=str(DYNAMIC_CONFIG),
            LOG_LEVEL="warn",
            GOMEMLIMIT=MEMORY_LIMIT,
        ),
        secrets=frozenset({"POSTGRES_PWD"}),
        folder=context.paths.run,
        probe=_probe(context),
        patience=30.0,
        depends_on=() if "postgres" not in context.providers else ("postgres",),
        prepare=prepare,
        finish=finish,
        stop_stage=2,
        stop_seconds=15.0,
        note="" if "temporal-ui" in context.providers else "no web UI: `make servers` builds it",
    )


def _dev_server(context: StackContext) -> ServiceSpec:
    provider, ports = context.providers["temporal"], context.ports
    data = context.paths.data("temporal")

    async def prepare() -> None:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def finish() -> None:
        await _ensure_namespace(context)

    values = dynamic_values(DYNAMIC_CONFIG.read_text(encoding="utf-8"))
    return ServiceSpec(
        name="temporal",
        provider=provider.label,
        address=context.address("temporal"),
        command=(
            str(provider.binary),
            "server",
            "start-dev",
            f"--db-filename={data / 'temporal.sqlite'}",
            # SQLite's own default writes and syncs a rollback journal beside the file for each transaction.
            "--sqlite-pragma=journal_mode=wal",
            "--sqlite-pragma=synchronous=full",
            f"--ip={LOOPBACK}",
            f"--port={ports['temporal']}",
            f"--http-port={ports['temporal-http']}",
            f"--ui-ip={LOOPBACK}",
            f"--ui-port={ports['temporal-ui']}",
            "--ui-disable-news-fetch",
            *([f"--ui-codec-endpoint={codec_url(context)}"] if context.config.temporal.codec_key_file else []),
            f"--metrics-port={ports['temporal-metrics']}",
            "--log-level=warn",
            "--disable-config-file",
            "--disable-config-env",
            *(f"--dynamic-config-value={name}={json.dumps(value)}" for name, value in values.items()),
        ),
        environment=context.server_environment(GOMEMLIMIT=MEMORY_LIMIT),
        folder=context.paths.run,
        probe=_probe(context),
        patience=30.0,
        prepare=prepare,
        finish=finish,
        stop_stage=2,
        stop_seconds=15.0,
        note="no full durability: `make servers` builds the server that keeps history in Postgres",
    )


def dynamic_values(text: str) -> dict[str, Any]:
    """Name and value of every unconstrained entry of a dynamic configuration file."""
    document = cast("dict[str, list[dict[str, Any]]]", yaml.safe_load(text))
    return {name: entries[0]["value"] for name, entries in document.items()}


def _probe(context: StackContext) -> Any:
    url = f"http://{context.address('temporal-http')}/api/v1/cluster-info"

    async def probe(_pid: int) -> bool:
        return await http_answers(url)

    return probe


async def _ensure_namespace(context: StackContext) -> None:
    """Create the namespace when it is missing. Raises `Unavailable` when the server does not answer."""
    base = f"http://{context.address('temporal-http')}/api/v1/namespaces"
    with suppress(Unavailable):
        await http_json(f"{base}/{NAMESPACE}")
        return
    body = {"namespace": NAMESPACE, "workflowExecutionRetentionPeriod": RETENTION}
    await http_json(base, body=body, timeout=10.0)


async def _ensure_schema(context: StackContext) -> None:
    for database, schema in (
        ("temporal", "postgresql/v12/temporal"),
        ("temporal_visibility", "postgresql/v12/visibility"),
    ):
        try:
            await _sql_tool(context, database, "update-schema", "--schema-name", schema)
        except Permanent:
            # Only a database without any schema needs the first version table.
            await _sql_tool(context, database, "setup-schema", "--version", "0.0")
            await _sql_tool(context, database, "update-schema", "--schema-name", schema)


async def _sql_tool(context: StackContext, database: str, *arguments: str) -> None:
    tool = context.providers["temporal"].tool
    if tool is None:
        raise BadInput("temporal-sql-tool is not here.", remedy="Run `make servers`.")
    await run_command(
        (str(tool), "--database", database, *arguments),
        environment=context.server_environment(
            SQL_PLUGIN="postgres12_pgx",
            SQL_HOST=LOOPBACK,
            SQL_PORT=str(context.ports["postgres"]),
            SQL_USER="temporal",
            SQL_PASSWORD=read_secret(context.secret("postgres-temporal")),
        ),
        timeout=120.0,
    )
