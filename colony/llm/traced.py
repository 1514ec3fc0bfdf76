"""Calls of models as spans: what is asked stays out of them."""

from __future__ import annotations

from colony.llm.embedding import EmbeddingModel, Embeddings, EmbedRequest
from colony.llm.port import ChatAnswer, ChatRequest, LanguageModel
from colony.telemetry.port import Fact, Tracer


class TracedModel:
    """`inner` with a span around each chat, whose `traceparent` goes along with the call."""

    def __init__(self, inner: LanguageModel, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """See `LanguageModel`."""
        facts: dict[str, Fact] = {"gen_ai.operation.name": "chat", "colony.llm.tier": request.tier}
        with self._tracer.span("llm chat", kind="client", facts=facts) as span:
            caller = request.caller.model_copy(update={"trace": span.trace})
            answer = await self._inner.chat(request.model_copy(update={"caller": caller}))
            span.note(
                {
                    "gen_ai.response.model": answer.model,
                    "gen_ai.usage.input_tokens": answer.prompt_tokens,
                    "gen_ai.usage.output_tokens": answer.completion_tokens,
                    "colony.llm.cache": answer.cache,
                }
            )
            return answer

    async def models(self) -> list[str]:
        """See `LanguageModel`."""
        return await self._inner.models()


class TracedEmbeddings:
    """`inner` with a span around each call."""

    def __init__(self, inner: EmbeddingModel, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `EmbeddingModel`."""
        facts: dict[str, Fact] = {"gen_ai.operation.name": "embeddings", "colony.llm.texts": len(request.texts)}
        with self._tracer.span("llm embed", kind="client", facts=facts) as span:
            caller = request.caller.model_copy(update={"trace": span.trace})
            return await self._inner.embed(request.model_copy(update={"caller": caller}))
