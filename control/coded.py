"""Workflows in code, which never have a row in the ledger: the workflow engine says how they stand."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final, Protocol

from colony.errors import ColonyError, NotFound
from colony.ledger.port import Ledger
from control.unopened import AskFailure, Unopened, UnopenedState, find_unopened
from workflows.engine import SeenWorkflow

_SECONDS: Final = 2.0
"""Longest wait for the workflow engine to describe one."""


class Describes(Protocol):
    """A `JobEngine`, as far as it is needed here."""

    async def describe(self, workflow_id: str) -> SeenWorkflow:
        """See `JobEngine`."""
        ...


async def find_rowless(
    ledger: Ledger, engine: Describes, ask: AskFailure, coded: Collection[str], name: str
) -> Unopened:
    """The job of that workflow id, for one without a row: kept, being opened, or a workflow in code.

    `coded` are the types of workflows in code; a workflow of another type is none of our jobs. Raises `NotFound`.
    """
    try:
        found = await find_unopened(ledger, ask, name)
    except NotFound:
        seen = await _described(engine, coded, name)
        if seen is None:
            raise
        return seen
    return await told_by_engine(engine, coded, found)


async def told_by_engine(engine: Describes, coded: Collection[str], found: Unopened) -> Unopened:
    """As the workflow engine says it stands, if it is a workflow in code; as it was while the engine is away."""
    if found.state is not UnopenedState.OPENING or found.template not in coded:
        return found
    return await _described(engine, coded, found.workflow_id) or found


async def _described(engine: Describes, coded: Collection[str], name: str) -> Unopened | None:
    if not coded:
        return None
    try:
        async with asyncio.timeout(_SECONDS):
            seen = await engine.describe(name)
    except (ColonyError, TimeoutError):
        return None
    if seen.template not in coded:
        return None
    return Unopened(
        workflow_id=name,
        template=seen.template,
        state=UnopenedState(seen.state.value),
        key=seen.key,
        accepted_at=seen.opened_at,
    )
