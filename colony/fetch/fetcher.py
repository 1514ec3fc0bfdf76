"""The guarded fetcher: the only way of agents to the network. HTTP of public addresses, everything bounded.

A name is resolved once, every address it has is checked, and the connection goes to a checked address (so that a name
that changes its mind in between gains nothing). Redirects go through the same gate. Proxies of the environment are
not used.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from urllib.parse import urljoin

import httpcore
import structlog

from colony.config.model import FetchConfig
from colony.contracts import Frozen
from colony.errors import (
    BadInput,
    CertificateInvalid,
    DeadlineExceeded,
    NotPermitted,
    TooManyRedirects,
    Unavailable,
)
from colony.fetch.address import Target, allowed_targets, public_address, target_of
from colony.fetch.body import BodyReader

_log = structlog.get_logger(__name__)

MAX_REDIRECTS: Final = 5
_MOST_ANSWER: Final = 64 * 1024
"""Most bytes of the answer to a POST."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HEADERS: Final = [(b"User-Agent", b"colony-fetch/1"), (b"Accept", b"*/*"), (b"Accept-Encoding", b"gzip")]


class FetchedPage(Frozen):
    """What came. `seconds` is the whole time, redirects included; `url` the last one."""

    url: str
    status: int
    content: bytes
    content_type: str
    seconds: float
    certificate_expires: float | None = None
    """Wall-clock seconds, for https."""


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Opens connections to checked addresses only."""

    def __init__(self, allowed: frozenset[tuple[str, int]]) -> None:
        self._allowed = allowed
        self._plain: Any = httpcore.AnyIOBackend()  # its type is hidden behind an optional import

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve `host` once, refuse it if any address is not public, connect to the first that answers."""
        addresses = await self._resolve(host, port)
        if (host.lower().rstrip("."), port) not in self._allowed:
            for address in addresses:
                if not public_address(address):
                    raise NotPermitted(
                        f"{host} leads to {address}, which is not a public address.",
                        remedy=f"List {host}:{port} under fetch.allow_private to allow it.",
                    )
        failure: Exception | None = None
        for address in addresses[:4]:
            try:
                return await self._plain.connect_tcp(address, port, timeout=timeout, local_address=local_address)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise Unavailable(f"{host}:{port} does not answer.") from failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise NotPermitted("Sockets of this machine are not fetched from.")

    async def sleep(self, seconds: float) -> None:
        """See httpcore."""
        await asyncio.sleep(seconds)

    async def _resolve(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
        except (OSError, UnicodeError) as error:
            raise Unavailable(f"The name {host[:80]} is not known.") from error
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedFetcher:
    """Fetches pages. Use through `open_fetcher`."""

    def __init__(self, config: FetchConfig, pool: httpcore.AsyncConnectionPool) -> None:
        self._config = config
        self._pool = pool

    async def get(self, url: str, *, timeout: float | None = None, max_bytes: int | None = None) -> FetchedPage:
        """GET `url`, following at most 5 redirects. Limits can only be lowered below those of the configuration.

        Any status is an answer. Raises `NotPermitted` (scheme, address; `TooLarge`, `TooManyRedirects`), `Unavailable`
        (name unknown, nobody answers, protocol broken; `CertificateInvalid`) and `DeadlineExceeded` (over `timeout`
        seconds in all).
        """
        most = min(max_bytes or self._config.max_bytes, self._config.max_bytes)
        return await self._bounded(url, self._follow(url, most, time.monotonic()), timeout)

    async def post(
        self, url: str, content: bytes, headers: Mapping[str, str], *, timeout: float | None = None
    ) -> FetchedPage:
        """POST `content` to `url`, once: a redirect is an answer like any other. Raises as `get`."""
        return await self._bounded(url, self._send(url, content, headers, time.monotonic()), timeout)

    async def _send(self, url: str, content: bytes, headers: Mapping[str, str], started: float) -> FetchedPage:
        target = target_of(url)
        sent = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        page, _ = await self._one(target, min(_MOST_ANSWER, self._config.max_bytes), started, (content, sent))
        return page

    async def _bounded(self, url: str, work: Awaitable[FetchedPage], timeout: float | None) -> FetchedPage:
        """`work` within its time, with the errors of this module."""
        limit = min(timeout or self._config.timeout, self._config.timeout)
        try:
            async with asyncio.timeout(limit):
                return await work
        except TimeoutError:
            raise DeadlineExceeded(f"The page did not come within {limit:g} s.") from None
        except httpcore.TimeoutException:
            raise DeadlineExceeded(f"The page did not come within {limit:g} s.") from None
        except (NotPermitted, BadInput) as error:
            _log.warning("a fetch was refused", url=_shown(url), reason=str(error)[:300])
            raise
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            wrong = _certificate_error(error)
            if wrong is not None:
                raise CertificateInvalid(f"The certificate of {_shown(url)} is not valid: {wrong}.") from error
            raise Unavailable(f"{_shown(url)} cannot be read: {str(error)[:200] or type(error).__name__}.") from error

    async def _follow(self, url: str, most: int, started: float) -> FetchedPage:
        for _ in range(MAX_REDIRECTS + 1):
            target = target_of(url)
            page, location = await self._one(target, most, started)
            if location is None:
                return page
            url = urljoin(target.url, location)
        raise TooManyRedirects(f"The page redirects more than {MAX_REDIRECTS} times.")

    async def _one(
        self,
        target: Target,
        most: int,
        started: float,
        sent: tuple[bytes, list[tuple[bytes, bytes]]] | None = None,
    ) -> tuple[FetchedPage, str | None]:
        """One request, a POST of `sent` (content, headers) or a GET; with where it redirects to."""
        headers = [(b"Host", target.host_header.encode("ascii")), *_HEADERS]
        content: bytes | None = None
        if sent is not None:
            content = sent[0]
            headers = [*headers, *sent[1], (b"Content-Length", str(len(content)).encode("ascii"))]
        method = "GET" if sent is None else "POST"
        async with self._pool.stream(method, target.url, headers=headers, content=content) as response:
            found = {name.lower(): value for name, value in response.headers}
            location = found.get(b"location")
            expires = _certificate_expiry(response)
            if response.status in _REDIRECTS and location is not None:
                body, follow = b"", location.decode("latin-1")
            else:
                reader = BodyReader(found.get(b"content-encoding", b"").decode("latin-1"), most)
                async for chunk in response.aiter_stream():
                    reader.feed(chunk)
                body, follow = reader.finish(), None
        page = FetchedPage(
            url=target.url,
            status=response.status,
            content=body,
            content_type=found.get(b"content-type", b"").decode("latin-1")[:200],
            seconds=time.monotonic() - started,
            certificate_expires=expires,
        )
        return page, follow


def _shown(url: str) -> str:
    """A URL for logs and messages: no query (it may hold secrets), no user part, not long."""
    before_query = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = before_query.partition("://")
    return (scheme + separator + rest.rpartition("@")[2])[:200]


def _certificate_error(error: BaseException | None) -> str | None:
    """What is wrong with a certificate, if that is why a connection failed."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message[:200]
        error = error.__cause__ or error.__context__
    return None


def _certificate_expiry(response: httpcore.Response) -> float | None:
    extensions = cast("dict[str, Any]", response.extensions)  # pyright: ignore[reportUnknownMemberType] -- bare in httpcore
    stream = extensions.get("network_stream")
    tls = None if stream is None else stream.get_extra_info("ssl_object")
    certificate = None if tls is None else tls.getpeercert()
    return float(ssl.cert_time_to_seconds(certificate["notAfter"])) if certificate else None


@asynccontextmanager
async def open_fetcher(
    config: FetchConfig, *, ssl_context: ssl.SSLContext | None = None, connections: int = 20
) -> AsyncGenerator[GuardedFetcher]:
    """A fetcher with at most `connections` open at once, none of them kept. Raises `ConfigInvalid` for a bad list."""
    network = CheckedNetwork(allowed_targets(config.allow_private))
    async with httpcore.AsyncConnectionPool(
        ssl_context=ssl_context or ssl.create_default_context(),
        max_connections=connections,
        max_keepalive_connections=0,
        network_backend=network,
        retries=0,
    ) as pool:
        yield GuardedFetcher(config, pool)
