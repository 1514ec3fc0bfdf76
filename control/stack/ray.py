"""Ray: `ray start --head` from our own environment, its session in a folder of its own."""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Final

from colony.config.endpoints import RayEndpoint, read_secret
from control.stack import gateway
from control.stack.context import LOOPBACK, StackContext
from control.stack.paths import make_private_folder
from control.stack.probes import http_answers
from control.stack.spec import ServiceSpec

OBJECT_STORE_BYTES: Final = 100_000_000
"""Batches carry ranges, not data: the store is hardly used."""

TRIES: Final = 3
"""Ray gives its own raylet 30 s, fixed in its code: too few on a machine under load."""

LEAN: Final = {
    # Fewer threads and less traffic on a small machine; each name exists in Ray 2.60.
    "RAY_num_server_call_thread": "1",
    "RAY_worker_num_grpc_internal_threads": "1",
    "RAY_gcs_server_rpc_server_thread_num": "1",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_event_log_reporter_enabled": "0",
    "RAY_enable_timeline": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    # Ray lets its workers yield to everybody (15). Ours serve: hosts and gateway must not starve beside a model.
    "RAY_worker_niceness": "0",
}


def endpoint(context: StackContext) -> RayEndpoint:
    """Where the hosts live."""
    provider = context.providers["ray"]
    if provider.kind == "configured":
        token = context.config.servers.ray_token_file
        return RayEndpoint(
            address=provider.address, token_file=str((context.folder / token).resolve()) if token else ""
        )
    return RayEndpoint(
        address=context.address("ray"),
        dashboard=f"http://{context.address('ray-dashboard')}",
        token_file=str(context.secret("ray-token")),
    )


def spec(context: StackContext) -> ServiceSpec:
    """A head with its dashboard on loopback."""
    folder, ports = context.paths.ray, context.ports

    token = read_secret(context.secret("ray-token"))
    version = f"http://{context.address('ray-dashboard')}/api/version"

    async def probe(_pid: int) -> bool:
        return await http_answers(version, token=token)

    return ServiceSpec(
        name="ray",
        provider=context.providers["ray"].label,
        address=context.address("ray"),
        command=(
            *(sys.executable, "-m", "ray_app.head_command"),
            "start",
            "--head",
            f"--node-ip-address={LOOPBACK}",
            f"--port={ports['ray']}",
            f"--node-manager-port={ports['ray-node-manager']}",
            f"--object-manager-port={ports['ray-object-manager']}",
            f"--dashboard-agent-listen-port={ports['ray-agent-http']}",
            f"--dashboard-agent-grpc-port={ports['ray-agent-grpc']}",
            f"--runtime-env-agent-port={ports['ray-runtime-env']}",
            f"--metrics-export-port={ports['ray-metrics']}",
            "--min-worker-port=0",
            "--max-worker-port=0",
            "--include-dashboard=true",
            f"--dashboard-host={LOOPBACK}",
            f"--dashboard-port={ports['ray-dashboard']}",
            f"--num-cpus={max(os.cpu_count() or 1, context.config.fleet.hosts)}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
            # Ray opens its folder to everybody; the one around it stays ours alone.
            f"--temp-dir={folder / 'r'}",
            "--include-log-monitor=false",
            "--no-monitor",
            "--disable-usage-stats",
            "--log-color=false",
        ),
        environment=context.process_environment(
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN_PATH=str(context.secret("ray-token")),
            TMPDIR=str(folder),  # its dashboard leaves temporary folders behind when it is killed
            **LEAN,
            **gateway.serve_environment(context),
        ),
        folder=context.paths.run,
        probe=probe,
        stop_stage=1,
        stop_seconds=3.0,
        start_seconds=90.0,
        tries=TRIES,
        prepare=partial(_fresh_folder, folder),
        vital=("gcs_server", "raylet"),
        note="listens on all interfaces for its own ports, guarded by a token",
    )


async def _fresh_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    make_private_folder(folder)
