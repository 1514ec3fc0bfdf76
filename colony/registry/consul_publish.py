"""Writes the difference between two publications to Consul: few large transactions, several in flight."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import orjson

from colony.errors import Fenced, Unavailable
from colony.ids import AgentId
from colony.registry import consul_codec as codec
from colony.registry.consul_http import Conflict, ConsulHttp
from colony.registry.entries import Difference, count_types
from colony.registry.port import AgentEntry

TRANSACTION_BYTES: Final = 400_000
"""Most bytes of agents in one transaction; Consul takes 512 KiB in all."""

_ROOM: Final = codec.OPERATIONS - 2
"""Operations left for agents: each transaction also expects the node and sets the summary."""


class Transaction(NamedTuple):
    """Operations that are committed together, and what they do to the number of agents by type."""

    operations: tuple[codec.Operation, ...]
    delta: Counter[str]


class _Step(NamedTuple):
    operation: codec.Operation
    delta: Counter[str]


def plan_transactions(before: Mapping[AgentId, AgentEntry], change: Difference) -> list[Transaction]:
    """Cut a difference into transactions that Consul takes."""
    result: list[Transaction] = []
    operations: list[codec.Operation] = []
    delta = Counter[str]()
    size = 0
    for step in _steps(before, change):
        length = len(orjson.dumps(step.operation))
        if operations and (len(operations) >= _ROOM or size + length > TRANSACTION_BYTES):
            result.append(Transaction(tuple(operations), delta))
            operations, delta, size = [], Counter[str](), 0
        operations.append(step.operation)
        delta.update(step.delta)
        size += length
    if operations:
        result.append(Transaction(tuple(operations), delta))
    return result


def _steps(before: Mapping[AgentId, AgentEntry], change: Difference) -> Iterable[_Step]:
    for agent in change.put:
        delta = Counter({str(agent.agent_type): 1})
        former = before.get(agent.agent_id)
        if former is not None:
            delta.subtract({str(former.agent_type): 1})
        yield _Step(codec.put_agent(agent), delta)
    for agent in change.remove:
        yield _Step(codec.remove_agent(agent), Counter({str(agent.agent_type): -1}))


async def write_publication(
    http: ConsulHttp, node: codec.Node, before: Mapping[AgentId, AgentEntry], change: Difference, *, concurrency: int
) -> None:
    """Write a difference to the node of a host, `concurrency` transactions at a time.

    Every transaction holds only while the node is the one read, so a replaced incarnation cannot write.
    The summary follows what is committed; it is exact at the end. Raises `Fenced` when the host was replaced.
    """
    counts = Counter(count_types(before.values()))
    waiting = iter(plan_transactions(before, change))
    try:
        async with asyncio.TaskGroup() as writers:
            for _ in range(concurrency):
                writers.create_task(_write_all(http, node, waiting, counts))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    await _commit(http, node, (), counts)


async def _write_all(http: ConsulHttp, node: codec.Node, waiting: Iterator[Transaction], counts: Counter[str]) -> None:
    for transaction in waiting:
        await _commit(http, node, transaction.operations, counts)
        counts.update(transaction.delta)


async def _commit(
    http: ConsulHttp, node: codec.Node, operations: Iterable[codec.Operation], counts: Mapping[str, int]
) -> None:
    summary = codec.set_summary(node.host, node.incarnation, counts)
    try:
        await http.transact([codec.expect_node(node), *operations, summary])
    except Conflict as conflict:
        if 0 not in conflict.failed:  # not the expectation of the node
            raise
        now = codec.nodes_of(await http.rows("/v1/catalog/nodes", filter=f'Node == "{node.host}"'))
        if now and now[0].incarnation == node.incarnation:
            raise Unavailable(f"Host {node.host} changed while its agents were published; publish again.") from conflict
        raise Fenced(f"Host {node.host} was replaced while its agents were published.") from conflict
