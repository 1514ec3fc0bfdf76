"""Everything that decides how the services of one stack are run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from colony.config.model import Config
from control.stack.paths import StackPaths, python_path
from control.stack.providers import Provider

LOOPBACK: Final = "127.0.0.1"

_KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""All that servers get of our environment: variables such as CONSUL_HTTP_TOKEN would change what they do."""

_CLIENTS: Final = (
    "RAY_ADDRESS",
    "RAY_API_SERVER_ADDRESS",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN_PATH",
    "CONSUL_HTTP_ADDR",
    "CONSUL_HTTP_TOKEN",
    "CONSUL_HTTP_TOKEN_FILE",
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY_FILE",
    "COLONY_API_URL",
    "COLONY_API_KEY_FILE",
)
"""What a shell may hold for clients, of this stack (`colony env`) or of another: none of it reaches our processes."""


@dataclass(frozen=True)
class StackContext:
    """One stack, decided."""

    paths: StackPaths
    config: Config
    config_file: str
    folder: Path
    """Where `colony up` was run."""
    profile: str
    ports: Mapping[str, int]
    providers: Mapping[str, Provider]

    def address(self, port: str) -> str:
        """`127.0.0.1:port` of a named port."""
        return f"{LOOPBACK}:{self.ports[port]}"

    def secret(self, name: str) -> Path:
        """File of a credential."""
        return self.paths.secrets / name

    def server_environment(self, **more: str) -> dict[str, str]:
        """The environment of a server that is not ours."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {**kept, **more}

    def process_environment(self, **more: str) -> dict[str, str]:
        """The environment of a process of ours, Ray's workers among them."""
        inherited = {name: value for name, value in os.environ.items() if name not in _CLIENTS}
        if inherited.pop("PYTHONDONTWRITEBYTECODE", ""):
            # Compiling Ray anew costs each process two seconds: keep what is compiled, but only in our own folder.
            inherited["PYTHONPYCACHEPREFIX"] = str(self.paths.run / "bytecode")
        return {
            **inherited,
            "COLONY_HOME": str(self.paths.home),
            "PYTHONPATH": python_path(self.config_file),
            "PYTHONUNBUFFERED": "1",
            **more,
        }
