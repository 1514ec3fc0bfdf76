"""Requests to one Consul agent, with a deadline each and errors in our own words.

py-consul is not used here: its transactions send no token and an environment variable overrides an explicit one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import httpx
import orjson

from colony.errors import BadInput, NotFound, NotPermitted, Permanent, Unavailable

TIMEOUT: Final = httpx.Timeout(10.0, connect=2.0)
"""Seconds for one request."""

TRANSACTION_TIMEOUT: Final = httpx.Timeout(60.0, connect=2.0)
"""Seconds for one transaction: removing a host with fifty thousand agents takes Consul six, more on a busy machine."""


_TRANSACTION: Final = "/v1/txn"
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409


class Conflict(Permanent):
    """A transaction was rolled back: what it expected did not hold. `failed` are the numbers of those operations."""

    def __init__(self, message: str, failed: frozenset[int]) -> None:
        super().__init__(message)
        self.failed = failed


class ConsulHttp:
    """A pooled client of the HTTP API of one agent. Made by `open_consul_http`."""

    def __init__(self, client: httpx.AsyncClient, address: str) -> None:
        self._client = client
        self._address = address

    async def rows(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        """The answer of a path that lists things; empty for 404."""
        return cast("list[dict[str, Any]]", await self._get(path, parameters) or [])

    async def entry(self, path: str, **parameters: str) -> dict[str, Any] | None:
        """The answer of a path that names one thing; None for 404."""
        return cast("dict[str, Any] | None", await self._get(path, parameters))

    async def put(self, path: str, body: Any = None, **parameters: str) -> Any:
        """The parsed answer. Raises `NotFound` for 404 (and for the 500 of a check Consul does not know)."""
        content = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        answer = await self._send("PUT", path, parameters, content)
        if answer.status_code == _NOT_FOUND or b"Unknown check" in answer.content[:200]:
            raise NotFound(f"Consul knows nothing under {path}.")
        return self._parsed(answer, path)

    async def transact(self, operations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Apply all operations or none. Raises `Conflict` when one did not hold."""
        answer = await self._send("PUT", _TRANSACTION, {}, orjson.dumps(operations))
        if answer.status_code == _CONFLICT:
            raise _conflict(answer)
        return cast("list[dict[str, Any]]", self._parsed(answer, _TRANSACTION).get("Results") or [])

    async def ping(self) -> float:
        """Seconds of one round trip to an agent that has a leader."""
        start = time.perf_counter()
        if not await self._get("/v1/status/leader", {}):
            raise Unavailable(f"Consul at {self._address} has no leader.")
        return time.perf_counter() - start

    async def _get(self, path: str, parameters: Mapping[str, str]) -> Any:
        answer = await self._send("GET", path, parameters, None)
        return None if answer.status_code == _NOT_FOUND else self._parsed(answer, path)

    async def _send(
        self, method: str, path: str, parameters: Mapping[str, str], content: bytes | None
    ) -> httpx.Response:
        try:
            timeout = TRANSACTION_TIMEOUT if path == _TRANSACTION else TIMEOUT
            return await self._client.request(method, path, params=parameters, content=content, timeout=timeout)
        except httpx.TimeoutException as error:
            raise Unavailable(f"Consul at {self._address} did not answer in time ({path}).") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"Consul at {self._address} does not answer: {type(error).__name__}.") from error

    def _parsed(self, answer: httpx.Response, path: str) -> Any:
        if answer.status_code in (401, 403):
            raise NotPermitted(f"Consul refused {path} with the token at hand.", remedy="Check the token file.")
        if answer.status_code in (408, 429) or answer.is_server_error:
            raise Unavailable(f"Consul answered {answer.status_code} to {path}: {answer.text[:200]}")
        if answer.is_error:
            raise BadInput(f"Consul answered {answer.status_code} to {path}: {answer.text[:200]}")
        if not answer.content:
            return None
        try:
            return orjson.loads(answer.content)
        except orjson.JSONDecodeError as error:
            raise Unavailable(f"Consul answered {path} with something that is not JSON.") from error


def _conflict(answer: httpx.Response) -> Permanent:
    errors: list[dict[str, Any]] = orjson.loads(answer.content).get("Errors") or []
    what = "; ".join(str(error.get("What", ""))[:120] for error in errors[:3])
    if any("Permission denied" in str(error.get("What", "")) for error in errors):
        return NotPermitted(f"Consul refused a transaction: {what}", remedy="Check the token's policy.")
    return Conflict(f"Consul rolled a transaction back: {what}", frozenset(int(error["OpIndex"]) for error in errors))


@asynccontextmanager
async def open_consul_http(address: str, token: str, *, connections: int = 8) -> AsyncGenerator[ConsulHttp]:
    """A client of the agent at `address` (`http://host:port` or `host:port`); sends nothing by itself.

    Proxies and tokens of the environment are ignored.
    """
    base = address if "://" in address else f"http://{address}"
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(
        base_url=base, headers={"X-Consul-Token": token}, timeout=TIMEOUT, limits=limits, trust_env=False
    ) as client:
        yield ConsulHttp(client, address)
