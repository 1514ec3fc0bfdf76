"""`content_creation` with everything real but Ray: Temporal, a NATS server, two hosts, and all the ways agents talk."""

from __future__ import annotations

import io
import json
import shutil
import uuid
import zipfile
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from agents.base import Agent
from agents.builtin import BUILTIN
from agents.content_choice import TOPIC
from agents.load import load_agent_class
from colony.config.model import AgentTypeConfig, Config, FleetConfig
from colony.contracts import AgentSpec
from colony.ids import SHARDS, AgentId, AgentType, agent_name, shard_of, topic_subject
from colony.ledger.transcripts import Said, TranscriptEntry
from colony.memory.contracts import Scope, ScopeKind
from colony.messaging.nats import open_messenger
from colony.messaging.port import Envelope
from ray_app.host import Host, open_host
from tests.documents import ROOT
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Colony, Opens
from tests.integration.workflows.test_group_over_nats import OnHosts
from tests.servers.nats import NatsServer, nats_server
from workflows.client import await_job, start_job

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

TYPES = ("research", "processing", "analysis", "coordination")
POSTS = 12


def loader(name: AgentType, _config: AgentTypeConfig) -> type[Agent]:
    return load_agent_class(BUILTIN[name], ["agents"])


class Newsroom:
    """The colony, and what people hear who listen to its topics."""

    def __init__(self, here: Colony, server: NatsServer) -> None:
        self.here = here
        self.server = server
        self.heard: list[tuple[str, str, str]] = []

    def hear(self, subject: str, envelope: Envelope, reply: object) -> None:
        self.heard.append((subject, envelope.kind, str(envelope.payload.get("title"))))

    async def writes(self, **parameters: Any) -> tuple[int, dict[str, bytes]]:
        """A job over the garden: its number and its files."""
        name = f"posts-{uuid.uuid4().hex[:8]}"
        given = {"source": "topics.csv", "corpus": "corpus", "parameters": parameters}
        await start_job(self.here.client, "content_creation", given, name)
        result = await await_job(self.here.client, name, timeout=90)
        return result.job, {each.name: each.content for each in await self.here.ledger.artifacts(result.job)}

    async def transcript(self, job: int, least: Mapping[Said, int]) -> Sequence[TranscriptEntry]:
        """All that was said, at least so much of each kind; hosts write it a moment later, each what it knows."""

        async def written() -> Sequence[TranscriptEntry]:
            entries = await self.here.ledger.transcript(job, 10_000)
            return entries if Counter(entry.kind for entry in entries) >= Counter(least) else []

        return await assert_eventually(written, 30)


@asynccontextmanager
async def newsroom(colony: Opens) -> AsyncGenerator[Newsroom]:
    runner = OnHosts()
    types = {AgentType(name): AgentTypeConfig(count=4) for name in TYPES}
    config = Config(fleet=FleetConfig(hosts=2, lease_seconds=60, types=types))
    names = [agent_name(AgentType(kind), number) for kind in TYPES for number in range(8)]
    specs = [AgentSpec(agent_id=name, agent_type=AgentType(name.rpartition("-")[0])) for name in names]
    # Those with an odd number live on the other host: they answer there, and have no tasks.
    apart = {shard_of(name) for number, name in enumerate(names) if number % 2}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        here = await stack.enter_async_context(colony({}, wrap=lambda _: runner))
        shutil.copytree(ROOT / "examples" / "garden" / "corpus", here.folder / "corpus")
        shutil.copy(ROOT / "examples" / "garden" / "topics.csv", here.folder)
        await here.ledger.put_agents(specs)
        hosts: list[Host] = []
        for slot in range(2):
            bus = await stack.enter_async_context(open_messenger(server.endpoint, role="host", name=f"host {slot}"))
            opened = open_host(
                slot, f"incarnation-{slot}", here.ledger, bus, None, config, loader, data_roots=[str(here.folder)]
            )
            hosts.append(await stack.enter_async_context(opened))
        await hosts[0].assign([shard for shard in range(SHARDS) if shard not in apart])
        await hosts[1].assign(sorted(apart))
        runner.hosts = hosts
        room = Newsroom(here, server)
        people = await stack.enter_async_context(open_messenger(server.endpoint, role="client", name="people"))
        await people.subscribe_raw("colony.topic.>", room.hear)
        yield room


async def test_a_newsroom_uses_every_way_to_talk(colony: Opens) -> None:
    async with newsroom(colony) as room:
        job, found = await room.writes()
        index = found["index.md"].decode()
        title = index.partition("## Editors' choice\n\n**[")[2].partition("]")[0]
        assert title, index
        # A word to a topic for each post, three nominations and a decision, one author told for sure, a hand-off.
        said = await room.transcript(
            job, {Said.PUBLISH: POSTS, Said.ASK: 4, Said.DELIVER: 1, Said.TELL: 1, Said.HAND_OFF: 1}
        )
        counts = Counter(entry.kind for entry in said)
        assert [entry for entry in said if entry.error] == []
        assert counts[Said.PUBLISH] == POSTS
        assert {(entry.peer, entry.subject) for entry in said if entry.kind == Said.PUBLISH} == {
            (f"topic:{TOPIC}", "post_ready")
        }
        turns = [entry.subject for entry in said if entry.kind == Said.ASK]
        assert turns == ["nominate_post"] * 3 + ["choose_lead"], "the group"
        (delivered,) = [entry for entry in said if entry.kind == Said.DELIVER]
        assert (delivered.subject, json.loads(delivered.request)["title"]) == ("hear_choice", title)
        told = [entry for entry in said if entry.kind == Said.TELL]
        assert 1 <= len(told) <= 8
        assert {entry.subject for entry in told} == {"hear_choice"}
        assert delivered.peer not in {entry.peer for entry in told}
        (handed,) = [entry for entry in said if entry.kind == Said.HAND_OFF]
        assert (handed.peer, handed.subject) == ("type:processing", "write_teaser")
        assert set(counts) == {Said.PUBLISH, Said.ASK, Said.DELIVER, Said.TELL, Said.HAND_OFF}
        await assert_eventually(lambda: len(room.heard) == POSTS)
        assert {(subject, kind) for subject, kind, _ in room.heard} == {(topic_subject(TOPIC), "post_ready")}
        assert title in {heard for _, _, heard in room.heard}
        await remembers(room, AgentId(delivered.peer), title)
        with zipfile.ZipFile(io.BytesIO(found["posts.zip"])) as archive:
            assert len(archive.namelist()) == POSTS


async def remembers(room: Newsroom, author: AgentId, title: str) -> None:
    """The author of the chosen post keeps what it was told."""

    async def kept() -> bool:
        entries = await room.here.ledger.memories(Scope(ScopeKind.AGENT, author))
        return [title in each.text and each.text.startswith("My post") for each in entries] == [True]

    await assert_eventually(kept, 30)


async def test_posts_are_whole_when_the_bus_is_gone(colony: Opens) -> None:
    """Nobody can be asked, so nothing leads the index."""
    async with newsroom(colony) as room:
        await room.server.kill()
        job, found = await room.writes(choose={"turn_seconds": 0.5})
        with zipfile.ZipFile(io.BytesIO(found["posts.zip"])) as archive:
            assert len(archive.namelist()) == POSTS
        assert "Editors' choice" not in found["index.md"].decode()
        assert "12 of 12 posts passed all checks" in found["quality.md"].decode()
        assert "Topics that became no post" not in found["quality.md"].decode()
        plan = await room.here.ledger.plan(job)
        failed = {plan.steps[letter.step].name for letter in await room.here.ledger.dead_letters(job)}
        assert failed == {"choose"}
