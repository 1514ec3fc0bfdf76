"""One service under supervision: started, found again, watched and stopped."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

from colony.errors import DeadlineExceeded, Transient, Unavailable
from control.stack.identity import Identity, alive, all_entries, family, identify
from control.stack.logfiles import open_log
from control.stack.paths import StackPaths
from control.stack.run_command import account_arguments
from control.stack.spec import ServiceSpec
from control.stack.state import ServiceRecord, ServiceState
from control.stack.stopping import kill_service, stop_service

PROBE_EVERY = 0.1
PREPARE_SECONDS = 180.0
ANSWER_SECONDS = 5.0


class Service:
    """Runs what a `ServiceSpec` describes; `changed` is called after each change of `record`."""

    def __init__(self, spec: ServiceSpec, paths: StackPaths, changed: Callable[[], None]) -> None:
        self.spec = spec
        self._paths = paths
        self._changed = changed
        self._child: subprocess.Popen[Any] | None = None
        self.deaths_in_a_row = 0
        self.record = ServiceRecord(
            name=spec.name,
            provider=spec.provider,
            address=spec.address,
            note=spec.note,
            fingerprint=spec.fingerprint,
            stop_signal=int(spec.stop_signal),
            stop_seconds=spec.stop_seconds,
            stop_stage=spec.stop_stage,
        )

    async def start(self) -> None:
        """Prepare, spawn, wait until ready, finish. Leaves nothing running when it raises.

        Raises `Unavailable` when the process ends early, `DeadlineExceeded` when it is not ready in time, and what
        the steps raise.
        """
        began = time.monotonic()
        try:
            self.note_state("preparing")
            if self.spec.prepare is not None:
                async with asyncio.timeout(PREPARE_SECONDS):
                    await self.spec.prepare()
            self._spawn()
            await self._wait_until_ready()
            if self.spec.finish is not None:
                async with asyncio.timeout(PREPARE_SECONDS):
                    await self.spec.finish()
        except TimeoutError:
            await kill_service(self.record)
            raise DeadlineExceeded(f"{self.spec.name}: preparing took more than {PREPARE_SECONDS:.0f} s.") from None
        except BaseException:
            await asyncio.shield(kill_service(self.record))
            raise
        self.note_state("ready", ready_seconds=round(time.monotonic() - began, 2))

    async def adopt(self, record: ServiceRecord) -> None:
        """Take over processes that an earlier supervisor started. Raises `Unavailable` if they do not answer."""
        self.record = self.record.model_copy(
            update={"session": record.session, "processes": record.processes, "restarts": record.restarts}
        )
        self.note_state("starting")
        async with asyncio.timeout(10.0):
            while not await self._ready_now():
                if not self.alive():
                    raise Unavailable(f"{self.spec.name} died while it was taken over.")
                await asyncio.sleep(PROBE_EVERY)
        self.note_state("ready", ready_seconds=record.ready_seconds)

    async def stop(self, *, seconds: float | None = None) -> None:
        """Stop it, by force after its time."""
        self.note_state("stopping")
        await stop_service(self.record, seconds=seconds)
        self._reap()
        self.note_state("stopped", session=None, processes={})

    def alive(self) -> bool:
        """Whether every process that must live does."""
        self._reap()
        processes = self.record.processes
        return bool(processes) and all(alive(identity) for identity in processes.values())

    async def answers(self) -> bool:
        """Whether the ready service answers its probe in time."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._ready_now()
        except TimeoutError:
            return False

    @property
    def lived_seconds(self) -> float:
        """Time since the last change of state."""
        return time.time() - self.record.since

    def note_state(self, state: ServiceState, **more: Any) -> None:
        """Change the record and tell."""
        self.record = self.record.model_copy(update={"state": state, "since": time.time(), **more})
        self._changed()

    def _spawn(self) -> None:
        log = open_log(self._paths.log(self.spec.name))
        # A session of its own: signals of the terminal do not reach it, and all its processes can be told by it.
        try:
            child: subprocess.Popen[Any] = subprocess.Popen(
                self.spec.command,
                env=dict(self.spec.environment),
                cwd=self.spec.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **account_arguments(self.spec.user),
            )
        finally:
            os.close(log)
        self._child = child
        leader = identify(child.pid)
        if leader is None:
            raise Unavailable(f"{self.spec.name} ended at once.")
        processes = {} if self.spec.vital else {self.spec.name: leader}
        self.note_state("starting", session=leader, processes=processes)

    async def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.spec.start_seconds
        while not await self._ready_now():
            code = self._reap()
            if code is not None and (code != 0 or not self.spec.vital):
                raise Unavailable(f"{self.spec.name} ended with code {code} before it was ready.")
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"{self.spec.name} was not ready within {self.spec.start_seconds:.0f} s.")
            await asyncio.sleep(PROBE_EVERY)

    async def _ready_now(self) -> bool:
        if not self.record.processes and not self._find_vital():
            return False
        pid = next(iter(self.record.processes.values())).pid
        try:
            return await self.spec.probe(pid)
        except (OSError, Transient):
            return False

    def _find_vital(self) -> bool:
        """For a command that starts daemons and ends: find them in its session. False while they are not complete."""
        leader = self.record.session
        if leader is None or self._reap() != 0:
            return False
        found: dict[str, Identity] = {
            entry.name: entry.identity for entry in family(leader, all_entries()) if entry.name in self.spec.vital
        }
        if len(found) < len(self.spec.vital):
            return False
        self.record = self.record.model_copy(update={"processes": found})
        self._changed()
        return True

    def _reap(self) -> int | None:
        return None if self._child is None else self._child.poll()
