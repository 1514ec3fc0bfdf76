"""Questions that tell whether a server is ready."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.error
import urllib.request
from typing import Any

from colony.errors import Unavailable

PROBE_SECONDS = 2.0


async def first_line(host: str, port: int) -> bytes:
    """What a server says to a new connection; empty when it says nothing in time."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                return await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return b""


async def http_json(
    url: str, *, body: Any = None, token: str = "", method: str | None = None, timeout: float = PROBE_SECONDS
) -> Any:
    """The JSON answer of a server on this machine; None for an empty one.

    Raises `Unavailable` when there is no answer or one of an error status; the message carries the status.
    """
    return await asyncio.to_thread(_http_json, url, body, token, method, timeout)


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Never through a proxy: these are servers on loopback."""


def _http_json(url: str, body: Any, token: str, method: str | None, timeout: float) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 - our own URL
    try:
        with _OPENER.open(request, timeout=timeout) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise Unavailable(f"{url} answers {error.code}.") from error
    except (OSError, ValueError) as error:
        raise Unavailable(f"{url} does not answer: {error}.") from error
    return json.loads(text) if text else None


async def http_answers(url: str, *, token: str = "") -> bool:
    """Whether `url` answers with success and JSON or nothing."""
    try:
        await http_json(url, token=token)
    except (Unavailable, ValueError):
        return False
    return True
