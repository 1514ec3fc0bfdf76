"""The state of a gateway as Prometheus reads it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple


class _Metric(NamedTuple):
    name: str
    kind: str
    help: str


_SUMS: Final = {
    "requests": _Metric("requests_total", "counter", "Requests that ended"),
    "failed": _Metric("failed_total", "counter", "Requests that ended with an error"),
    "hits": _Metric("cache_hits_total", "counter", "Requests answered from the cache"),
    "shared": _Metric("shared_total", "counter", "Requests that joined an identical one under way"),
    "calls": _Metric("calls_total", "counter", "Requests that reached a backend"),
    "streams": _Metric("streams_total", "counter", "Requests whose answer came in pieces"),
    "prompt_tokens": _Metric("prompt_tokens_total", "counter", "Tokens of prompts"),
    "completion_tokens": _Metric("completion_tokens_total", "counter", "Tokens of answers"),
    "queued_seconds": _Metric("queued_seconds_total", "counter", "Time requests waited for a slot"),
    "first_seconds": _Metric("first_piece_seconds_total", "counter", "Time to the first piece of streamed answers"),
    "seconds": _Metric("request_seconds_total", "counter", "Time of requests from start to end"),
}
_BOOK: Final = {
    "tokens_per_second": _Metric("tokens_per_second", "gauge", "Tokens of answers a second, over the last minute"),
    "requests_per_second": _Metric("requests_per_second", "gauge", "Requests a second, over the last minute"),
    "buffered": _Metric("usage_buffered", "gauge", "Usage records that wait for the ledger"),
    "written": _Metric("usage_written_total", "counter", "Usage records the ledger has"),
    "dropped": _Metric("usage_dropped_total", "counter", "Usage records lost"),
}
_CACHE: Final = {
    "entries": _Metric("cache_entries", "gauge", "Answers kept"),
    "bytes": _Metric("cache_bytes", "gauge", "Memory of the answers kept"),
    "misses": _Metric("cache_misses_total", "counter", "Cacheable requests without a kept answer"),
    "evicted": _Metric("cache_evicted_total", "counter", "Answers that left for want of room"),
    "expired": _Metric("cache_expired_total", "counter", "Answers that grew too old"),
    "refused": _Metric("cache_refused_total", "counter", "Answers too large to keep"),
}
_OWNER: Final = {
    "waiting": _Metric("waiting", "gauge", "Requests that wait for a slot"),
    "in_flight": _Metric("in_flight", "gauge", "Requests a backend works on"),
}
_BY: Final = {"by_agent_type": "agent_type", "by_model": "model"}

_PREFIX: Final = "colony_llm_"


def exposition(state: Mapping[str, Any]) -> str:
    """Prometheus text of what `Gate.state` says: its parts `usage` and `cache`, and the numbers of the owner.

    Parts that are missing are left out.
    """
    usage: Mapping[str, Any] = state.get("usage") or {}
    lines = [
        *_plain(usage, {**_SUMS, **_BOOK}),
        *_outcomes(usage.get("by_outcome") or {}),
        *(line for part, label in _BY.items() for line in _labelled(usage.get(part) or {}, label)),
        *_plain(state.get("cache") or {}, _CACHE),
        *_plain(state, _OWNER),
    ]
    return "\n".join(lines) + "\n" if lines else ""


def _plain(values: Mapping[str, Any], known: Mapping[str, _Metric]) -> Iterator[str]:
    for field, metric in known.items():
        value = values.get(field)
        if isinstance(value, int | float):
            yield from _header(metric)
            yield f"{_PREFIX}{metric.name} {value}"


def _labelled(groups: Mapping[str, Mapping[str, Any]], label: str) -> Iterator[str]:
    """The same sums for each group, under names of their own: a sum over a name must count a request once."""
    for field, metric in _SUMS.items():
        own = metric._replace(name=f"{label}_{metric.name}", help=f"{metric.help}, by {label.replace('_', ' ')}")
        rows = [(name, sums[field]) for name, sums in groups.items() if isinstance(sums.get(field), int | float)]
        if rows:
            yield from _header(own)
        for name, value in rows:
            yield f'{_PREFIX}{own.name}{{{label}="{_escaped(name)}"}} {value}'


def _outcomes(counts: Mapping[str, int]) -> Iterator[str]:
    if counts:
        yield from _header(_Metric("outcomes_total", "counter", "Requests by how they ended"))
    for name, value in counts.items():
        yield f'{_PREFIX}outcomes_total{{outcome="{_escaped(name)}"}} {value}'


def _header(metric: _Metric) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{metric.name} {metric.help}."
    yield f"# TYPE {_PREFIX}{metric.name} {metric.kind}"


def _escaped(value: str) -> str:
    """A label value: callers choose some of them."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
