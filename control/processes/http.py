"""Serve an ASGI application from a process that handles signals itself."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn


class Server(uvicorn.Server):
    """Leaves signals to `stop_on_signals`; set `should_exit` to end it."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """See `uvicorn.Server`."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes callers from now on. Raises `OSError` when the port is taken."""
    # The protocol is named, or asyncio leaves small answers waiting for an acknowledgement (40 ms each: measured).
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # before anybody is told: from here on callers wait instead of being turned away
    except OSError:
        listener.close()
        raise
    return listener
