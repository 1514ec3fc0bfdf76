"""Which URLs and addresses the guarded fetcher takes. Pure functions, no I/O."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from colony.errors import ConfigInvalid, NotPermitted

MAX_URL: Final = 2_000

_PORTS: Final = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9.])?")

_REFUSED_NETWORKS: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        # What `is_global` lets through in one Python or another, or what may lead inside in disguise.
        "0.0.0.0/8",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "168.63.129.16/32",  # metadata of one cloud, a public address by itself
        "240.0.0.0/4",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
)


class Target(NamedTuple):
    """A URL taken apart. `url` is normalised: ASCII host, no user, no fragment."""

    url: str
    host: str
    port: int
    host_header: str


def target_of(url: str) -> Target:
    """Take a URL apart. Raises `NotPermitted` unless it is a plain http or https URL without user and password."""
    if len(url) > MAX_URL:
        raise NotPermitted(f"A URL of {len(url)} characters is too long.")
    if not url.isascii() or any(character <= " " or character in "\\\x7f" for character in url):
        raise NotPermitted("The URL has characters that must be escaped.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise NotPermitted("The URL cannot be understood.") from None
    if parts.scheme not in _PORTS:
        raise NotPermitted(f"Only http and https are fetched, not {parts.scheme[:20]!r}.")
    if "@" in parts.netloc:
        raise NotPermitted("A URL with a user or password is not fetched.")
    host = (parts.hostname or "").lower()
    literal = "[" in parts.netloc
    if not host or (_ip(host) is None if literal else _HOST.fullmatch(host) is None) or "%" in host:
        raise NotPermitted("The URL names no host.")
    if port == 0:
        raise NotPermitted("The URL has the port 0.")
    shown = f"[{host}]" if literal else host
    number = port or _PORTS[parts.scheme]
    host_header = shown if number == _PORTS[parts.scheme] else f"{shown}:{number}"
    clean = urlunsplit((parts.scheme, host_header, parts.path or "/", parts.query, ""))
    return Target(clean, host, number, host_header)


def public_address(address: str) -> bool:
    """Whether an IP address is one of the public internet: not of this machine, this network, or special use."""
    found = _ip(address.partition("%")[0])
    if found is None or "%" in address:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inside = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inside is not None and not public_address(str(inside)):
            return False
        if found.ipv4_mapped is not None:
            return True
        if int(found) < 2**32:  # ::a.b.c.d, the old way to write IPv4 in IPv6
            return False
    if found.is_multicast or found.is_unspecified or found.is_loopback or found.is_link_local or found.is_reserved:
        return False
    if any(found.version == network.version and found in network for network in _REFUSED_NETWORKS):
        return False
    return found.is_global and not found.is_private


def allowed_targets(entries: Iterable[str]) -> frozenset[tuple[str, int]]:
    """The exceptions of the configuration as (host, port). Raises `ConfigInvalid` for one that is not `host:port`."""
    allowed: set[tuple[str, int]] = set()
    for entry in entries:
        host, _, port = entry.rpartition(":")
        bare = host.lower().removeprefix("[").removesuffix("]").rstrip(".")
        known = _ip(bare) is not None or _HOST.fullmatch(bare) is not None
        if not known or re.fullmatch(r"[1-9]\d{0,4}", port) is None or int(port) > 65535:
            raise ConfigInvalid(f"fetch.allow_private: {entry[:80]!r} is not `host:port`.")
        allowed.add((bare, int(port)))
    return frozenset(allowed)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
