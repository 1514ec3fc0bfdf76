"""Durable messages and the states of agents, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from colony.contracts import DeadMessage, DurableMessage, StateRow
from colony.errors import Fenced, NotFound
from colony.ids import AgentId, shard_of
from colony.ledger.memory_tables import MemoryTables
from colony.ledger.validation import check_epochs, checked_shards, clean_text, encode_object


class MemoryMessages:
    """See `MessageLedger`."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def put_message(self, message: DurableMessage) -> bool:
        """See `MessageLedger`."""
        encode_object(message.payload)
        if message.agent_id not in self._tables.agents:
            raise NotFound(f"There is no agent {message.agent_id}.", remedy="`colony agents` lists them.")
        if message.message_id in self._tables.messages:
            return False
        message = message.model_copy(update={"origin": clean_text(message.origin)})
        self._tables.messages[message.message_id] = message
        self._tables.put_at[message.message_id] = self._tables.clock.wall()
        return True

    async def open_messages(self, shards: Sequence[int], limit: int = 1000, after: str = "") -> list[DurableMessage]:
        """See `MessageLedger`."""
        wanted = set(checked_shards(shards))
        messages = list(self._tables.messages.items())
        skipped = next((place + 1 for place, (key, _) in enumerate(messages) if key == after), 0)
        found = [
            message
            for key, message in messages[skipped:]
            if key not in self._tables.done_messages
            and shard_of(message.agent_id) in wanted
            and message.agent_id in self._tables.agents
        ]
        return found[:limit]

    async def start_messages(self, message_ids: Sequence[str], incarnation: str, below: int) -> dict[str, int]:
        """See `MessageLedger`."""
        tables, found = self._tables, dict[str, int]()
        for key in message_ids:
            if key not in tables.messages or key in tables.done_messages:
                continue
            tried = tables.tried_messages.setdefault(key, [])
            found[key] = sum((lease := tables.leases.get(name)) is not None and lease.crashed for name in tried)
            if found[key] < below and incarnation not in tried:
                tried.append(incarnation)
        return found

    async def stop_messages(self, message_ids: Sequence[str], incarnation: str) -> None:
        """See `MessageLedger`."""
        for key in message_ids:
            tried = self._tables.tried_messages.get(key, [])
            if incarnation in tried:
                tried.remove(incarnation)

    async def finish_message(
        self,
        message_id: str,
        incarnation: str,
        epochs: Mapping[int, int],
        state: StateRow | None,
        *,
        error: str = "",
        reason: str = "",
    ) -> bool:
        """See `MessageLedger`. Raises `NotFound` for a message that was never put."""
        if state is not None:
            check_epochs(epochs, [state.agent_id])
        message = self._tables.messages.get(message_id)
        if message is None:
            raise NotFound("The ledger has no such message.")
        if shard_of(message.agent_id) not in epochs:
            raise Fenced(f"Incarnation {incarnation} does not hold the shard of agent {message.agent_id}.")
        self._tables.check_fence(incarnation, epochs)
        if message_id in self._tables.done_messages:
            return False
        self._tables.done_messages[message_id] = self._tables.clock.wall()
        self._tables.tried_messages.pop(message_id, None)
        if error:
            self._tables.failed_messages[message_id] = (error, clean_text(reason))
        if state is not None:
            self._tables.states[state.agent_id] = state.state
        return True

    async def dead_messages(self, limit: int = 100, *, after: str = "") -> list[DeadMessage]:
        """See `MessageLedger`."""
        newest = list(self._tables.failed_messages.items())[::-1]
        if after:
            names = [key for key, _ in newest]
            newest = newest[names.index(after) + 1 :] if after in names else []
        return [
            DeadMessage(message=self._tables.messages[key], error=error, reason=reason)
            for key, (error, reason) in newest[:limit]
        ]

    async def states(self, agent_ids: Sequence[AgentId]) -> dict[AgentId, bytes]:
        """See `MessageLedger`."""
        return {key: self._tables.states[key] for key in agent_ids if key in self._tables.states}
