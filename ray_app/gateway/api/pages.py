"""Everything that asks no model: lists of models, state, metrics, draining."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from colony.clock import Clock
from colony.errors import NotFound
from ray_app.gateway.api.exchange import Exchange
from ray_app.gateway.api.fields import RequestRefused, decoded
from ray_app.gateway.api.ollama_answers import running_body, show_body, tags_body
from ray_app.gateway.api.ollama_requests import model_of
from ray_app.gateway.api.openai_answers import model_body, models_body
from ray_app.gateway.api.settings import ApiSettings
from ray_app.gateway.contracts import ServedModel
from ray_app.gateway.metrics import exposition
from ray_app.gateway.ports import Gate

METRICS: Final = b"text/plain; version=0.0.4; charset=utf-8"

Page = Callable[[Exchange], Awaitable[None]]


class Pages:
    """Answers these exchanges."""

    def __init__(self, gate: Gate, settings: ApiSettings, clock: Clock) -> None:
        self._gate = gate
        self._settings = settings
        self._clock = clock
        self._since = clock.wall()
        self._pages: dict[tuple[str, str], Page] = {
            ("GET", "/v1/models"): self._models,
            ("GET", "/api/tags"): self._tags,
            ("GET", "/api/ps"): self._running,
            ("GET", "/api/version"): self._version,
            ("POST", "/api/show"): self._show,
            ("GET", "/colony/state"): self._state,
            ("GET", "/metrics"): self._metrics,
        }

    async def answer(self, exchange: Exchange) -> None:
        """Raises `RequestRefused` (404, 405) for what is not there."""
        method, path = exchange.method, exchange.path
        page = self._pages.get((method, path))
        if page is not None:
            await page(exchange)
        elif method == "GET" and path.startswith("/v1/models/"):
            model = await self._model(path.removeprefix("/v1/models/"))
            await exchange.reply(200, model_body(model, int(self._since)))
        elif method == "GET" and path.startswith("/colony/why/"):
            await self._why(exchange, path.removeprefix("/colony/why/"))
        elif method == "POST" and path.startswith("/colony/drain/"):
            await self._drain(exchange, path.removeprefix("/colony/drain/"))
        elif any(known == path for _, known in self._pages):
            raise RequestRefused(f"{path} does not take {method[:20]}.", status=405)
        else:
            raise RequestRefused(f"There is no {path[:200]}.", status=404, code="not_found")

    async def _model(self, name: str) -> ServedModel:
        for model in await self._gate.models():
            if model.name == name:
                return model
        raise NotFound(f"Nobody serves the model {name[:100]!r}.")

    async def _models(self, exchange: Exchange) -> None:
        await exchange.reply(200, models_body(await self._gate.models(), int(self._since)))

    async def _tags(self, exchange: Exchange) -> None:
        await exchange.reply(200, tags_body(await self._gate.models(), self._since))

    async def _running(self, exchange: Exchange) -> None:
        await exchange.reply(200, running_body(await self._gate.models(), self._clock.wall() + 3600))

    async def _version(self, exchange: Exchange) -> None:
        await exchange.reply(200, {"version": self._settings.ollama_version})

    async def _show(self, exchange: Exchange) -> None:
        await exchange.reply(200, show_body(await self._model(model_of(await self._json(exchange))), self._since))

    async def _state(self, exchange: Exchange) -> None:
        await exchange.reply(200, await self._gate.state())

    async def _why(self, exchange: Exchange, request_id: str) -> None:
        try:
            found = await self._gate.why(request_id)
        except NotFound as error:
            raise RequestRefused(str(error), status=404, code="request_not_found") from error
        await exchange.reply(200, found)

    async def _drain(self, exchange: Exchange, replica: str) -> None:
        on = (await self._json(exchange)).get("on")
        if not isinstance(on, bool):
            raise RequestRefused("`on` must be true or false.", param="on")
        try:
            await self._gate.drain(replica, on)
        except NotFound as error:
            raise RequestRefused(str(error), status=404, code="replica_not_found") from error
        await exchange.reply(200, {"replica": replica, "draining": on})

    async def _json(self, exchange: Exchange) -> dict[str, Any]:
        limits = self._settings
        raw = await exchange.connection.body(
            exchange.header(b"content-length"), limit=limits.max_body, seconds=limits.body_seconds
        )
        return decoded(raw)

    async def _metrics(self, exchange: Exchange) -> None:
        text = exposition(await self._gate.state())
        await exchange.reply(200, text.encode(), [(b"content-type", METRICS)])
