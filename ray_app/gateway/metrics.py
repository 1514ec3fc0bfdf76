"""The state of a gateway as Prometheus reads it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
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
_BATCHES: Final = {
    "batches": _Metric("batches_total", "counter", "Calls of backends that may carry several requests"),
    "calls": _Metric("batched_requests_total", "counter", "Requests those calls carried"),
    "largest": _Metric("batch_largest", "gauge", "Most requests one of those calls carried"),
}
_BACKEND: Final = {
    "waiting": _Metric("backend_waiting", "gauge", "Requests that wait for this backend"),
    "oldest_seconds": _Metric("backend_oldest_seconds", "gauge", "Time the oldest of them waits"),
    "in_flight": _Metric("backend_in_flight", "gauge", "Requests this backend works on"),
    "paced_seconds": _Metric("backend_paced_seconds", "gauge", "Time until its quota lets the next request through"),
}
_QUOTA: Final = {
    "requests": _Metric("quota_requests", "gauge", "Requests of the last minute that count for the quota"),
    "requests_per_minute": _Metric("quota_requests_limit", "gauge", "Requests a minute that the quota allows"),
    "tokens": _Metric("quota_tokens", "gauge", "Tokens of the last minute that count for the quota"),
    "tokens_per_minute": _Metric("quota_tokens_limit", "gauge", "Tokens a minute that the quota allows"),
}
_REPLICA: Final = {
    "in_flight": _Metric("replica_in_flight", "gauge", "Requests this replica works on"),
    "slots": _Metric("replica_slots", "gauge", "Answers it works on at once"),
    "taken": _Metric("replica_slots_taken", "gauge", "Slots its requests take"),
    "calls": _Metric("replica_calls_total", "counter", "Requests it was given"),
}
_UP: Final = _Metric("replica_up", "gauge", "1 where it gets requests, 0 where it is down, suspect or draining")
_BREAKER: Final = _Metric("breaker_state", "gauge", "0 closed, 1 half open, 2 open")
_OPENINGS: Final = _Metric("breaker_openings_total", "counter", "How often it opened")
_STATES: Final = {"closed": 0, "half_open": 1, "open": 2}
_MOST_MODELS: Final = 50
"""Breakers of one backend that are told: a server may serve any number of models."""

_BY: Final = {"by_agent_type": "agent_type", "by_model": "model"}

_PREFIX: Final = "colony_llm_"


def exposition(state: Mapping[str, Any]) -> str:
    """Prometheus text of what `Gate.state` says; parts that are missing are left out.

    What one replica of the gateway counts has the label `gateway` where there are several of them (`state["gateway"]`):
    their sum is that of the gateway. What the owner of the queues knows is told once. Labels are names of
    configuration: backends, replicas, models, agent types. Agents and jobs are too many; the ledger has those.
    """
    usage: Mapping[str, Any] = state.get("usage") or {}
    own = {"gateway": str(state["gateway"])} if state.get("gateway") else {}
    counted = [
        *_told([(own, usage)], {**_SUMS, **_BOOK}),
        *_outcomes(usage.get("by_outcome") or {}, own),
        *(line for part, label in _BY.items() for line in _grouped(usage.get(part) or {}, label, own)),
        *_told([(own, state.get("cache") or {})], _CACHE),
        *_told([(own, state.get("batches") or {})], _BATCHES),
    ]
    lines = [*counted, *_told([({}, state)], _OWNER), *_backends(state)]
    return "\n".join(lines) + "\n" if lines else ""


Labels = Mapping[str, str]
Rows = Sequence[tuple[Labels, Mapping[str, Any]]]


def _told(rows: Rows, known: Mapping[str, _Metric]) -> Iterator[str]:
    """Each metric once, with a line for each row that has its number."""
    for field, metric in known.items():
        yield from _series(metric, [(labels, values.get(field)) for labels, values in rows])


def _series(metric: _Metric, values: Sequence[tuple[Labels, Any]]) -> Iterator[str]:
    told = [(labels, value) for labels, value in values if isinstance(value, int | float)]
    if told:
        yield f"# HELP {_PREFIX}{metric.name} {metric.help}."
        yield f"# TYPE {_PREFIX}{metric.name} {metric.kind}"
    for labels, value in told:
        inner = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield f"{_PREFIX}{metric.name}{{{inner}}} {value}" if inner else f"{_PREFIX}{metric.name} {value}"


def _grouped(groups: Mapping[str, Mapping[str, Any]], label: str, own: Labels) -> Iterator[str]:
    """The same sums for each group, under names of their own: a sum over a name must count a request once."""
    known = {
        field: metric._replace(name=f"{label}_{metric.name}", help=f"{metric.help}, by {label.replace('_', ' ')}")
        for field, metric in _SUMS.items()
    }
    return _told([({label: name, **own}, sums) for name, sums in groups.items()], known)


def _outcomes(counts: Mapping[str, int], own: Labels) -> Iterator[str]:
    metric = _Metric("outcomes_total", "counter", "Requests by how they ended")
    return _series(metric, [({"outcome": name, **own}, count) for name, count in counts.items()])


def _backends(state: Mapping[str, Any]) -> Iterator[str]:
    """What the owner knows of each backend: its queue, quota, replicas and breakers."""
    backends: Mapping[str, Mapping[str, Any]] = state.get("backends") or {}
    quotas: Mapping[str, Mapping[str, Any]] = state.get("quotas") or {}
    replicas: list[tuple[Labels, Mapping[str, Any]]] = []
    breakers: list[tuple[Labels, Mapping[str, Any]]] = []
    for name, backend in backends.items():
        labels = {"backend": name}
        served: Mapping[str, Mapping[str, Any]] = backend.get("replicas") or {}
        replicas += [({**labels, "replica": one}, told) for one, told in served.items()]
        found: Mapping[str, Mapping[str, Any]] = backend.get("breakers") or {}
        breakers += [({**labels, "model": model}, told) for model, told in islice(found.items(), _MOST_MODELS)]
    yield from _told([({"backend": name}, backend) for name, backend in backends.items()], _BACKEND)
    yield from _told([({"backend": name}, quota) for name, quota in quotas.items()], _QUOTA)
    yield from _told(replicas, _REPLICA)
    yield from _series(_UP, [(labels, int(_is_up(replica))) for labels, replica in replicas])
    yield from _series(_BREAKER, [(labels, _STATES.get(str(one.get("state")))) for labels, one in breakers])
    yield from _series(_OPENINGS, [(labels, one.get("openings")) for labels, one in breakers])


def _is_up(replica: Mapping[str, Any]) -> bool:
    return replica.get("health") == "up" and not replica.get("draining")


def _escaped(value: str) -> str:
    """A label value: callers choose some of them."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
