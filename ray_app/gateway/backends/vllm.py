"""vLLM's OpenAI server, with what it says beyond OpenAI's API: load and token counts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from colony.config.gateway import BackendConfig
from colony.errors import ModelRefused, NotFound, NotPermitted, Unavailable
from ray_app.gateway.backends.control_tokens import ControlTokens, safe_chat
from ray_app.gateway.backends.openai import ASK_SECONDS, Habits, OpenAIBackend
from ray_app.gateway.backends.openai_shape import prompt_texts
from ray_app.gateway.backends.prometheus import figures
from ray_app.gateway.backends.wire import Wire
from ray_app.gateway.contracts import BackendCall, BackendLoad, Body, Chunk, Kind, PromptSize, ServedModel

_RUNNING: Final = "vllm:num_requests_running"
_WAITING: Final = "vllm:num_requests_waiting"
_TEMPLATE_FIELDS: Final = ("messages", "tools", "chat_template_kwargs")
"""What a prompt's size depends on."""


class VllmBackend:
    """One vLLM server. See `Backend` for what all of it promises."""

    def __init__(self, name: str, client: Wire, config: BackendConfig) -> None:
        self._api = OpenAIBackend(name, client, config, Habits(classifies=True))
        self._wire = client
        self._tokens = ControlTokens()

    @property
    def name(self) -> str:
        """See `Backend`."""
        return self._api.name

    async def answer(self, call: BackendCall) -> Body:
        """See `Backend`."""
        try:
            return await self._api.answer(self._safe(call))
        except NotFound:
            # Without a classifier among its models, vLLM has no such page.
            known = call.kind is Kind.CLASSIFICATION and any(one.name == call.model for one in await self.models())
            if not known:
                raise
            raise ModelRefused(
                f"The model {call.model!r} does not classify.", remedy="Name a model that was trained to."
            ) from None

    async def stream(self, call: BackendCall) -> AsyncGenerator[Chunk]:
        """See `Backend`."""
        async with aclosing(self._api.stream(self._safe(call))) as pieces:
            async for piece in pieces:
                yield piece

    async def models(self) -> tuple[ServedModel, ...]:
        """See `Backend`. The context is the server's `max_model_len`."""
        return await self._api.models()

    async def prompt_size(self, kind: Kind, model: str, body: Body) -> PromptSize:
        """See `Backend`. Counted by the server; of a list of prompts, the longest one."""
        counts = [await self._count(model, prompt) for prompt in _prompts(kind, self._safe_body(kind, body))]
        known = [count for count in counts if count is not None]
        if not known or len(known) < len(counts):
            return await self._api.prompt_size(kind, model, body)
        return PromptSize(tokens=max(known), exact=True)

    async def check(self, model: str) -> None:
        """See `Backend`."""
        await self._api.check(model)

    async def load(self) -> BackendLoad | None:
        """See `Backend`. From its metrics."""
        try:
            page = await self._wire.get("/metrics", seconds=ASK_SECONDS)
        except (NotFound, ModelRefused, NotPermitted):
            return None  # metrics are switched off, or behind another key
        found = figures(page.decode("utf-8", "replace"), _RUNNING, _WAITING)
        if _RUNNING not in found:
            return None
        return BackendLoad(running=int(found[_RUNNING]), waiting=int(found.get(_WAITING, 0)))

    async def prepare(self, model: str, progress: Callable[[str, float], None]) -> None:
        """See `Backend`. Its model is loaded when it serves."""
        await self._api.prepare(model, progress)

    async def _count(self, model: str, prompt: Body) -> int | None:
        try:
            said = await self._api.ask("POST", "/tokenize", {"model": model, **prompt})
        except (NotFound, ModelRefused, Unavailable):
            return None
        count = said.get("count")
        return count if isinstance(count, int) else None

    def _safe(self, call: BackendCall) -> BackendCall:
        body = self._safe_body(call.kind, call.body)
        return call if body is call.body else call.model_copy(update={"body": body})

    def _safe_body(self, kind: Kind, body: Body) -> Body:
        return safe_chat(self._tokens, body) if kind is Kind.CHAT else body


def _prompts(kind: Kind, body: Body) -> list[Body]:
    if kind is Kind.CHAT:
        return [{name: body[name] for name in _TEMPLATE_FIELDS if name in body} | {"add_generation_prompt": True}]
    return [{"prompt": text} for text in prompt_texts(kind, body)]
