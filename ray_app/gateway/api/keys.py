"""Who may speak to the gateway: API key, `Host` and `Origin`. Pure."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from colony.errors import NotPermitted
from ray_app.gateway.api.fields import RequestRefused
from ray_app.gateway.api.problems import KeyRefused
from ray_app.gateway.api.settings import LOOPBACK, ApiSettings

Headers = dict[bytes, bytes]
"""Names in lower case; of a name sent twice the values joined by a comma, so that no check sees only one."""


def headers_of(raw: list[tuple[bytes, bytes]]) -> Headers:
    """The headers of an ASGI scope."""
    found: Headers = {}
    for name, value in raw:
        found[name] = found[name] + b"," + value if name in found else value
    return found


class Guard:
    """Lets requests in, or raises."""

    def __init__(self, settings: ApiSettings) -> None:
        self._key = settings.key.encode()
        self._names = LOOPBACK | {name.lower() for name in settings.hosts}
        self._good_hosts: set[bytes] = set()

    def check(self, headers: Headers) -> None:
        """Raises `KeyRefused` (401), `NotPermitted` (403), `RequestRefused` (400)."""
        self._check_host(headers)
        origin = headers.get(b"origin")
        if origin is not None and _name_of(origin) not in self._names:
            raise NotPermitted(
                f"Pages of {origin[:80].decode('latin-1')!r} may not speak to this gateway.",
                remedy="Add its name to the configured hosts.",
            )
        if self._key and not self._key_fits(headers):
            raise KeyRefused("The API key is missing or wrong.", remedy="Send it as 'Authorization: Bearer KEY'.")

    def _check_host(self, headers: Headers) -> None:
        """Against pages that point a name of their own at this machine."""
        host = headers.get(b"host", b"")
        if host in self._good_hosts:
            return
        if _name_of(b"//" + host) not in self._names:
            shown = host[:80].decode("latin-1")
            raise RequestRefused(
                f"This gateway is not called {shown!r}. Add the name to the configured hosts.",
                status=403,
                code="host_refused",
            )
        if len(self._good_hosts) < 64:
            self._good_hosts.add(host)

    def _key_fits(self, headers: Headers) -> bool:
        """Both places are compared in constant time; `compare_digest` needs bytes."""
        authorization = headers.get(b"authorization", b"")
        scheme, _, token = authorization.partition(b" ")
        bearer = token.strip() if scheme.lower() == b"bearer" else b""
        fits = hmac.compare_digest(bearer, self._key)
        return hmac.compare_digest(headers.get(b"x-api-key", b""), self._key) or fits


def _name_of(url: bytes) -> str:
    """The host's name in a URL or origin, in lower case; empty where there is none."""
    try:
        parts = urlsplit(url.decode("ascii"))
        if parts.username is not None or parts.port == 0:
            return ""
        return (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""
