"""The gateway's part of a trace: a span for each request, and one for each call of a backend below it.

What is asked and what is answered stays out of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, contextmanager

from colony.telemetry.port import Fact, Span, Tracer
from ray_app.gateway.contracts import (
    Answered,
    Ask,
    BackendCall,
    BackendLoad,
    Body,
    Chunk,
    Kind,
    PromptSize,
    ServedModel,
)
from ray_app.gateway.ports import Backend, Gate, Streamed


class TracedGate:
    """A `Gate` over another one."""

    def __init__(self, inner: Gate, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer
        self.models, self.state, self.why, self.drain = inner.models, inner.state, inner.why, inner.drain

    async def answer(self, ask: Ask) -> Answered:
        """See `Gate`."""
        with self._tracer.span(
            f"gateway {ask.kind}", parent=ask.caller.trace, kind="server", facts=_about(ask)
        ) as span:
            answered = await self._inner.answer(_within(ask, span))
            record = answered.record
            span.note(
                {
                    "colony.llm.cache": record.cache,
                    "colony.llm.backend": record.backend,
                    "colony.llm.queued_seconds": round(record.queued, 4),
                    "gen_ai.response.model": record.model,
                    "gen_ai.usage.input_tokens": record.prompt_tokens,
                    "gen_ai.usage.output_tokens": record.completion_tokens,
                }
            )
            return answered

    async def open(self, ask: Ask) -> Streamed:
        """See `Gate`. The span ends with the stream."""
        span = self._tracer.begin(f"gateway {ask.kind}", parent=ask.caller.trace, kind="server", facts=_about(ask))
        with _failing(span):
            stream = await self._inner.open(_within(ask, span))
        span.note({"colony.llm.cache": stream.cache, "colony.llm.backend": stream.backend, "colony.llm.stream": True})
        pieces = _until_ended(stream.pieces, span)
        await anext(pieces)  # begun: a generator that is closed before it begins would not close what it stands around
        return stream._replace(pieces=pieces)


class TracedBackend:
    """A `Backend` over another one."""

    def __init__(self, inner: Backend, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    @property
    def name(self) -> str:
        """See `Backend`."""
        return self._inner.name

    async def answer(self, call: BackendCall) -> Body:
        """See `Backend`."""
        with self._tracer.span("backend call", parent=call.trace, kind="client", facts=self._about(call)) as span:
            return await self._inner.answer(call.model_copy(update={"trace": span.trace}))

    async def stream(self, call: BackendCall) -> AsyncGenerator[Chunk]:
        """See `Backend`. The span ends with the stream."""
        span = self._tracer.begin("backend call", parent=call.trace, kind="client", facts=self._about(call))
        pieces = _until_ended(self._inner.stream(call.model_copy(update={"trace": span.trace})), span)
        await anext(pieces)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def models(self) -> tuple[ServedModel, ...]:
        """See `Backend`."""
        return await self._inner.models()

    async def prompt_size(self, kind: Kind, model: str, body: Body) -> PromptSize:
        """See `Backend`."""
        return await self._inner.prompt_size(kind, model, body)

    async def check(self, model: str) -> None:
        """See `Backend`."""
        await self._inner.check(model)

    async def load(self) -> BackendLoad | None:
        """See `Backend`."""
        return await self._inner.load()

    async def prepare(self, model: str, progress: Callable[[str, float], None]) -> None:
        """See `Backend`."""
        await self._inner.prepare(model, progress)

    def _about(self, call: BackendCall) -> dict[str, Fact]:
        return {"colony.llm.replica": self.name, "gen_ai.request.model": call.model, "colony.llm.kind": str(call.kind)}


def traced_backends(backends: Mapping[str, Sequence[Backend]], tracer: Tracer) -> dict[str, Sequence[Backend]]:
    """All backends with spans around their calls."""
    return {name: [TracedBackend(one, tracer) for one in found] for name, found in backends.items()}


def _about(ask: Ask) -> dict[str, Fact]:
    return {
        "colony.llm.request": ask.request_id,
        "colony.llm.tier": ask.tier,
        "colony.agent.type": ask.caller.agent_type,
        "colony.job.key": ask.caller.job,
        "gen_ai.request.model": ask.model,
    }


def _within(ask: Ask, span: Span) -> Ask:
    return ask.model_copy(update={"caller": ask.caller.model_copy(update={"trace": span.trace})})


@contextmanager
def _failing(span: Span) -> Generator[None]:
    """End the span when the block raises."""
    try:
        yield
    except asyncio.CancelledError:
        span.note({"colony.cancelled": True})
        span.end()
        raise
    except BaseException as error:
        span.fail(type(error).__name__)
        span.end()
        raise


async def _until_ended(pieces: AsyncGenerator[Chunk], span: Span) -> AsyncGenerator[Chunk]:
    """An empty piece, then the same pieces; the span ends with them, or when nobody wants more."""
    count = 0
    try:
        async with aclosing(pieces):
            yield {}
            async for piece in pieces:
                count += 1
                yield piece
    except (GeneratorExit, asyncio.CancelledError):
        span.note({"colony.cancelled": True})
        raise
    except BaseException as error:
        span.fail(type(error).__name__)
        raise
    finally:
        span.note({"colony.llm.pieces": count})
        span.end()
