"""Little sites for the demo of `website_monitor`: they fail on a schedule, and one takes the webhook."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple

PORTS: Final = (18651, 18652, 18653, 18654, 18655)
"""Four sites and the webhook. Fixed, since hosts must be told at their start which loopback ports they may fetch."""

_LONGEST_BODY: Final = 1_000_000


class Schedule(NamedTuple):
    """What a site does, in seconds after the start of the demo."""

    name: str
    page: str
    down: tuple[float, float] = (0.0, 0.0)
    """From, to: it answers with status 500."""
    changes_at: float = 0.0
    """When its page becomes another one; 0 for never."""
    slow: tuple[float, float] = (0.0, 0.0)
    """From, to: it takes a second and a half."""


SCHEDULE: Final = (
    Schedule("shop", "<h1>Shop</h1> open"),
    Schedule("blog", "<h1>Blog</h1>", down=(8.0, 16.0)),
    Schedule("news", "<h1>News of today</h1>", changes_at=10.0),
    Schedule("search", "<h1>Search</h1>", slow=(6.0, 14.0)),
)


class Received(NamedTuple):
    """A POST that came to the webhook."""

    body: bytes
    signature: str

    def events(self) -> list[dict[str, Any]]:
        """What it tells."""
        return json.loads(self.body)["events"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, site: Schedule | None, started: float, received: list[Received]) -> None:
        self.site = site
        self.started = started
        self.received = received
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride] -- ours is always one of these

    def do_GET(self) -> None:
        """Answer as the schedule says."""
        site = self.server.site
        if site is None:
            self._say(405, b"")
            return
        at = time.monotonic() - self.server.started
        if site.slow[0] <= at < site.slow[1]:
            time.sleep(1.5)
        if site.down[0] <= at < site.down[1]:
            self._say(500, b"out of order")
            return
        new = bool(site.changes_at) and at >= site.changes_at
        self._say(200, site.page.encode() + (b" (new edition)" if new else b""))

    def do_POST(self) -> None:
        """Keep what the webhook gets."""
        length = min(_LONGEST_BODY, int(self.headers.get("Content-Length") or 0))
        signature = self.headers.get("X-Colony-Signature") or ""
        self.server.received.append(Received(self.rfile.read(length), signature))
        self._say(204, b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- name of the base class
        """Say nothing."""

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def demo_sites() -> Generator[list[Received]]:
    """Serve the sites and the webhook on `PORTS`; yields what the webhook received, growing. Raises `OSError`."""
    started, received = time.monotonic(), list[Received]()
    servers = [_Server(port, site, started, received) for port, site in zip(PORTS, (*SCHEDULE, None), strict=True)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True, name="demo site").start()
    try:
        yield received
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def demo_input() -> dict[str, Any]:
    """The input of the demo's monitor."""
    sites = [
        {"name": site.name, "url": f"http://127.0.0.1:{port}/", "tell_changes": bool(site.changes_at)}
        for site, port in zip(SCHEDULE, PORTS, strict=False)
    ]
    return {
        "sites": sites,
        "interval": 1,
        "failures": 2,
        "recoveries": 2,
        "slow_seconds": 1.0,
        "webhook": f"http://127.0.0.1:{PORTS[-1]}/hook",
    }


def allowed_targets_text() -> str:
    """The value of `fetch.allow_private` that lets hosts reach the demo's sites."""
    return "[" + ", ".join(f'"127.0.0.1:{port}"' for port in PORTS) + "]"
