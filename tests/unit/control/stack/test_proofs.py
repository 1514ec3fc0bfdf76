"""What counts as a proof, and whom to ask."""

from __future__ import annotations

import pytest

from colony.contracts import ShardOwner
from colony.errors import Permanent
from control.stack.proofs_hosts import AskedAgent, named, shard_for_each_host
from control.stack.proofs_temporal import POLL_SECONDS, deserted_queues, youngest
from ray_app.questions import PING

OWNERS = [
    ShardOwner(0, 1, "b", "colony-host-1"),
    ShardOwner(1, 1, "a", "colony-host-0"),
    ShardOwner(2, 1, "", ""),
    ShardOwner(3, 1, "b", "colony-host-1"),
    ShardOwner(4, 1, "b", "colony-host-1"),
]


def test_every_host_is_asked_where_an_agent_can_work() -> None:
    chosen = shard_for_each_host(OWNERS, {2: 9, 3: 1, 4: 1})
    assert [(owner.host, owner.shard) for owner in chosen] == [("colony-host-0", 1), ("colony-host-1", 3)]
    assert shard_for_each_host([], {}) == []


def test_a_wrong_answer_proves_nothing() -> None:
    works = AskedAgent("colony-host-0", "colony.agent.1.processing-00001", "clean")
    assert named(works, {"text": "Colony asks: is anybody there?"}) == "clean by processing-00001"
    with pytest.raises(Permanent, match="wrongly"):
        named(works, {"text": "Colony  asks:\tis anybody there?"})
    there = AskedAgent("colony-host-0", "colony.agent.1.mine-1", PING)
    assert named(there, {"host": "colony-host-0"}) == "ping by mine-1"
    with pytest.raises(Permanent, match="colony-host-1"):
        named(there, {"host": "colony-host-1"})


def test_a_queue_nobody_asks_is_deserted() -> None:
    assert youngest([70.0, 95.0], 100.0) == 5.0
    ages = {"colony": 3.0, "colony-io": POLL_SECONDS + 1, "colony-dispatch": youngest([], 100.0)}
    assert deserted_queues(ages) == ["colony-io", "colony-dispatch"]
