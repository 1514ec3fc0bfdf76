"""A Temporal development server of its own for a test module, on free loopback ports, ended by pid."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from colony.config.endpoints import TemporalEndpoint
from tests.servers.ports import free_ports

BINARY = Path(sys.executable).parent / "temporal"

DYNAMIC_CONFIG: Mapping[str, str] = {
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    "history.transferProcessorMaxPollRPS": "200",
    "matching.enableFairness": "true",
}


@asynccontextmanager
async def temporal_server(
    *, database: Path | None = None, port: int | None = None, dynamic_config: Mapping[str, str] = DYNAMIC_CONFIG
) -> AsyncGenerator[TemporalEndpoint]:
    """A server that accepts connections; its data lives in `database`, or in memory."""
    with tempfile.TemporaryDirectory(prefix="colony-temporal-") as folder:
        own, http, metrics = free_ports(3)
        port = port or own
        command = [str(BINARY), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
        command += ["--log-level", "error", "--http-port", str(http), "--metrics-port", str(metrics)]
        for name, value in dynamic_config.items():
            command += ["--dynamic-config-value", f"{name}={value}"]
        if database is not None:
            command += ["--db-filename", str(database)]
        log = Path(folder) / "temporal.log"
        with log.open("wb") as sink:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=sink, stderr=sink
            )
        try:
            await _listens(port, process, log)
            yield TemporalEndpoint(address=f"127.0.0.1:{port}")
        finally:
            await _end(process)


async def _listens(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(60):
        while True:
            if process.returncode is not None:
                said = log.read_text(errors="replace")  # noqa: ASYNC240 -- a small local file, and we fail now
                raise AssertionError(f"The server ended: {said[-2000:]}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                await writer.wait_closed()
                return


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()


async def temporal_cli(endpoint: TemporalEndpoint, *arguments: str) -> tuple[int, str]:
    """Run the plain `temporal` command; returns exit code and output."""
    process = await asyncio.create_subprocess_exec(
        str(BINARY),
        *arguments,
        "--address",
        endpoint.address,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode()
