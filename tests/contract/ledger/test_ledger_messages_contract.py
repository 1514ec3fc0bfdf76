"""Contract: durable messages."""

from __future__ import annotations

import asyncio

import pytest

from colony.contracts import AgentSpec, DurableMessage, StateRow
from colony.errors import Fenced, NotFound
from colony.ids import AgentType, Id, shard_of
from colony.ledger.port import Ledger
from tests.contract.ledger.fleet_of_one import AGENTS, SHARDS_OF_AGENTS, Host, start_host

pytestmark = pytest.mark.contract


def message(name: str, agent: int = 0) -> DurableMessage:
    return DurableMessage(
        message_id=name, agent_id=AGENTS[agent], kind=Id("note"), payload={"text": "\x00\u20ac"}, sender="test"
    )


@pytest.fixture
async def host(ledger: Ledger) -> Host:
    await ledger.put_agents([AgentSpec(agent_id=agent_id, agent_type=AgentType("analysis")) for agent_id in AGENTS])
    return await start_host(ledger)


async def test_a_message_is_kept_once_and_read_in_order(ledger: Ledger, host: Host) -> None:
    for name in ("m-2", "m-1", "m-3"):
        assert await ledger.put_message(message(name))
    assert await ledger.put_message(message("other", agent=1))
    assert not await ledger.put_message(message("m-1"))
    found = await ledger.open_messages([shard_of(AGENTS[0])])
    assert found == [message("m-2"), message("m-1"), message("m-3")]
    assert await ledger.open_messages(SHARDS_OF_AGENTS, limit=2) == found[:2]
    assert await ledger.open_messages([]) == []
    assert await ledger.open_messages(SHARDS_OF_AGENTS, after="m-1") == [found[2], message("other", agent=1)]
    assert await ledger.open_messages(SHARDS_OF_AGENTS, 1, after="nobody \x00") == found[:1]
    await ledger.finish_message("m-1", host.incarnation, host.epochs, None)
    assert await ledger.open_messages(SHARDS_OF_AGENTS, 1, after="m-1") == found[2:]


async def test_a_message_remembers_the_task_it_was_sent_for(ledger: Ledger, host: Host) -> None:
    sent = [message("m").model_copy(update={"origin": "7/3/0/1/run-1"}), message("none", agent=1)]
    for each in sent:
        await ledger.put_message(each)
    assert await ledger.open_messages(SHARDS_OF_AGENTS) == sent
    await ledger.finish_message("m", host.incarnation, host.epochs, None, error="Permanent", reason="no")
    (dead,) = await ledger.dead_messages()
    assert dead.message == sent[0]
    await ledger.put_message(message("odd").model_copy(update={"origin": "a\x00b\ud800"}))
    assert "\x00" not in (await ledger.open_messages([shard_of(AGENTS[0])]))[0].origin


async def test_a_message_to_nobody_is_refused(ledger: Ledger, host: Host) -> None:
    await ledger.remove_agents([AGENTS[2]])
    with pytest.raises(NotFound):
        await ledger.put_message(message("m", agent=2))
    with pytest.raises(NotFound):
        await ledger.finish_message("m", host.incarnation, host.epochs, None)


async def test_a_message_takes_effect_exactly_once(ledger: Ledger, host: Host) -> None:
    await ledger.put_message(message("m"))
    tries = await asyncio.gather(
        *(
            ledger.finish_message("m", host.incarnation, host.epochs, StateRow(AGENTS[0], b"%d" % number))
            for number in range(4)
        )
    )
    assert sorted(tries) == [False, False, False, True]
    assert await ledger.states([AGENTS[0]]) == {AGENTS[0]: b"%d" % tries.index(True)}
    assert await ledger.open_messages(SHARDS_OF_AGENTS) == []
    assert not await ledger.put_message(message("m"))
    assert await ledger.open_messages(SHARDS_OF_AGENTS) == []


