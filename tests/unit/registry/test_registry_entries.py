from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.errors import BadInput
from colony.ids import AgentId, AgentType
from colony.registry.entries import CONFIG_PREFIX, add_counts, by_id, config_key, count_types, difference
from colony.registry.port import AgentEntry

HOST = "colony-host-0"


def entry(number: int, kind: str, version: int) -> AgentEntry:
    return AgentEntry(
        agent_id=AgentId(f"a{number}"), agent_type=AgentType(kind), host=HOST, shard=number, version=version
    )


entries = st.builds(entry, st.integers(0, 15), st.sampled_from(["research", "analysis"]), st.integers(1, 2))
publications = st.lists(entries, unique_by=lambda agent: agent.agent_id).map(lambda agents: by_id(HOST, agents))


@given(publications, publications)
def test_a_difference_turns_the_one_into_the_other_and_touches_nothing_else(
    before: dict[AgentId, AgentEntry], after: dict[AgentId, AgentEntry]
) -> None:
    change = difference(before, after)
    reached = {**before, **{agent.agent_id: agent for agent in change.put}}
    for agent in change.remove:
        del reached[agent.agent_id]
    assert reached == after
    assert not any(before.get(agent.agent_id) == agent for agent in change.put)
    assert change.size <= len(before) + len(after)


@given(publications, publications)
def test_counts_add_up(one: dict[AgentId, AgentEntry], two: dict[AgentId, AgentEntry]) -> None:
    total = add_counts([count_types(one.values()), count_types(two.values())])
    assert sum(total.values()) == len(one) + len(two)
    assert list(total) == sorted(total)
    assert all(total.values())


@pytest.mark.parametrize("key", ["a", "limits/rate", "a.b/c-d_e", "A/1"])
def test_plain_configuration_keys_are_taken(key: str) -> None:
    assert config_key(key) == CONFIG_PREFIX + key


@pytest.mark.parametrize(
    "key", ["", "/", "a/", "/a", "a//b", "../x", "a/../b", ".", "a b", "a?x=1", "a#b", "a%2f", "ä", "a\n", "a" * 201]
)
def test_keys_that_could_mean_something_else_are_refused(key: str) -> None:
    with pytest.raises(BadInput):
        config_key(key)
