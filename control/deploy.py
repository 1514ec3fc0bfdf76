"""Deploy or scale the fleet of a running stack: plan, apply, prove. For people and for machines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from agents.builtin import BUILTIN
from agents.load import load_agent_class
from colony.config.endpoints import home_from_environment, read_endpoints
from colony.config.model import Config
from colony.errors import BadInput, ConfigInvalid
from colony.ids import AgentType
from colony.ledger.port import Ledger
from colony.ledger.postgres import open_ledger
from colony.messaging.nats import open_messenger
from colony.messaging.port import Messenger
from colony.registry.open import open_registry
from colony.registry.port import Registry
from control.settings import load_file, load_settings
from ray_app.deploy import (
    MAX_AGENTS,
    DeployPlan,
    DeployProgress,
    DeployReport,
    apply_and_prove,
    plan_deployment,
    wanted_counts,
)


@dataclass(frozen=True)
class Deployment:
    """What a deployment would do or did."""

    plan: DeployPlan
    proof: DeployReport | None
    seconds: float


@dataclass(frozen=True)
class _Links:
    ledger: Ledger
    messenger: Messenger
    registry: Registry


@asynccontextmanager
async def _links() -> AsyncGenerator[_Links]:
    endpoints = read_endpoints(home_from_environment())
    async with AsyncExitStack() as stack:
        yield _Links(
            await stack.enter_async_context(open_ledger(endpoints.postgres, pool_size=2, name="deploy")),
            await stack.enter_async_context(open_messenger(endpoints.nats, role="client", name="deploy")),
            await stack.enter_async_context(open_registry(endpoints, role="client")),
        )


def parse_types(values: list[str], config: Config) -> dict[AgentType, int]:
    """`["research=200", …]` as counts. Raises `BadInput` on unknown types and counts that are no whole numbers."""
    counts: dict[AgentType, int] = {}
    for value in values:
        name, separator, number = value.partition("=")
        if not separator or not number.isascii() or not number.isdigit():
            raise BadInput(f"--type {value!r} is not TYPE=COUNT.", remedy="For example: --type research=200.")
        agent_type = AgentType(name)
        if agent_type not in config.fleet.types:
            known = ", ".join(sorted(config.fleet.types))
            raise BadInput(f"Agent type {name!r} is unknown.", remedy=f"Known types: {known}.")
        if agent_type in counts:
            raise BadInput(f"--type {name} is given twice.")
        counts[agent_type] = int(number)
    return counts


async def deploy(
    count: int | None,
    types: list[str],
    config_file: Path | None,
    *,
    dry_run: bool,
    console: Console,
    timeout: float = 600.0,
) -> Deployment:
    """Bring the fleet to the counts asked for and prove it; `dry_run` only plans. Raises `BadInput` first."""
    config = (load_file(config_file) if config_file else load_settings(read_endpoints(home_from_environment()))).config
    counts = wanted_counts(config.fleet, count, parse_types(types, config))
    if sum(counts.values()) > MAX_AGENTS:
        raise BadInput(f"{sum(counts.values())} agents are more than the {MAX_AGENTS} a stack takes.")
    _check_implementations(config, counts)
    started = time.monotonic()
    async with _links() as links:
        plan = plan_deployment(counts, config.fleet, await links.ledger.agents())
        _print_plan(console, plan)
        if dry_run:
            return Deployment(plan, None, time.monotonic() - started)
        with _progress(console) as progress:
            bar = progress.add_task("agents proven", total=sum(counts.values()))

            def moved(now: DeployProgress) -> None:
                progress.update(bar, completed=min(now.answered, now.passing), total=now.wanted)

            proof = await apply_and_prove(
                plan, links.ledger, links.messenger, links.registry, timeout=timeout, on_progress=moved
            )
    return Deployment(plan, proof, time.monotonic() - started)


def _check_implementations(config: Config, counts: Mapping[AgentType, int]) -> None:
    """Load the class of each type that gets agents: a ping is answered by the host and would not show a wrong one."""
    config_file = read_endpoints(home_from_environment()).config_file
    if config_file and str(Path(config_file).parent) not in sys.path:
        sys.path.append(str(Path(config_file).parent))
    for agent_type, number in counts.items():
        path = config.fleet.types[agent_type].implementation or BUILTIN.get(agent_type, "")
        if not number:
            continue
        if not path:
            raise ConfigInvalid(
                f"fleet.types.{agent_type} names no implementation and is no built-in type.",
                remedy=f"Built in: {', '.join(sorted(BUILTIN))}.",
            )
        load_agent_class(path, ("agents", *config.fleet.packages))


def print_proof(console: Console, deployment: Deployment) -> None:
    """The table by type; it adds up."""
    proof = deployment.proof
    if proof is None:
        return
    passing = proof.passing or {}
    table = Table("type", "desired", "answered", "passing", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for agent_type, desired in sorted(deployment.plan.wanted.items()):
        if not desired:
            continue
        row = (desired, proof.answered.get(agent_type, 0), passing.get(agent_type, 0))
        table.add_row(agent_type, *(f"{number:,}" for number in row))
    totals = (deployment.plan.wanted, proof.answered, passing)
    table.add_row("[bold]all[/]", *(f"[bold]{sum(column.values()):,}[/]" for column in totals))
    console.print(table)
    console.print(f"{sum(proof.answered.values()):,} agents proven in {deployment.seconds:.1f} s.")


def as_json(deployment: Deployment) -> str:
    """The same for machines."""
    proof = deployment.proof
    return json.dumps(
        {
            "desired": _plain(deployment.plan.wanted),
            "added": len(deployment.plan.add),
            "removed": len(deployment.plan.remove),
            "answered": _plain(proof.answered) if proof else None,
            "passing": _plain(proof.passing or {}) if proof else None,
            "seconds": round(deployment.seconds, 3),
        }
    )


def _plain(counts: Mapping[AgentType, int] | Mapping[str, int]) -> dict[str, int]:
    return {str(agent_type): number for agent_type, number in sorted(counts.items())}


def _print_plan(console: Console, plan: DeployPlan) -> None:
    total = sum(plan.wanted.values())
    types = sum(number > 0 for number in plan.wanted.values())
    console.print(
        f"Plan: {total:,} agents of {types} type{'' if types == 1 else 's'}"
        f" ([green]+{len(plan.add):,}[/] [red]-{len(plan.remove):,}[/])",
        highlight=False,
    )


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
