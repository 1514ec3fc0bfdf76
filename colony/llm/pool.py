"""What the model pool and those who use it say to each other, over HTTP. Pure data.

`GET /pool` -> `PoolState`; `POST /pool/<model>/load` with a `Lease` -> `PoolModelState` once it is loaded;
`POST /pool/<model>/touch` with a `Lease` -> `PoolModelState`, never loading; errors -> `PoolFault` in `error`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from colony.contracts import Frozen


class Lease(Frozen):
    """Somebody calls the model: it is not unloaded until the lease is over."""

    holder: str = Field(min_length=1, max_length=200)
    """Who; a new lease of the same holder takes the place of the old one."""
    seconds: float = Field(ge=0, le=600)
    """How long; 0 gives it back."""


class PoolModelState(Frozen):
    """One model of the pool."""

    name: str
    state: Literal["loaded", "loading", "unloaded", "failed"]
    url: str = ""
    """Of its own server, ending before `/v1`; empty unless it is loaded."""
    context: int
    """Tokens of prompt and answer together."""
    slots: int
    embeddings: bool
    """Whether it embeds instead of chatting."""
    embeds: int = 0
    """Tokens of one input it can embed besides chatting."""
    critical: bool
    weights_mb: float = 0.0
    """Its file, mapped: models of one file share it."""
    private_mb: float = 0.0
    """What it takes for itself, at most."""
    pss_mb: float | None = None
    """Measured: its share of all memory it maps; None unless it is loaded."""
    idle: float | None = None
    """Seconds since it was last used; None unless it is loaded."""
    leases: int = 0
    """How many hold it now."""
    load_seconds: float | None = None
    error: str = ""
    """Why it could not be loaded the last time, or how it ended."""


class PoolState(Frozen):
    """The whole pool."""

    models: tuple[PoolModelState, ...]
    available_mb: float
    """Memory left on the machine, or in its control group."""
    reserve_mb: float
    """Memory that stays free."""


class PoolFault(Frozen):
    """Why the pool refuses: an error of `colony.errors` by name."""

    type: str
    code: int
    message: str
    remedy: str = ""
    retry_after: float | None = None
