"""`ctx.llm` of the in-process runner: none, or one with the tier of the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.base import Model
from colony.errors import NotPermitted
from colony.llm.port import CacheUse, ChatAnswer, ChatMessage


class NoModel:
    """`ctx.llm` where there is none."""

    @property
    def enabled(self) -> bool:
        """False: skills take their way without a model."""
        return False

    async def chat(
        self,
        prompt: str,
        *,
        system: str = "",
        tier: str = "",
        model: str = "",
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
        schema: dict[str, Any] | None = None,
        messages: Sequence[ChatMessage] = (),
        cache: CacheUse = "auto",
        priority: int = 3,
    ) -> ChatAnswer:
        """Refused: `NotPermitted`."""
        raise NotPermitted("There is no model here.")


class StepModel:
    """A model whose calls have the tier of a step unless they name one."""

    def __init__(self, model: Model, tier: str) -> None:
        self._model = model
        self._tier = tier

    @property
    def enabled(self) -> bool:
        """As the model says."""
        return self._model.enabled

    async def chat(self, prompt: str, *, tier: str = "", **more: Any) -> ChatAnswer:
        """See `agents.base.Model`."""
        return await self._model.chat(prompt, tier=tier or self._tier, **more)
