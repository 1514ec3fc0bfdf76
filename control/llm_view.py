"""The gateway's state for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from control.llm_state import BackendState, LlmView, ReplicaState

_COLOURS: Final = {"up": "green", "suspect": "yellow", "down": "red", "closed": "green", "half_open": "yellow"}
_NOTE: Final = 24
_WIDTH: Final = 80
_MOST_LINES: Final = 5
"""Lines of one sort."""
_UNKNOWN: Final = "red"


def render_view(view: LlmView) -> RenderableType:
    """Backends, replicas, breakers that are not closed, models on their way; then limits, cache, batches and tokens."""
    if not view.backends:
        return Text("The gateway has no backend. Set model.enabled or gateway.backends in agent_config.yaml.")
    return Group(
        _backends(view), Text(), _replicas(view), *_breakers(view), *_on_their_way(view), Text(), *_totals(view)
    )


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
            taken = replica.in_flight if replica.taken is None else replica.taken
            slots = f"{taken} of {replica.slots}"
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
                lines.append(Text(f"breaker of {_cut(f'{name}/{model}', 36)}: {breaker.state}{until}", "red"))
    return lines


def _on_their_way(view: LlmView) -> list[RenderableType]:
    """Models that are pulled or loaded, or cannot be."""
    found = [entry for entry in view.preparing if entry.doing != "ready"]
    lines: list[RenderableType] = []
    for entry in found[:_MOST_LINES]:
        said = f" {entry.error}" if entry.error else f" {entry.share:.0%}" if entry.share else ""
        doing = f"{_cut(f'{entry.replica} {entry.model}', 40)}: {_cut(entry.doing, 24)}{said}"
        lines.append(_line("models", doing, "red" if entry.error else "yellow"))
    return [*lines, *_more("models", len(found))]


def _limits(view: LlmView) -> list[RenderableType]:
    """What is used of the quotas of providers and of the budgets of jobs."""
    lines: list[RenderableType] = []
    for name, quota in list(view.quotas.items())[:_MOST_LINES]:
        parts = [
            f"{used:,} of {most:,} {what} a minute"
            for used, most, what in (
                (quota.requests, quota.requests_per_minute, "requests"),
                (quota.tokens, quota.tokens_per_minute, "tokens"),
            )
            if most is not None
        ]
        held = [f"held for {quota.held_seconds:.0f} s"] if quota.held_seconds else []
        lines += [_line("quota", f"{_cut(name, 20)}: {part}") for part in (*parts, *held)]
    limited = [(job, use) for job, use in view.budgets.recent.items() if use.budget is not None]
    for job, use in limited[:_MOST_LINES]:
        reserved = f", {use.reserved:,} reserved" if use.reserved else ""
        lines.append(_line("budget", f"{_cut(job, 24)}: {use.used:,} of {use.budget:,} tokens{reserved}"))
    return [*lines, *_more("budgets", len(limited))]


def _more(what: str, found: int) -> list[RenderableType]:
    return [_line("", f"and {found - _MOST_LINES:,} more {what}")] if found > _MOST_LINES else []


def _line(name: str, text: str, style: str = "") -> Text:
    return Text(f"{name:<9}{_cut(text, _WIDTH - 9)}", style)


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
    lines = [*_limits(view), Text(f"cache    {hits}{joined}; {size}")]
    batches = view.batches
    if batches.batches:
        sizes = f"{batches.mean:.1f} requests on average, {batches.largest:,} the most"
        lines.append(_line("batches", f"{batches.batches:,} calls with {sizes}"))
    if usage.requests:
        rate = (
            f"{usage.tokens_per_second:,.1f} tokens/s, {usage.requests_per_second:,.1f} requests/s in the last minute"
        )
        failed = f", {usage.failed:,} failed" if usage.failed else ""
        read = f"{usage.prompt_tokens:,} tokens read, {usage.completion_tokens:,} written"
        lines += [Text(f"rate     {rate}"), Text(f"so far   {usage.requests:,} requests{failed}; {read}")]
    return lines


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
