from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.config.model import AgentTypeConfig, FleetConfig
from colony.contracts import AgentSpec
from colony.errors import BadInput
from colony.ids import AgentId, AgentType
from ray_app.deploy import plan_deployment, split_count, wanted_counts

FLEET = FleetConfig(
    types={
        AgentType("research"): AgentTypeConfig(count=200),
        AgentType("analysis"): AgentTypeConfig(count=100, version=2),
    }
)
SHARES = st.dictionaries(st.sampled_from([AgentType(name) for name in "abcdef"]), st.integers(0, 500), min_size=1)


@given(total=st.integers(0, 100_000), shares=SHARES)
def test_a_split_is_exact_and_proportional(total: int, shares: dict[AgentType, int]) -> None:
    whole = sum(shares.values())
    if whole == 0:
        with pytest.raises(BadInput):
            split_count(total, shares)
        return
    counts = split_count(total, shares)
    assert sum(counts.values()) == total
    for name, count in counts.items():
        assert abs(count - total * shares[name] / whole) < 1
    assert all(counts[name] == 0 for name, share in shares.items() if share == 0)


def test_counts_come_from_configuration_total_and_choice() -> None:
    assert wanted_counts(FLEET, None, {}) == {"research": 200, "analysis": 100}
    assert wanted_counts(FLEET, 30, {}) == {"research": 20, "analysis": 10}
    assert wanted_counts(FLEET, 30, {AgentType("research"): 5}) == {"research": 5, "analysis": 25}
    assert wanted_counts(FLEET, None, {AgentType("research"): 5}) == {"research": 5, "analysis": 100}
    with pytest.raises(BadInput, match="nobody"):
        wanted_counts(FLEET, None, {AgentType("nobody"): 5})
    with pytest.raises(BadInput):
        wanted_counts(FLEET, 4, {AgentType("research"): 5})


def test_a_plan_holds_only_the_difference() -> None:
    wanted = {AgentType("research"): 2, AgentType("analysis"): 2}
    known = [
        AgentSpec(agent_id=AgentId("research-00000"), agent_type=AgentType("research")),
        AgentSpec(agent_id=AgentId("research-00002"), agent_type=AgentType("research")),
        AgentSpec(agent_id=AgentId("analysis-00000"), agent_type=AgentType("analysis"), version=1),
    ]
    plan = plan_deployment(wanted, FLEET, known)
    assert [spec.agent_id for spec in plan.add] == ["research-00001", "analysis-00000", "analysis-00001"]
    assert {spec.version for spec in plan.add if spec.agent_type == "analysis"} == {2}
    assert plan.remove == ("research-00002",)
    assert plan.unchanged == 1
    done = [*plan.add, known[0]]
    again = plan_deployment(wanted, FLEET, done)
    assert (again.add, again.remove, again.unchanged) == ((), (), 4)
