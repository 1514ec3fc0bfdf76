"""Proofs that a running stack works: one question to each part, with the time it took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from colony.config.endpoints import Endpoints, read_secret
from colony.errors import ColonyError, Unavailable
from colony.ledger.postgres import open_ledger
from colony.messaging.nats import open_messenger
from colony.registry.open import open_registry
from control.stack.probes import http_answers
from workflows.client import connect

PROOF_SECONDS: Final = 10.0

Proof = Callable[[Endpoints], Awaitable[str]]
"""Answers with what was proven; raises a `ColonyError` when it is not."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one proof went."""

    name: str
    passed: bool
    detail: str
    milliseconds: float


async def ledger_answers(endpoints: Endpoints) -> str:
    """Postgres answers, and its schema is the one of this version."""
    async with open_ledger(endpoints.postgres, pool_size=1, name="doctor") as ledger:
        return f"round trip {await ledger.ping() * 1000:.1f} ms"


async def temporal_answers(endpoints: Endpoints) -> str:
    """Temporal answers and has the namespace."""
    async with connect(endpoints.temporal) as client:
        healthy = await client.service_client.check_health()
    if not healthy:
        raise Unavailable("Temporal says that it is not healthy.")
    return f"namespace {endpoints.temporal.namespace}"


async def bus_answers(endpoints: Endpoints) -> str:
    """NATS takes a client and answers."""
    async with open_messenger(endpoints.nats, role="client", name="doctor") as messenger:
        return f"round trip {await messenger.ping() * 1000:.1f} ms"


async def registry_answers(endpoints: Endpoints) -> str:
    """The registry answers."""
    async with open_registry(endpoints, role="client") as registry:
        return f"{registry.kind}, round trip {await registry.ping() * 1000:.1f} ms"


async def ray_answers(endpoints: Endpoints) -> str:
    """Ray's dashboard answers to our token."""
    if not endpoints.ray.dashboard:
        return "configured head, no dashboard known"
    token = read_secret(endpoints.ray.token_file) if endpoints.ray.token_file else ""
    if not await http_answers(f"{endpoints.ray.dashboard}/api/version", token=token):
        raise Unavailable("Ray's dashboard does not answer.")
    return endpoints.ray.dashboard


PROOFS: list[tuple[str, Proof]] = [
    ("ledger", ledger_answers),
    ("temporal", temporal_answers),
    ("bus", bus_answers),
    ("registry", registry_answers),
    ("ray", ray_answers),
]
"""Name and proof, in the order of the layers; proofs of hosts are appended by the modules that know them."""


async def prove(endpoints: Endpoints, proofs: Sequence[tuple[str, Proof]] | None = None) -> list[Verdict]:
    """Run all proofs at the same time."""
    return list(await asyncio.gather(*(_prove_one(name, proof, endpoints) for name, proof in (proofs or PROOFS))))


async def _prove_one(name: str, proof: Proof, endpoints: Endpoints) -> Verdict:
    began = time.monotonic()
    try:
        async with asyncio.timeout(PROOF_SECONDS):
            detail, passed = await proof(endpoints), True
    except ColonyError as error:
        detail, passed = str(error), False
    except TimeoutError:
        detail, passed = f"no answer within {PROOF_SECONDS:.0f} s", False
    return Verdict(name, passed, detail, round((time.monotonic() - began) * 1000, 1))
