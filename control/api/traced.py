"""A span for each request that changes something: the beginning of a job's trace, or a part of the caller's."""

from __future__ import annotations

from typing import Any, Final

from colony.telemetry.context import HEADER, parse
from colony.telemetry.port import Fact, Tracer
from control.api.edge import Application, Message, Receive, Scope, Send

_CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class TracedApi:
    """`application` with spans; it is asked for what is let in only. A `traceparent` of the caller is followed."""

    def __init__(self, application: Application, tracer: Tracer) -> None:
        self._application = application
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] not in _CHANGING:
            await self._application(scope, receive, send)
            return
        sending = _Noting(send)
        facts: dict[str, Fact] = {"http.request.method": scope["method"]}
        with self._tracer.span(f"{scope['method']}", parent=_parent(scope), kind="server", facts=facts) as span:
            try:
                await self._application(scope, receive, sending)
            finally:
                # The path of the route, not that of the request: names and ids belong to nobody's statistics.
                route = str(getattr(scope.get("route"), "path", ""))
                span.rename(f"{scope['method']} {route}".strip())
                span.note({"http.route": route, "http.response.status_code": sending.status})
                if sending.status >= 500:
                    span.fail(f"Status{sending.status}")


class _Noting:
    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
        await self._send(message)


def _parent(scope: Scope) -> str:
    headers: Any = scope["headers"]
    for name, value in headers:
        if bytes(name).lower() == HEADER.encode():
            found = bytes(value).decode("latin-1")
            return found if parse(found) is not None else ""
    return ""
