"""The pool as a process: its API on one loopback port, until it is told to stop."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import Final

import uvicorn

from colony.clock import SystemClock
from colony.errors import Unavailable
from control.pool.api import pool_app
from control.pool.catalogue import CatalogueModel
from control.pool.pool import PoolRules, open_pool
from control.processes.http import Server, listen
from control.processes.signals import stop_on_signals

STOP_SECONDS: Final = 1


async def serve_pool(
    models: dict[str, CatalogueModel], rules: PoolRules, port: int, said_ready: AbstractContextManager[None]
) -> None:
    """Serve until SIGTERM or SIGINT; `said_ready` is entered once it answers.

    Raises `Unavailable` if the pool ends by itself, `OSError` when the port is taken.
    """
    stop = stop_on_signals()
    with listen("127.0.0.1", port) as listener:
        async with open_pool(models, rules, clock=SystemClock()) as pool:
            config = uvicorn.Config(
                pool_app(pool, rules.key),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
            server = Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listener]), name="pool api")
            stopping = asyncio.create_task(stop.wait(), name="stop of the pool")
            with said_ready:
                done, _ = await asyncio.wait((serving, stopping, pool.failed), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            server.should_exit = True
            await serving
            if stopping not in done:
                raise Unavailable("The pool ended by itself.")
