"""The pool as a process: its API on one loopback port, until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import uvicorn

from colony.clock import SystemClock
from colony.errors import Unavailable
from control.pool.api import pool_app
from control.pool.catalogue import CatalogueModel
from control.pool.pool import PoolRules, open_pool
from control.processes.signals import stop_on_signals

STOP_SECONDS: Final = 1


class _Server(uvicorn.Server):
    """Leaves signals to `stop_on_signals`."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve_pool(
    models: dict[str, CatalogueModel], rules: PoolRules, port: int, said_ready: AbstractContextManager[None]
) -> None:
    """Serve until SIGTERM or SIGINT; `said_ready` is entered once it answers.

    Raises `Unavailable` if the pool ends by itself, `OSError` when the port is taken.
    """
    stop = stop_on_signals()
    with _listen(port) as listener:
        async with open_pool(models, rules, clock=SystemClock()) as pool:
            config = uvicorn.Config(
                pool_app(pool, rules.key),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
            server = _Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listener]), name="pool api")
            stopping = asyncio.create_task(stop.wait(), name="stop of the pool")
            with said_ready:
                done, _ = await asyncio.wait((serving, stopping, pool.failed), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            server.should_exit = True
            await serving
            if stopping not in done:
                raise Unavailable("The pool ended by itself.")


def _listen(port: int) -> socket.socket:
    # The protocol is named, or asyncio leaves small answers waiting for an acknowledgement (40 ms each: measured).
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()  # before anybody is told: from here on callers wait instead of being turned away
    except OSError:
        listener.close()
        raise
    return listener
