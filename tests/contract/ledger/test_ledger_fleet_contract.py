"""Contract: desired agents, leases, shard owners, leader."""

from __future__ import annotations

from collections import Counter

import pytest

from colony.contracts import AgentSpec, Lead
from colony.errors import AlreadyExists, BadInput, Fenced
from colony.ids import SHARDS, AgentId, AgentType, shard_of
from colony.ledger.port import Ledger
from tests.contract.ledger.fleet_of_one import AGENTS, SHARDS_OF_AGENTS, LetTimePass, start_host

pytestmark = pytest.mark.contract


def spec(number: int, version: int = 1) -> AgentSpec:
    return AgentSpec(agent_id=AGENTS[number], agent_type=AgentType("analysis"), version=version)


async def test_put_agents_counts_changes_and_moves_the_version_only_then(ledger: Ledger) -> None:
    start = await ledger.fleet_version()
    assert await ledger.put_agents([spec(1), spec(0)]) == 2
    moved = await ledger.fleet_version()
    assert moved > start
    assert await ledger.put_agents([spec(0), spec(1)]) == 0
    assert await ledger.fleet_version() == moved
    assert await ledger.put_agents([spec(0), spec(1, version=2), spec(2)]) == 2
    assert await ledger.fleet_version() > moved
    assert await ledger.agents() == [spec(0), spec(1, version=2), spec(2)]


async def test_agents_of_some_shards_and_removal(ledger: Ledger) -> None:
    await ledger.put_agents([spec(number) for number in range(8)])
    wanted = {shard_of(AGENTS[3]), shard_of(AGENTS[5])}
    assert {agent.agent_id for agent in await ledger.agents(sorted(wanted))} == {
        agent_id for agent_id in AGENTS if shard_of(agent_id) in wanted
    }
    assert await ledger.agents([]) == []
    before = await ledger.fleet_version()
    assert await ledger.remove_agents([AGENTS[3], AGENTS[3]]) == 1
    assert await ledger.remove_agents([AGENTS[3]]) == 0
    assert await ledger.fleet_version() == before + 1
    assert AGENTS[3] not in {agent.agent_id for agent in await ledger.agents()}


async def test_a_lease_is_opened_once(ledger: Ledger) -> None:
    await ledger.start_lease("one", "colony-host-0", 10)
    with pytest.raises(AlreadyExists):
        await ledger.start_lease("one", "colony-host-0", 10)
    await ledger.end_lease("one", crashed=False)
    with pytest.raises(AlreadyExists):
        await ledger.start_lease("one", "colony-host-0", 10)


async def test_a_lease_that_ran_out_never_revives(ledger: Ledger, let_time_pass: LetTimePass) -> None:
    await ledger.start_lease("late", "colony-host-0", 0.05)
    await let_time_pass(0.1)
    assert not await ledger.renew_lease("late", 10)
    with pytest.raises(Fenced):
        await ledger.claim_shards("late", [1])
    found = await ledger.leases()
    assert [(lease.incarnation, lease.expires_in < 0) for lease in found] == [("late", True)]


async def test_a_renewed_lease_lives_on_and_an_ended_one_does_not(ledger: Ledger) -> None:
    await ledger.start_lease("one", "colony-host-0", 5)
    assert await ledger.renew_lease("one", 500)
    await ledger.drain_lease("one")
    lease = (await ledger.leases())[0]
    assert lease.draining
    assert 400 < lease.expires_in <= 500
    assert await ledger.end_lease("one", crashed=False)
    assert not await ledger.end_lease("one", crashed=True)
    assert not await ledger.renew_lease("one", 500)
    assert not await ledger.renew_lease("never", 500)
    assert not await ledger.end_lease("never", crashed=True)
    assert await ledger.leases() == []


async def test_shards_have_one_owner_and_each_change_a_new_epoch(ledger: Ledger) -> None:
    owners = await ledger.shard_owners()
    assert [owner.shard for owner in owners] == list(range(SHARDS))
    assert {owner.incarnation for owner in owners} == {""}
    await ledger.start_lease("one", "colony-host-0", 100)
    await ledger.start_lease("two", "colony-host-1", 100)
    first = await ledger.claim_shards("one", [3, 1, 2])
    second = await ledger.claim_shards("two", [2])
    assert second[2] == first[2] + 1
    owners = await ledger.shard_owners()
    assert [(owner.incarnation, owner.host) for owner in owners[1:4]] == [
        ("one", "colony-host-0"),
        ("two", "colony-host-1"),
        ("one", "colony-host-0"),
    ]
    await ledger.release_shards("one", [1, 2])
    owners = await ledger.shard_owners()
    assert (owners[1].incarnation, owners[1].host, owners[1].epoch) == ("", "", first[1] + 1)
    assert (owners[2].incarnation, owners[2].epoch) == ("two", second[2])


