"""The model pool: loads on demand, unloads what is idle, keeps what is critical. Decisions are in `decide`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from colony.clock import Clock
from colony.errors import ColonyError, NotFound, Unavailable
from colony.lifecycle import TaskOwner, task_owner
from colony.llm.pool import Lease, PoolModelState, PoolState
from control.pool.catalogue import CatalogueModel, weigh
from control.pool.decide import Memory, Resident, Wanted, admit, idle
from control.pool.estimate import batch_tokens
from control.pool.machine import MachineMemory, machine_memory, process_memory
from control.pool.runner import ModelProcess, start_model

TICK_SECONDS: Final = 1.0
"""How often idle models are looked for."""

FRESH_SECONDS: Final = 2.0
"""A model just loaded stays at least so long, so that those who waited for it get to call it."""

CRITICAL_AGAIN: Final = 30.0
"""Seconds until a critical model that could not be loaded is tried again."""

_MEGA: Final = 1_000_000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PoolRules:
    """What holds for all models."""

    key: str
    """API key of every model's server."""
    threads: int
    idle_seconds: float
    load_seconds: float
    reserve: int
    """Bytes that stay free."""
    most: int
    """Bytes all models may take; 0 for what the machine has."""


@dataclass(slots=True)
class _Loaded:
    wanted: Wanted
    process: ModelProcess
    last_used: float
    fresh_until: float


@dataclass(slots=True)
class _Slot:
    """What is known of one model."""

    model: CatalogueModel
    loaded: _Loaded | None = None
    loading: asyncio.Task[ColonyError | None] | None = None
    leases: dict[str, float] = field(default_factory=dict[str, float])
    """Holder -> end."""
    error: str = ""
    not_before: float = 0.0
    """For critical ones: when to try again."""

    def leased_until(self) -> float:
        fresh = self.loaded.fresh_until if self.loaded else 0.0
        return max((fresh, *self.leases.values()))


