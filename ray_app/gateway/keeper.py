"""Keeps the gateway deployed on Ray Serve, over the REST interface of Ray's dashboard: no driver has to stay."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import structlog
from pydantic import ValidationError

from colony.clock import Clock, SystemClock
from colony.config.endpoints import Endpoints, read_secret
from colony.config.model import Config
from colony.errors import ColonyError, Unavailable
from ray_app.gateway.application import ServeState, Step, step, trouble_of, wanted

_log = structlog.get_logger(__name__)

PATH: Final = "/api/serve/applications/"
CALL_SECONDS: Final = 30.0
SOON_SECONDS: Final = 1.0
"""Between two looks while something is on its way."""
LATER_SECONDS: Final = 10.0
"""Between two looks at a gateway that runs."""
LONGEST_PAUSE: Final = 60.0
"""After failures in a row."""


class Keeper:
    """Looks again and again, and deploys what is missing, changed or failed. Use through `open_keeper`."""

    def __init__(self, http: httpx.AsyncClient, endpoints: Endpoints, config: Config, clock: Clock) -> None:
        self._http = http
        self._endpoints = endpoints
        self._config = config
        self._clock = clock
        self._attempt = 0
        self._ran = False
        """Whether it ran as asked once: what is deployed by hand after that is left alone."""

    async def run(self) -> None:
        """For ever. What goes wrong is logged and tried again: the dispatcher must live on."""
        failures = 0
        while True:
            try:
                done = await self.look()
            except (ColonyError, OSError) as error:
                failures += 1
                _log.warning("gateway not deployed", error=str(error), failures=failures)
            else:
                failures = 0 if done is Step.NOTHING else max(0, self._attempt - 1)
                if done is Step.NOTHING:
                    await self._clock.sleep(LATER_SECONDS - SOON_SECONDS)
            await self._clock.sleep(min(LONGEST_PAUSE, SOON_SECONDS * 2 ** min(failures, 6)))

    async def look(self) -> Step:
        """Look once, and deploy if need be. Raises `Unavailable`."""
        found = _state(await self._call("GET"))
        asked = wanted(self._endpoints, self._config)["applications"][0]["args"]
        done = step(found, asked, by_hand=self._ran)
        self._ran = self._ran or done is Step.NOTHING
        if done is Step.DEPLOY:
            failed = trouble_of(found)
            self._attempt += 1
            _log.info("deploying the gateway", attempt=self._attempt, trouble=failed)
            await self._call("PUT", wanted(self._endpoints, self._config, attempt=self._attempt))
        elif done is Step.NOTHING and self._attempt:
            _log.info("the gateway runs", attempts=self._attempt)
            self._attempt = 0
        return done

    async def _call(self, method: str, body: Any = None) -> bytes:
        try:
            answer = await self._http.request(method, PATH, json=body)
        except httpx.HTTPError as error:
            raise Unavailable(f"Ray's dashboard does not answer: {type(error).__name__}.") from error
        if answer.is_error:
            raise Unavailable(f"Ray Serve answers {answer.status_code}: {answer.text[:300]}")
        return answer.content


def _state(answer: bytes) -> ServeState:
    try:
        return ServeState.model_validate_json(answer or b"{}")
    except ValidationError as error:
        raise Unavailable("Ray Serve's state cannot be read.") from error


@asynccontextmanager
async def open_keeper(endpoints: Endpoints, config: Config, *, clock: Clock | None = None) -> AsyncGenerator[Keeper]:
    """A keeper for the gateway of this stack."""
    token = read_secret(endpoints.ray.token_file) if endpoints.ray.token_file else ""
    async with httpx.AsyncClient(
        base_url=endpoints.ray.dashboard,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=CALL_SECONDS,
        trust_env=False,
    ) as http:
        yield Keeper(http, endpoints, config, clock or SystemClock())
