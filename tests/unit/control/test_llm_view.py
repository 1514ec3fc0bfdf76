from __future__ import annotations

import io
from collections import Counter
from typing import Any

import pytest
from rich.console import Console

from colony.clock import ManualClock
from colony.config.gateway import BackendConfig, GatewayConfig
from colony.errors import Unavailable
from colony.ids import Id
from control.llm_state import parse_view
from control.llm_view import render_view, render_why
from ray_app.gateway.batching import sizes_state
from ray_app.gateway.owner import open_owner
from ray_app.gateway.plan import GatewayPlan
from ray_app.gateway.preparing import Preparation

STATE: dict[str, Any] = {
    "backends": {
        "a-backend-with-a-name-that-is-far-too-long-for-a-table": {
            "standing": "up",
            "waiting": 1234,
            "length": 10_000,
            "oldest_seconds": 12.34,
            "in_flight": 4,
            "breakers": {"a/model:with-a-long-name": {"state": "open", "opens_in": 9.0}, "b": {"state": "closed"}},
            "replicas": {
                "one/0": {
                    "health": "up",
                    "in_flight": 40,
                    "taken": 4,
                    "slots": 4,
                    "calls": 12345,
                    "mean_batch": 3.5,
                    "others": 2,
                },
                "one/1": {"health": "down", "slots": 4, "problem": "DeadlineExceeded: no answer in thirty seconds"},
                "one/2": {"health": "suspect", "slots": 4, "draining": True},
            },
            "a field of tomorrow": 1,
        },
        "quiet": {"standing": "up", "replicas": {}, "breakers": {}},
    },
    "cache": {"entries": 5, "bytes": 1_500_000, "max_bytes": 64_000_000, "hits": 3, "misses": 9, "hit_rate": 0.25},
    "usage": {"requests": 40, "failed": 2, "tokens_per_second": 31.4, "prompt_tokens": 4000, "completion_tokens": 900},
    "waiting": 1234,
    "batches": {"batches": 1200, "calls": 14_400, "mean": 12.0, "largest": 32},
    "preparing": [
        {
            "replica": "one/0",
            "model": "a-model:with-a-name-of-many-letters",
            "doing": "pulling manifest",
            "share": 0.43,
        },
        {"replica": "one/1", "model": "ready", "doing": "ready", "share": 1.0},
        {"replica": "one/2", "model": "gone", "doing": "refused", "share": 0.0, "error": "no such model " * 20},
    ],
    "quotas": {
        "a-backend-with-a-name-that-is-far-too-long-for-a-table": {
            "requests_per_minute": 500_000,
            "requests": 123_456,
            "tokens_per_minute": 200_000_000,
            "tokens": 123_456_789,
            "held_seconds": 12.3,
        },
        "quiet": {"held_seconds": 3.0},
    },
    "budgets": {
        "jobs": 8,
        "recent": {
            f"job-{number}-{'of-a-long-name' * 4}": {"used": 1_900_000, "reserved": 2500, "budget": 2_000_000}
            for number in range(7)
        }
        | {"free": {"used": 5, "budget": None}},
    },
}


def shown(renderable: Any) -> str:
    stream = io.StringIO()
    Console(file=stream, width=80).print(renderable)
    return stream.getvalue()


def test_the_view_fits_80_columns_and_says_what_is_wrong() -> None:
    text = shown(render_view(parse_view(STATE)))
    assert max(map(len, text.splitlines())) <= 80
    for part in ("1,234 of 10,000", "12.3 s", "open", "4 of 4", "DeadlineExceeded", "draining", "25% of 12", "31.4"):
        assert part in text


def test_the_view_tells_what_is_pulled_how_large_batches_are_and_what_is_left() -> None:
    text = shown(render_view(parse_view(STATE)))
    for part in ("pulling manifest 43%", "one/2 gone: refused no such model", "1,200 calls with 12.0", "32 the most"):
        assert part in text
    for part in (
        "123,456 of 500,000 requests a minute",
        "123,456,789 of 200,000,000 tokens a minute",
        "quiet: held for 3 s",
        "held for 12 s",
        "1,900,000 of 2,000,000 tokens, 2,500 reserved",
    ):
        assert part in text
    assert "and 2 more budgets" in text
    assert "one/1 ready" not in text
    assert "free" not in text
    quiet = shown(render_view(parse_view({"backends": {"quiet": {"standing": "up"}}})))
    assert not any(word in quiet for word in ("batches", "quota", "budget", "models"))


def test_an_empty_gateway_says_what_to_do() -> None:
    assert "model.enabled" in shown(render_view(parse_view({})))


def test_a_state_that_is_something_else() -> None:
    with pytest.raises(Unavailable, match="backends"):
        parse_view({"backends": [1]})


async def test_the_state_of_the_real_owner_is_understood() -> None:
    plan = GatewayPlan({Id("one"): BackendConfig(kind="scripted", slots=3)}, {})
    async with open_owner(plan, GatewayConfig(), {"one": ()}, ManualClock()) as owner:
        state = await owner.state()
        batches = sizes_state(Counter({32: 2, 1: 1}))
        view = parse_view({**state, "batches": batches, "preparing": Preparation(ManualClock()).state()})
    assert view.batches.largest == 32
    assert view.backends["one"].standing


def test_why_is_said_in_lines() -> None:
    text = shown(
        render_why({"request_id": "r7", "waits_for": "slot", "since": 1.25, "replica": "", "retry_after": None})
    )
    assert "waits for" in text
    assert "1.25" in text
    assert "replica" not in text
