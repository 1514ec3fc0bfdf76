"""What agents remember in a job: found again, used, never in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.analysis import Analysis
from agents.base import AgentTask
from agents.coordination import Coordination
from agents.processing import Processing
from agents.recollection import Draft, remember_post
from agents.research import Research
from agents.skills.content_post import Passage, Post, Section, Sentence
from colony.clock import ManualClock
from colony.config.memory import MemoryConfig
from colony.errors import BadInput, BudgetSpent, ColonyError, ModelRefused, NoMemory, Unavailable
from colony.ledger.memory import MemoryLedger
from colony.llm.port import Caller
from colony.memory.agent_memory import AgentMemory, MemoryParts, Rememberer, local_memory
from colony.memory.contracts import Vector
from colony.memory.hashing import HashingEmbedder
from tests.unit.agents.contexts import Bench, as_context

GARDEN = Path(__file__).parents[3] / "examples" / "garden" / "corpus"
FILES = {f"corpus/{path.name}": path.read_bytes() for path in GARDEN.glob("*.md")}
Value = dict[str, Any]


def work(action: str, payload: Mapping[str, Any], seq: int = 0, step: int = 1, **parameters: Any) -> AgentTask:
    return AgentTask(
        action=action, payload=payload, parameters=parameters, job=1, job_key="job-key", step=step, seq=seq
    )


async def post(bench: Bench, topic: str, seq: int, **parameters: Any) -> tuple[Value, Value, Value]:
    """Passages, first draft and check of a topic."""
    ctx = as_context(bench)
    found = await Research().handle(work("gather", {"topic": topic}, seq, corpus="corpus"), ctx)
    draft = await Processing().handle(work("draft_post", found.value, seq, 2, **parameters), ctx)
    check = await Analysis().handle(work("check_post", draft.value, seq, 3, **parameters), ctx)
    return dict(found.value), dict(draft.value), dict(check.value)


async def revised(bench: Bench, value: Value, seq: int, **parameters: Any) -> Value:
    done = await Processing().handle(work("revise_post", value, seq, 4, **parameters), as_context(bench))
    return dict(done.value)


async def assembled(posts: Sequence[Value], **parameters: Any) -> Value:
    asked = work("assemble_posts", {"step": 4, "first": 0, "end": len(posts)}, 0, 5, **parameters)
    return dict((await Coordination().handle(asked, as_context(Bench(results={4: posts})))).value)


def cited(value: Value) -> set[tuple[str, int]]:
    parts = [value["post"]["lead"], *value["post"]["sections"]]
    numbers = {line["cites"] for part in parts for line in part["sentences"]}
    return {(each["source"], each["place"]) for each in value["passages"] if each["number"] in numbers}


# --- research


async def test_what_one_agent_cited_another_finds_again() -> None:
    bench = Bench(files=FILES)
    wanted = {"query": "how to stop slugs", "files": ["corpus/slugs.md", "corpus/soil.md"]}
    asked = work("search", wanted, remember=True)
    hits = (await Research().handle(asked, as_context(bench))).value["hits"]
    again = await Research().handle(work("recall", {"query": "slugs at night"}), as_context(bench))
    best = again.value["hits"][0]
    assert {"source": best["source"], "start": best["start"], "text": best["text"]} in [
        {name: hit[name] for name in ("source", "start", "text")} for hit in hits
    ]
    assert best["source"] == "corpus/slugs.md"
    nothing = await Research().handle(work("recall", {"query": "interest rates of banks"}), as_context(bench))
    assert nothing.value["hits"] == []


@pytest.mark.parametrize("action", ["search", "extract"])
async def test_a_step_that_does_not_ask_for_it_writes_nothing_to_memory(action: str) -> None:
    ledger = MemoryLedger(ManualClock())
    bench = Bench(files=FILES, memory=local_memory(ledger, Caller(agent="a", job="job-key")))
    payload = {"query": "slugs", "files": ["corpus/slugs.md"]}
    await Research().handle(work(action, payload), as_context(bench))
    assert await ledger.memory_scopes() == []
    await Research().handle(work(action, payload, remember=True), as_context(bench))
    assert await ledger.memory_scopes() != []


async def test_a_passage_is_remembered_once_however_many_topics_it_is_for() -> None:
    ledger = MemoryLedger(ManualClock())
    bench = Bench(files=FILES, memory=local_memory(ledger, Caller(agent="a", job="job-key")))
    for topic in ("making compost", "making compost", "compost for tomatoes"):
        await Research().handle(work("gather", {"topic": topic}, corpus="corpus"), as_context(bench))
    (size,) = await ledger.memory_scopes()
    assert str(size.scope) == "job:job-key"
    passages = await ledger.memories(size.scope, 1000)
    places = [(each.data["source"], each.data["place"]) for each in passages]
    assert len(places) == len(set(places)) == size.entries


async def test_work_outside_of_a_job_is_not_remembered() -> None:
    ledger = MemoryLedger(ManualClock())
    bench = Bench(files=FILES, memory=local_memory(ledger, Caller(agent="a")))
    given = {"query": "slugs", "files": ["corpus/slugs.md"]}
    message = AgentTask(action="search", payload=given, parameters={"remember": True})
    assert (await Research().handle(message, as_context(bench))).value["hits"]
    recall = AgentTask(action="recall", payload={"query": "slugs"})
    assert (await Research().handle(recall, as_context(bench))).value["hits"] == []
    assert await ledger.memory_scopes() == []


# --- posts


async def test_a_second_post_says_something_else_where_there_is_something_else_to_say() -> None:
    alone = Bench(files=FILES)
    _, before, _ = await post(alone, "watering in dry weather", 1, least_words=60, words=120)
    bench = Bench(files=FILES)
    _, first, _ = await post(bench, "watering and dry weather", 0, least_words=60, words=120)
    _, second, check = await post(bench, "watering in dry weather", 1, least_words=60, words=120)
    assert cited(before) & cited(first), "they would have said the same"
    assert check["alike"] is None
    assert cited(second) != cited(before)


async def test_a_copy_is_found_and_done_again_and_held_back_in_the_end_if_it_stays_one() -> None:
    bench = Bench(files={"corpus/slugs.md": FILES["corpus/slugs.md"]})
    _, _, first = await post(bench, "slugs", 0, least_words=40)
    _, _, second = await post(bench, "slugs and snails", 1, least_words=40)
    assert first["check"]["faults"] == []
    assert second["check"]["faults"] == ["alike"]
    assert second["alike"]["title"] == "Slugs"
    last = await revised(bench, second, 1, least_words=40)
    assert last["check"]["faults"] == [], "what stands is decided when all are there"
    done = [await revised(bench, first, 0, least_words=40), last]
    for at_once, held in ((0.5, "-x"), (1, "--")):
        whole = await assembled(done, most_alike=at_once)
        assert (whole["held"], whole["collection"]["passed"]) == (held, held.count("-"))


async def test_a_retry_that_remembers_nothing_holds_back_the_same_copies() -> None:
    bench, retried = (Bench(files={"corpus/slugs.md": FILES["corpus/slugs.md"]}) for _ in range(2))
    topics = ("slugs", "slugs and snails", "snails")
    drafts = [(await post(bench, topic, seq, least_words=40))[1] for seq, topic in enumerate(topics)]
    held: list[str] = []
    for place in (bench, retried):
        checks = [
            (await Analysis().handle(work("check_post", draft, seq, 3, least_words=40), as_context(place))).value
            for seq, draft in enumerate(drafts)
        ]
        done = [await revised(place, dict(check), seq, least_words=40) for seq, check in enumerate(checks)]
        held.append((await assembled(done))["held"])
    assert held[0] == held[1]
    assert "x" in held[0]


async def test_drafting_again_does_not_find_itself() -> None:
    bench = Bench(files=FILES)
    _, draft, check = await post(bench, "making compost", 5)
    _, again, _ = await post(bench, "making compost", 5)
    assert again["post"] == draft["post"]
    assert check["alike"] is None


async def test_the_bound_of_likeness_is_a_parameter() -> None:
    bench = Bench(files={"corpus/slugs.md": FILES["corpus/slugs.md"]})
    for seq, topic in enumerate(("slugs", "slugs and snails")):
        _, _, check = await post(bench, topic, seq, least_words=40, most_alike=1)
        assert check["check"]["faults"] == []


async def test_a_post_that_is_too_short_is_given_what_was_read_for_others() -> None:
    bench = Bench(files=FILES)
    await post(bench, "mulch, watering and dry soil", 0)
    found, draft, _ = await post(bench, "mulch", 1, words=60, least_words=30)
    figures = {"words": 20, "sentences": 2, "ease": 60, "traced": 1, "repeated": 0, "sources": 1}
    short = {**draft, "passages": found["passages"][:1], "check": {**figures, "faults": ["short"]}}
    last = await revised(bench, short, 1, least_words=100)
    assert len(last["passages"]) > 1
    assert [each["number"] for each in last["passages"]] == list(range(1, len(last["passages"]) + 1))
    assert last["check"]["traced"] == 1.0
    assert last["check"]["words"] > 30


async def test_values_of_a_version_before_memory_go_through() -> None:
    bench = Bench(files=FILES)
    _, draft, _ = await post(bench, "making compost", 0)
    old = {name: draft[name] for name in ("topic", "passages", "post")}
    check = await Analysis().handle(work("check_post", old, 0, 3), as_context(bench))
    assert (await revised(bench, dict(check.value), 0))["check"]["faults"] == []


# --- what cannot be kept as it is


async def test_characters_that_no_database_keeps_do_not_fail_a_task() -> None:
    bench = Bench()
    passages = [{"source": "a\0\ud800", "text": "Slugs eat\0 lettuce \ud800 at night."}, "Worms eat leaves."]
    asked = work("search", {"query": "slugs lettuce worms", "passages": passages}, remember=True)
    assert len((await Research().handle(asked, as_context(bench))).value["hits"]) == 2
    found = await Research().handle(work("recall", {"query": "Slugs eat lettuce"}), as_context(bench))
    assert found.value["hits"][0]["text"] == "Slugs eat\ufffd lettuce ? at night."


async def test_what_is_too_long_to_be_kept_is_left_out_and_the_rest_is_remembered() -> None:
    bench = Bench()
    passages = [{"source": "s" * 20_000, "text": "Slugs eat lettuce at night."}, "Slugs eat leaves at night."]
    asked = work("search", {"query": "slugs", "passages": passages}, remember=True)
    assert len((await Research().handle(asked, as_context(bench))).value["hits"]) == 2
    found = await Research().handle(work("recall", {"query": "slugs at night"}), as_context(bench))
    assert [hit["text"] for hit in found.value["hits"]] == ["Slugs eat leaves at night."]


async def test_passages_of_one_long_address_are_kept_apart() -> None:
    bench = Bench()
    text = "Slugs eat lettuce at night, when it is damp. " * 3 + "Worms eat leaves that fall in autumn. " * 3
    asked = work(
        "search",
        {"query": "slugs worms", "passages": [{"source": "s" * 600, "text": text}]},
        passage=140,
        overlap=0,
        remember=True,
    )
    hits = (await Research().handle(asked, as_context(bench))).value["hits"]
    assert len(await bench.memory.search("slugs worms", least=-1.0, limit=9)) == len(hits) > 1


async def test_a_post_of_long_citations_is_remembered_with_as_many_as_fit() -> None:
    lines = [[" ".join(f"w{part}x{line}y{word}" for word in range(100)) for line in range(30)] for part in range(2)]
    bench = Bench()
    for seq, said in enumerate((lines[0], lines[0][:20] + lines[1][:10])):
        sentences = tuple(Sentence(text=text, cites=number) for number, text in enumerate(said))
        passages = [
            Passage(
                number=number,
                source=f"{number} {'é' * 900}",
                title="",
                heading="",
                line=1,
                place=number,
                opens=False,
                text=text,
                score=1.0,
            )
            for number, text in enumerate(said)
        ]
        one = Post(title="Long" * 500, date="2026-01-01", lead=Section(sentences=sentences))
        await remember_post(work("draft_post", {}), as_context(bench), Draft(1, seq), one, passages)
    kept = await bench.memory.search(lines[0][0], label="post")
    assert len(kept) == 2
    assert all(1 <= len(each.data["passages"]) < 30 for each in kept)


# --- without a memory


class Refusing(HashingEmbedder):
    """Fails as a model of embeddings may."""

    def __init__(self, error: ColonyError) -> None:
        super().__init__(64)
        self._error = error

    async def embed(self, texts: Sequence[str], caller: Caller, timeout: float) -> list[Vector]:
        raise self._error


def memory_with(error: ColonyError, **settings: Any) -> AgentMemory:
    config = MemoryConfig.model_validate(settings)
    parts = MemoryParts(MemoryLedger(ManualClock()), Refusing(error), config)
    return AgentMemory(parts, Rememberer(Caller(agent="a", job="job-key"), lambda: 60.0, lambda: None))


@pytest.mark.parametrize(
    "memory",
    [
        memory_with(NoMemory("no pgvector")),
        memory_with(ModelRefused("no such model")),
        memory_with(BudgetSpent("no tokens")),
        memory_with(BadInput("no such text")),
        memory_with(Unavailable("never asked"), enabled=False),
    ],
    ids=["no pgvector", "refused", "no budget", "not taken", "switched off"],
)
async def test_work_goes_on_without_a_memory(memory: AgentMemory) -> None:
    with_memory, without = Bench(files=FILES), Bench(files=FILES, memory=memory)
    _, expected, _ = await post(with_memory, "making compost", 0)
    _, draft, check = await post(without, "making compost", 0)
    assert draft["post"] == expected["post"]
    assert check["check"]["faults"] == []
    asked = work("search", {"query": "slugs", "files": ["corpus/slugs.md"]}, remember=True)
    assert (await Research().handle(asked, as_context(without))).value["hits"]
    recall = await Research().handle(work("recall", {"query": "slugs"}), as_context(without))
    assert recall.value == {"query": "slugs", "hits": []}


async def test_a_memory_that_may_come_back_is_tried_again_by_the_workflow() -> None:
    bench = Bench(files=FILES, memory=memory_with(Unavailable("Postgres is away")))
    with pytest.raises(Unavailable):
        await post(bench, "making compost", 0)
