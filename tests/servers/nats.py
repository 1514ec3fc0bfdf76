"""A real `nats-server` with our own configuration, users and JetStream."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from colony.config.endpoints import NatsEndpoint
from colony.messaging.permissions import ROLES
from colony.messaging.server_config import render_server_config
from tests.eventually import assert_eventually
from tests.servers.ports import free_ports


def _binary() -> str:
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    assert found, "nats-server is missing: install the extra `embedded`"
    return found


class NatsServer:
    """A server of one test. Use through `nats_server()`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.monitoring_port = free_ports(2)
        self.passwords = {role: secrets.token_urlsafe(24) for role in ROLES}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> NatsEndpoint:
        """What our own code connects with."""
        return NatsEndpoint(
            url=f"nats://127.0.0.1:{self.port}",
            credentials=str(self.folder / "secrets"),
            monitoring=f"http://127.0.0.1:{self.monitoring_port}",
        )

    def write_files(self) -> None:
        """The credential files and the configuration."""
        credentials = self.folder / "secrets"
        credentials.mkdir(mode=0o700, exist_ok=True)
        for role, password in self.passwords.items():
            path = credentials / f"nats-{role}"
            path.write_text(password + "\n")
            path.chmod(0o600)
        config = self.folder / "nats-server.conf"
        config.write_text(
            render_server_config(
                port=self.port,
                monitoring_port=self.monitoring_port,
                store=self.folder / "jetstream",
                passwords=self.passwords,
            )
        )
        config.chmod(0o600)

    async def start(self) -> None:
        """Start and wait until it takes connections."""
        self._launch()
        await assert_eventually(self._answers, timeout=30)

    def _launch(self) -> None:
        command = [_binary(), "-c", str(self.folder / "nats-server.conf")]
        with (self.folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            text = (self.folder / "nats.log").read_text()[-2000:]
            raise RuntimeError(f"nats-server ended: {text}")
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    async def kill(self) -> None:
        """SIGKILL, as in a crash."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            await asyncio.to_thread(self._process.wait, 10)
        self._process = None

    async def restart(self) -> None:
        """Crash and come back on the same port with the same files."""
        await self.kill()
        await self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


@asynccontextmanager
async def nats_server() -> AsyncGenerator[NatsServer]:
    """A running server in a folder of its own; ended on the way out."""
    with tempfile.TemporaryDirectory(prefix="colony-nats-") as folder:
        server = NatsServer(Path(folder))
        server.write_files()
        await server.start()
        try:
            yield server
        finally:
            await server.kill()
