"""A real Consul server of its own for tests: free ports, a temporary folder, ended by pid."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import shutil
import signal
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from colony.errors import ColonyError
from colony.registry.consul_http import open_consul_http
from colony.registry.consul_server import (
    POLICIES,
    ConsulPorts,
    bootstrap_acl,
    consul_configuration,
    consul_environment,
)
from tests.eventually import assert_eventually
from tests.servers.ports import free_ports

VERSION = "1.20.6"


def consul_binary() -> Path:
    """The built server. Without one: fails in CI, skips elsewhere."""
    cache = (
        os.environ.get("COLONY_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "colony"
    )
    built = Path(cache) / "servers" / f"consul-{VERSION}" / "consul"
    if built.is_file():
        return built
    found = shutil.which("consul")
    if found:
        return Path(found)
    message = "No Consul binary: run `make servers`."
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@dataclass
class ConsulServer:
    """A running server; `stop` and `start` keep its data and ports."""

    folder: Path
    binary: Path
    ports: ConsulPorts
    management: str = field(default_factory=lambda: str(uuid.uuid4()))
    tokens: dict[str, str] = field(default_factory=lambda: {role: str(uuid.uuid4()) for role in POLICIES})
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.ports.http}"

    def token_file(self, role: str) -> str:
        return str(self.folder / f"consul-{role}")

    def prepare(self) -> None:
        configuration = consul_configuration(
            data=self.folder / "data",
            ports=self.ports,
            management_token=self.management,
            gossip_key=base64.b64encode(secrets.token_bytes(32)).decode(),
        )
        (self.folder / "consul.json").write_bytes(orjson.dumps(configuration))
        for role, token in {**self.tokens, "management": self.management}.items():
            Path(self.token_file(role)).write_text(token, encoding="ascii")

    async def start(self) -> None:
        with (self.folder / "consul.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                self.binary,
                "agent",
                f"-config-file={self.folder / 'consul.json'}",
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath, "HOME": str(self.folder), **consul_environment()},
            )
        await assert_eventually(self._ready, timeout=60)

    async def _ready(self) -> bool:
        assert self.process is not None
        if self.process.returncode is not None:
            pytest.fail(f"Consul ended:\n{(self.folder / 'consul.log').read_text()[-3000:]}")
        try:
            await bootstrap_acl(self.address, self.management, self.tokens)
            # Its own node appears once the server is done with its first round as leader.
            async with open_consul_http(self.address, self.management) as http:
                return bool(await http.rows("/v1/catalog/nodes"))
        except ColonyError:
            return False

    async def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(number)
        try:
            await asyncio.wait_for(self.process.wait(), 15)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def running_consul(folder: Path) -> AsyncGenerator[ConsulServer]:
    """A fresh server with the policies and tokens of all roles."""
    http, server, serf = free_ports(3)
    consul = ConsulServer(folder, consul_binary(), ConsulPorts(http=http, server=server, serf=serf))
    consul.prepare()
    try:
        await consul.start()
        yield consul
    finally:
        await consul.stop(signal.SIGKILL)
