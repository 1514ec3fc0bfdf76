"""A model server that never ends an answer and knows who left: for what happens while calls are under way."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SlowModel(ThreadingHTTPServer):
    """Speaks OpenAI's API, one word at a time and never to an end; knows who left."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SlowAnswer)
        self.begun = threading.Event()
        self.left = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class SlowAnswer(BaseHTTPRequestHandler):
    server: SlowModel  # pyright: ignore[reportIncompatibleVariableOverride] -- the one that made it

    def do_GET(self) -> None:
        body = json.dumps({"object": "list", "data": [{"id": "slow", "object": "model"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        delta = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
        piece = {"id": "1", "object": "chat.completion.chunk", "model": "slow", "choices": [delta]}
        try:
            while not self.server.left.wait(0.05):
                self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
                self.server.begun.set()
        except OSError:
            self.server.left.set()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the name is the library's
        pass


@contextmanager
def slow_model() -> Generator[SlowModel]:
    """On a free loopback port."""
    server = SlowModel()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.left.set()
        server.shutdown()
        server.server_close()
        thread.join()