async def test_claiming_a_shard_that_does_not_exist_is_refused(ledger: Ledger) -> None:
    await ledger.start_lease("one", "colony-host-0", 100)
    with pytest.raises(BadInput):
        await ledger.claim_shards("one", [0, SHARDS])


async def test_the_end_of_a_lease_frees_its_shards(ledger: Ledger) -> None:
    host = await start_host(ledger)
    assert await ledger.end_lease(host.incarnation, crashed=True)
    for owner in await ledger.shard_owners():
        if owner.shard in SHARDS_OF_AGENTS:
            assert (owner.incarnation, owner.host, owner.epoch) == ("", "", host.epochs[owner.shard] + 1)


async def test_one_leader_at_a_time_and_a_new_term_for_each(ledger: Ledger, let_time_pass: LetTimePass) -> None:
    term = await ledger.lead("reconciler", "a", 2.0)
    assert term is not None
    assert await ledger.lead("reconciler", "a", 2.0) == term
    assert await ledger.lead("reconciler", "b", 2.0) is None
    assert await ledger.lead("something-else", "b", 0.2) is not None
    assert await ledger.leads("reconciler", "a", term)
    assert await ledger.is_led("reconciler")
    assert not await ledger.is_led("nothing")
    assert not await ledger.leads("reconciler", "b", term)
    await let_time_pass(2.1)
    assert not await ledger.leads("reconciler", "a", term)
    assert not await ledger.is_led("reconciler")
    taken = await ledger.lead("reconciler", "b", 100)
    assert taken is not None
    assert taken == term + 1
    assert await ledger.lead("reconciler", "a", 100) is None
    assert not await ledger.leads("reconciler", "a", term)
    assert await ledger.leads("reconciler", "b", taken)


async def test_a_lease_is_ended_only_by_who_leads_now(ledger: Ledger, let_time_pass: LetTimePass) -> None:
    await ledger.start_lease("one", "colony-host-0", 600)
    epochs = await ledger.claim_shards("one", [1])
    term = await ledger.lead("reconciler", "a", 0.2)
    assert term is not None
    for wrong in (Lead("reconciler", "b", term), Lead("reconciler", "a", term + 1), Lead("other", "a", term)):
        with pytest.raises(Fenced):
            await ledger.end_lease("one", crashed=True, lead=wrong)
    await let_time_pass(0.3)
    with pytest.raises(Fenced):
        await ledger.end_lease("one", crashed=True, lead=Lead("reconciler", "a", term))
    assert [lease.incarnation for lease in await ledger.leases()] == ["one"]
    assert (await ledger.shard_owners())[1].epoch == epochs[1]
    later = await ledger.lead("reconciler", "b", 100)
    assert later is not None
    assert await ledger.end_lease("one", crashed=True, lead=Lead("reconciler", "b", later))
    assert not await ledger.end_lease("one", crashed=True, lead=Lead("reconciler", "b", later))


async def test_ping_answers(ledger: Ledger) -> None:
    assert await ledger.ping() >= 0


async def test_the_fleet_is_counted(ledger: Ledger) -> None:
    size = await ledger.fleet_size()
    assert (size.agents, size.hosts) == (0, 0)
    await ledger.put_agents([AgentSpec(agent_id=AGENTS[0], agent_type=AgentType("probe"))])
    await ledger.start_lease("incarnation-1", "colony-host-0", 10.0)
    size = await ledger.fleet_size()
    assert (size.agents, size.hosts) == (1, 1)
    await ledger.end_lease("incarnation-1", crashed=False)
    assert (await ledger.fleet_size()).hosts == 0


async def test_desired_agents_are_counted_by_type_and_shard(ledger: Ledger) -> None:
    assert await ledger.agent_counts() == {}
    research, probe = AgentType("research"), AgentType("probe")
    agents = [AgentSpec(agent_id=AgentId(f"r-{number}"), agent_type=research) for number in range(3000)]
    await ledger.put_agents([*agents, AgentSpec(agent_id=AgentId("p-0"), agent_type=probe)])
    assert await ledger.agent_counts() == {
        research: dict(Counter(shard_of(spec.agent_id) for spec in agents)),
        probe: {shard_of(AgentId("p-0")): 1},
    }
