"""Rates, budgets and quotas of one request: what is taken before it waits, and given back when it is over. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from colony.errors import BudgetSpent, Cancelled, ColonyError, DeadlineExceeded, Overloaded, TruncatedAnswer, by_name
from ray_app.gateway.budgets import Budgets
from ray_app.gateway.contracts import Ended, Target, Ticket
from ray_app.gateway.governor import Governor
from ray_app.gateway.limits import AgentRates

SETTLES: Final = 2.0
"""Seconds after which a job, whose budget is reserved to the end but not spent, may find room again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The three limits."""

    rates: AgentRates
    governor: Governor
    budgets: Budgets

    def take_rate(self, ticket: Ticket, now: float) -> None:
        """Count a request of the caller. Raises `Overloaded` when it asks too often.

        A request that comes again, because a replica failed it or it did not fit, does not count a second time.
        """
        if not (ticket.avoid or ticket.again):
            wait = self.rates.take(ticket.caller.name, now)
            if wait > 0:
                raise Overloaded(f"{ticket.caller.name} asks more often than it may.", retry_after=wait)

    def reserve(self, ticket: Ticket) -> tuple[Target, ...]:
        """Reserve the budget; returns where the request may go. Raises `Overloaded` or `BudgetSpent`."""
        verdict = self.budgets.reserve(ticket.caller.job, ticket.tokens)
        if not verdict.allowed:
            if verdict.later:
                raise Overloaded(
                    "What is left of the job's tokens is reserved by its other requests.", retry_after=SETTLES
                )
            raise BudgetSpent(
                "The job has used up its tokens.",
                remedy="Give it more: `llm_tokens` in its input, or gateway.limits.job_tokens.",
            )
        if not verdict.degrade:
            return ticket.targets
        if not ticket.cheaper:
            self.budgets.settle(ticket.caller.job, ticket.tokens, 0)
            raise BudgetSpent("The job has used up its tokens, and no cheaper model does what it asks.")
        return ticket.cheaper

    def give_back(self, ticket: Ticket) -> None:
        """A request that was admitted is over without a call."""
        self.budgets.settle(ticket.caller.job, ticket.tokens, 0)

    def settle(self, ticket: Ticket, backend: str, ended: Ended, now: float) -> None:
        """A call is over."""
        used = used_tokens(ticket.tokens, ended)
        self.governor.settle(backend, ticket.tokens, used, now)
        self.budgets.settle(ticket.caller.job, ticket.tokens, used)


def used_tokens(reserved: int, ended: Ended) -> int:
    """What a call used: what was counted; else all that was reserved, unless the backend refused or never had it."""
    counted = ended.prompt_tokens + ended.completion_tokens
    if counted or ended.outcome in ("ok", "cancelled"):
        return counted or reserved
    error: type[ColonyError] = by_name(ended.outcome)
    return reserved if issubclass(error, DeadlineExceeded | TruncatedAnswer | Cancelled) else 0
