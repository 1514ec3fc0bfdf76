"""Where the servers of a stack are: written by the supervisor, read by every process.

Holds no secret, only paths of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from colony.contracts import Frozen
from colony.errors import BadInput, NotFound

HOME_VARIABLE: Final = "COLONY_HOME"
"""Environment variable with the data directory of the stack; every process of a stack has it set."""

DEFAULT_HOME: Final = ".colony"


class PostgresEndpoint(Frozen):
    """The ledger's database."""

    host: str
    port: int
    database: str = "colony"
    user: str = "colony"
    password_file: str


class TemporalEndpoint(Frozen):
    """The workflow engine."""

    address: str
    namespace: str = "default"
    ui: str = ""
    own: bool = False
    """Whether it was started with this stack: no other worker than this stack's takes part."""
    codec_key_file: str = ""
    """File with the keys that encrypt what it keeps; empty for none."""


class NatsEndpoint(Frozen):
    """The bus. The password of role R is in `<credentials>/nats-R`; the user's name is R."""

    url: str
    credentials: str
    monitoring: str = ""


class RegistryEndpoint(Frozen):
    """Who is alive: `consul` (address and token files `<credentials>/consul-R`) or `nats-kv` (uses the bus)."""

    kind: str
    address: str = ""
    credentials: str = ""


class RayEndpoint(Frozen):
    """Where the hosts live."""

    address: str
    dashboard: str = ""
    token_file: str = ""


class ModelEndpoint(Frozen):
    """An OpenAI-compatible server; `url` ends before `/v1`."""

    url: str
    key_file: str = ""


class GatewayEndpoint(Frozen):
    """The front of all models; speaks OpenAI's and Ollama's APIs. `url` ends before `/v1`."""

    url: str
    key_file: str
    host: str = "127.0.0.1"
    """Address that Ray Serve listens on."""
    proxy: int = 8000
    """Port of Ray Serve's own proxy: that of `url`, or another one where the stack's HAProxy stands in front."""


class ApiEndpoint(Frozen):
    """The HTTP API; `url` ends before `/v1`."""

    url: str
    key_file: str
    host: str = "127.0.0.1"
    """Address it listens on."""


class Endpoints(Frozen):
    """All addresses of one stack."""

    home: str
    """Data directory, absolute."""
    folder: str
    """Folder `colony up` was run in, absolute: the default data root."""
    config_file: str = ""
    """`agent_config.yaml` in use, absolute; empty for defaults."""
    profile: str = "embedded"
    postgres: PostgresEndpoint
    temporal: TemporalEndpoint
    nats: NatsEndpoint
    registry: RegistryEndpoint
    ray: RayEndpoint
    model: ModelEndpoint | None = None
    """The embedded model, or the server configured in its place: what the gateway fronts."""
    ollama: str = ""
    """URL of the stack's own Ollama; empty for none."""
    gateway: GatewayEndpoint | None = None
    api: ApiEndpoint | None = None

    @property
    def file(self) -> Path:
        """Where this is kept."""
        return Path(self.home) / "endpoints.json"


def home_from_environment() -> Path:
    """The data directory: `COLONY_HOME`, or `.colony` below the working directory. Absolute, symlinks resolved."""
    return Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME).resolve()


def read_endpoints(home: Path) -> Endpoints:
    """What the supervisor wrote. Raises `NotFound` when no stack was started there, `BadInput` when it is damaged."""
    path = home / "endpoints.json"
    try:
        return Endpoints.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise NotFound(
            f"No stack was started in {home}.", remedy="Run `colony up` first, or set COLONY_HOME."
        ) from None
    except ValidationError as error:
        raise BadInput(
            f"{path} is damaged: {error.errors()[0]['msg']}.", remedy="Run `colony down`, then `colony up`."
        ) from error


def read_secret(path: str | Path) -> str:
    """The one line of a credential file. Raises `NotFound`, or `BadInput` when it is empty."""
    try:
        value = Path(path).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise NotFound(
            f"The credential file {path} is missing.", remedy="Run `colony down`, then `colony up`."
        ) from None
    if not value:
        raise BadInput(f"The credential file {path} is empty.")
    return value
