"""Watches over the replicas: a real call where one seems broken, a look at their load where they seem well."""

from __future__ import annotations

import asyncio
import random
from typing import Final, Protocol

import structlog

from colony.clock import Clock
from colony.errors import ColonyError, ModelRefused, NotFound, NotPermitted, Overloaded, Unavailable
from ray_app.gateway.alarm import sleep_or
from ray_app.gateway.lane import Lane
from ray_app.gateway.ports import Backend
from ray_app.gateway.slots import Health, Replica

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 3.0
"""Between two looks at the load of a replica."""

IDLE_SECONDS: Final = 15.0
"""A replica that had no call for so long is asked whether it is still there, without the model being used."""

ASK_SECONDS: Final = 10.0
"""Most a look may take."""

_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 5.0
"""Seconds between two checks of a replica that is down, doubling from the first to the longest."""


class Watched(Protocol):
    """Who is told what was found out."""

    def suspect(self, lane: Lane, replica: Replica, problem: str) -> None:
        """Something seems wrong: a check is due."""
        ...

    def healed(self, lane: Lane, replica: Replica, model: str) -> None:
        """It answers; and this model works, unless empty."""
        ...

    def failed(self, lane: Lane, replica: Replica, problem: str, began: float) -> None:
        """A check that began then has failed."""
        ...


class HealthWatch:
    """One loop for each replica. Reads time from `clock`; `wake` makes a loop look at once."""

    def __init__(self, clock: Clock, jitter: random.Random | None = None) -> None:
        self._clock = clock
        self._jitter = jitter or random.Random()  # noqa: S311 -- spreads checks in time, no secret
        self._wakes: dict[str, asyncio.Event] = {}
        self._looked: dict[str, float] = {}

    def wake(self, replica: str) -> None:
        """The health of a replica has changed."""
        event = self._wakes.get(replica)
        if event is not None:
            event.set()

    async def watch(self, owner: Watched, lane: Lane, replica: Replica, backend: Backend) -> None:
        """Watch over one replica, for ever, and tell `owner` what is found."""
        event = self._wakes[replica.name] = asyncio.Event()
        failures = 0
        while True:
            event.clear()
            if replica.health is Health.UP:
                failures = 0
                await self._look(owner, lane, replica, backend)
                if replica.health is Health.UP:
                    await sleep_or(event, LOOK_SECONDS, self._clock)
            elif await self._check(owner, lane, replica, backend):
                failures = 0
            else:
                wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(failures, 10)) * self._jitter.uniform(0.5, 1.0)
                failures += 1
                await sleep_or(event, wait, self._clock)

    async def _look(self, owner: Watched, lane: Lane, replica: Replica, backend: Backend) -> None:
        """Read the load; ask an idle server for its models, which costs it nothing."""
        now = self._clock.monotonic()
        asked = max(replica.worked, self._looked.get(replica.name, float("-inf")))
        try:
            async with asyncio.timeout(ASK_SECONDS):
                replica.report(await backend.load(), self._clock.monotonic())
                if not replica.in_flight and now - asked >= IDLE_SECONDS:
                    await backend.models()
                    self._looked[replica.name] = now
        except (Overloaded, ModelRefused, NotFound) as error:
            # It answers: a check would call it healthy again at once, and this would look again at once.
            _log.debug("replica says nothing of its load", replica=replica.name, error=str(error))
        except (ColonyError, TimeoutError) as error:
            # Where calls are under way, they tell better than this whether it works.
            if not replica.in_flight and replica.health is Health.UP:
                owner.suspect(lane, replica, _said(error))

    async def _check(self, owner: Watched, lane: Lane, replica: Replica, backend: Backend) -> bool:
        """A real call. True when the server answered it, if only with a refusal."""
        began = self._clock.monotonic()
        proven = ""
        try:
            async with asyncio.timeout(lane.config.silence):
                model = replica.model or await _first_model(lane, backend)
                await backend.check(model)
            proven = model
        except Overloaded:
            replica.refused(self._clock.monotonic())  # it answers: it is busy, not broken
        except (ModelRefused, NotFound) as error:
            _log.info("replica answers, but not for this model", replica=replica.name, error=str(error))
        except (ColonyError, TimeoutError) as error:
            _log.info("check failed", replica=replica.name, error=_said(error))
            owner.failed(lane, replica, _said(error), began)
            return False
        owner.healed(lane, replica, proven)
        return True


async def _first_model(lane: Lane, backend: Backend) -> str:
    """What to check a replica with that has had no call yet."""
    if lane.config.models:
        return lane.config.models[0]
    models = sorted(await backend.models(), key=lambda model: model.embeddings)
    if not models:
        raise Unavailable("It serves no model.")
    return models[0].name


def _said(error: BaseException) -> str:
    """What callers may hear of it: some servers repeat parts of the key they refuse."""
    if isinstance(error, NotPermitted):
        return "it refuses the key of this gateway"
    return (str(error) or type(error).__name__)[:200]