async def test_a_message_may_be_done_without_a_state(ledger: Ledger, host: Host) -> None:
    await ledger.put_message(message("m"))
    assert await ledger.finish_message("m", host.incarnation, host.epochs, None)
    assert await ledger.states([AGENTS[0]]) == {}


async def test_a_fenced_host_finishes_no_message(ledger: Ledger, host: Host) -> None:
    await ledger.put_message(message("m"))
    await ledger.start_lease("new", "colony-host-1", 600)
    await ledger.claim_shards("new", [shard_of(AGENTS[0])])
    with pytest.raises(Fenced):
        await ledger.finish_message("m", host.incarnation, host.epochs, StateRow(AGENTS[0], b"lost"))
    with pytest.raises(Fenced):
        await ledger.finish_message("m", host.incarnation, {}, None)
    assert await ledger.open_messages(SHARDS_OF_AGENTS) == [message("m")]
    assert await ledger.states([AGENTS[0]]) == {}


async def test_a_message_is_suspect_once_for_each_host_that_died_of_it(ledger: Ledger, host: Host) -> None:
    await ledger.put_message(message("m"))
    await ledger.put_message(message("other", agent=1))
    assert await ledger.start_messages(["m", "other", "nobody"], host.incarnation, 2) == {"m": 0, "other": 0}
    assert await ledger.start_messages(["m"], host.incarnation, 2) == {"m": 0}
    await ledger.stop_messages(["other", "nobody"], host.incarnation)
    await ledger.end_lease(host.incarnation, crashed=True)
    second = await start_host(ledger, "second")
    assert await ledger.start_messages(["m", "other"], "second", 2) == {"m": 1, "other": 0}
    await ledger.end_lease("second", crashed=True)
    third = await start_host(ledger, "third")
    assert await ledger.start_messages(["m"], "third", 2) == {"m": 2}, "not noted: it must run alone"
    await ledger.end_lease("third", crashed=True)
    last = await start_host(ledger, "last")
    assert await ledger.start_messages(["m"], "last", 3) == {"m": 2}
    assert await ledger.finish_message("m", "last", last.epochs, None)
    assert await ledger.start_messages(["m"], "last", 3) == {}
    assert second.epochs.keys() == third.epochs.keys()


async def test_a_host_that_ended_well_makes_nothing_suspect(ledger: Ledger, host: Host) -> None:
    await ledger.put_message(message("m"))
    await ledger.start_messages(["m"], host.incarnation, 2)
    await ledger.end_lease(host.incarnation, crashed=False)
    await start_host(ledger, "second")
    assert await ledger.start_messages(["m"], "second", 2) == {"m": 0}


async def test_two_hosts_may_note_the_same_messages_at_once(ledger: Ledger, host: Host) -> None:
    names = [f"m-{number}" for number in range(40)]
    for name in names:
        await ledger.put_message(message(name))
    for _ in range(5):
        await asyncio.gather(
            ledger.start_messages(names, "a", 2),
            ledger.start_messages(names[::-1], "b", 2),
            ledger.stop_messages(names[::-1], "a"),
            ledger.stop_messages(names, "b"),
        )
    assert await ledger.start_messages(names, "a", 2) == dict.fromkeys(names, 0)


async def test_messages_that_failed_are_remembered(ledger: Ledger, host: Host) -> None:
    for number, name in enumerate(("fine", "first", "second")):
        await ledger.put_message(message(name, agent=number))
    await ledger.finish_message("fine", host.incarnation, host.epochs, None)
    for name in ("first", "second"):
        await ledger.finish_message(name, host.incarnation, host.epochs, None, error="HostCrashed", reason="\x00!")
    found = await ledger.dead_messages()
    assert [(dead.message, dead.error, dead.reason) for dead in found] == [
        (message("second", agent=2), "HostCrashed", "\ufffd!"),
        (message("first", agent=1), "HostCrashed", "\ufffd!"),
    ]
    assert await ledger.dead_messages(1) == found[:1]
    assert await ledger.dead_messages(after="second") == found[1:]
    assert await ledger.dead_messages(after="first") == await ledger.dead_messages(after="nobody") == []
