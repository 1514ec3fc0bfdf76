"""The `gateway` section of `agent_config.yaml`: backends, tiers, limits, cache, queue. Pure data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from colony.config.section import Section
from colony.ids import Id

Tier = Literal["fast", "standard", "complex"]
"""How much a question is worth; configuration says which model that is."""

BackendKind = Literal["embedded", "llama_cpp", "ollama", "vllm", "openai", "scripted"]
"""What speaks at the other end of a backend."""


class BackendConfig(Section):
    """One backend: a model server, or several alike."""

    kind: BackendKind
    urls: tuple[str, ...] = ()
    """Base URLs, one for each replica, ending before `/v1` or `/api`; empty for `embedded` and `scripted`.

    Empty for `ollama` too, where `colony up` is to start one."""
    key_file: str = ""
    """File that holds the API key; empty for none."""
    models: tuple[str, ...] = ()
    """Models to use; empty for what the server says it serves. Ollama is asked to pull those it lacks."""
    slots: int = Field(default=4, ge=1, le=4096)
    """Answers one replica works on at once."""
    context: int = Field(default=2048, ge=64)
    """Tokens of prompt and answer together, where the server does not say; what Ollama is asked for."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Quota of the provider for the whole cluster; None for none."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Quota of the provider in tokens, prompt and answer; None for none."""
    quota: str = Field(default="", max_length=64)
    """Name of the account the quota belongs to: backends that name the same one share it, and say the same numbers.
    Empty for a quota of its own."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds one call may take."""
    silence: float = Field(default=30.0, gt=0)
    """Seconds a call may go without a byte before the backend counts as hanging."""
    preload: bool = True
    """Whether models are loaded (and pulled) at start, so that the first caller does not wait."""

    @model_validator(mode="after")
    def _urls_fit(self) -> BackendConfig:
        if self.kind in ("embedded", "scripted"):
            if self.urls:
                raise ValueError(f"a backend of kind {self.kind!r} takes no urls")
        elif not self.urls and self.kind != "ollama":
            raise ValueError(f"a backend of kind {self.kind!r} needs urls")
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"{url[:80]!r} is no http URL")
        return self


class TierTarget(Section):
    """One choice of a tier."""

    backend: Id
    model: str = ""
    """Empty for the first model of the backend."""


class LimitsConfig(Section):
    """What one caller may do."""

    requests_per_second: float = Field(default=10.0, gt=0)
    """Rate of one agent; answers from the cache do not count."""
    burst: int = Field(default=20, ge=1)
    """Requests one agent may send at once after a pause."""
    job_tokens: int | None = Field(default=None, ge=1)
    """Tokens a job and all it starts may use; None for no end."""
    on_budget: Literal["stop", "degrade"] = "stop"
    """What happens at the end of the budget: refuse, or go on with the cheapest tier."""


class CacheConfig(Section):
    """Answers kept for equal requests. Only deterministic requests are cached, or those that ask for it."""

    max_mb: int | None = Field(default=None, ge=0, le=100_000)
    """Memory for answers in one replica of the gateway; 0 switches the cache off. None for a sixteenth of the size of
    `/dev/shm`, at least 8 and at most 64."""
    max_entry_kb: int = Field(default=256, ge=1)
    """Larger answers are not kept."""
    max_age: float = Field(default=3600.0, gt=0)
    """Seconds an answer is good for."""
    persist: bool = False
    """Whether answers are also kept in the ledger, to survive a restart."""


class QueueConfig(Section):
    """Requests that wait for a slot."""

    length: int = Field(default=1000, ge=1)
    """Most requests waiting for one backend; beyond it they are refused at once."""
    ageing: float = Field(default=10.0, gt=0)
    """Seconds of waiting that lift a request by one priority."""


class BreakerConfig(Section):
    """The circuit breaker of each backend and model."""

    failures: int = Field(default=5, ge=1)
    """Failures in a row that open it. Time-outs and 5xx count; refusals and hang-ups do not."""
    open_seconds: float = Field(default=15.0, gt=0)
    """Time until it lets a probe through."""
    probes: int = Field(default=1, ge=1, le=3)
    """Requests it lets through at once while half open."""


