"""Durable messages and the states of agents, in Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from colony.contracts import DeadMessage, DurableMessage, StateRow
from colony.errors import Fenced, NotFound
from colony.ids import AgentId, Id
from colony.ledger.postgres_connection import Database
from colony.ledger.validation import check_epochs, checked_shards, clean_text, encode_object, parse_object


class PostgresMessages:
    """See `MessageLedger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_message(self, message: DurableMessage) -> bool:
        """See `MessageLedger`."""
        row = await self._database.row(
            """WITH desired AS (SELECT agent_id, shard FROM agent WHERE agent_id = $2),
                    added AS (
                        INSERT INTO message (message_id, agent_id, shard, kind, payload, sender, origin)
                        SELECT $1, agent_id, shard, $3, $4, $5, $6 FROM desired
                        ON CONFLICT DO NOTHING RETURNING shard, number, message_id),
                    opened AS (INSERT INTO message_open (shard, number, message_id) SELECT * FROM added)
               SELECT EXISTS (SELECT 1 FROM desired) AS desired, EXISTS (SELECT 1 FROM added) AS added""",
            message.message_id,
            message.agent_id,
            message.kind,
            encode_object(message.payload),
            message.sender,
            clean_text(message.origin),
        )
        if row is None or not row["desired"]:
            raise NotFound(f"There is no agent {message.agent_id}.", remedy="`colony agents` lists them.")
        return row["added"]

    async def open_messages(self, shards: Sequence[int], limit: int = 1000, after: str = "") -> list[DurableMessage]:
        """See `MessageLedger`."""
        rows = await self._database.rows(
            """SELECT m.message_id, m.agent_id, m.kind, m.payload, m.sender, m.origin
                 FROM message_open o JOIN message m USING (message_id)
                WHERE o.shard = ANY ($1) AND EXISTS (SELECT 1 FROM agent a WHERE a.agent_id = m.agent_id)
                  AND o.number > coalesce((SELECT number FROM message WHERE message_id = $3), 0)
                ORDER BY o.number LIMIT $2""",
            checked_shards(shards),
            limit,
            clean_text(after),
        )
        return [_message(row) for row in rows]

    async def start_messages(self, message_ids: Sequence[str], incarnation: str, below: int) -> dict[str, int]:
        """See `MessageLedger`. One round trip; rows are locked in order, for two hosts may note the same ones."""
        rows = await self._database.rows(
            """WITH found AS MATERIALIZED (
                   SELECT o.message_id,
                          (SELECT count(*) FROM lease l WHERE l.incarnation = ANY (o.tried) AND l.crashed) AS suspect
                     FROM message_open o WHERE o.message_id = ANY ($1) ORDER BY o.message_id FOR UPDATE OF o),
                    noted AS (
                   UPDATE message_open o SET tried = o.tried || $2::text
                    WHERE o.message_id = ANY (ARRAY(SELECT f.message_id FROM found f WHERE f.suspect < $3))
                      AND $2 <> ALL (o.tried))
               SELECT message_id, suspect FROM found""",
            [clean_text(key) for key in message_ids],
            incarnation,
            below,
        )
        return dict(rows)

    async def stop_messages(self, message_ids: Sequence[str], incarnation: str) -> None:
        """See `MessageLedger`."""
        await self._database.changed(
            """UPDATE message_open SET tried = array_remove(tried, $2) WHERE message_id = ANY (ARRAY(
                   SELECT message_id FROM message_open WHERE message_id = ANY ($1) ORDER BY message_id FOR UPDATE))""",
            [clean_text(key) for key in message_ids],
            incarnation,
        )

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
        done = await self._database.value(
            "SELECT finish_message($1, $2, $3, $4, $5, $6, $7, $8)",
            message_id,
            incarnation,
            list(epochs.keys()),
            list(epochs.values()),
            None if state is None else state.agent_id,
            None if state is None else state.state,
            error,
            clean_text(reason),
        )
        if done is None:
            raise Fenced(f"Incarnation {incarnation} does not hold all of these shards any more.")
        return done

    async def dead_messages(self, limit: int = 100, *, after: str = "") -> list[DeadMessage]:
        """See `MessageLedger`."""
        rows = await self._database.rows(
            """SELECT * FROM dead_message
                WHERE $2::text = ''
                   OR (done_at, number) < (SELECT done_at, number FROM dead_message WHERE message_id = $2)
                ORDER BY done_at DESC, number DESC LIMIT $1""",
            limit,
            clean_text(after),
        )
        return [DeadMessage(message=_message(row), error=row["error"], reason=row["reason"]) for row in rows]

    async def states(self, agent_ids: Sequence[AgentId]) -> dict[AgentId, bytes]:
        """See `MessageLedger`."""
        rows = await self._database.rows(
            "SELECT agent_id, state FROM agent_state WHERE agent_id = ANY ($1)", list(agent_ids)
        )
        return {AgentId(agent_id): state for agent_id, state in rows}


def _message(row: Any) -> DurableMessage:
    return DurableMessage(
        message_id=row["message_id"],
        agent_id=AgentId(row["agent_id"]),
        kind=Id(row["kind"]),
        payload=parse_object(row["payload"]),
        sender=row["sender"],
        origin=row["origin"],
    )
