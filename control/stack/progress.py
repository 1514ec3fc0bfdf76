"""What people see: the progress of `up` and `down`, the tables of `status` and `doctor`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from control.stack.state import ServiceRecord, StackRecord

if TYPE_CHECKING:
    # What `doctor` needs takes a second to import; `up` only shows progress.
    from control.stack.doctor import Finding
    from control.stack.proofs import Verdict

_COLOURS: Final = {
    "ready": "green",
    "external": "green",
    "ok": "green",
    "failed": "bold red",
    "dead": "bold red",
    "fail": "bold red",
    "warn": "yellow",
    "restarting": "yellow",
}


class Progress:
    """A live table of services on a terminal, a plain line per change elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        self._seen: dict[str, str] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Progress:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()

    def show(self, record: StackRecord) -> None:
        """Show a state of the stack."""
        if self._live is not None:
            self._live.update(_progress_table(record), refresh=True)
            return
        for service in record.services:
            if self._seen.get(service.name) != service.state:
                self._seen[service.name] = service.state
                line = f"{time.monotonic() - self._began:6.1f} s  {service.name:<11} {service.state}"
                took = f" in {service.ready_seconds} s" if service.state == "ready" and service.ready_seconds else ""
                self._console.print(line + took, highlight=False)


def _progress_table(record: StackRecord) -> Table:
    table = Table.grid(padding=(0, 2))
    for service in record.services:
        table.add_row(service.name, _state(service.state), _took(service), Text(service.provider, style="dim"))
    return table


def _took(service: ServiceRecord) -> str:
    if service.state in ("preparing", "starting", "restarting", "stopping"):
        return f"{time.time() - service.since:.1f} s"
    return f"{service.ready_seconds} s" if service.state == "ready" and service.ready_seconds else ""


def _state(state: str) -> Text:
    return Text(state, style=_COLOURS.get(state, "cyan"))


def print_status(console: Console, found: dict[str, Any]) -> None:
    """The table of `colony status`, at most 80 columns."""
    if not found["services"]:
        console.print("No stack was started here. `colony up` starts one.")
        return
    table = Table(box=None, pad_edge=False, width=min(console.width, 80))
    table.add_column("service", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("provider", ratio=1, overflow="ellipsis", no_wrap=True)
    table.add_column("address", no_wrap=True)
    table.add_column("MB", justify="right", no_wrap=True)
    for name, service in found["services"].items():
        memory = "" if service["pss_mb"] is None else f"{service['pss_mb']:.0f}"
        table.add_row(name, _state(service["state"]), service["provider"], service["address"], memory)
    console.print(table)
    console.print(
        f"Profile {found['profile']}, {found['phase']}, {found['totals']['pss_mb']:.0f} MB in all.", highlight=False
    )
    for name, service in found["services"].items():
        if service["note"]:
            console.print(f"{name}: {service['note']}.", style="dim", highlight=False)
    _print_fleet(console, found["fleet"])


def _print_fleet(console: Console, fleet: dict[str, Any] | None) -> None:
    if fleet is None:
        return
    published = (
        "the registry does not answer"
        if fleet["registered"] is None
        else f"{fleet['registered']} registered, {fleet['passing']} passing"
    )
    console.print(f"Fleet: {fleet['desired']} agents desired, {fleet['owned']} owned, {published}.", highlight=False)
    for host in fleet["hosts"]:
        said = "does not answer" if host["awake"] is None else f"{host['awake']} awake, {host['pss_mb']:.0f} MB"
        draining = ", draining" if host["draining"] else ""
        console.print(
            f"  {host['host']}: {host['agents']} agents, {host['shards']} shards, {said}{draining}", highlight=False
        )


def print_findings(
    console: Console, findings: Sequence[Finding], verdicts: Sequence[Verdict], *, running: bool
) -> None:
    """The tables of `colony doctor`."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row(_state(finding.level), finding.name, finding.detail)
    for verdict in verdicts:
        state = _state("ok" if verdict.passed else "fail")
        table.add_row(state, f"{verdict.name} ({verdict.milliseconds:.0f} ms)", verdict.detail)
    console.print(table)
    if not running:
        console.print("The stack is not running: `colony up`, then `colony doctor` proves that it works.")
