"""The gateway's state as it tells it over HTTP, for those who show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from colony.errors import Unavailable


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class BreakerState(_Part):
    """One breaker."""

    state: str = "closed"
    failures: int = 0
    opens_in: float = 0.0
    open_for: float = 0.0
    """Seconds since it was closed; 0 where it is, or where the gateway does not say."""


class ReplicaState(_Part):
    """One model server."""

    health: str = ""
    problem: str = ""
    draining: bool = False
    in_flight: int = 0
    taken: int | None = None
    """Slots its calls take; fewer than the calls where several go out as one."""
    slots: int = 0
    others: int = 0
    calls: int = 0
    paused: float = 0.0
    mean_batch: float = 0.0


class BackendState(_Part):
    """One backend: its queue, breakers and replicas."""

    standing: str = ""
    waiting: int = 0
    length: int = 0
    oldest_seconds: float = 0.0
    by_priority: dict[int, int] = Field(default_factory=dict[int, int])
    """Requests that wait, by the class they are in now."""
    paced_seconds: float = 0.0
    in_flight: int = 0
    replicas: dict[str, ReplicaState] = Field(default_factory=dict[str, ReplicaState])
    breakers: dict[str, BreakerState] = Field(default_factory=dict[str, BreakerState])


class QuotaState(_Part):
    """What is used of the quota of a backend in the last minute; None for no quota."""

    requests_per_minute: int | None = None
    requests: int = 0
    tokens_per_minute: int | None = None
    tokens: int = 0
    tokens_reserved: int = 0
    held_seconds: float = 0.0
    """Its provider said that it is asked too often: nothing goes there for so long."""


class BudgetUse(_Part):
    """Tokens of one job and all it started."""

    used: int = 0
    reserved: int = 0
    budget: int | None = None
    """None where only the jobs above it have one."""
    parent: str = ""
    """Key of the job that started it."""


class BudgetsState(_Part):
    """Budgets of the jobs that asked last."""

    recent: dict[str, BudgetUse] = Field(default_factory=dict[str, BudgetUse])
    """By the key of the job."""


class CacheState(_Part):
    """Answers kept."""

    entries: int = 0
    bytes: int = 0
    max_bytes: int = 0
    hits: int = 0
    misses: int = 0
    shared: int = 0
    hit_rate: float = 0.0


class UsageState(_Part):
    """Sums since the start; rates are of the last minute."""

    requests: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tokens_per_second: float = 0.0
    requests_per_second: float = 0.0


class BatchesState(_Part):
    """Calls of backends that may carry several requests, of the replica of the gateway that answers."""

    batches: int = 0
    calls: int = 0
    mean: float = 0.0
    largest: int = 0


class Preparing(_Part):
    """A model that is pulled or loaded."""

    replica: str = ""
    model: str = ""
    doing: str = ""
    share: float = 0.0
    error: str = ""


class LlmView(_Part):
    """What `colony llm` shows; fields it does not know are left out."""

    backends: dict[str, BackendState] = Field(default_factory=dict[str, BackendState])
    cache: CacheState = CacheState()
    usage: UsageState = UsageState()
    quotas: dict[str, QuotaState] = Field(default_factory=dict[str, QuotaState])
    budgets: BudgetsState = BudgetsState()
    batches: BatchesState = BatchesState()
    preparing: tuple[Preparing, ...] = ()
    waiting: int = 0
    in_flight: int = 0


def parse_view(state: Mapping[str, Any]) -> LlmView:
    """The state as the gateway tells it. Raises `Unavailable` when it is something else."""
    try:
        return LlmView.model_validate(state)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Unavailable(f"The gateway tells its state in a way not understood here (at {where}).") from None
