"""The schema of `agent_config.yaml`: defaults are the values of a small machine. Pure data."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, Literal

from pydantic import Field, model_validator

from colony.config.api import ApiConfig
from colony.config.gateway import GatewayConfig
from colony.config.ledger import LedgerConfig
from colony.config.memory import MemoryConfig
from colony.config.section import Section
from colony.config.telemetry import TelemetryConfig
from colony.config.templates import TemplateConfig
from colony.config.temporal import TemporalConfig
from colony.ids import SHARDS, AgentType, Id


class AgentTypeConfig(Section):
    """One agent type."""

    count: int = Field(default=0, ge=0, le=1_000_000)
    """Agents of this type when `deploy_agents.py` is run without counts; the share of a `--count`."""
    implementation: str = ""
    """Dotted path of the class, `package.module:Class`; empty for the built-in type of that name."""
    version: int = Field(default=1, ge=1)
    """Version of the specification; raising it re-creates the agents."""
    tier: Literal["fast", "standard", "complex"] = "fast"
    """Model tier of `ctx.llm` unless a call or the step says otherwise."""
    concurrency: int = Field(default=1, ge=1, le=1000)
    """Tasks one agent handles at a time."""
    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Handed to agents of this type with each task."""


class FleetConfig(Section):
    """Hosts and the agents on them."""

    hosts: int = Field(default=2, ge=1, le=4096)
    """Host processes; one per core and machine in production."""
    shards: int = Field(default=SHARDS, ge=1)
    """Fixed for the life of a ledger; kept here so that a difference is seen."""
    lease_seconds: float = Field(default=10.0, gt=1)
    """Life of a host's lease; renewed every 3 s."""
    host_memory_mb: int = Field(default=1500, ge=100)
    """A host refuses work above this many megabytes of its own memory."""
    queue_length: int = Field(default=10_000, ge=1)
    """Most tasks and messages waiting in one host."""
    task_concurrency: int = Field(default=64, ge=1, le=10_000)
    """Most tasks one host runs at the same moment."""
    types: dict[AgentType, AgentTypeConfig] = Field(default_factory=dict[AgentType, AgentTypeConfig])
    """The agent types."""
    packages: tuple[str, ...] = ("agents",)
    """Packages that `implementation` may name; anything else is refused."""


class ModelConfig(Section):
    """The language model of the agents."""

    enabled: bool = False
    """Whether agents get a model at all. Without it every skill takes its way that needs none."""
    url: str = ""
    """Base URL of an OpenAI-compatible server (Ollama, vLLM, a hosted one); empty for the embedded one."""
    key_file: str = ""
    """File that holds the API key; empty for none."""
    names: dict[Literal["fast", "standard", "complex"], str] = Field(
        default_factory=dict[Literal["fast", "standard", "complex"], str]
    )
    """Model by tier; empty for the server's first."""
    slots: int = Field(default=4, ge=1, le=256)
    """Answers the embedded model works on at once."""
    context: int = Field(default=2048, ge=256)
    """Tokens of context for one answer of the embedded model."""
    timeout: float = Field(default=60.0, gt=0)
    """Seconds one call may take."""


class FetchConfig(Section):
    """The guarded fetcher."""

    allow_private: tuple[str, ...] = ()
    """Hosts (`name:port`) in loopback or private ranges that agents may reach."""
    max_bytes: int = Field(default=5_000_000, ge=1)
    """Most bytes of one answer."""
    timeout: float = Field(default=10.0, gt=0)
    """Seconds one request may take in all."""


class ServersConfig(Section):
    """Addresses of servers you run yourself; empty for those that `colony up` starts."""

    postgres: str = ""
    """`host:port/database`."""
    postgres_user: str = "colony"
    postgres_password_file: str = ""
    temporal: str = ""
    """`host:port`."""
    temporal_namespace: str = "default"
    nats: str = ""
    """`nats://host:port`."""
    nats_credentials_folder: str = ""
    """Folder with the passwords of the NATS users (`nats-host`, `nats-dispatcher`, ...), a file each."""
    consul: str = ""
    """`http://host:port`."""
    consul_token_file: str = ""
    ray: str = ""
    """`host:port` of a running head."""
    ray_token_file: str = ""
    ports: dict[str, int] = Field(default_factory=dict[str, int])
    """Service -> port, where a free one should not be chosen."""


class Config(Section):
    """The whole of `agent_config.yaml`."""

    profile: Literal["embedded", "full"] = "embedded"
    """`full` demands Temporal on Postgres and real Consul; `embedded` takes the best that is there."""
    data_roots: tuple[str, ...] = ()
    """Folders that job sources may be read from; empty for the folder `colony up` was run in."""
    fleet: FleetConfig = FleetConfig()
    model: ModelConfig = ModelConfig()
    gateway: GatewayConfig = GatewayConfig()
    api: ApiConfig = ApiConfig()
    fetch: FetchConfig = FetchConfig()
    ledger: LedgerConfig = LedgerConfig()
    memory: MemoryConfig = MemoryConfig()
    temporal: TemporalConfig = TemporalConfig()
    servers: ServersConfig = ServersConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    workflow_classes: tuple[str, ...] = ()
    """Workflows written as code, `package.module:Class`, from the packages in `fleet.packages`."""
    workflows: dict[Id, TemplateConfig] = Field(default_factory=dict[Id, TemplateConfig])

    @model_validator(mode="after")
    def _shards_fixed(self) -> Config:
        if self.fleet.shards != SHARDS:
            raise ValueError(f"fleet.shards is {self.fleet.shards}, but the ledger counts {SHARDS}")
        if self.memory.model and (
            self.memory.embedder == "hashing" or not (self.model.enabled or self.gateway.backends)
        ):
            raise ValueError(
                "memory.model names a model that nobody asks: model.enabled is off, or embedder is hashing"
            )
        for root in self.data_roots:
            if not PurePath(root).parts:
                raise ValueError("data_roots has an empty entry")
        return self
