"""Proofs that a running stack works: one question to each part, with the time it took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from colony.config.endpoints import Endpoints, read_secret
from colony.errors import ColonyError, Unavailable
from colony.ledger.postgres import open_ledger
from colony.messaging.nats import open_messenger
from colony.registry.open import open_registry
from control.stack.probes import http_answers
from control.stack.proofs_gateway import gateway_answers
from control.stack.proofs_hosts import agents_to_ask, ask_agent
from control.stack.proofs_temporal import temporal_answers, worker_works, workers_ask_for_tasks
from control.stack.proofs_versions import version_is_there

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
    ("task queues", workers_ask_for_tasks),
    ("worker version", version_is_there),
    ("worker", worker_works),
    ("bus", bus_answers),
    ("registry", registry_answers),
    ("ray", ray_answers),
    ("gateway", gateway_answers),
]
"""Name and proof, in the order of the layers."""


async def prove(endpoints: Endpoints) -> list[Verdict]:
    """Run all proofs at the same time: of every link, and of every host by a task to one of its agents."""
    links = asyncio.gather(*(_prove_one(name, proof, endpoints) for name, proof in PROOFS))
    hosts = _prove_hosts(endpoints)
    return [verdict for part in await asyncio.gather(links, hosts) for verdict in part]


async def _prove_hosts(endpoints: Endpoints) -> list[Verdict]:
    try:
        async with asyncio.timeout(PROOF_SECONDS):
            agents = await agents_to_ask(endpoints)
    except ColonyError as error:
        return [Verdict("hosts", passed=False, detail=str(error), milliseconds=0.0)]
    except TimeoutError:
        return [Verdict("hosts", passed=False, detail="the ledger does not name them", milliseconds=0.0)]
    return await asyncio.gather(*(_prove_one(agent.host, partial(ask_agent, agent), endpoints) for agent in agents))


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
