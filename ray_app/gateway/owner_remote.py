"""The owner in another process: the same port, spoken in JSON bytes over any way of calling it. No Ray in here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
import structlog
from pydantic import ValidationError

from colony.errors import ColonyError, DeadlineExceeded, Overloaded, Unavailable, by_name
from ray_app.gateway.contracts import Ended, Grant, Ticket
from ray_app.gateway.ports import Owner

_log = structlog.get_logger(__name__)

Ask = Callable[[str, bytes], Awaitable[bytes]]
"""Calls a method of the owner's process by name. Raises `Unavailable` when it does not answer; cancelling the await
cancels the call there."""

ASK_SECONDS: Final = 5.0
"""Longest wait for anything but a grant, the tries of a release together."""

GRANT_MARGIN: Final = 1.0
"""Seconds by which the owner may say late that the time of a ticket is up."""

LET_GO_SECONDS: Final = 1.0
"""Longest wait for an owner to take back the grant it has just not given in time."""

RELEASE_TRIES: Final = 3
RELEASE_PAUSE: Final = 0.5
"""Seconds between two tries. A grant that is never released comes back when its lease ends."""


async def served(owner: Owner, method: str, payload: bytes) -> bytes:
    """The owner's side of one call: errors of ours become part of the answer."""
    try:
        return _packed(await _called(owner, method, payload))
    except ColonyError as error:
        problem = {"name": type(error).__name__, "message": error.message, "remedy": error.remedy}
        if isinstance(error, Overloaded):
            problem["retry_after"] = error.retry_after  # pyright: ignore[reportArgumentType] -- seconds or None
        return orjson.dumps({"error": problem})


async def _called(owner: Owner, method: str, payload: bytes) -> Any:
    match method:
        case "acquire":
            return (await owner.acquire(Ticket.model_validate_json(payload))).model_dump(mode="json")
        case "release":
            return await owner.release(Ended.model_validate_json(payload))
        case "state":
            return await owner.state()
        case "why":
            return await owner.why(payload.decode())
        case "drain":
            replica, on = orjson.loads(payload)
            return await owner.drain(replica, on)
        case _:
            raise ValueError(method)


def _packed(value: Any) -> bytes:
    return orjson.dumps({"value": value}, option=orjson.OPT_NON_STR_KEYS, default=str)


class RemoteOwner:
    """See `Owner`."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def acquire(self, ticket: Ticket) -> Grant:
        """See `Owner`. When the answer is lost, the grant that may have been given is released."""
        lost = Ended(request_id=ticket.request_id, outcome="cancelled")
        try:
            async with asyncio.timeout(ticket.seconds + GRANT_MARGIN):
                answer = await self._ask("acquire", ticket.model_dump_json().encode())
        except TimeoutError:
            await asyncio.shield(self._release(lost, LET_GO_SECONDS))
            raise DeadlineExceeded(
                f"The owner of the gateway's queues was silent for {ticket.seconds + GRANT_MARGIN:g} s."
            ) from None
        except (asyncio.CancelledError, Unavailable):
            await asyncio.shield(self.release(lost))
            raise
        try:
            return Grant.model_validate(_value(answer))
        except ValidationError as error:
            raise Unavailable("The owner of the queues speaks another version.") from error

    async def release(self, ended: Ended) -> None:
        """See `Owner`. Never raises: an owner that is away forgets its grants, or takes them back after a while."""
        await self._release(ended, ASK_SECONDS)

    async def state(self) -> dict[str, Any]:
        """See `Owner`. Raises `DeadlineExceeded`, `Unavailable`."""
        return await self._told("state", b"")

    async def why(self, request_id: str) -> dict[str, Any]:
        """See `Owner`. Raises `DeadlineExceeded`, `Unavailable`."""
        return await self._told("why", request_id.encode())

    async def drain(self, replica: str, on: bool) -> None:
        """See `Owner`. Raises `DeadlineExceeded`, `Unavailable`."""
        await self._told("drain", orjson.dumps([replica, on]))

    async def _told(self, method: str, payload: bytes) -> Any:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return _value(await self._ask(method, payload))
        except TimeoutError:
            raise DeadlineExceeded(f"The owner of the gateway's queues was silent for {ASK_SECONDS:g} s.") from None

    async def _release(self, ended: Ended, seconds: float) -> None:
        payload = ended.model_dump_json().encode()
        try:
            async with asyncio.timeout(seconds):
                for _ in range(RELEASE_TRIES):
                    try:
                        _value(await self._ask("release", payload))
                    except ColonyError as error:
                        _log.info("release not taken", request=ended.request_id, error=str(error))
                        await asyncio.sleep(RELEASE_PAUSE)
                    else:
                        return
        except TimeoutError:
            _log.info("release not taken", request=ended.request_id, error=f"silent for {seconds:g} s")


def _value(answer: bytes) -> Any:
    found = orjson.loads(answer)
    problem = found.get("error")
    if problem is None:
        return found["value"]
    kind = by_name(problem["name"])
    if issubclass(kind, Overloaded):
        raise kind(problem["message"], remedy=problem["remedy"], retry_after=problem["retry_after"])
    raise kind(problem["message"], remedy=problem["remedy"])
