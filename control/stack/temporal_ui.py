"""The web pages of Temporal: a server of its own beside temporal-server (the dev server brings them itself)."""

from __future__ import annotations

from typing import Any, Final

import yaml

from control.stack.context import LOOPBACK, StackContext
from control.stack.credentials import write_private
from control.stack.probes import http_answers
from control.stack.spec import ServiceSpec
from control.stack.temporal import NAMESPACE, codec_url

MEMORY_LIMIT: Final = "48MiB"


def spec(context: StackContext) -> ServiceSpec:
    """The server that the context decided on."""
    provider = context.providers["temporal-ui"]
    folder = context.paths.configs / "temporal-ui"

    async def prepare() -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        write_private(folder / "colony.yaml", yaml.safe_dump(configuration(context)))

    async def probe(_pid: int) -> bool:
        return await http_answers(f"http://{context.address('temporal-ui')}/healthz")

    return ServiceSpec(
        name="temporal-ui",
        provider=provider.label,
        address=context.address("temporal-ui"),
        command=(str(provider.binary), "--root", str(folder), "--config", ".", "--env", "colony", "start"),
        environment=context.server_environment(GOMEMLIMIT=MEMORY_LIMIT),
        folder=context.paths.run,
        probe=probe,
        patience=30.0,
        depends_on=("temporal",),
        prepare=prepare,
        stop_stage=1,
        stop_seconds=3.0,
    )


def configuration(context: StackContext) -> dict[str, Any]:
    """What the server reads: its own page is the only origin that may call it."""
    # Where payloads are encrypted, the page has them decrypted by the API, with the key its browser was given once.
    sealed = bool(context.config.temporal.codec_key_file)
    codec = {"codec": {"endpoint": codec_url(context), "includeCredentials": True}} if sealed else {}
    return {
        **codec,
        "temporalGrpcAddress": context.address("temporal"),
        "host": LOOPBACK,
        "port": context.ports["temporal-ui"],
        "enableUi": True,
        "defaultNamespace": NAMESPACE,
        "disableNewsFetch": True,
        "refreshInterval": "0s",
        "hideLogs": True,
        # The page is plain HTTP on loopback: a cookie for HTTPS only would not come back, and nobody could write.
        "cors": {"allowOrigins": [f"http://{context.address('temporal-ui')}"], "cookieInsecure": True},
    }
