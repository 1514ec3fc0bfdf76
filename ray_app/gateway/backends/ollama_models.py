"""The models of one Ollama server: which it has, what they can do, pulling and loading them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

import structlog

from colony.config.gateway import BackendConfig
from colony.errors import NotFound, Unavailable
from ray_app.gateway.backends.control_tokens import ControlTokens, tokens_in_template
from ray_app.gateway.backends.ollama_prompt import obeys_truncate
from ray_app.gateway.backends.ollama_translate import Native
from ray_app.gateway.backends.ollama_wire import OllamaWire, Progress, PullShare
from ray_app.gateway.contracts import ServedModel

_log = structlog.get_logger(__name__)

ASK_SECONDS: Final = 10.0
"""For lists and descriptions."""

LOAD_SECONDS: Final = 600.0
PULL_SECONDS: Final = 6 * 3600.0
PULL_SILENCE: Final = 600.0
"""Ollama says nothing while it checks the digest of a large file."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server says of a model."""

    context: int
    """Tokens of prompt and answer together, as asked for in every call: another number would load the model again."""
    embeddings: bool
    digest: str = ""
    tokens: ControlTokens = field(default_factory=ControlTokens, compare=False)
    """Of the model's template."""


class OllamaModels:
    """Knows the models; remembers what it was told until the digest changes or `forget`."""

    def __init__(self, name: str, wire: OllamaWire, config: BackendConfig) -> None:
        self._name = name
        self._wire = wire
        self._config = config
        self._facts: dict[str, Facts] = {}
        self._obeys: bool | None = None

    async def served(self) -> tuple[ServedModel, ...]:
        """Those configured, as far as the server has them; all when none is."""
        self._obeys = await self._asked_version()
        there = await self._there()
        found: list[ServedModel] = []
        for name in self._config.models or there:
            digest = there.get(full_name(name))
            if digest is not None:
                facts = await self.facts(name, digest)
                found.append(ServedModel(name=name, context=facts.context, embeddings=facts.embeddings))
        return tuple(found)

    async def facts(self, model: str, digest: str = "") -> Facts:
        """What the server says of a model. Raises `NotFound`."""
        known = self._facts.get(full_name(model))
        if known is not None and (not digest or known.digest in ("", digest)):
            if digest:
                known = self._facts[full_name(model)] = replace(known, digest=digest)
            return known
        shown = await self._wire.json("POST", "/api/show", {"model": model}, seconds=ASK_SECONDS)
        if not isinstance(shown, dict):
            raise Unavailable("Ollama answered with something that describes no model.")
        facts = facts_of(cast("Native", shown), self._config.context, digest)
        self._facts[full_name(model)] = facts
        return facts

    def forget(self, model: str) -> None:
        """It is gone, or may be another one now."""
        self._facts.pop(full_name(model), None)

    async def obeys(self) -> bool:
        """Whether the server refuses a prompt that is too long, instead of cutting it."""
        if self._obeys is None:
            self._obeys = await self._asked_version()
        return self._obeys

    async def prepare(self, model: str, progress: Progress) -> None:
        """Pull the model if the configuration names it and it is missing, then load it. Raises `NotFound`."""
        if full_name(model) not in await self._there():
            await self._pull(model, progress)
        progress("loading", 0.0)
        facts = await self.facts(model)
        # Without a prompt, or an input, Ollama only loads.
        path, nothing = ("/api/embed", {"input": list[str]()}) if facts.embeddings else ("/api/generate", {})
        native: Native = {"model": model, "stream": False, **nothing, **self.always()}
        await self._wire.json("POST", path, {**native, "options": {"num_ctx": facts.context}}, seconds=LOAD_SECONDS)
        await self._note_loaded_context(model, facts)
        progress("ready", 1.0)

    def always(self) -> Native:
        """What every call says: never cut, and how long the model stays loaded."""
        keep: Native = {"keep_alive": -1} if self._config.preload else {}
        return {"truncate": False, "shift": False, **keep}

    async def _pull(self, model: str, progress: Progress) -> None:
        if model not in self._config.models:
            raise NotFound(
                f"The Ollama server {self._name!r} does not have the model {model!r}.",
                remedy="Name it under `models` of the backend to have it pulled, or run `ollama pull`.",
            )
        share = PullShare()
        lines = self._wire.lines("/api/pull", {"model": model}, seconds=PULL_SECONDS, silence=PULL_SILENCE)
        ended = False
        async with aclosing(lines):
            async for line in lines:
                progress(str(line.get("status") or "pulling"), share.add(line))
                ended = line.get("status") == "success"
        if not ended:
            raise Unavailable(f"Ollama stopped pulling {model!r} before it was done.")

    async def _note_loaded_context(self, model: str, facts: Facts) -> None:
        """A server may give a model less context than it was asked for: then that is what there is."""
        loaded = await self._wire.json("GET", "/api/ps", seconds=ASK_SECONDS)
        for entry in _entries(loaded):
            context = int(entry.get("context_length") or 0)
            if entry.get("model") == full_name(model) and 0 < context < facts.context:
                _log.warning("model has less context than asked", model=model, context=context, asked=facts.context)
                self._facts[full_name(model)] = replace(facts, context=context)

    async def _there(self) -> dict[str, str]:
        """Name with tag -> digest of every model the server has."""
        listed = await self._wire.json("GET", "/api/tags", seconds=ASK_SECONDS)
        return {str(entry.get("model") or entry.get("name")): str(entry.get("digest")) for entry in _entries(listed)}

    async def _asked_version(self) -> bool:
        said = await self._wire.json("GET", "/api/version", seconds=ASK_SECONDS)
        return obeys_truncate(str(cast("Native", said).get("version")) if isinstance(said, dict) else "")


def facts_of(shown: Mapping[str, Any], asked: int, digest: str = "") -> Facts:
    """From the answer of `/api/show`: the context `asked` for, if the model was trained for as much. Pure."""
    info = cast("Mapping[str, Any]", shown.get("model_info") or {})
    trained = int(info.get(f"{info.get('general.architecture')}.context_length") or 0)
    capabilities = cast("list[str] | None", shown.get("capabilities"))
    embeddings = (
        any(name.endswith(".pooling_type") for name in info) if capabilities is None else "embedding" in capabilities
    )
    tokens = ControlTokens(tokens_in_template(str(shown.get("template") or "")))
    return Facts(min(asked, trained) if trained else asked, embeddings, digest, tokens)


def full_name(name: str) -> str:
    """A model's name as Ollama lists it. Pure."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _entries(listed: Any) -> list[Native]:
    models = cast("Native", listed).get("models") if isinstance(listed, dict) else None
    if not isinstance(models, list):
        raise Unavailable("Ollama answered with something that is no list of models.")
    return cast("list[Native]", models)
