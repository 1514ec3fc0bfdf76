"""Which role may do what on the bus. Pure data and functions; the server's configuration is rendered from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from colony.contracts import Frozen
from colony.errors import BadInput, NotFound
from colony.messaging.subjects import covers, inbox_prefix, matches

EVENT_STREAM: Final = "colony_events"
"""The bounded event log, a JetStream stream over `colony.event.>`."""

KV_BUCKETS: Final = ("colony_hosts", "colony_agents", "colony_config", "colony_registry")
"""The key-value buckets of the embedded registry. Names are listed, since permissions know no partial wildcards."""

ROLES: Final = ("host", "dispatcher", "worker", "client", "supervisor")

CLI_INBOX: Final = "_INBOX.>"
"""Inbox of the plain `nats` command. None of our own processes uses it, so nothing of theirs can be read there."""


class Permission(Frozen):
    """What a role may publish and subscribe to. `deny` wins over `publish`."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    deny_publish: tuple[str, ...] = ()


_STREAMS = (EVENT_STREAM, *(f"KV_{bucket}" for bucket in KV_BUCKETS))
_DESTRUCTIVE = ("$JS.API.STREAM.DELETE.>", "$JS.API.STREAM.PURGE.>", "$JS.API.ACCOUNT.>", "$JS.API.SERVER.>")
_ALL_INBOXES = (*(f"{inbox_prefix(role)}.>" for role in ROLES), CLI_INBOX)


def _read_stream(stream: str) -> tuple[str, ...]:
    """What it takes to read a stream: look, get single messages, and hold a consumer of one's own."""
    return (
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}.>",
        f"$JS.API.CONSUMER.CREATE.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.INFO.{stream}.*",
        f"$JS.API.CONSUMER.DELETE.{stream}.*",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
        f"$JS.ACK.{stream}.>",
        f"$JS.FC.{stream}.>",
    )


def _keep_stream(stream: str) -> tuple[str, ...]:
    """What it takes to create a stream and change its settings, on top of reading."""
    return (*_read_stream(stream), f"$JS.API.STREAM.CREATE.{stream}", f"$JS.API.STREAM.UPDATE.{stream}")


_LOOK = ("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST")
_READ = _LOOK + tuple(subject for stream in _STREAMS for subject in _read_stream(stream))
_KEEP = _LOOK + tuple(subject for stream in _STREAMS for subject in _keep_stream(stream))
_KV_WRITE = tuple(f"$KV.{bucket}.>" for bucket in KV_BUCKETS)

_TABLE: Final[dict[str, Permission]] = {
    "host": Permission(
        publish=("colony.>", *_ALL_INBOXES, *_KEEP, *_KV_WRITE),
        subscribe=(
            "colony.agent.>",
            "colony.type.>",
            "colony.topic.>",
            "colony.event.>",
            "colony.heartbeat.>",
            "$SRV.>",
            f"{inbox_prefix('host')}.>",
        ),
        deny_publish=_DESTRUCTIVE,
    ),
    "dispatcher": Permission(
        publish=(
            "colony.agent.>",
            "colony.type.>",
            "colony.topic.>",
            "colony.event.>",
            f"{inbox_prefix('dispatcher')}.>",
            *_KEEP,
            *_KV_WRITE,
        ),
        subscribe=("colony.event.>", "colony.heartbeat.>", f"{inbox_prefix('dispatcher')}.>"),
        deny_publish=_DESTRUCTIVE,
    ),
    "worker": Permission(
        publish=("colony.event.>", f"{inbox_prefix('worker')}.>"),
        subscribe=("colony.event.>", f"{inbox_prefix('worker')}.>"),
        deny_publish=_DESTRUCTIVE,
    ),
    "client": Permission(
        publish=(
            "colony.agent.>",
            "colony.type.>",
            "colony.topic.>",
            "$SRV.>",
            f"{inbox_prefix('client')}.>",
            *_READ,
        ),
        subscribe=("colony.event.>", "colony.heartbeat.>", "colony.topic.>", f"{inbox_prefix('client')}.>", CLI_INBOX),
        deny_publish=_DESTRUCTIVE,
    ),
    "supervisor": Permission(
        publish=(
            "colony.event.>",
            "$SRV.>",
            "$JS.API.>",
            "$JS.ACK.>",
            "$JS.FC.>",
            *_KV_WRITE,
            f"{inbox_prefix('supervisor')}.>",
        ),
        subscribe=("colony.event.>", "colony.heartbeat.>", f"{inbox_prefix('supervisor')}.>", CLI_INBOX),
    ),
}

# No escapes are needed in the server's file, and nothing can look like a bcrypt hash (`$2a$`) or a variable.
_PASSWORD = re.compile(r"[A-Za-z0-9_.~-]{12,256}")


def permission(role: str) -> Permission:
    """What a role may do. Raises `NotFound` for a role there is not."""
    found = _TABLE.get(role)
    if found is None:
        raise NotFound(f"There is no role {role[:40]!r} on the bus.", remedy=f"Roles are {', '.join(ROLES)}.")
    return found


def may_publish(role: str, subject: str) -> bool:
    """Whether a role may send to a subject."""
    allowed = permission(role)
    if any(matches(pattern, subject) for pattern in allowed.deny_publish):
        return False
    return any(matches(pattern, subject) for pattern in allowed.publish)


def may_subscribe(role: str, pattern: str) -> bool:
    """Whether a role may subscribe to a subject, which may have wildcards."""
    return any(covers(allowed, pattern) for allowed in permission(role).subscribe)


def nats_server_users(passwords: Mapping[str, str]) -> list[dict[str, Any]]:
    """The `authorization.users` of the server: one user per role, named like it, with its permissions.

    `passwords` are plain, by role. Raises `BadInput` for a password that could be read as anything else.
    """
    users: list[dict[str, Any]] = []
    for role, password in passwords.items():
        allowed = permission(role)
        if _PASSWORD.fullmatch(password) is None:
            raise BadInput(
                f"The password of the bus user {role} cannot be used.",
                remedy="Use 12 to 256 letters, digits, `_`, `.`, `~` and `-`.",
            )
        publish: dict[str, Any] = {"allow": list(allowed.publish)}
        if allowed.deny_publish:
            publish["deny"] = list(allowed.deny_publish)
        users.append(
            {
                "user": role,
                "password": password,
                "permissions": {"publish": publish, "subscribe": {"allow": list(allowed.subscribe)}},
            }
        )
    return users
