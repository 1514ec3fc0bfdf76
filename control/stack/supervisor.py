"""The supervisor of one stack: a daemon that starts the services, keeps them alive and stops them in order.

Run as a module by `colony up`. SIGTERM stops everything in order and ends with 0; a second one ends it at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from colony.errors import AlreadyExists, ColonyError
from colony.lifecycle import task_owner
from control.processes.logs import log_to_stdout
from control.processes.signals import stop_on_signals
from control.settings import load_file
from control.stack import consul
from control.stack.assembly import decide, endpoints_of, specs_of
from control.stack.context import StackContext
from control.stack.credentials import ensure_credentials
from control.stack.guardian import Guardian
from control.stack.identity import Identity, alive, boot_id, identify
from control.stack.lock import only_one
from control.stack.orders import Orders
from control.stack.paths import StackPaths
from control.stack.ports import read_ports
from control.stack.service import Service
from control.stack.state import Failure, Phase, ServiceRecord, StackRecord, read_state, write_state
from control.stack.stopping import kill_service, remove_ray_folder, stop_in_stages

OPEN_FILES = 65_536

_log = structlog.get_logger(__name__)


class ServiceFailed(Exception):
    """A service did not come up."""

    def __init__(self, service: str, error: Exception) -> None:
        super().__init__(service)
        self.service = service
        self.error = error


class Supervisor:
    """Owns the services of one stack and the file that describes them."""

    def __init__(self, context: StackContext, only: tuple[str, ...], me: Identity, boot: str) -> None:
        self._paths = context.paths
        self._began = time.monotonic()
        self._record = StackRecord(
            supervisor=me,
            boot=boot,
            profile=context.profile,
            started=time.time(),
            ray_folder=str(context.paths.ray),
        )
        self._external = tuple(
            ServiceRecord(name=name, state="external", provider=provider.label, address=provider.address)
            for name, provider in context.providers.items()
            if provider.kind == "configured" and not only
        )
        self.services: Mapping[str, Service] = {
            name: Service(spec, context.paths, self.save) for name, spec in specs_of(context, only).items()
        }
        self._ready = {name: asyncio.Event() for name in self.services}
        self._previous: dict[str, ServiceRecord] = {}

    def save(self) -> None:
        """Write down what is known."""
        services = tuple(service.record for service in self.services.values())
        self._record = self._record.model_copy(update={"services": (*services, *self._external)})
        write_state(self._paths.state_file, self._record)

    def enter(self, phase: Phase, failure: Failure | None = None) -> None:
        """Change the phase of the stack and write it down."""
        update: dict[str, object] = {"phase": phase, "failure": failure}
        if phase == "ready":
            update["ready_seconds"] = round(time.monotonic() - self._began, 2)
        self._record = self._record.model_copy(update=update)
        self.save()

    async def take_over(self, previous: StackRecord | None) -> None:
        """Remember which services of an earlier supervisor can be adopted; end the others."""
        if previous is None or previous.boot != self._record.boot:
            return
        for record in previous.services:
            service = self.services.get(record.name)
            lives = bool(record.processes) and all(alive(identity) for identity in record.processes.values())
            if service is not None and lives and service.spec.fingerprint == record.fingerprint:
                self._previous[record.name] = record
            else:
                await kill_service(record)

    async def bring_up(self) -> None:
        """Start or adopt every service, as early as what it depends on allows. Raises `ServiceFailed`."""
        try:
            async with asyncio.TaskGroup() as group:
                for service in self.services.values():
                    group.create_task(self._bring_up_one(service), name=service.spec.name)
        except BaseExceptionGroup as errors:
            for error in errors.exceptions:
                if isinstance(error, ServiceFailed):
                    raise error from errors
            raise

    async def _bring_up_one(self, service: Service) -> None:
        for name in service.spec.depends_on:
            if name in self._ready:
                await self._ready[name].wait()
        try:
            await self._adopt_or_start(service)
        except (ColonyError, OSError) as error:
            service.note_state("failed")
            raise ServiceFailed(service.spec.name, error) from error
        self._ready[service.spec.name].set()

    async def _adopt_or_start(self, service: Service) -> None:
        record = self._previous.get(service.spec.name)
        if record is not None:
            try:
                await service.adopt(record)
            except (ColonyError, TimeoutError) as error:
                _log.warning("not adopted", service=service.spec.name, error=str(error))
                await kill_service(record)
            else:
                _log.info("adopted", service=service.spec.name)
                return
        for left in reversed(range(service.spec.tries)):
            try:
                await service.start()
            except (ColonyError, OSError) as error:
                if not left:
                    raise
                _log.warning("starting again", service=service.spec.name, error=str(error))
            else:
                return

    async def stop(self) -> None:
        """Stop every service, stage by stage."""
        by_name = self.services
        await stop_in_stages(
            (service.record for service in by_name.values()),
            lambda record: _note_stopping(by_name[record.name]),
        )
        remove_ray_folder(self._record)
        for service in by_name.values():
            if service.record.state != "failed":
                service.note_state("stopped", session=None, processes={})


def _note_stopping(service: Service) -> None:
    if service.record.state != "failed":
        service.note_state("stopping")


async def supervise(orders: Orders) -> int:
    """Run the stack until a signal. Returns the exit code."""
    paths = StackPaths(orders.home)
    stop = stop_on_signals()
    me = identify(os.getpid())
    if me is None:
        raise AssertionError("a running process has an identity")
    previous = read_state(paths.state_file)
    context = _decide(orders, paths, previous)
    supervisor = Supervisor(context, orders.only, me, boot_id())
    await supervisor.take_over(previous)
    supervisor.enter("starting")
    endpoints = endpoints_of(context)
    endpoints.file.write_text(endpoints.model_dump_json(indent=1), encoding="utf-8")
    failure = await _run(supervisor, paths, stop)
    if failure is not None:
        _log.error("stack failed", service=failure.service, error=failure.message)
    _log.info("stopping")
    supervisor.enter("stopping")
    await supervisor.stop()
    supervisor.enter("stopped" if failure is None else "failed", failure)
    return 0 if failure is None else 1


async def _run(supervisor: Supervisor, paths: StackPaths, stop: asyncio.Event) -> Failure | None:
    """Bring the stack up and watch it until `stop` is set; why it failed, if it did. Afterwards nothing is started."""
    async with task_owner() as owner:
        up = owner.start(_bring_up(supervisor), name="bring-up")
        asked = owner.start(stop.wait(), name="stop-signal")
        await asyncio.wait({up, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not up.done():
            return None
        failure = up.result() if up.exception() is None else _own_failure(up.exception())
        if failure is None:
            supervisor.enter("ready")
            owner.start(Guardian(supervisor.services, paths, owner).watch(), name="guardian")
            await asyncio.wait({asked, owner.failed}, return_when=asyncio.FIRST_COMPLETED)
            if owner.failed.done():
                failure = _own_failure(owner.failed.result())
    return failure


def _own_failure(error: BaseException | None) -> Failure:
    return Failure(service="supervisor", message=f"The supervisor failed: {error!r}")


async def _bring_up(supervisor: Supervisor) -> Failure | None:
    try:
        await supervisor.bring_up()
    except ServiceFailed as failed:
        error = failed.error
        message = error.message if isinstance(error, ColonyError) else f"{type(error).__name__}: {error}"
        return Failure(service=failed.service, message=message, remedy=getattr(error, "remedy", ""))
    return None


def _decide(orders: Orders, paths: StackPaths, previous: StackRecord | None) -> StackContext:
    ensure_credentials(paths.secrets)
    config = load_file(orders.config).config
    living = previous is not None and any(
        alive(identity) for record in previous.services for identity in record.processes.values()
    )
    context = decide(
        paths,
        config,
        config_file=str(orders.config.resolve()) if orders.config else "",
        folder=Path.cwd(),
        profile=orders.profile or config.profile,
        usual_ports=orders.usual_ports,
        ours=frozenset(read_ports(paths.ports_file).values()) if living else frozenset(),
    )
    consul.place_configured_token(context)
    return context


def _parse(arguments: list[str]) -> Orders:
    parser = argparse.ArgumentParser(prog="supervisor")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--profile", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--free-ports", action="store_true")
    found = parser.parse_args(arguments)
    only = tuple(name for name in found.only.split(",") if name)
    return Orders(found.home.resolve(), found.config, found.profile, only, not found.free_ports)


def main() -> int:
    """Hold the lock and supervise. Exit codes: 0 stopped, 1 a service failed, 2 refused."""
    orders = _parse(sys.argv[1:])
    log_to_stdout("supervisor")
    _allow_many_files()
    paths = StackPaths(orders.home)
    try:
        paths.make()
        with only_one(paths.lock_file):
            return asyncio.run(supervise(orders))
    except AlreadyExists as error:
        _log.error("refused", error=str(error))
    except ColonyError as error:
        _log.error("refused", error=str(error))
        _note_refusal(paths, error)
    return 2


def _allow_many_files() -> None:
    """Servers with many connections need more than the usual 1,024 open files; every service inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _note_refusal(paths: StackPaths, error: ColonyError) -> None:
    me = identify(os.getpid())
    if me is None:
        return
    failure = Failure(service="", message=error.message, remedy=error.remedy)
    previous = read_state(paths.state_file)
    services = () if previous is None else previous.services
    write_state(
        paths.state_file,
        StackRecord(supervisor=me, boot=boot_id(), profile="", phase="failed", failure=failure, services=services),
    )


if __name__ == "__main__":
    sys.exit(main())
