"""Start the supervisor in the background, wait for it, and stop it: what `up` and `down` do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from colony.config.endpoints import read_endpoints
from colony.errors import BadInput, DeadlineExceeded, Unavailable
from control.stack.identity import Identity, alive, boot_id, identify, send
from control.stack.lock import is_held
from control.stack.logfiles import open_log
from control.stack.orders import Orders
from control.stack.paths import REPOSITORY, StackPaths
from control.stack.state import StackRecord, read_state, write_state
from control.stack.stopping import members, remove_ray_folder, stop_in_stages

UP_SECONDS: Final = 300.0
DOWN_SECONDS: Final = 120.0

_LEFT_RUNNING: Final[list[subprocess.Popen[bytes]]] = []
"""Python warns of a child that is forgotten while it runs; the supervisor is meant to outlive us."""

Show = Callable[[StackRecord], None]
"""Called with every new state of the stack."""


def start(orders: Orders, show: Show) -> tuple[StackRecord, bool]:
    """Bring the stack up and wait until it is ready or has failed; the flag says whether it was up before.

    A supervisor that already runs is waited for, not disturbed. Raises `NotPermitted` where the data directory
    cannot be written, `Unavailable` when the supervisor dies, `DeadlineExceeded` after five minutes.
    """
    paths = StackPaths(orders.home)
    paths.make()
    if is_held(paths.lock_file):
        record = read_state(paths.state_file)
        already = record is not None and record.phase == "ready"
        if already:
            _refuse_other_orders(orders, paths)
        return _wait(paths, None, show), already
    child = _spawn(orders, paths)
    return _wait(paths, child, show), False


def _refuse_other_orders(orders: Orders, paths: StackPaths) -> None:
    """A running stack keeps its configuration: asked for another one, say so. Raises `BadInput`."""
    running = read_endpoints(paths.home)
    wanted = str(orders.config.resolve()) if orders.config is not None else running.config_file
    if wanted != running.config_file:
        raise BadInput(
            f"The stack is up with {running.config_file or 'the built-in configuration'}, not with {wanted}.",
            remedy="Stop it first: `colony down`.",
        )
    if orders.profile and orders.profile != running.profile:
        raise BadInput(
            f"The stack is up with profile {running.profile}, not {orders.profile}.",
            remedy="Stop it first: `colony down`.",
        )


def _spawn(orders: Orders, paths: StackPaths) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "control.stack.supervisor", "--home", str(paths.home)]
    if orders.config is not None:
        command += ["--config", str(orders.config.resolve())]
    if orders.profile:
        command += ["--profile", orders.profile]
    if orders.only:
        command += ["--only", ",".join(orders.only)]
    if not orders.usual_ports:
        command.append("--free-ports")
    log = open_log(paths.log("supervisor"))
    try:
        child = subprocess.Popen(
            command,
            env={**os.environ, "COLONY_HOME": str(paths.home), "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        os.close(log)
    _LEFT_RUNNING.append(child)
    return child


def _wait(paths: StackPaths, child: subprocess.Popen[bytes] | None, show: Show) -> StackRecord:
    """Follow the state until it is decided. With `child` only what that supervisor wrote counts."""
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline:
        ended = child is not None and child.poll() is not None
        record = read_state(paths.state_file)
        if record is not None and (child is None or record.supervisor.pid == child.pid):
            show(record)
            if record.phase in ("ready", "failed") and (record.phase == "ready" or ended or child is None):
                return record
        if ended or (child is None and not is_held(paths.lock_file)):
            raise Unavailable("The supervisor ended.", remedy=f"See {paths.log('supervisor')}.")
        time.sleep(0.1)
    raise DeadlineExceeded(
        "The stack was not ready within five minutes.", remedy="See `colony status` and `colony logs`."
    )


def stop(paths: StackPaths, show: Show) -> StackRecord | None:
    """Stop the stack in order and prove that no process of it is left; None when there was none.

    Works with a living supervisor and after its death. Raises `DeadlineExceeded` when it takes over two minutes,
    `Unavailable` when a process survives.
    """
    record = read_state(paths.state_file)
    if record is None or record.boot != boot_id():
        return None
    if alive(record.supervisor):
        _stop_supervisor(record.supervisor, paths, show)
    _LEFT_RUNNING[:] = [child for child in _LEFT_RUNNING if child.poll() is None]
    # After a death of the supervisor this does all the work; else it finds nothing.
    record = read_state(paths.state_file) or record
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    living = [service for service in record.services if members(service)]
    asyncio.run(stop_in_stages(living))
    remove_ray_folder(record)
    left = [entry for service in record.services for entry in members(service)]
    if left:
        raise Unavailable(f"Process {left[0].identity.pid} ({left[0].name}) is still there.")
    services = tuple(service.model_copy(update={"state": "stopped"}) for service in record.services)
    me = identify(os.getpid()) or record.supervisor
    final = record.model_copy(
        update={"services": services, "phase": "stopped", "supervisor": record.supervisor if not living else me}
    )
    write_state(paths.state_file, final)
    show(final)
    return final


def _stop_supervisor(supervisor: Identity, paths: StackPaths, show: Show) -> None:
    send(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS
    while alive(supervisor):
        record = read_state(paths.state_file)
        if record is not None:
            show(record)
        if time.monotonic() > deadline:
            raise DeadlineExceeded("The supervisor did not stop within two minutes.", remedy="Run `colony down` again.")
        time.sleep(0.1)


def purge_paths(paths: StackPaths, postgres_data: Path) -> list[Path]:
    """What `down --purge` deletes: everything the stack wrote, nothing else."""
    inside = [paths.run, paths.logs, paths.secrets, paths.home / "data", paths.ports_file, paths.endpoints_file]
    outside = [] if postgres_data.is_relative_to(paths.home) else [postgres_data.parent]
    return [*inside, paths.ray, *outside]
