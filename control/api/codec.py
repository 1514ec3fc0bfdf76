"""The codec endpoint: Temporal's command line and web UI have encrypted payloads decrypted here."""

from __future__ import annotations

import base64
import binascii
from enum import Enum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body
from temporalio.converter import PayloadCodec

from colony.errors import NotFound
from control.api.edge import Application, Message, Receive, Scope, Send
from control.api.models import Login
from control.api.parts import Parts
from control.api.problems import documented
from workflows.codec_json import decoded, encoded

PREFIX: Final = b"/codec/"
LOGIN: Final = "/codec/login"

_ALLOWED: Final = (
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, content-type, x-api-key, x-namespace"),
    (b"access-control-max-age", b"600"),
)

Payloads = Annotated[dict[str, Any], Body(description='`{"payloads": [...]}`, as Temporal sends it.')]


class CodecRoutes:
    """See the paths."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def router(self) -> APIRouter:
        """The paths."""
        router = APIRouter()
        about: list[str | Enum] = ["codec"]
        known = documented(400, 404, 413, 415)
        router.add_api_route("/codec/encode", self.encode, methods=["POST"], responses=known, tags=about)
        router.add_api_route("/codec/decode", self.decode, methods=["POST"], responses=known, tags=about)
        router.add_api_route(LOGIN, self.login, methods=["GET"], responses=documented(), tags=about)
        return router

    async def encode(self, payloads: Payloads) -> dict[str, Any]:
        """Encrypt payloads with the first key."""
        return await encoded(self._codec(), payloads)

    async def decode(self, payloads: Payloads) -> dict[str, Any]:
        """Decrypt payloads with the key each names; what is not encrypted comes back as it is."""
        return await decoded(self._codec(), payloads)

    async def login(self) -> Login:
        """Ask a browser for the key, as the password of any user, so that it sends it for the web UI of Temporal."""
        return Login()

    def _codec(self) -> PayloadCodec:
        if self._parts.codec is None:
            raise NotFound(
                "Nothing is encrypted here.",
                remedy="Name a key file in `temporal.codec_key_file` (without `colony up`: of endpoints.json).",
            )
        return self._parts.codec


class CodecFront:
    """Lets pages of one origin, Temporal's web UI, use the codec: everybody else's requests pass unchanged.

    Browsers send what `LOGIN` asked for as Basic; it becomes what the edge behind knows. Plain ASGI.
    """

    def __init__(self, application: Application, origin: str) -> None:
        self._application = application
        self._origin = origin.rstrip("/").encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or not scope["path"].encode().startswith(PREFIX):
            await self._application(scope, receive, send)
            return
        headers = [(name, _bearer(value) if name == b"authorization" else value) for name, value in scope["headers"]]
        given = dict(headers)
        more: list[tuple[bytes, bytes]] = [(b"vary", b"origin")]
        if self._origin and given.get(b"origin") == self._origin:
            more.append((b"access-control-allow-origin", self._origin))
            more.append((b"access-control-allow-credentials", b"true"))
            if scope["method"] == "OPTIONS":
                await send({"type": "http.response.start", "status": 204, "headers": [*more, *_ALLOWED]})
                await send({"type": "http.response.body"})
                return
        asks = scope["path"] == LOGIN

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = [*message.get("headers", ()), *more]
                if asks and message["status"] == 401:
                    answered = [pair for pair in answered if pair[0] != b"www-authenticate"]
                    answered.append((b"www-authenticate", b'Basic realm="colony codec"'))
                message = {**message, "headers": answered}
            await send(message)

        await self._application({**scope, "headers": headers}, receive, sending)


def _bearer(value: bytes) -> bytes:
    """`Basic` with the key as the password, as `Bearer`; anything else as it is."""
    scheme, _, text = value.partition(b" ")
    if scheme.lower() != b"basic":
        return value
    try:
        _, _, password = base64.b64decode(text.strip(), validate=True).partition(b":")
    except binascii.Error:
        return value
    return b"Bearer " + password
