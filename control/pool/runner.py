"""Start and end the process of one model."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass

import orjson
from pydantic import BaseModel, ValidationError

from colony.errors import BadInput, ColonyError, DeadlineExceeded, Unavailable, by_name
from control.pool.serving import ModelSettings
from control.stack.paths import REPOSITORY


class _Said(BaseModel):
    url: str = ""
    error: str = ""
    message: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ModelProcess:
    """A process that serves one model."""

    url: str
    """Ends before `/v1`."""
    load_seconds: float
    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    async def ended(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        return await self.process.wait()

    async def kill(self) -> None:
        """End it now. Calls under way break off; nothing in it needs saving."""
        await _kill(self.process)


async def start_model(settings: ModelSettings, *, seconds: float) -> ModelProcess:
    """Start it and wait until the model is loaded.

    Raises `BadInput` (the file cannot be served), `Unavailable` (it died, or llama.cpp is not installed),
    `DeadlineExceeded`. Whatever is raised, also on cancellation, no process is left.
    """
    began = time.monotonic()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "control.pool.child", str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=REPOSITORY,
        )
    except OSError as error:
        raise Unavailable(f"The model {settings.name!r} gets no process: {error.strerror}.") from error
    try:
        async with asyncio.timeout(seconds):
            said = await _converse(process, settings)
    except TimeoutError:
        await _kill(process)
        raise DeadlineExceeded(f"The model {settings.name!r} was not loaded within {seconds:.0f} s.") from None
    except BaseException:
        await asyncio.shield(_kill(process))
        raise
    if not said.url:
        await _kill(process)
        raise _error(said, settings)
    return ModelProcess(said.url, time.monotonic() - began, process)


async def _converse(process: asyncio.subprocess.Process, settings: ModelSettings) -> _Said:
    if process.stdin is None or process.stdout is None:
        raise Unavailable(f"The process of the model {settings.name!r} has no pipes.")
    with suppress(ConnectionError):  # it died: the empty answer says so
        process.stdin.write(orjson.dumps(asdict(settings)) + b"\n")
        await process.stdin.drain()
        process.stdin.close()
    line = await process.stdout.readline()
    if not line:
        code = await process.wait()
        raise Unavailable(
            f"The process of the model {settings.name!r} ended with {code} while it loaded.",
            remedy="See `colony logs model`.",
        )
    try:
        return _Said.model_validate_json(line)
    except ValidationError as error:
        raise Unavailable(f"The process of the model {settings.name!r} said {line[:80]!r}.") from error


def _error(said: _Said, settings: ModelSettings) -> ColonyError:
    kind = BadInput if by_name(said.error) is BadInput else Unavailable
    return kind(said.message or f"The model {settings.name!r} did not load.", remedy=said.remedy)


async def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