class BatchConfig(Section):
    """Batches where the backend takes true ones: embeddings, classification and lists of prompts."""

    size: int = Field(default=32, ge=1, le=256)
    """Most inputs of one batch. So many inputs that go out together take one slot; a call of so many goes alone."""
    wait: float = Field(default=0.02, ge=0, le=1)
    """Longest wait for others, in seconds. A call beside which none like it is under way does not wait."""


class ReplicasConfig(Section):
    """Processes of the gateway itself. With more than one, a process of its own holds queue, breakers and limits."""

    least: int = Field(default=1, ge=1, le=256)
    most: int = Field(default=1, ge=1, le=256)
    in_flight: int = Field(default=256, ge=1)
    """Requests under way in one replica, those that wait included, that call for another one."""
    busy_seconds: float = Field(default=5.0, ge=0)
    """Seconds of more than that until another replica is started."""
    calm_seconds: float = Field(default=120.0, ge=0)
    """Seconds of less until one is stopped; what it has under way goes on to its end."""

    @model_validator(mode="after")
    def _ordered(self) -> ReplicasConfig:
        if self.most < self.least:
            raise ValueError("most is below least")
        return self


class PoolModel(Section):
    """One model of the embedded backend."""

    file: str = ""
    """GGUF file, below the folder of the stack unless absolute; empty for the weights of the installed package."""
    slots: int = Field(default=4, ge=1, le=256)
    """Answers it works on at once."""
    context: int = Field(default=2048, ge=256, le=10_000_000)
    """Tokens of context for one answer."""
    embeddings: bool = False
    """Made for embeddings: inputs may be as long as its context. Chat models embed too, up to 512 tokens an input."""
    critical: bool = False
    """Loaded at start and never unloaded."""


class PoolConfig(Section):
    """Models of the embedded backend: loaded once a machine, on demand."""

    models: dict[str, PoolModel] = Field(default_factory=dict[str, PoolModel])
    """Name -> model, each in a process of its own; empty for the one installed model, which needs none."""
    idle_seconds: float = Field(default=900.0, gt=0)
    """A model that is not critical is unloaded after this time without a call."""
    load_seconds: float = Field(default=120.0, gt=0)
    """Longest time loading one model may take."""
    max_mb: int = Field(default=0, ge=0)
    """Memory for all models; 0 for what the machine has left."""
    reserve_mb: int = Field(default=512, ge=0)
    """Memory that stays free: a model that would need it is refused."""


class GatewayConfig(Section):
    """The front of all models."""

    front: Literal["haproxy", "proxy"] = "haproxy"
    """Ray Serve's front: HAProxy (fast), or Serve's own proxy in Python."""
    replicas: ReplicasConfig = ReplicasConfig()
    limits: LimitsConfig = LimitsConfig()
    cache: CacheConfig = CacheConfig()
    queue: QueueConfig = QueueConfig()
    breaker: BreakerConfig = BreakerConfig()
    batch: BatchConfig = BatchConfig()
    pool: PoolConfig = PoolConfig()
    max_body_mb: int = Field(default=8, ge=1, le=512)
    """Largest request body."""
    backends: dict[Id, BackendConfig] = Field(default_factory=dict[Id, BackendConfig])
    """Empty: one backend made of the section `model`."""
    tiers: dict[Tier, tuple[TierTarget, ...]] = Field(default_factory=dict[Tier, tuple[TierTarget, ...]])
    """Tier -> choices, the first that works wins; a tier left out uses every backend in its order."""

    @model_validator(mode="after")
    def _quotas_agree(self) -> GatewayConfig:
        said: dict[str, tuple[int | None, int | None]] = {}
        for name, backend in self.backends.items():
            numbers = (backend.requests_per_minute, backend.tokens_per_minute)
            if backend.quota and said.setdefault(backend.quota, numbers) != numbers:
                raise ValueError(
                    f"backend {name!r} and another one say different numbers for the quota {backend.quota!r}"
                )
        return self

    @model_validator(mode="after")
    def _targets_known(self) -> GatewayConfig:
        for tier, targets in self.tiers.items():
            for target in targets:
                if self.backends and target.backend not in self.backends:
                    raise ValueError(f"tier {tier!r} names the backend {target.backend!r}, which is not configured")
        return self
