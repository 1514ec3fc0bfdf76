"""One connection to NATS for key-value buckets: a deadline for every call, errors in our own words."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import nats
import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DeliverPolicy, KeyValueConfig, StorageType
from nats.js.errors import (
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NoStreamResponseError,
    NotFoundError,
)
from nats.js.kv import KeyValue

from colony.errors import NotPermitted, Unavailable

CALL_SECONDS: Final = 5.0
"""How long one call may take."""

CONNECT_SECONDS: Final = 5.0
"""How long the first connection may take."""

_BUCKET_BYTES: Final = 64 * 1024 * 1024
"""Bound of a bucket: a hundred thousand agents take some 8 MiB."""

_MARKER_SECONDS: Final = 60.0
"""How long the server remembers that a key was removed."""

_REMOVED: Final = frozenset({"KV-Operation", "Nats-Marker-Reason"})
"""Headers of the entries that say a key was removed: by a client, and by the server (2.11 and later)."""

_Result = TypeVar("_Result")


class NatsSession:
    """Buckets over one connection that reconnects for ever. Made by `open_nats_session`."""

    def __init__(self, url: str, user: str, password: str, inbox_prefix: str) -> None:
        self._url = url
        self._user = user
        self._password = password
        self._inbox_prefix = inbox_prefix
        self._client: Client | None = None
        self._buckets: dict[str, KeyValue] = {}
        self._opening = asyncio.Lock()
        self._refused = ""
        self._refusal = asyncio.Event()

    async def get(self, bucket: str, key: str) -> tuple[bytes, int] | None:
        """Value and revision of a key; None when there is none."""
        found = await self._existing(bucket)
        if found is None:
            return None
        try:
            entry = await self._call(found.get(key))
        except KeyNotFoundError:
            return None
        return (entry.value or b"", entry.revision or 0)

    async def put(self, bucket: str, key: str, value: bytes) -> None:
        """Set a key, whatever it was."""
        found = await self._bucket(bucket)
        await self._call(found.put(key, value))

    async def replace(self, bucket: str, key: str, value: bytes, revision: int) -> bool:
        """Set a key if it still has this revision (0: if it is new); False when it changed."""
        found = await self._bucket(bucket)
        try:
            await self._call(found.update(key, value, last=revision))
        except KeyWrongLastSequenceError:
            return False
        return True

    async def scan(self, bucket: str, pattern: str) -> dict[str, bytes]:
        """All keys that match a pattern of tokens (`*`, `>`), with their values."""
        found = await self._existing(bucket)
        return {} if found is None else await self._call(_scan(self._context(), bucket, pattern))

    async def erase(self, bucket: str, pattern: str) -> None:
        """Remove all keys that match; the markers that say so vanish after a minute."""
        found = await self._existing(bucket)
        if found is None:
            return
        for key in await self._call(_scan(self._context(), bucket, pattern, names_only=True)):
            await self._call(found.purge(key, msg_ttl=_MARKER_SECONDS))

    async def ping(self) -> float:
        """Seconds of one round trip."""
        await self._connected()
        start = time.perf_counter()
        await self._call(self._raw().flush(timeout=int(CALL_SECONDS)))
        return time.perf_counter() - start

    async def open(self) -> None:
        """Connect. Raises `NotPermitted` for wrong credentials, `Unavailable` when nobody answers."""
        client = Client()
        self._refusal.clear()
        connecting = asyncio.create_task(self._connect(client), name="registry-connect")
        refused = asyncio.create_task(self._refusal.wait(), name="registry-refused")
        try:
            await asyncio.wait({connecting, refused}, timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            refused.cancel()
            if not connecting.done():
                connecting.cancel()
        await asyncio.wait({connecting})
        if connecting.cancelled() or connecting.exception() is not None:
            await client.close()
            if self._refusal.is_set():
                raise NotPermitted(f"NATS refused the user {self._user}: {self._refused}")
            raise Unavailable(f"NATS at {self._url} does not answer.")
        self._client = client
        self._buckets = {}

    async def close(self) -> None:
        """Close the connection; nothing is written later, so nothing is drained."""
        if self._client is not None:
            await self._client.close()

    async def _connect(self, client: Client) -> None:
        await client.connect(
            servers=[self._url],
            user=self._user or None,
            password=self._password or None,
            inbox_prefix=self._inbox_prefix,
            name="colony-registry",
            error_cb=self._on_error,
            connect_timeout=2,
            max_reconnect_attempts=-1,
            # Randomised per process, so that a returning server is not met by all at once.
            reconnect_time_wait=random.uniform(0.2, 1.0),  # noqa: S311 # pyright: ignore[reportArgumentType] -- no secret; fractions work
            ping_interval=10,
            max_outstanding_pings=2,
        )

    async def _on_error(self, error: Exception) -> None:
        """Runs inside the reader of the connection: must neither wait nor raise."""
        text = str(error).lower()
        if "authorization" in text or "permissions violation" in text or "authentication" in text:
            self._refused = str(error)[:200]
            self._refusal.set()

    async def _connected(self) -> None:
        if self._client is None or self._client.is_closed:
            # Some errors of the server close the client for good, even with endless reconnects.
            async with self._opening:
                if self._client is None or self._client.is_closed:
                    await self.open()
        if not self._raw().is_connected:
            raise Unavailable(f"NATS at {self._url} is not connected.")

    async def _existing(self, name: str) -> KeyValue | None:
        """A bucket, if it was made: who may only read may not make it."""
        await self._connected()
        if name not in self._buckets:
            try:
                self._buckets[name] = await self._call(self._context().key_value(name))
            except BucketNotFoundError:
                return None
        return self._buckets[name]

    async def _bucket(self, name: str) -> KeyValue:
        found = await self._existing(name)
        if found is None:
            found = await self._call(_create_bucket(self._context(), name))
            self._buckets[name] = found
        return found

    def _raw(self) -> Client:
        if self._client is None:
            raise Unavailable(f"NATS at {self._url} was never connected.")
        return self._client

    def _context(self) -> JetStreamContext:
        return self._raw().jetstream(timeout=CALL_SECONDS)  # pyright: ignore[reportUnknownMemberType] -- untyped options

    async def _call(self, work: Awaitable[_Result]) -> _Result:
        self._refusal.clear()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await work
        except (BucketNotFoundError, KeyNotFoundError, KeyWrongLastSequenceError):
            raise
        except (TimeoutError, nats.errors.Error, OSError) as error:
            if isinstance(error, (NoStreamResponseError, NotFoundError)):
                self._buckets = {}  # the server came back without its buckets: make them again next time
            if self._refusal.is_set():
                raise NotPermitted(f"NATS does not allow {self._user}: {self._refused}") from error
            raise Unavailable(f"NATS at {self._url} did not answer: {type(error).__name__}.") from error


async def _create_bucket(context: JetStreamContext, name: str) -> KeyValue:
    wanted = KeyValueConfig(bucket=name, history=1, storage=StorageType.FILE, max_bytes=_BUCKET_BYTES, direct=True)
    return await context.create_key_value(wanted)  # pyright: ignore[reportUnknownMemberType] -- untyped options


async def _scan(context: JetStreamContext, bucket: str, pattern: str, *, names_only: bool = False) -> dict[str, bytes]:
    """Read what is there now through a consumer of our own.

    `KeyValue.watch` is not used: where the server has sent every entry before it is asked how many are left, and the
    client has not looked at them yet, nats-py takes the bucket for empty (seen with 2.16, found by the contract tests).
    """
    subscription = await context.subscribe(  # pyright: ignore[reportUnknownMemberType] -- untyped options
        f"$KV.{bucket}.{pattern}",
        stream=f"KV_{bucket}",
        ordered_consumer=True,
        deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
        headers_only=names_only,
        inactive_threshold=2 * CALL_SECONDS,
    )
    found: dict[str, bytes] = {}
    try:
        consumer = await subscription.consumer_info()
        sent = 0 if consumer.delivered is None else consumer.delivered.consumer_seq
        left = sent + (consumer.num_pending or 0)
        while left > 0:
            message = await subscription.next_msg(timeout=CALL_SECONDS)
            left = message.metadata.num_pending
            if _REMOVED.isdisjoint(message.headers or {}):
                found[message.subject.split(".", 2)[2]] = message.data
    finally:
        await subscription.unsubscribe()
    return found


@asynccontextmanager
async def open_nats_session(url: str, user: str, password: str, inbox_prefix: str) -> AsyncGenerator[NatsSession]:
    """A connected session. Raises `NotPermitted` or `Unavailable`."""
    session = NatsSession(url, user, password, inbox_prefix)
    await session.open()
    try:
        yield session
    finally:
        await session.close()
