from __future__ import annotations

import base64
from collections import Counter
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from colony.ids import AgentId, AgentType
from colony.registry import consul_codec as codec
from colony.registry.consul_publish import TRANSACTION_BYTES, plan_transactions
from colony.registry.entries import by_id, count_types, difference
from colony.registry.port import AgentEntry, HostEntry

HOST = "colony-host-0"


def entry(number: int, kind: str = "research", tags: tuple[str, ...] = ("find",)) -> AgentEntry:
    return AgentEntry(agent_id=AgentId(f"a{number}"), agent_type=AgentType(kind), host=HOST, shard=number, tags=tags)


publications = st.lists(
    st.builds(entry, st.integers(0, 400), st.sampled_from(["research", "analysis"])),
    unique_by=lambda agent: agent.agent_id,
    max_size=300,
).map(lambda agents: by_id(HOST, agents))


@given(publications, publications)
def test_transactions_carry_the_whole_difference_in_pieces_consul_takes(
    before: dict[AgentId, AgentEntry], after: dict[AgentId, AgentEntry]
) -> None:
    change = difference(before, after)
    plan = plan_transactions(before, change)
    assert all(0 < len(transaction.operations) <= codec.OPERATIONS - 2 for transaction in plan)
    written = [operation["Service"] for transaction in plan for operation in transaction.operations]
    assert len(written) == change.size
    assert {each["Service"]["ID"] for each in written} == {agent.agent_id for agent in change.put + change.remove}
    counts = Counter(count_types(before.values()))
    for transaction in plan:
        counts.update(transaction.delta)
    assert +counts == Counter(count_types(after.values()))


def test_wordy_agents_are_cut_by_bytes() -> None:
    wordy = by_id(HOST, [entry(number, tags=("x" * 20_000,)) for number in range(100)])
    plan = plan_transactions({}, difference({}, wordy))
    assert len(plan) > 4
    assert all(len(orjson.dumps(transaction.operations)) < TRANSACTION_BYTES + 1_000 for transaction in plan)


@given(st.builds(entry, st.integers(0, 1023), st.just("research"), st.lists(st.text()).map(tuple)))
def test_an_agent_survives_the_way_through_consul(agent: AgentEntry) -> None:
    written: dict[str, Any] = orjson.loads(orjson.dumps(codec.put_agent(agent)))
    assert codec.agent_of(HOST, written["Service"]["Service"]) == agent


def test_services_of_others_are_left_out() -> None:
    foreign = [
        {"ID": "web", "Service": "web", "Meta": None},
        {"ID": "WEB!", "Service": "web", "Meta": {"shard": "1", "version": "1"}},
        {"ID": "web", "Service": "web", "Meta": {"shard": "x", "version": "1"}},
        {},
    ]
    assert codec.agents_of(HOST, foreign) == {}
    assert codec.agents_of(HOST, None) == {}


def node(host: str, incarnation: str) -> codec.Node:
    return codec.Node(host, incarnation, 7, {"colony": "true", "incarnation": incarnation})


def beat(host: str, incarnation: str, status: str = "passing") -> dict[str, Any]:
    return {"Service": {"ID": host, "Meta": {"incarnation": incarnation}}, "Checks": [{"Status": status}]}


def test_a_host_passes_only_when_its_own_incarnation_beats_and_nobody_flipped_it() -> None:
    checks = [{"Node": host, "Status": "passing"} for host in ("a", "c", "d")] + [{"Node": "b", "Status": "critical"}]
    nodes = [node("a", "1"), node("b", "1"), node("c", "2"), node("d", "1"), node("e", "1")]
    beats = [beat("a", "1"), beat("b", "1"), beat("c", "1"), beat("d", "1", "critical"), beat("e", "1")]
    assert codec.hosts_of(nodes, checks, beats) == [
        HostEntry(host="a", incarnation="1", passing=True),
        HostEntry(host="b", incarnation="1", passing=False),
        HostEntry(host="c", incarnation="2", passing=False),
        HostEntry(host="d", incarnation="1", passing=False),
        HostEntry(host="e", incarnation="1", passing=False),
    ]


def test_meta_of_a_host_cannot_replace_what_marks_it_as_ours() -> None:
    meta = codec.set_node("a", "1", {"colony": "false", "incarnation": "9"})["Node"]["Node"]["Meta"]
    assert (meta["colony"], meta["incarnation"]) == ("true", "1")


def test_a_damaged_summary_is_no_summary() -> None:
    good = codec.set_summary("a", "1", {"research": 2, "analysis": 0})["KV"]
    others = [{"Key": codec.SUMMARY_PREFIX + "b", "Value": value} for value in (None, "!", base64.b64encode(b"[]"))]
    assert codec.summaries_of([good, *others]) == {("a", "1"): {"research": 2}}
