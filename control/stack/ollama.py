"""Ollama of the stack's own, where the configuration has a backend of that kind and says no address.

A folder of its own for models, apart from what the user's Ollama holds; the installed weights need no download.
"""

from __future__ import annotations

import asyncio
import hashlib
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from colony.config.gateway import BackendConfig
from colony.errors import BadInput, NotFound, Unavailable
from control.processes.model import find_weights
from control.stack.binaries import OLLAMA_VERSION, built, find_ollama
from control.stack.context import StackContext
from control.stack.probes import http_answers, http_json
from control.stack.spec import ServiceSpec
from ray_app.gateway.plan import gateway_plan

NAME: Final = "ollama"

OF_THE_WHEEL: Final = "smollm2:135m"
"""The name under which Ollama's library has the weights that are installed with us."""

TEMPLATE: Final = (
    "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
)
_IMPORT_SECONDS: Final = 60.0


def backends(context: StackContext) -> list[BackendConfig]:
    """The backends it serves."""
    return [one for one in gateway_plan(context.config).backends.values() if one.kind == "ollama" and not one.urls]


def runs_here(context: StackContext) -> bool:
    """Whether it is a service of this stack."""
    return bool(backends(context))


def address(context: StackContext) -> str:
    """Its URL; empty where it is not wanted."""
    return f"http://{context.address(NAME)}" if runs_here(context) else ""


def spec(context: StackContext) -> ServiceSpec:
    """How to run it. Raises `BadInput` where there is no Ollama on this machine."""
    binary, url, data = find_ollama(), address(context), context.paths.data(NAME)
    if binary is None:
        raise BadInput(
            "A backend of kind 'ollama' names no urls, and there is no Ollama here to start.",
            remedy="Run `make servers SERVERS=ollama` (5 minutes, once), or name urls.",
        )
    served = backends(context)

    async def prepare() -> None:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def probe(_pid: int) -> bool:
        return await http_answers(f"{url}/api/version")

    async def finish() -> None:
        if any(OF_THE_WHEEL in one.models or not one.models for one in served):
            await import_weights(url)

    return ServiceSpec(
        name=NAME,
        provider=f"Ollama {OLLAMA_VERSION}" if binary == built(f"ollama-{OLLAMA_VERSION}", NAME) else "ollama on PATH",
        address=context.address(NAME),
        command=(str(binary), "serve"),
        environment=environment(context, served),
        folder=context.paths.run,
        probe=probe,
        patience=60.0,
        prepare=prepare,
        finish=finish,
        stop_stage=1,
        note="It asks for no key: whoever is on this machine may call it.",
    )


def environment(context: StackContext, served: Sequence[BackendConfig]) -> dict[str, str]:
    """What it is started with. Pure but for our own environment."""
    data = context.paths.data(NAME)
    return context.server_environment(
        HOME=str(data),
        OLLAMA_HOST=context.address(NAME),
        OLLAMA_MODELS=str(data / "models"),
        OLLAMA_NUM_PARALLEL=str(max(one.slots for one in served)),
        OLLAMA_NOPRUNE="true",
    )


async def import_weights(url: str) -> None:
    """Make the installed weights a model of the server, unless it has them or they are not installed.

    Raises `Unavailable`.
    """
    listed: list[dict[str, Any]] = (await http_json(f"{url}/api/tags")).get("models") or []
    if any(model.get("name") == OF_THE_WHEEL for model in listed):
        return
    try:
        file = find_weights()
    except NotFound:
        return
    digest = await asyncio.to_thread(_send, url, file)
    body = {
        "model": OF_THE_WHEEL,
        "files": {file.name: digest},
        "template": TEMPLATE,
        "parameters": {"stop": ["<|im_end|>"]},
        "stream": False,
    }
    await http_json(f"{url}/api/create", body=body, timeout=_IMPORT_SECONDS)


def _send(url: str, file: Path) -> str:
    content = file.read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    request = urllib.request.Request(f"{url}/api/blobs/{digest}", data=content, method="POST")  # noqa: S310 - our own URL
    # Never through a proxy: this is a server on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_IMPORT_SECONDS):
            return digest
    except (OSError, ValueError) as error:
        raise Unavailable(f"Ollama does not take the installed weights: {error}.") from error
