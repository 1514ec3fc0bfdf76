"""Routes of agents, messages, templates and the fleet."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Path, Query

from colony.contracts import AgentSpec, DurableMessage
from colony.errors import NotFound, Transient
from colony.ids import SHARDS, AgentId, AgentType, Id, agent_subject, shard_of
from colony.messaging.durable import deliver
from colony.messaging.port import Envelope
from control.api import paging
from control.api.models import (
    AgentAnswer,
    AgentDetail,
    AgentName,
    AgentPage,
    DeadMessages,
    MessageAnswer,
    SendMessage,
)
from control.api.parts import Parts
from control.api.problems import documented

SENDER = "api"

Agent = Annotated[AgentName, Path(description="Id of the agent.")]


class AgentRoutes:
    """See the paths below `/v1/agents` and `/v1/messages`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def router(self) -> APIRouter:
        """The paths."""
        router = APIRouter(prefix="/v1", tags=["agents"])
        router.add_api_route("/agents", self.list, methods=["GET"], responses=documented())
        router.add_api_route("/agents/{agent}", self.get, methods=["GET"], responses=documented(404))
        router.add_api_route(
            "/agents/{agent}/messages",
            self.send,
            methods=["POST"],
            responses=documented(400, 404, 409, 413, 415, 502),
        )
        router.add_api_route("/messages/dead", self.dead, methods=["GET"], responses=documented())
        return router

    async def list(
        self,
        type: Annotated[AgentName | None, Query(description="Agents of this type.")] = None,  # noqa: A002 -- the word users know
        limit: paging.Limit = 50,
        cursor: paging.AgentCursor = None,
    ) -> AgentPage:
        """The desired agents, by shard and id."""
        counts = await self._parts.ledger.agent_counts()
        wanted = [AgentType(type)] if type else list(counts)
        per_shard = [sum(counts.get(name, {}).get(shard, 0) for name in wanted) for shard in range(SHARDS)]
        first, after = paging.agent_cursor(cursor)
        items: list[AgentSpec] = []
        shards = [shard for shard in range(first, SHARDS) if per_shard[shard]]
        while shards and len(items) <= limit:
            # As many shards as hold one page: what is read is bounded however large the fleet is.
            taken, room = 0, limit + 1 - len(items)
            while taken < len(shards) and room > 0:
                room -= per_shard[shards[taken]]
                taken += 1
            found = await self._parts.ledger.agents(shards[:taken])
            shards = shards[taken:]
            mine = [one for one in found if one.agent_type in wanted and _place(one) > (first, after)]
            items += sorted(mine, key=_place)
        page = items[:limit]
        more = f"{_place(page[-1])[0]}:{page[-1].agent_id}" if len(items) > limit else None
        return AgentPage(items=tuple(map(_answer, page)), total=sum(per_shard), next=more)

    async def get(self, agent: Agent) -> AgentDetail:
        """One agent and where it lives."""
        spec = await self._spec(AgentId(agent))
        owner = (await self._parts.ledger.shard_owners())[shard_of(spec.agent_id)]
        passing, actions = None, ()
        try:
            entry = await self._parts.registry.get().lookup(spec.agent_id)
            passing, actions = entry is not None, () if entry is None else entry.tags
        except Transient:
            pass  # the registry is a view for people: without it the rest is true still
        return AgentDetail(
            **_answer(spec).model_dump(), host=owner.host, epoch=owner.epoch, passing=passing, actions=actions
        )

    async def send(self, agent: Agent, asked: SendMessage) -> MessageAnswer:
        """Send a message: tell, ask and wait for the answer, or deliver for certain."""
        spec = await self._spec(AgentId(agent))
        messenger = self._parts.messenger.get()
        if asked.mode == "deliver":
            message = DurableMessage(
                message_id=asked.message_id or secrets.token_hex(16),
                agent_id=spec.agent_id,
                kind=Id(asked.kind),
                payload=asked.payload,
                sender=SENDER,
            )
            fresh = await deliver(self._parts.ledger, messenger, message)
            return MessageAnswer(mode=asked.mode, message_id=message.message_id, fresh=fresh)
        envelope = Envelope(kind=asked.kind, payload=asked.payload, sender=SENDER)
        if asked.mode == "tell":
            await messenger.tell(agent_subject(spec.agent_id), envelope)
            return MessageAnswer(mode=asked.mode)
        answer = await messenger.ask(agent_subject(spec.agent_id), envelope, timeout=asked.timeout)
        return MessageAnswer(mode=asked.mode, answer=answer.payload)

    async def dead(self, limit: paging.Limit = 50, cursor: paging.MessageCursor = "") -> DeadMessages:
        """Durable messages that failed for good, the last ones first."""
        found = await self._parts.ledger.dead_messages(limit + 1, after=cursor)
        page = found[:limit]
        more = page[-1].message.message_id if len(found) > limit else None
        return DeadMessages(items=tuple(page), next=more)

    async def _spec(self, agent_id: AgentId) -> AgentSpec:
        for spec in await self._parts.ledger.agents([shard_of(agent_id)]):
            if spec.agent_id == agent_id:
                return spec
        raise NotFound(f"There is no agent {agent_id!r}.", remedy="GET /v1/agents lists them.")


def _place(spec: AgentSpec) -> tuple[int, str]:
    return shard_of(spec.agent_id), str(spec.agent_id)


def _answer(spec: AgentSpec) -> AgentAnswer:
    return AgentAnswer(id=spec.agent_id, type=spec.agent_type, shard=shard_of(spec.agent_id), version=spec.version)
