"""What the figures of the gateway should be, and whether they were. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bench.result import Target, at_least, at_most

SHARE: Final = 0.95
SHARE_STREAMED: Final = 0.90
"""Least share of the tokens a second of the bare server."""

FIRST_PIECE: Final = 1.10
"""Most times the bare server's time to the first piece."""

ADDED_MS: Final = 5.0
CACHED_A_SECOND: Final = 1000.0
CACHED_P95_MS: Final = 50.0
LEAST_FAIR: Final = 0.5
"""Least answers of the slowest consumer, as a share of the mean."""

FLAT: Final = 1.10
"""Most times the memory of the start that the gateway may hold at the end."""

GATEWAY_MB: Final = 400.0
STACK_MB: Final = 2000.0

SLOTS: Final = 16
"""Answers the model must work on at once: with fewer, its batches never have the size that the gain is told for."""

HONEST: Final = ("200", "429", "503")


def targets(metrics: Mapping[str, Any]) -> tuple[Target, ...]:
    """Every bound on the figures of `bench.gateway`, medians of several runs."""
    consumers: Mapping[str, Any] = metrics["consumers"]
    dishonest = sum(count for status, count in consumers["statuses"].items() if status not in HONEST)
    memory: Mapping[str, float] = consumers["gateway_pss_mb"]
    cached: Mapping[str, Any] = metrics["cached"]
    whom = f"{consumers['consumers']} consumers for {consumers['seconds']:.0f} s"
    return (
        at_least("slots of the model", metrics["slots"], SLOTS),
        *_shares(metrics["share_of_bare"]),
        *(
            at_most(f"time to first piece to that of bare, {name} in flight", ratio["median"], FIRST_PIECE)
            for name, ratio in metrics["first_piece_ratio"].items()
        ),
        at_most("added at one in flight, p50, ms", metrics["added_ms_p50"]["median"], ADDED_MS),
        at_least("cached answers a second", cached["requests_per_second"]["median"], CACHED_A_SECOND),
        at_most("cached answers, p95, ms", cached["p95_ms"]["median"], CACHED_P95_MS),
        at_most(f"{whom}: answers but 200, 429 and 503", dishonest, 0),
        at_most(f"{whom}: refusals without Retry-After", consumers["refusals_without_retry_after"], 0),
        at_least(f"{whom}: slowest to mean", consumers["slowest_to_mean"], LEAST_FAIR),
        at_most(f"{whom}: memory at the end to that at the start", _ratio(memory["last"], memory["first"]), FLAT),
        # 0 is what nobody measured.
        at_most("gateway processes, MB PSS", metrics["gateway_pss_mb"] or math.inf, GATEWAY_MB),
        at_most("whole stack without the model, MB PSS", metrics["stack_pss_mb"] or math.inf, STACK_MB),
    )


def _shares(shares: Mapping[str, Mapping[str, float]]) -> Iterator[Target]:
    for name, share in shares.items():
        least = SHARE_STREAMED if name.endswith("streamed") else SHARE
        yield at_least(f"tokens a second to those of bare, {name} in flight", share["median"], least)


def _ratio(part: float, whole: float) -> float:
    return part / whole if part and whole else math.inf
