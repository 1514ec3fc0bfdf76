"""Makes the fleet what the ledger says it should be. Runs in the dispatcher; one leads at a time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from colony.clock import Clock, SystemClock
from colony.config.model import Config
from colony.contracts import Lead
from colony.errors import ColonyError, Unavailable
from colony.ids import event_subject
from colony.ledger.port import Ledger
from colony.lifecycle import TaskOwner, task_owner
from colony.messaging.port import Envelope, Messenger
from colony.registry.port import Registry
from ray_app.fleet import HostHandle, HostRuntime, within
from ray_app.fleet_plan import Action, Assign, DrainHost, EndLease, KillHost, Seen, Snapshot, StartHost, plan_actions

_log = structlog.get_logger(__name__)

LEADER: Final = "reconciler"
_LEAD_SECONDS: Final = 10.0
_ROUND_SECONDS: Final = 1.0
_REPEAT_SECONDS: Final = 5.0
_CALL_SECONDS: Final = 15.0
_START_SECONDS: Final = 60.0
_RESIGN_SECONDS: Final = 2.0


class Reconciler:
    """One reconciler. Slow work (starting hosts, assigning shards) runs beside the rounds, one per slot."""

    def __init__(
        self,
        ledger: Ledger,
        runtime: HostRuntime,
        registry: Registry | None,
        messenger: Messenger | None,
        config: Config,
        tasks: TaskOwner,
        *,
        clock: Clock | None = None,
        holder: str = "",
    ) -> None:
        self._ledger = ledger
        self._runtime = runtime
        self._registry = registry
        self._messenger = messenger
        self._config = config
        self._tasks = tasks
        self._clock: Clock = clock or SystemClock()
        self._holder = holder or str(uuid.uuid4())
        self._poked = asyncio.Event()
        self._starting: set[int] = set()
        self._draining: set[int] = set()
        self._busy: set[int] = set()
        self._seen_since: dict[int, float] = {}
        self._assigned_at: dict[str, float] = {}
        self._assigned: dict[int, Assign] = {}
        """Slot -> what it was assigned last with success."""
        self._fleet_version = -1
        self._term = 0

    def poke(self) -> None:
        """Something happened: look now, do not wait for the next round."""
        self._poked.set()

    async def run(self, shutdown: asyncio.Event) -> None:
        """Work until `shutdown` is set. Survives outages of ledger, platform, bus and registry."""
        self._runtime.on_death(self.poke)
        while not shutdown.is_set():
            self._poked.clear()
            try:
                await within(_CALL_SECONDS, self.round())
            except (ColonyError, TimeoutError) as error:
                _log.warning("the reconciler could not work", error=str(error))
            await self._pause(shutdown)
        await self._resign()

    async def _resign(self) -> None:
        """Let the next one lead at once instead of when our time is over."""
        try:
            if self._term and await self._ledger.leads(LEADER, self._holder, self._term):
                await within(_RESIGN_SECONDS, self._ledger.lead(LEADER, self._holder, 0.0))
        except (ColonyError, TimeoutError) as error:
            _log.info("the lead is left to run out", error=str(error))

    async def round(self) -> list[Action]:
        """Look and act once; returns what was decided. Nothing while another leads."""
        term = await self._ledger.lead(LEADER, self._holder, _LEAD_SECONDS)
        if term is None:
            return []
        self._term = term
        actions = plan_actions(await self._look())
        for action in actions:
            await self._act(action)
        await self._refresh_all()
        return actions

    async def _pause(self, shutdown: asyncio.Event) -> None:
        stop = asyncio.ensure_future(shutdown.wait())
        poke = asyncio.ensure_future(self._poked.wait())
        try:
            await asyncio.wait({stop, poke}, timeout=_ROUND_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            poke.cancel()

    async def _look(self) -> Snapshot:
        hosts = await self._runtime.hosts()
        now = self._clock.monotonic()
        self._seen_since = {slot: self._seen_since.get(slot, now) for slot in hosts}
        # Noted before the leases are read: a host whose incarnation is known by now has its lease there.
        seen = [Seen(slot, host.incarnation, now - self._seen_since[slot]) for slot, host in hosts.items()]
        starting = frozenset(self._starting)
        leases, owners = await asyncio.gather(self._ledger.leases(), self._ledger.shard_owners())
        self._draining &= set(hosts)
        return Snapshot(
            desired=self._config.fleet.hosts,
            hosts=seen,
            leases=leases,
            owners=owners,
            starting=starting,
            draining=frozenset(self._draining),
        )

    async def _act(self, action: Action) -> None:
        match action:
            case EndLease():
                await self._bury(action)
            case KillHost():
                await self._check_term()
                _log.warning("killing a host", slot=action.slot, reason=action.reason)
                await self._runtime.kill_host(action.slot)
            case StartHost():
                self._starting.add(action.slot)
                self._tasks.start(self._start(action.slot), name=f"start host {action.slot}")
            case DrainHost():
                self._draining.add(action.slot)
                self._tasks.start(self._drain(action.slot), name=f"drain host {action.slot}")
            case Assign():
                self._assign_soon(action)

    async def _check_term(self) -> None:
        if not await self._ledger.leads(LEADER, self._holder, self._term):
            raise Unavailable("Another reconciler leads now.")

    async def _bury(self, action: EndLease) -> None:
        lead = Lead(LEADER, self._holder, self._term)
        if not await self._ledger.end_lease(action.incarnation, crashed=True, lead=lead):
            return
        _log.warning("host is dead", host=action.host, incarnation=action.incarnation)
        self.poke()
        self._tasks.start(self._tell_death(action), name="tell a death")

    async def _tell_death(self, action: EndLease) -> None:
        try:
            if self._registry is not None:
                await within(_CALL_SECONDS, self._registry.fail(action.host, action.incarnation))
        except ColonyError as error:
            _log.warning("the registry could not be told of a death", host=action.host, error=str(error))
        try:
            if self._messenger is not None:
                event = Envelope(kind="host-died", payload={"host": action.host, "incarnation": action.incarnation})
                await within(_CALL_SECONDS, self._messenger.tell(event_subject("host-died", action.host), event))
        except ColonyError as error:
            _log.warning("the event of a death was not sent", host=action.host, error=str(error))

    async def _start(self, slot: int) -> None:
        try:
            await self._check_term()
            await within(_START_SECONDS, self._runtime.start_host(slot))
        except (ColonyError, TimeoutError) as error:
            _log.warning("a host could not be started", slot=slot, error=str(error))
            await self._clock.sleep(_ROUND_SECONDS)
        finally:
            self._starting.discard(slot)
            self.poke()

    async def _drain(self, slot: int) -> None:
        try:
            host = (await self._runtime.hosts()).get(slot)
            if host is not None:
                await within(_START_SECONDS, host.drain())
            await self._runtime.kill_host(slot)
        except ColonyError as error:
            _log.warning("a host could not be drained", slot=slot, error=str(error))
            self._draining.discard(slot)

    def _assign_soon(self, action: Assign) -> None:
        """Assign if something changes, and every few seconds anyway: the host then mends what it missed."""
        now = self._clock.monotonic()
        due = now - self._assigned_at.get(action.incarnation, float("-inf")) >= _REPEAT_SECONDS
        if action.slot in self._busy or not (action.changes or due):
            return
        self._assigned_at = {name: at for name, at in self._assigned_at.items() if now - at < _REPEAT_SECONDS}
        self._assigned_at[action.incarnation] = now
        self._busy.add(action.slot)
        self._tasks.start(self._assign(action), name=f"assign shards to host {action.slot}")

    async def _assign(self, action: Assign) -> None:
        try:
            await self._check_term()
            host = (await self._runtime.hosts()).get(action.slot)
            if host is not None and host.incarnation == action.incarnation:
                await within(_CALL_SECONDS, host.assign(action.shards))
                # The same again changed nothing: looking at once would only repeat it for ever.
                if action.changes and self._assigned.get(action.slot) != action:
                    self.poke()
                self._assigned[action.slot] = action
        except ColonyError as error:
            _log.warning("shards could not be assigned", slot=action.slot, error=str(error))
        finally:
            self._busy.discard(action.slot)

    async def _refresh_all(self) -> None:
        """Hosts look by themselves every second; this makes a deployment quicker."""
        version = await self._ledger.fleet_version()
        if version == self._fleet_version:
            return
        hosts = [host for host in (await self._runtime.hosts()).values() if host.incarnation]
        await asyncio.gather(*(self._refresh(host) for host in hosts))
        self._fleet_version = version

    async def _refresh(self, host: HostHandle) -> None:
        try:
            await within(_CALL_SECONDS, host.refresh())
        except ColonyError as error:
            _log.warning("a host could not be refreshed", host=host.name, error=str(error))


@asynccontextmanager
async def open_reconciler(
    ledger: Ledger,
    hosts: HostRuntime,
    registry: Registry | None,
    messenger: Messenger | None,
    config: Config,
    *,
    clock: Clock | None = None,
    holder: str = "",
) -> AsyncGenerator[Reconciler]:
    """A reconciler, to be `run` and `poke`d. What it still does in the background ends with the context."""
    async with task_owner() as tasks:
        yield Reconciler(ledger, hosts, registry, messenger, config, tasks, clock=clock, holder=holder)
