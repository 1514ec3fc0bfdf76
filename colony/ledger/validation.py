"""What both ledgers check before they touch anything. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

import orjson

from colony.contracts import OutcomeRow, StateRow
from colony.errors import BadInput, Fenced
from colony.ids import SHARDS, AgentId, shard_of
from colony.ledger.transcripts import MOST_TEXT, TranscriptEntry
from colony.llm.contracts import LlmCall

_MOST_LETTERS: Final = {"request": MOST_TEXT, "answer": MOST_TEXT, "message": 4_000}

MOST_MICROS: Final = 2**31 - 1
"""Longest time of a task that is kept: 36 minutes and more count as that."""


def checked_shards(shards: Sequence[int]) -> list[int]:
    """The shards, each once, ordered. Raises `BadInput` for one that does not exist."""
    ordered = sorted(set(shards))
    if ordered and not (ordered[0] >= 0 and ordered[-1] < SHARDS):
        raise BadInput(f"Shards are 0 to {SHARDS - 1}, not {ordered[0]} to {ordered[-1]}.")
    return ordered


def check_epochs(epochs: Mapping[int, int], agents: Iterable[AgentId]) -> None:
    """Raise `Fenced` unless `epochs` has the shard of each agent."""
    for agent_id in set(agents):
        if shard_of(agent_id) not in epochs:
            raise Fenced(f"The writer does not hold shard {shard_of(agent_id)} of agent {agent_id}.")


def written_agents(outcomes: Sequence[OutcomeRow], states: Sequence[StateRow]) -> set[AgentId]:
    """The agents a commit writes for."""
    return {row.agent_id for row in outcomes} | {row.agent_id for row in states}


def kept_outcome(row: OutcomeRow) -> OutcomeRow:
    """The outcome as both ledgers keep it: its message cleaned, its time at most what an `integer` holds."""
    if not row.message and row.micros <= MOST_MICROS:
        return row
    return row._replace(message=clean_text(row.message), micros=min(row.micros, MOST_MICROS))


def kept_call(row: LlmCall) -> LlmCall:
    """The call as both ledgers keep it: names cleaned and at most 200 letters, counts as an `integer` holds them.

    Names come from headers of requests: none of them may be the reason why the books of others cannot be kept.
    """
    names = {name: clean_text(value)[:200] for name, value in row._asdict().items() if isinstance(value, str)}
    return row._replace(
        **names,
        ended_at=round(row.ended_at, 6),
        prompt_tokens=min(max(row.prompt_tokens, 0), MOST_MICROS),
        completion_tokens=min(max(row.completion_tokens, 0), MOST_MICROS),
    )


def kept_entry(entry: TranscriptEntry) -> TranscriptEntry:
    """What was said as both ledgers keep it: texts cleaned and bounded, counts as an `integer` holds them."""
    named: dict[str, Any] = {}
    for name, value in entry._asdict().items():
        if isinstance(value, str):
            most = _MOST_LETTERS.get(name, 200)
            named[name] = storable(value[:most])
        elif isinstance(value, int) and name != "job":
            named[name] = min(max(value, 0), MOST_MICROS)
    return entry._replace(**named)


def parse_object(document: bytes) -> dict[str, Any]:
    """A JSON object for people to look at; anything else comes as `{"raw": text}`, since reading must not fail."""
    try:
        value: Any = orjson.loads(document)
    except orjson.JSONDecodeError:
        return {"raw": document.decode("utf-8", "replace")[:4000]}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {"raw": value}


def encode_object(value: Mapping[str, Any]) -> bytes:
    """JSON of an object. Raises `BadInput` for what JSON cannot hold."""
    try:
        return orjson.dumps(dict(value))
    except (TypeError, ValueError) as error:
        raise BadInput(f"This is no JSON: {error}.") from error


def reduce_payload(over: int, first: int, end: int) -> bytes:
    """The payload of one task of a reduce step: the range of outcomes it takes."""
    return b'{"step":%d,"first":%d,"end":%d}' % (over, first, end)


def clean_text(value: str) -> str:
    """`value` as a database can hold it: NUL and lone surrogates replaced, at most 4,000 characters.

    An error message of a task is made of anything; it must never be the reason why its outcome cannot be kept.
    """
    return storable(value[:4000])


def storable(value: str) -> str:
    """`value` with NUL and lone surrogates replaced, at its whole length."""
    if value.isascii() and "\x00" not in value:
        return value
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
