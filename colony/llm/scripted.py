"""A language model that says what it was told to say: the twin of `HttpModel`, for tests and for trying things out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from colony.errors import ColonyError, DeadlineExceeded, ModelRefused, PromptTooLong
from colony.llm.port import ChatAnswer, ChatRequest

Reply = str | ColonyError
"""What one call ends with: a text, or an error that is raised."""


class ScriptedModel:
    """Answers by rule, after what was queued with `then`. A token is a word.

    `answer` is a text for every call, or a function of the request. `delay` is how long each answer takes, in
    seconds; `context` how many tokens prompt and answer may have together.
    """

    def __init__(
        self,
        answer: str | Callable[[ChatRequest], Reply] = "ok",
        *,
        names: Iterable[str] = ("scripted",),
        context: int = 2048,
        delay: float = 0.0,
    ) -> None:
        self.calls: list[ChatRequest] = []
        """Every request seen, also those that failed."""
        self.most_at_once = 0
        """Most calls that were under way at the same moment."""
        self._answer = answer
        self._names = list(names)
        self._context = context
        self._delay = delay
        self._script: deque[Reply] = deque()
        self._running = 0

    def then(self, *replies: Reply) -> None:
        """Queue what the next calls end with."""
        self._script.extend(replies)

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """See `LanguageModel`."""
        self.calls.append(request)
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            async with asyncio.timeout(request.timeout):
                await asyncio.sleep(self._delay)
        except TimeoutError:
            raise DeadlineExceeded(f"The model gave no answer in {request.timeout:g} s.") from None
        finally:
            self._running -= 1
        return self._answered(request)

    async def models(self) -> list[str]:
        """See `LanguageModel`."""
        return list(self._names)

    def _answered(self, request: ChatRequest) -> ChatAnswer:
        prompt = sum(len(message.content.split()) for message in request.messages)
        if not request.messages:
            raise ModelRefused("The request has no messages.")
        if prompt >= self._context:
            raise PromptTooLong(f"The prompt has {prompt} tokens, the context {self._context}.")
        reply = self._reply(request)
        if isinstance(reply, ColonyError):
            raise reply
        for stop in request.stop:
            reply = reply.partition(stop)[0]
        words = reply.split()
        cut = len(words) > request.max_tokens
        return ChatAnswer(
            text=" ".join(words[: request.max_tokens]) if cut else reply,
            model=request.model or self._names[0],
            prompt_tokens=prompt,
            completion_tokens=min(len(words), request.max_tokens),
            finish_reason="length" if cut else "stop",
        )

    def _reply(self, request: ChatRequest) -> Reply:
        if self._script:
            return self._script.popleft()
        return self._answer if isinstance(self._answer, str) else self._answer(request)
