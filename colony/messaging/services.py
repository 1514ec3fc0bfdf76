"""The NATS Services protocol: what a service answers, so that `nats micro ls` and `$SRV.INFO` show it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from colony.errors import BadInput

Stats = Callable[[], Mapping[str, Any]]
"""Numbers of the service as of now, a JSON object; must be quick."""

_VERBS: Final = ("PING", "INFO", "STATS")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.-]+)?")


class ServiceAnnouncement:
    """One instance of a service. `subjects` are what to subscribe to, `answer` what to send back."""

    def __init__(
        self, *, name: str, identity: str, version: str, metadata: Mapping[str, str], started: float, stats: Stats
    ) -> None:
        if _NAME.fullmatch(name) is None or _NAME.fullmatch(identity) is None or _VERSION.fullmatch(version) is None:
            raise BadInput(f"{name[:40]!r}, {identity[:40]!r}, {version[:40]!r} cannot be announced as a service.")
        self._identity = {"name": name, "id": identity, "version": version, "metadata": dict(metadata)}
        self._started = datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        self._stats = stats
        self.subjects: dict[str, str] = {
            subject: verb
            for verb in _VERBS
            for subject in (f"$SRV.{verb}", f"$SRV.{verb}.{name}", f"$SRV.{verb}.{name}.{identity}")
        }
        """Subject -> verb."""

    def answer(self, verb: str) -> bytes:
        """The bytes that answer a verb."""
        fields: dict[str, Any] = {"type": f"io.nats.micro.v1.{verb.lower()}_response", **self._identity}
        endpoint = {"name": "agents", "subject": "colony.agent.>", "queue_group": ""}
        if verb == "INFO":
            fields |= {"description": "Hosts agents.", "endpoints": [{**endpoint, "metadata": {}}]}
        elif verb == "STATS":
            numbers = dict(self._stats())
            requests = int(numbers.get("num_requests", 0))
            failed = int(numbers.get("num_errors", 0))
            counts = {"num_requests": requests, "num_errors": failed, "last_error": ""}
            times = {"processing_time": 0, "average_processing_time": 0}
            fields |= {"started": self._started, "endpoints": [{**endpoint, **counts, **times, "data": numbers}]}
        return orjson.dumps(fields)
