from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from bench.gateway_targets import targets


def runs(median: float) -> dict[str, float]:
    return {"min": median, "median": median, "max": median, "runs": 3}


GOOD: dict[str, Any] = {
    "share_of_bare": {"16": runs(0.97), "64": runs(0.99), "16 streamed": runs(0.91), "64 streamed": runs(0.93)},
    "first_piece_ratio": {"16 streamed": runs(1.02), "64 streamed": runs(1.05)},
    "added_ms_p50": runs(2.1),
    "cached": {"requests_per_second": runs(1800.0), "p50_ms": runs(9.0), "p95_ms": runs(24.0)},
    "consumers": {
        "consumers": 174,
        "seconds": 600.0,
        "statuses": {"200": 9000, "429": 30, "503": 2},
        "refusals_without_retry_after": 0,
        "slowest_to_mean": 0.8,
        "gateway_pss_mb": {"first": 300.0, "median": 310.0, "last": 312.0},
    },
    "gateway_pss_mb": 312.0,
    "stack_pss_mb": 1700.0,
    "slots": 16,
}


def test_every_figure_of_the_issue_has_a_bound_and_a_verdict() -> None:
    found = targets(GOOD)
    assert len(found) == 16
    assert all(target.met for target in found), [target for target in found if not target.met]
    assert any("174 consumers for 600 s" in target.what for target in found)


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (("share_of_bare", "16"), runs(0.94), "16 in flight"),
        (("share_of_bare", "64 streamed"), runs(0.89), "64 streamed in flight"),
        (("first_piece_ratio", "16 streamed"), runs(1.2), "first piece"),
        (("added_ms_p50",), runs(5.5), "added at one"),
        (("cached", "requests_per_second"), runs(900.0), "cached answers a second"),
        (("cached", "p95_ms"), runs(51.0), "p95"),
        (("consumers", "statuses"), {"200": 5, "500": 1}, "but 200"),
        (("consumers", "refusals_without_retry_after"), 1, "Retry-After"),
        (("consumers", "slowest_to_mean"), 0.4, "slowest"),
        (("consumers", "gateway_pss_mb"), {"first": 300.0, "median": 300.0, "last": 360.0}, "memory"),
        (("gateway_pss_mb",), 401.0, "gateway processes"),
        (("stack_pss_mb",), 2001.0, "whole stack"),
        (("consumers", "gateway_pss_mb"), {"first": 0.0, "median": 0.0, "last": 0.0}, "memory"),
        (("gateway_pss_mb",), 0.0, "gateway processes"),
        (("stack_pss_mb",), 0.0, "whole stack"),
        (("slots",), 4, "slots"),
    ],
    ids=lambda given: given[-1] if isinstance(given, tuple) else "",
)
def test_what_is_missed_is_the_only_thing_missed(path: tuple[str, ...], value: Any, what: str) -> None:
    bad = deepcopy(GOOD)
    place = bad
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (missed,) = [target for target in targets(bad) if not target.met]
    assert what in missed.what
