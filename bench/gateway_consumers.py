"""Many consumers on one small model for a long time: honest refusals only, fair shares, flat memory."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from bench.gateway_chat import PATH, Server, chat, headers_of, story, tokens_of
from bench.http_load import open_connection
from control.session import endpoints_here
from control.stack.paths import StackPaths
from control.stack.status import stack_status

CONSUMERS: Final = 174
HONEST: Final = (429, 503)
"""Refusals that say when to come back."""

SAMPLE_SECONDS: Final = 20.0


class _Tally:
    """What the consumers met."""

    def __init__(self) -> None:
        self.answers = [0] * CONSUMERS
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.dishonest = 0
        self.tokens = 0


async def consume(console: Console, server: Server, seconds: float) -> dict[str, Any]:
    """All consumers ask without a pause for `seconds`; short answers. Memory of the gateway is sampled meanwhile."""
    tally, memory = _Tally(), [await asyncio.to_thread(_gateway_megabytes)]
    end = time.monotonic() + seconds
    consumers = asyncio.gather(*(_consumer(server, number, end, tally) for number in range(CONSUMERS)))
    while not consumers.done():
        await asyncio.wait({consumers}, timeout=SAMPLE_SECONDS)
        memory.append(await asyncio.to_thread(_gateway_megabytes))
        console.print(f"  {sum(tally.answers):,} answers, gateway {memory[-1]:,.0f} MB", highlight=False)
    await consumers
    mean = sum(tally.answers) / CONSUMERS
    return {
        "consumers": CONSUMERS,
        "seconds": seconds,
        "answers": sum(tally.answers),
        "tokens_per_second": round(tally.tokens / seconds, 1),
        "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
        "errors": dict(tally.errors.most_common(5)),
        "refusals_without_retry_after": tally.dishonest,
        "slowest_to_mean": round(min(tally.answers) / mean, 3) if mean else 0.0,
        "gateway_pss_mb": {"first": memory[0], "median": sorted(memory)[len(memory) // 2], "last": memory[-1]},
    }


def megabytes() -> tuple[float, float]:
    """PSS of the processes of the gateway, and of the whole stack without the model's own server.

    What a model takes is up to its weights, slots and context; the bound for the stack is without one.
    """
    services = stack_status(StackPaths(Path(endpoints_here().home)))["services"]
    each = {name: float(row.get("pss_mb") or 0.0) for name, row in services.items()}
    return each.get("gateway", 0.0), round(sum(size for name, size in each.items() if name != "model"), 1)


def _gateway_megabytes() -> float:
    return megabytes()[0]


async def _consumer(server: Server, number: int, end: float, tally: _Tally) -> None:
    async with open_connection(server.url, server.key) as connection:
        while time.monotonic() < end:
            reply = await connection.post(PATH, chat(server.model, story(), tokens=8), headers_of(number))
            tally.statuses[reply.status] += 1
            if reply.status in HONEST:
                wait = reply.headers.get("retry-after", "")
                tally.dishonest += not wait
                await asyncio.sleep(min(float(wait or 1.0), max(0.0, end - time.monotonic())))
                continue
            if reply.status != 200:
                tally.errors[reply.body[:200].decode(errors="replace")] += 1
                continue
            tally.tokens += tokens_of(reply, stream=False)
            tally.answers[number] += 1
