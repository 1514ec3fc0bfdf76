"""The gateway beside the bare embedded model: tokens a second, latency, first pieces, the cache, many consumers."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console

from bench.gateway_cache import cached_answers
from bench.gateway_chat import Saturation, Server, one_at_a_time, saturate
from bench.gateway_consumers import consume, megabytes
from bench.gateway_targets import SLOTS, targets
from bench.result import BenchResult, environment, spread
from colony.config.endpoints import read_secret
from colony.errors import NotFound
from control.session import endpoints_here
from control.settings import load_settings

RUNS: Final = 3
ROUNDS: Final = {16: 3, 64: 1}
"""Requests in flight -> requests of each consumer in a run at saturation."""

SINGLE: Final = 40
CONSUMER_SECONDS: Final = 600.0
QUICK_SECONDS: Final = 20.0


async def run(console: Console, *, quick: bool = False) -> BenchResult:
    """Bare server and gateway in turn. `quick`: one run each, and seconds instead of minutes of many consumers."""
    model, front, slots = _servers()
    if slots < SLOTS:
        told = (
            f"The model works on {slots} answers at once: its batches stay below the {SLOTS} the figures are told for."
        )
        console.print(f"  {told} Set model.slots to {SLOTS} in agent_config.yaml; `colony down`, `colony up`.")
    runs = 1 if quick else RUNS
    pairs = await _saturations(console, model, front, runs)
    alone = [await saturate(model, 1, 6, stream=False) for _ in range(runs)]
    latency = await _latency(model, front, runs)
    console.print(f"  at one in flight: {latency[-1][0]:.1f} ms bare, {latency[-1][1]:.1f} ms through", highlight=False)
    cached = [await cached_answers(front) for _ in range(runs)]
    console.print(f"  cached: {cached[-1].requests_per_second:,.0f} requests/s", highlight=False)
    consumers = await consume(console, front, QUICK_SECONDS if quick else CONSUMER_SECONDS)
    shares = {name: spread([ours / theirs for theirs, ours in speeds]) for name, (speeds, _) in pairs.items()}
    gains = [theirs / one.tokens_per_second for (theirs, _), one in zip(pairs["16"][0], alone, strict=True)]
    gateway_mb, stack_mb = await asyncio.to_thread(megabytes)
    metrics: dict[str, Any] = {
        "tokens_per_second": {name: _spread([ours for _, ours in speeds]) for name, (speeds, _) in pairs.items()},
        "share_of_bare": {name: share.model_dump() for name, share in shares.items()},
        "first_piece_ratio": {name: _spread(firsts) for name, (_, firsts) in pairs.items() if firsts},
        "added_ms_p50": _spread([ours - theirs for theirs, ours in latency]),
        "batching_gain": _spread(gains),
        "cached": {
            "requests_per_second": _spread([run.requests_per_second for run in cached]),
            "p50_ms": _spread([run.p50_ms for run in cached]),
            "p95_ms": _spread([run.p95_ms for run in cached]),
        },
        "consumers": consumers,
        "gateway_pss_mb": gateway_mb,
        "stack_pss_mb": stack_mb,
        "slots": slots,
    }
    return BenchResult(
        name="gateway",
        metrics=metrics,
        baseline={
            "name": f"the embedded model {model.model} without the gateway, same requests, in turn",
            "tokens_per_second": {name: _spread([bare for bare, _ in speeds]) for name, (speeds, _) in pairs.items()},
            "one_at_a_time": _spread([one.tokens_per_second for one in alone]),
            "latency_ms_p50": _spread([theirs for theirs, _ in latency]),
        },
        ratio=shares["16"].median,
        environment=environment(),
        targets=targets(metrics),
    )


Pairs = dict[str, tuple[list[tuple[float, float]], list[float]]]
"""Name of the load -> tokens a second (bare, gateway) of each run, and ratios of the medians of the first pieces."""


async def _saturations(console: Console, bare: Server, gateway: Server, runs: int) -> Pairs:
    found: Pairs = {}
    for number in range(runs):
        for stream in (False, True):
            for in_flight, rounds in ROUNDS.items():
                name = f"{in_flight} streamed" if stream else str(in_flight)
                speeds, firsts = found.setdefault(name, ([], []))
                # Who goes first changes from run to run: a machine that grows slower must not favour one of them.
                order = (bare, gateway) if number % 2 == 0 else (gateway, bare)
                done: dict[str, Saturation] = {}
                for server in order:
                    done[server.url] = await saturate(server, in_flight, in_flight * rounds, stream=stream)
                theirs, ours = done[bare.url], done[gateway.url]
                speeds.append((theirs.tokens_per_second, ours.tokens_per_second))
                if stream:
                    firsts.append(statistics.median(ours.first) / statistics.median(theirs.first))
                console.print(
                    f"  run {number + 1}/{runs}, {name} in flight: bare {theirs.tokens_per_second:.1f},"
                    f" gateway {ours.tokens_per_second:.1f} tokens/s",
                    highlight=False,
                )
    return found


async def _latency(bare: Server, gateway: Server, runs: int) -> list[tuple[float, float]]:
    """Milliseconds at one in flight, median: (bare, gateway) of each run."""
    found: list[tuple[float, float]] = []
    for _ in range(runs):
        theirs = statistics.median(await one_at_a_time(bare, SINGLE))
        found.append((theirs * 1000, statistics.median(await one_at_a_time(gateway, SINGLE)) * 1000))
    return found


def _servers() -> tuple[Server, Server, int]:
    endpoints = endpoints_here()
    model, gateway = endpoints.model, endpoints.gateway
    if model is None or gateway is None:
        raise NotFound("This stack has no model.", remedy="Set model.enabled in agent_config.yaml; start it again.")
    config = load_settings(endpoints).config
    name = next(iter(config.model.names.values()), "") or "smollm2-135m-instruct"
    key = read_secret(model.key_file) if model.key_file else ""
    bare = Server(model.url, key, name)
    return bare, Server(gateway.url, read_secret(gateway.key_file), name), config.model.slots


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return spread(values).model_dump()
