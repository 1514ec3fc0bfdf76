"""Backends whose small calls go out together. Who collects them is handed in: Ray Serve in the gateway."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from colony.config.gateway import BackendConfig, BackendKind, BatchConfig
from colony.errors import ColonyError, DeadlineExceeded, Permanent, Transient, TruncatedAnswer, Unavailable, Unreachable
from colony.ids import Id
from ray_app.gateway.contracts import BackendCall, BackendLoad, Body, Chunk, Kind, PromptSize, ServedModel
from ray_app.gateway.joining import inputs_of, join_key, joined, portions, taken_apart, takes_joined
from ray_app.gateway.ports import Backend, Gate

Done = Body | ColonyError
Many = Callable[[list[BackendCall]], Awaitable[list[Done]]]
One = Callable[[BackendCall], Awaitable[Done]]
Collect = Callable[[Many], One]
"""Makes of work on many calls a function for one of them, that waits a moment for others."""


class BatchedBackend:
    """A `Backend` over another one."""

    def __init__(
        self, inner: Backend, kind: BackendKind, collect: Collect, sizes: Counter[int], config: BatchConfig
    ) -> None:
        """`kind` is that of the server; `sizes` counts how many calls went out together."""
        self._inner = inner
        self._kind: BackendKind = kind
        self._sizes = sizes
        self._most = config.size
        self._one = collect(self._many)
        self._under_way = 0

    @property
    def name(self) -> str:
        """See `Backend`."""
        return self._inner.name

    async def answer(self, call: BackendCall) -> Body:
        """See `Backend`. Waits a moment for other calls it can go with, unless none is under way."""
        if not takes_joined(call.kind, self._kind) or join_key(call) is None or inputs_of(call) >= self._most:
            return await self._inner.answer(call)
        self._under_way += 1
        try:
            if self._under_way == 1:  # who asks one thing after another must not wait for company that never comes
                self._sizes[1] += 1
                return await self._inner.answer(call)
            done = await self._one(call)
        finally:
            self._under_way -= 1
        if isinstance(done, ColonyError):
            raise done
        return done

    def stream(self, call: BackendCall) -> AsyncGenerator[Chunk]:
        """See `Backend`."""
        return self._inner.stream(call)

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

    async def _many(self, calls: list[BackendCall]) -> list[Done]:
        groups: dict[bytes, list[int]] = defaultdict(list)
        for at, call in enumerate(calls):
            groups[join_key(call) or b""].append(at)
        parts = [
            [group[at] for at in places]
            for group in groups.values()
            for places in portions([calls[at] for at in group], self._most)
        ]
        together = await asyncio.gather(*(self._group([calls[at] for at in part]) for part in parts))
        found: dict[int, Done] = {}
        for part, some in zip(parts, together, strict=True):
            found.update(zip(part, some, strict=True))
        return [found[at] for at in range(len(calls))]

    async def _group(self, calls: list[BackendCall]) -> Sequence[Done]:
        self._sizes[len(calls)] += 1
        if len(calls) == 1:
            return [await self._alone(calls[0], 0.0)]
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            parts = taken_apart(calls, await self._inner.answer(joined(calls)))
        except (Permanent, DeadlineExceeded):
            # One of them may be to blame: the others must not suffer for it.
            return await asyncio.gather(*(self._alone(call, clock() - began) for call in calls))
        except Unreachable as error:
            return [error] * len(calls)
        except Unavailable as error:
            # The server may fail by one of them or by itself: one call more tells, not one for each.
            first = await self._alone(calls[0], clock() - began)
            if isinstance(first, Transient):
                return [first, *[error] * (len(calls) - 1)]
            return [first, *await asyncio.gather(*(self._alone(call, clock() - began) for call in calls[1:]))]
        except ColonyError as error:
            return [error] * len(calls)  # an overloaded server, asked one by one, would be more overloaded still
        return parts or [TruncatedAnswer("The server did not answer every input.") for _ in calls]

    async def _alone(self, call: BackendCall, spent: float) -> Done:
        """One call by itself, within what is left of its time after so many seconds."""
        left = call.seconds - spent
        if left <= 0:
            return DeadlineExceeded(f"The call had {call.seconds:g} s, and they are over.")
        try:
            return await self._inner.answer(call.model_copy(update={"seconds": left}) if spent else call)
        except ColonyError as error:
            return error


class ReportingGate:
    """A `Gate` whose state also tells the batches, and which of several gateways tells it."""

    def __init__(self, inner: Gate, sizes: Counter[int], name: str = "") -> None:
        """`name` is that of this replica of the gateway; empty for the only one."""
        self._sizes = sizes
        self._name = name
        self.answer, self.open, self.models = inner.answer, inner.open, inner.models
        self.why, self.drain = inner.why, inner.drain
        self._inner = inner

    async def state(self) -> dict[str, Any]:
        """See `Gate`."""
        return {**await self._inner.state(), "batches": sizes_state(self._sizes), "gateway": self._name}


def batched(
    backends: Mapping[str, Sequence[Backend]],
    plan: Mapping[Id, BackendConfig],
    collect: Collect,
    sizes: Counter[int],
    config: BatchConfig,
) -> dict[str, Sequence[Backend]]:
    """All backends, with small calls joined where the server takes true batches."""
    return {
        name: [BatchedBackend(one, plan[Id(name)].kind, collect, sizes, config) for one in found]
        for name, found in backends.items()
    }


def sizes_state(sizes: Counter[int]) -> dict[str, Any]:
    """For people: how many batches, how large."""
    batches, calls = sizes.total(), sum(size * count for size, count in sizes.items())
    mean = round(calls / batches, 2) if batches else 0.0
    return {"batches": batches, "calls": calls, "mean": mean, "largest": max(sizes, default=0)}
