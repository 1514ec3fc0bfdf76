"""An owner reached by bytes says what the owner itself says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from colony.errors import BudgetSpent, ColonyError, DeadlineExceeded, NotFound, Overloaded, Unavailable
from ray_app.gateway import owner_remote
from ray_app.gateway.contracts import Caller, Ended, Grant, Kind, Target, Ticket
from ray_app.gateway.owner_remote import RemoteOwner, served

TARGET = Target(backend="echo", model="one")
TICKET = Ticket(request_id="r", caller=Caller(), kind=Kind.CHAT, targets=(TARGET,), seconds=5)


class Owning:
    """An owner that does as it is told."""

    def __init__(self, trouble: ColonyError | None = None) -> None:
        self.trouble = trouble
        self.released: list[Ended] = []
        self.drained: list[tuple[str, bool]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def acquire(self, ticket: Ticket) -> Grant:
        await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        return Grant(request_id=ticket.request_id, target=ticket.targets[0], replica="echo/0", queued=0.5)

    async def release(self, ended: Ended) -> None:
        self.released.append(ended)

    async def state(self) -> dict[str, Any]:
        return {"waiting": 3}

    async def why(self, request_id: str) -> dict[str, Any]:
        raise NotFound(f"No {request_id}.", remedy="Look.")

    async def drain(self, replica: str, on: bool) -> None:
        self.drained.append((replica, on))


class Line:
    """The way between; it may break."""

    def __init__(self, owner: Owning) -> None:
        self.owner = owner
        self.broken = 0

    async def __call__(self, method: str, payload: bytes) -> bytes:
        answer = await served(self.owner, method, payload)
        if self.broken:
            self.broken -= 1
            raise Unavailable("gone")
        return answer


async def test_grants_and_states_come_through() -> None:
    owner = Owning()
    remote = RemoteOwner(Line(owner))
    assert await remote.acquire(TICKET) == Grant(request_id="r", target=TARGET, replica="echo/0", queued=0.5)
    await remote.release(Ended(request_id="r", outcome="ok", seconds=1.5))
    assert owner.released == [Ended(request_id="r", outcome="ok", seconds=1.5)]
    assert await remote.state() == {"waiting": 3}
    await remote.drain("echo/0", True)
    assert owner.drained == [("echo/0", True)]


@pytest.mark.parametrize("error", [Overloaded("Full.", retry_after=2.5), Overloaded("Full."), BudgetSpent("Spent.")])
async def test_refusals_keep_their_class_and_their_words(error: ColonyError) -> None:
    with pytest.raises(type(error)) as raised:
        await RemoteOwner(Line(Owning(error))).acquire(TICKET)
    assert str(raised.value) == str(error)
    assert getattr(raised.value, "retry_after", None) == getattr(error, "retry_after", None)
    with pytest.raises(NotFound, match="Look"):
        await RemoteOwner(Line(Owning())).why("x")


async def test_a_grant_whose_answer_is_lost_is_released() -> None:
    owner = Owning()
    line = Line(owner)
    line.broken = 1
    with pytest.raises(Unavailable):
        await RemoteOwner(line).acquire(TICKET)
    assert [ended.outcome for ended in owner.released] == ["cancelled"]


async def test_a_caller_that_leaves_lets_go() -> None:
    owner = Owning()
    owner.gate.clear()
    waiting = asyncio.create_task(RemoteOwner(Line(owner)).acquire(TICKET))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [ended.request_id for ended in owner.released] == ["r"]


class Silent:
    """Takes every call and never answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.left = 0

    async def __call__(self, method: str, payload: bytes) -> bytes:
        self.asked.append(method)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        return b""


async def test_an_owner_that_is_silent_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ASK_SECONDS", "GRANT_MARGIN", "LET_GO_SECONDS"):
        monkeypatch.setattr(owner_remote, name, 0.02)
    line = Silent()
    remote = RemoteOwner(line)
    async with asyncio.timeout(5):
        with pytest.raises(DeadlineExceeded):
            await remote.acquire(TICKET.model_copy(update={"seconds": 0.02}))
        for asked in (remote.state(), remote.why("x"), remote.drain("echo/0", True)):
            with pytest.raises(DeadlineExceeded):
                await asked
        await remote.release(Ended(request_id="r", outcome="ok"))
    assert line.asked == ["acquire", "release", "state", "why", "drain", "release"]
    assert line.left == 6
