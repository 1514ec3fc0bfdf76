"""The headers by which a caller tells the gateway who asks, for what, and until when. Pure."""

from __future__ import annotations

from typing import Final

from colony.llm.embedding import EmbedRequest
from colony.llm.port import ChatRequest

AGENT: Final = "X-Colony-Agent"
AGENT_TYPE: Final = "X-Colony-Agent-Type"
JOB: Final = "X-Colony-Job"
PRIORITY: Final = "X-Colony-Priority"
TIER: Final = "X-Colony-Tier"
DEADLINE: Final = "X-Colony-Deadline"
CACHE: Final = "X-Colony-Cache"
BACKEND: Final = "X-Colony-Backend"
"""In answers; so is the one before, which says there where the answer came from."""
REQUEST_ID: Final = "X-Colony-Request-Id"
TRACE: Final = "traceparent"


def gateway_headers(request: ChatRequest | EmbedRequest, seconds: float) -> dict[str, str]:
    """Headers of one call that is given up after `seconds`; what is not known is left out."""
    caller = request.caller
    found = {
        AGENT: caller.agent,
        AGENT_TYPE: caller.agent_type,
        JOB: caller.job,
        TRACE: caller.trace,
        # A model named by the caller needs no tier.
        TIER: "" if request.model else request.tier,
        PRIORITY: str(request.priority),
        DEADLINE: f"{max(seconds, 0.001):.3f}",
        CACHE: request.cache,
    }
    return {name: value for name, value in found.items() if value}
