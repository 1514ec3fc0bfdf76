"""Credentials: generated once, kept in files that only their owner can read."""

from __future__ import annotations

import base64
import os
import secrets
import stat
import uuid
from pathlib import Path
from typing import Final

from colony.errors import NotPermitted

NATS_ROLES: Final = ("host", "dispatcher", "worker", "client", "supervisor")
CONSUL_ROLES: Final = ("management", "host", "dispatcher", "client")

PASSWORDS: Final = (
    "postgres-admin",
    "postgres-colony",
    "postgres-temporal",
    "ray-token",
    "api-key",
    "model-key",
    "gateway-key",
    *(f"nats-{role}" for role in NATS_ROLES),
)
TOKENS: Final = tuple(f"consul-{role}" for role in CONSUL_ROLES)
"""Consul demands the form of a uuid."""


def ensure_credentials(folder: Path) -> None:
    """Create every credential that is missing. Raises `NotPermitted` when others can read one."""
    for name in PASSWORDS:
        ensure_secret(folder / name, secrets.token_urlsafe(32).replace("-", "x").replace("_", "y"))
    for name in TOKENS:
        ensure_secret(folder / name, str(uuid.uuid4()))
    ensure_secret(folder / "consul-gossip", base64.b64encode(secrets.token_bytes(32)).decode("ascii"))


def ensure_secret(path: Path, value: str) -> None:
    """Write `value` to `path` with mode 0600 unless the file exists. Never replaces a credential.

    Raises `NotPermitted` when the file can be read by others or belongs to another user.
    """
    if path.exists():
        _refuse_exposed(path)
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, value.encode("ascii"))
        os.fsync(handle)
    finally:
        os.close(handle)
    try:
        os.link(fresh, path)
    except FileExistsError:
        _refuse_exposed(path)
    finally:
        fresh.unlink()


def write_private(path: Path, text: str, *, owner: int | None = None) -> None:
    """Replace `path` by `text`, mode 0600, in one step; `owner` is the uid of the process that reads it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    if owner is not None:
        os.chown(fresh, owner, -1)
    fresh.replace(path)


def _refuse_exposed(path: Path) -> None:
    found = path.stat()
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise NotPermitted(
            f"The credential file {path} can be read by others (mode {stat.S_IMODE(found.st_mode):o}).",
            remedy=f"Run `chmod 600 {path}`, or delete the data directory to get new credentials.",
        )
    if found.st_uid != os.geteuid():
        raise NotPermitted(f"The credential file {path} belongs to another user.", remedy="Use another data directory.")
