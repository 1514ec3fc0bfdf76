"""How requests ended, counted, and why the last ones were refused. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any, Final

from colony.errors import ColonyError, DeadlineExceeded, Overloaded
from ray_app.gateway.contracts import Ticket
from ray_app.gateway.lane import Request

REMEMBERED: Final = 512
"""Refused requests whose reason is kept."""


class Refusals:
    """Keeps counts for ever and reasons for a while."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """Outcome of calls, or `refused_` and what was in the way -> how often."""
        self._last: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def note(self, ticket: Ticket, reason: str, error: ColonyError) -> None:
        """A request was refused; `reason` is what was in the way, in a word."""
        self.counts[f"refused_{reason}"] += 1
        self._last[ticket.request_id] = {
            "request_id": ticket.request_id,
            "agent": ticket.caller.name,
            "priority": ticket.priority,
            "state": "refused",
            "waits_for": reason,
            "error": type(error).__name__,
            "freed_by": str(error),
            "retry_after": error.retry_after if isinstance(error, Overloaded) else None,
        }
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)

    def why(self, request_id: str) -> dict[str, Any] | None:
        """What was in the way of a request; None when it is forgotten, or was never refused."""
        return self._last.get(request_id)


def late(request: Request) -> DeadlineExceeded:
    """Its time was up before its turn came."""
    return DeadlineExceeded(
        f"No slot was free within {request.ticket.seconds:g} s.", remedy="See `colony llm`, or give it more time."
    )