class ModelPool:
    """Use through `open_pool`. All methods run on one event loop; only loading waits."""

    def __init__(
        self,
        models: Mapping[str, CatalogueModel],
        rules: PoolRules,
        *,
        clock: Clock,
        tasks: TaskOwner,
        memory: Callable[[], MachineMemory] = machine_memory,
    ) -> None:
        self._slots = {name: _Slot(model) for name, model in models.items()}
        self._rules = rules
        self._clock = clock
        self._tasks = tasks
        self._memory = memory
        self._one_at_a_time = asyncio.Lock()

    @property
    def failed(self) -> asyncio.Future[BaseException]:
        """Done when the pool can no longer keep itself."""
        return self._tasks.failed

    async def load(self, name: str, lease: Lease) -> PoolModelState:
        """Have the model loaded and leased. Callers of one model share one load, which goes on when they leave.

        Raises `NotFound` (no such model), `BadInput` (its file is no good), `ModelRefused` (it never fits),
        `Overloaded` (it does not fit now), `Unavailable`, `DeadlineExceeded`.
        """
        slot = self._slot(name)
        self._grant(slot, lease)
        if slot.loaded is None:
            error = await asyncio.shield(self._loading(slot))
            if error is not None:
                slot.leases.pop(lease.holder, None)
                raise error
            self._grant(slot, lease)
        if slot.loaded is None:
            raise Unavailable(f"The model {name!r} ended right after it was loaded.", remedy="See `colony logs model`.")
        return self._state(slot)

    def touch(self, name: str, lease: Lease) -> PoolModelState:
        """Renew or give back a lease. Raises `NotFound`; `Unavailable` when the model is not loaded."""
        slot = self._slot(name)
        if slot.loaded is None:
            raise Unavailable(f"The model {name!r} is not loaded.")
        self._grant(slot, lease)
        return self._state(slot)

    async def state(self) -> PoolState:
        """The whole pool, measured."""
        found: list[PoolModelState] = []
        for slot in self._slots.values():
            measured = await asyncio.to_thread(process_memory, slot.loaded.process.pid) if slot.loaded else None
            pss = round(measured.pss / _MEGA, 1) if measured else None
            found.append(self._state(slot).model_copy(update={"pss_mb": pss}))
        return PoolState(
            models=tuple(found),
            available_mb=round(self._memory().available / _MEGA, 1),
            reserve_mb=round(self._rules.reserve / _MEGA, 1),
        )

    def models(self) -> list[PoolModelState]:
        """All models, nothing measured."""
        return [self._state(slot) for slot in self._slots.values()]

    async def keep(self) -> None:
        """Unload what is idle and load what is critical, for ever."""
        while True:
            now = self._clock.monotonic()
            await self._unload(idle(await self._residents(), now, self._rules.idle_seconds), "idle")
            for slot in self._slots.values():
                if slot.model.config.critical and slot.loaded is None and slot.not_before <= now:
                    slot.not_before = now + CRITICAL_AGAIN
                    self._loading(slot)
            await self._clock.sleep(TICK_SECONDS)

    async def aclose(self) -> None:
        """End every process."""
        await asyncio.gather(*(slot.loaded.process.kill() for slot in self._slots.values() if slot.loaded))

    def _slot(self, name: str) -> _Slot:
        found = self._slots.get(name)
        if found is None:
            known = ", ".join(sorted(self._slots))
            raise NotFound(f"The pool has no model {name[:80]!r}.", remedy=f"It has: {known}.")
        return found

    def _grant(self, slot: _Slot, lease: Lease) -> None:
        now = self._clock.monotonic()
        slot.leases = {holder: end for holder, end in slot.leases.items() if end > now}
        slot.leases.pop(lease.holder, None)
        if lease.seconds:
            slot.leases[lease.holder] = now + lease.seconds
        if slot.loaded:
            slot.loaded.last_used = now

    def _loading(self, slot: _Slot) -> asyncio.Task[ColonyError | None]:
        if slot.loading is None:
            slot.loading = self._tasks.start(self._load(slot), name=f"load {slot.model.name}")
        return slot.loading

    async def _load(self, slot: _Slot) -> ColonyError | None:
        """Load it; what went wrong is handed back, as everybody who waits gets it."""
        name = slot.model.name
        try:
            # One at a time: what the one before takes must be known, and two would only read the disk in turns.
            async with self._one_at_a_time:
                slot.loaded = await self._start(slot)
        except ColonyError as error:
            if slot.error != str(error):  # callers who come again and again do not fill the log
                _log.warning("model not loaded", model=name, error=str(error))
            slot.error = str(error)
            return error
        finally:
            slot.loading = None
        slot.error = ""
        self._tasks.start(self._watch(slot, slot.loaded), name=f"watch {name}")
        process = slot.loaded.process
        _log.info("model loaded", model=name, address=process.url, seconds=round(process.load_seconds, 2))
        return None

    async def _start(self, slot: _Slot) -> _Loaded:
        wanted, header = await asyncio.to_thread(weigh, slot.model)
        machine, residents = self._memory(), await self._residents()
        memory = Memory(machine.total, machine.available, self._rules.reserve, self._rules.most)
        admitted = admit(wanted, residents, memory, self._clock.monotonic())
        await self._unload(admitted.unload, f"room for {slot.model.name}")
        settings = slot.model.settings(key=self._rules.key, threads=self._rules.threads, header=header)
        process = await start_model(settings, seconds=self._rules.load_seconds)
        now = self._clock.monotonic()
        return _Loaded(wanted, process, last_used=now, fresh_until=now + FRESH_SECONDS)

    async def _residents(self) -> list[Resident]:
        """What is loaded. Reads memory of processes in a thread; leases are as of the return."""
        pids = [slot.loaded.process.pid for slot in self._slots.values() if slot.loaded]
        measured = await asyncio.to_thread(lambda: {pid: process_memory(pid) for pid in pids})
        found: list[Resident] = []
        for slot in self._slots.values():
            if slot.loaded is not None:
                memory = measured.get(slot.loaded.process.pid)
                used = memory.private if memory else 0
                found.append(Resident(slot.loaded.wanted, used, slot.loaded.last_used, slot.leased_until()))
        return found

    async def _unload(self, names: Collection[str], why: str) -> None:
        """End their processes. All leave the books at once: from then on nobody is handed one of them."""
        going: list[ModelProcess] = []
        for name in names:
            slot = self._slots[name]
            if slot.loaded is not None:
                going.append(slot.loaded.process)
                slot.loaded = None
                _log.info("model unloaded", model=name, why=why)
        await asyncio.gather(*(process.kill() for process in going))

    async def _watch(self, slot: _Slot, loaded: _Loaded) -> None:
        """Notice when the process ends by itself: the next call loads it again, others are not touched."""
        code = await loaded.process.ended()
        if slot.loaded is loaded:
            slot.loaded = None
            slot.error = f"Its process ended with {code}."
            slot.not_before = self._clock.monotonic()
            _log.error("model process ended", model=slot.model.name, code=code)

    def _state(self, slot: _Slot) -> PoolModelState:
        loaded, config, now = slot.loaded, slot.model.config, self._clock.monotonic()
        state = "loaded" if loaded else "loading" if slot.loading else "failed" if slot.error else "unloaded"
        return PoolModelState(
            name=slot.model.name,
            state=state,
            url=loaded.process.url if loaded else "",
            context=config.context,
            slots=config.slots,
            embeddings=config.embeddings,
            embeds=0 if config.embeddings else batch_tokens(config.context, embeddings=False),
            critical=config.critical,
            weights_mb=round(loaded.wanted.weights / _MEGA, 1) if loaded else 0.0,
            private_mb=round(loaded.wanted.private / _MEGA, 1) if loaded else 0.0,
            idle=round(now - loaded.last_used, 1) if loaded else None,
            leases=sum(end > now for end in slot.leases.values()),
            load_seconds=round(loaded.process.load_seconds, 2) if loaded else None,
            error=slot.error,
        )


@asynccontextmanager
async def open_pool(
    models: Mapping[str, CatalogueModel],
    rules: PoolRules,
    *,
    clock: Clock,
    memory: Callable[[], MachineMemory] = machine_memory,
) -> AsyncGenerator[ModelPool]:
    """A pool that keeps itself; critical models begin to load at once. On the way out every process is ended."""
    pool: ModelPool | None = None
    try:
        async with task_owner() as tasks:
            pool = ModelPool(models, rules, clock=clock, tasks=tasks, memory=memory)
            tasks.start(pool.keep(), name="keep the pool")
            yield pool
    finally:
        # After its tasks have ended: no load can finish any more and leave a process behind.
        if pool is not None:
            await asyncio.shield(pool.aclose())
