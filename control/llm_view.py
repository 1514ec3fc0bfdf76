"""The gateway's state for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from colony.errors import Unavailable

_COLOURS: Final = {"up": "green", "suspect": "yellow", "down": "red", "closed": "green", "half_open": "yellow"}
_NOTE: Final = 24
_UNKNOWN: Final = "red"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class BreakerState(_Part):
    """One breaker."""

    state: str = "closed"
    failures: int = 0
    opens_in: float = 0.0
    open_for: float = 0.0
    """Seconds since it was closed; 0 where it is, or where the gateway does not say."""


class ReplicaState(_Part):
    """One model server."""

    health: str = ""
    problem: str = ""
    draining: bool = False
    in_flight: int = 0
    slots: int = 0
    others: int = 0
    calls: int = 0
    paused: float = 0.0
    mean_batch: float = 0.0


class BackendState(_Part):
    """One backend: its queue, breakers and replicas."""

    standing: str = ""
    waiting: int = 0
    length: int = 0
    oldest_seconds: float = 0.0
    by_priority: dict[int, int] = Field(default_factory=dict[int, int])
    """Requests that wait, by the class they are in now."""
    paced_seconds: float = 0.0
    in_flight: int = 0
    replicas: dict[str, ReplicaState] = Field(default_factory=dict[str, ReplicaState])
    breakers: dict[str, BreakerState] = Field(default_factory=dict[str, BreakerState])


class QuotaState(_Part):
    """What is used of the quota of a backend in the last minute; None for no quota."""

    requests_per_minute: int | None = None
    requests: int = 0
    tokens_per_minute: int | None = None
    tokens: int = 0
    tokens_reserved: int = 0
    held_seconds: float = 0.0
    """Its provider said that it is asked too often: nothing goes there for so long."""


class BudgetUse(_Part):
    """Tokens of one job and all it started."""

    used: int = 0
    reserved: int = 0
    budget: int | None = None
    """None where only the jobs above it have one."""
    parent: str = ""
    """Key of the job that started it."""


class BudgetsState(_Part):
    """Budgets of the jobs that asked last."""

    recent: dict[str, BudgetUse] = Field(default_factory=dict[str, BudgetUse])
    """By the key of the job."""


class CacheState(_Part):
    """Answers kept."""

    entries: int = 0
    bytes: int = 0
    max_bytes: int = 0
    hits: int = 0
    misses: int = 0
    shared: int = 0
    hit_rate: float = 0.0


class UsageState(_Part):
    """Sums since the start; rates are of the last minute."""

    requests: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tokens_per_second: float = 0.0
    requests_per_second: float = 0.0


class LlmView(_Part):
    """What `colony llm` shows; fields it does not know are left out."""

    backends: dict[str, BackendState] = Field(default_factory=dict[str, BackendState])
    cache: CacheState = CacheState()
    usage: UsageState = UsageState()
    quotas: dict[str, QuotaState] = Field(default_factory=dict[str, QuotaState])
    budgets: BudgetsState = BudgetsState()
    waiting: int = 0
    in_flight: int = 0


def parse_view(state: Mapping[str, Any]) -> LlmView:
    """The state as the gateway tells it. Raises `Unavailable` when it is something else."""
    try:
        return LlmView.model_validate(state)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Unavailable(f"The gateway tells its state in a way not understood here (at {where}).") from None


def render_view(view: LlmView) -> RenderableType:
    """Backends with their queues, replicas and breakers; then cache and tokens."""
    if not view.backends:
        return Text("The gateway has no backend. Set model.enabled or gateway.backends in agent_config.yaml.")
    return Group(_backends(view), Text(), _replicas(view), *_breakers(view), Text(), *_totals(view))


def _backends(view: LlmView) -> Table:
    table = Table("backend", "standing", "running", "waiting", "oldest", "breakers", box=None, pad_edge=False)
    for name, backend in view.backends.items():
        waiting = f"{backend.waiting:,}" + (f" of {backend.length:,}" if backend.length else "")
        oldest = f"{backend.oldest_seconds:.1f} s" if backend.waiting else ""
        standing = _coloured("paced" if backend.paced_seconds else backend.standing)
        table.add_row(_cut(name, 18), standing, str(backend.in_flight), waiting, oldest, _worst(backend))
    return table


def _replicas(view: LlmView) -> Table:
    table = Table("replica", "health", "slots", "calls", "batch", "", box=None, pad_edge=False)
    for backend in view.backends.values():
        for name, replica in backend.replicas.items():
            slots = f"{replica.in_flight} of {replica.slots}"
            batch = f"{replica.mean_batch:.1f}" if replica.mean_batch else ""
            note = Text(_cut(_note(replica), _NOTE), "dim")
            table.add_row(_cut(name, 20), _coloured(replica.health), slots, f"{replica.calls:,}", batch, note)
    return table


def _note(replica: ReplicaState) -> str:
    if replica.problem:
        return replica.problem
    if replica.draining:
        return "draining"
    if replica.paused:
        return f"paused for {replica.paused:.0f} s"
    return f"{replica.others} calls of others" if replica.others else ""


def _breakers(view: LlmView) -> list[RenderableType]:
    """Those that are not closed, in words."""
    lines: list[RenderableType] = []
    for name, backend in view.backends.items():
        for model, breaker in backend.breakers.items():
            if breaker.state != "closed":
                until = f", tries again in {breaker.opens_in:.0f} s" if breaker.opens_in else ""
                lines.append(Text(f"breaker of {_cut(f'{name}/{model}', 44)}: {breaker.state}{until}", "red"))
    return lines


def _worst(backend: BackendState) -> Text:
    states = [breaker.state for breaker in backend.breakers.values()]
    worst = next((state for state in ("open", "half_open") if state in states), "closed" if states else "")
    return _coloured(worst)


def _totals(view: LlmView) -> list[RenderableType]:
    cache, usage = view.cache, view.usage
    asked = cache.hits + cache.misses
    hits = f"{cache.hit_rate:.0%} of {asked:,} found" if asked else "not asked yet"
    size = f"{cache.entries:,} answers, {cache.bytes / 1e6:.1f} of {cache.max_bytes / 1e6:.0f} MB"
    joined = f", {cache.shared:,} joined" if cache.shared else ""
    lines = [Text(f"cache    {hits}{joined}; {size}")]
    if usage.requests:
        rate = (
            f"{usage.tokens_per_second:,.1f} tokens/s, {usage.requests_per_second:,.1f} requests/s in the last minute"
        )
        failed = f", {usage.failed:,} failed" if usage.failed else ""
        read = f"{usage.prompt_tokens:,} tokens read, {usage.completion_tokens:,} written"
        lines += [Text(f"rate     {rate}"), Text(f"so far   {usage.requests:,} requests{failed}; {read}")]
    return [*lines]


def render_why(found: Mapping[str, Any]) -> RenderableType:
    """What a request waits for, a line for each thing known."""
    table = Table.grid(padding=(0, 2))
    for name, value in found.items():
        if value not in ("", None):
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            table.add_row(Text(name.replace("_", " "), "dim"), Text(shown))
    return table


def _coloured(state: str) -> Text:
    return Text(state.replace("_", " "), _COLOURS.get(state, _UNKNOWN if state in ("open", "down") else ""))


def _cut(text: str, limit: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
