from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents.base import Agent, AgentResult, AgentTask, Page
from agents.builtin import BUILTIN
from agents.coordination import Coordination
from agents.load import load_agent_class
from agents.monitoring import REMEMBERED, Monitoring
from agents.probe import Probe
from agents.processing import Processing
from agents.research import Research
from agents.skills.report import parse_report
from colony.errors import BadInput, ConfigInvalid, DeadlineExceeded, NotPermitted, Unavailable
from tests.eventually import assert_eventually
from tests.unit.agents.contexts import Bench, as_context, task


async def run(agent: Agent, work: AgentTask, bench: Bench | None = None) -> dict[str, Any]:
    result = await agent.handle(work, as_context(bench or Bench()))
    return dict(result.value)


@pytest.mark.parametrize("agent_type", sorted(BUILTIN))
async def test_built_in_types_load_and_refuse_what_they_do_not_know(agent_type: str) -> None:
    agent = load_agent_class(BUILTIN[agent_type], ("agents",))()
    assert isinstance(agent, Agent)
    assert await agent.health() == ""
    with pytest.raises(BadInput, match="Unknown action 'sing'"):
        await run(agent, task("sing", {}))


@pytest.mark.parametrize("agent_type", sorted(BUILTIN))
def test_every_action_declares_the_fields_of_its_results(agent_type: str) -> None:
    kind: Any = load_agent_class(BUILTIN[agent_type], ("agents",))
    assert kind.results.keys() == kind.actions.keys()
    assert all(fields for fields in kind.results.values())


@pytest.mark.parametrize("agent_type", sorted(set(BUILTIN) - {"probe"}))
async def test_every_action_refuses_an_empty_payload_by_field(agent_type: str) -> None:
    kind = load_agent_class(BUILTIN[agent_type], ("agents",))
    actions: dict[str, str] = kind.actions  # type: ignore[attr-defined]
    for action, description in actions.items():
        assert description
        with pytest.raises(BadInput, match=r"[Ff]ields? '"):
            await run(kind(), task(action, {}))


async def test_the_probe_waits_and_tells_from_when_until_when() -> None:
    bench = Bench()
    waiting = asyncio.create_task(run(Probe(), task("wait", {}, seconds=5), bench))

    async def ended() -> bool:
        bench.clock.advance(2.5)
        return waiting.done()

    await assert_eventually(ended)
    told = await waiting
    assert told["ended"] - told["began"] >= 5.0
    with pytest.raises(BadInput, match="'seconds'"):
        await run(Probe(), task("wait", {}, seconds=61))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("agents.analysis", "not the path of an agent"),
        ("os:system", "no package that is allowed"),
        ("agentsx.thing:Thing", "no package that is allowed"),
        ("agents.nowhere:Thing", "not installed or not on the path"),
        ("agents.analysis:Nothing", "has no Nothing"),
        ("agents.builtin:BUILTIN", "is not a class"),
        ("agents.skills.tally:Tally", "has no `async def handle`"),
        ("tests.unit.agents.broken_module:Agent", "does not import: RuntimeError: on purpose"),
        ("tests.unit.agents.broken_agents:NeedsArgument", "must take nothing"),
    ],
)
def test_a_wrong_path_says_what_is_wrong(path: str, reason: str) -> None:
    with pytest.raises(ConfigInvalid, match=reason):
        load_agent_class(path, ("agents", "tests.unit"))


async def test_clean_review_cleans_and_keeps_what_a_row_brings() -> None:
    row = {"id": 7, "text": " Caf\u00c3\u00a9 &amp; <b>bar</b> ", "rating": "4.5", "line": 3}
    value = await run(Processing(), task("clean_review", row))
    assert value == {"id": "7", "text": "Caf\u00e9 & bar", "hash": value["hash"], "rating": 4.5, "line": 3}
    unrated = await run(Processing(), task("clean_review", {"id": "8", "text": "x", "rating": ""}))
    assert "rating" not in unrated


@pytest.mark.parametrize(
    ("row", "field"), [({"text": "ok", "rating": "many"}, "rating"), ({"text": "&nbsp; ..."}, "text"), ({}, "text")]
)
async def test_clean_review_refuses_by_field(row: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput, match=f"Field '{field}'"):
        await run(Processing(), task("clean_review", row))


async def test_processing_cuts_compares_and_extracts() -> None:
    text = "Mail me at a.b@example.org by 2024-05-01. It cost $1,299.99, 20% off at https://example.org/x?y=1."
    found = await run(Processing(), task("extract", {"text": text}))
    assert found["emails"] == ["a.b@example.org"]
    assert found["urls"] == ["https://example.org/x?y=1"]
    assert found["amounts"] == ["$1,299.99"]
    assert found["percentages"] == ["20%"]
    assert found["dates"] == ["2024-05-01"]
    chunks = await run(Processing(), task("chunk", {"text": text}, size=60))
    assert [text[piece["start"] : piece["end"]] for piece in chunks["chunks"]] == [
        piece["text"] for piece in chunks["chunks"]
    ]
    same = await run(Processing(), task("deduplicate", {"texts": ["one two three", "One, two three!", "other"]}))
    assert (same["kept"], same["duplicates"]) == ([0, 2], 1)
    with pytest.raises(BadInput, match="overlap"):
        await run(Processing(), task("chunk", {"text": text}, size=50, overlap=50))


async def test_research_cites_the_exact_place_in_files_pages_and_passages() -> None:
    body = "Ants live in colonies. A colony can hold millions of ants. Bees dance."
    bench = Bench(
        files={"notes/ants.txt": body.encode()},
        pages={
            "https://example.org/": Page(
                url="", status=200, content=b"Wasps build nests.", content_type="", seconds=0.1
            )
        },
    )
    payload = {
        "query": "how many ants does a colony hold",
        "files": ["notes/ants.txt"],
        "urls": ["https://example.org/"],
        "passages": [{"source": "mine", "text": "Termites are not ants."}],
    }
    found = await run(Research(), task("extract", payload), bench)
    best = found["quotes"][0]
    assert found["searched"] == 3
    assert best["source"] == "notes/ants.txt"
    assert body[best["start"] : best["end"]] == best["text"] == "A colony can hold millions of ants."
    hits = (await run(Research(), task("search", payload, passage=80, limit=1), bench))["hits"]
    assert [hit["source"] for hit in hits] == ["notes/ants.txt"]
    summary = await run(Research(), task("summarise", {"files": ["notes/ants.txt"]}, limit=2), bench)
    assert [line["start"] for line in summary["sentences"]] == sorted(line["start"] for line in summary["sentences"])


URL = "https://shop.example.org/"


def _page(content: bytes, **changed: Any) -> Page:
    return Page(
        **{"url": URL, "status": 200, "content": content, "content_type": "text/html", "seconds": 0.2} | changed
    )


async def _check(bench: Bench, **parameters: Any) -> AgentResult:
    result = await Monitoring().handle(task("check_http", {"url": URL}, **parameters), as_context(bench))
    assert result.state is not None
    bench.state = result.state
    return result


async def test_monitoring_sees_changes_and_failures_through_its_durable_state() -> None:
    bench = Bench(pages={URL: _page(b"one")})
    first = (await _check(bench)).value
    assert (first["up"], first["changed"], first["first_seen"]) == (True, False, True)
    assert (await _check(bench)).value["changed"] is False
    bench.pages[URL] = Unavailable("no route")
    for failures in (1, 2):
        down = (await _check(bench)).value
        assert (down["up"], down["failures"]) == (False, failures)
    bench.pages[URL] = DeadlineExceeded("slow")
    assert "DeadlineExceeded" in (await _check(bench)).value["problems"][0]
    bench.pages[URL] = _page(b"two")
    back = (await _check(bench)).value
    assert (back["up"], back["changed"], back["failures"]) == (True, True, 0)
    bench.pages[URL] = NotPermitted("private address")
    with pytest.raises(NotPermitted):
        await _check(bench)


async def test_monitoring_names_every_problem() -> None:
    bench = Bench()
    ends = bench.clock.wall() + 3 * 86_400
    bench.pages[URL] = _page(b"hello", status=503, seconds=9.0, certificate_expires=ends)
    found = (await _check(bench, slow_seconds=1, contains="welcome")).value
    assert not found["up"]
    assert [problem.split(":")[0].split(" in ")[0] for problem in found["problems"]] == [
        "status 503",
        "slow",
        "expected text is missing",
        "certificate ends",
    ]


async def test_monitoring_forgets_the_oldest_address_first() -> None:
    checks = {f"https://{n}.example.org/": {"hash": "x", "checked": float(n), "failures": 0} for n in range(REMEMBERED)}
    bench = Bench(pages={URL: _page(b"one")}, state={"checks": checks})
    await _check(bench)
    assert len(bench.state["checks"]) == REMEMBERED
    assert "https://0.example.org/" not in bench.state["checks"]
    assert URL in bench.state["checks"]


async def test_coordination_plans_by_type() -> None:
    goal = "Watch https://example.org/ for changes; find how long lions sleep. Then judge the sentiment of the reviews."
    plan = await run(Coordination(), task("plan", {"goal": goal}))
    assert [entry["agent_type"] for entry in plan["tasks"]] == ["monitoring", "research", "analysis"]
    assert plan["tasks"][0]["payload"] == {"url": "https://example.org/"}
    items = await run(Coordination(), task("plan", {"items": [{"text": "Great phone"}, "https://example.org/a"]}))
    assert items["by_type"] == {"analysis": 1, "monitoring": 1}


async def test_coordination_merges_any_rows_to_a_table() -> None:
    rows = [{"city": "Rome", "n": 1}, {"city": "Oslo", "n": 2.5}, {"city": "Rome", "n": -1}]
    by_range = await run(Coordination(), task("merge", {"step": 1, "first": 0, "end": 3}), Bench(results={1: rows}))
    assert by_range == await run(Coordination(), task("merge", {"parts": rows}))
    assert by_range["values"] == {"city": {"Rome": 2, "Oslo": 1}}
    assert by_range["numbers"][0]["sum"] == 2.5
    report = await run(Coordination(), task("write_report", {"value": by_range, "title": "Cities"}))
    assert "# Cities" in report["markdown"]
    assert "| Rome | 1 |" in report["markdown"]


async def test_the_whole_way_of_reviews_from_rows_to_findings() -> None:
    analysis = load_agent_class(BUILTIN["analysis"], ("agents",))()
    texts = ["The battery life is great.", "Battery life is awful, do not buy it.", "It is a phone.", "It is a phone!"]
    rows = [
        {"id": str(n), "text": text, "rating": n % 3 * 2 - 2.0, "line": n + 2} for n, text in enumerate(texts * 120)
    ]
    clean = [await run(Processing(), task("clean_review", row)) for row in rows]
    judged = [await run(analysis, task("sentiment", row)) for row in clean]
    assert judged[0]["label"] == "positive"
    assert judged[1]["label"] == "negative"
    assert {"id", "text", "rating", "line", "hash", "phrases", "by", "baseline"} <= judged[0].keys()
    bench = Bench(results={2: judged})
    parts = [
        await run(analysis, task("aggregate_reviews", {"step": 2, "first": a, "end": min(a + 250, 480)}), bench)
        for a in (0, 250)
    ]
    assert bench.largest_read <= 200
    merged = await run(
        Coordination(), task("merge_reviews", {"step": 3, "first": 0, "end": 2}), Bench(results={3: parts})
    )
    report = parse_report(merged)
    assert (report.reviews, report.duplicates) == (480, 477)
    assert report.labels == {"positive": 120, "neutral": 240, "negative": 120}
    assert report.themes[0].phrase == "battery life"
    assert report.themes[0].count == 240
    assert report.agreement is not None
    assert report.agreement.rated == 480


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"step": 1, "first": 5, "end": 2}, "end"),
        ({"step": 1, "first": -1, "end": 2}, "first"),
        ({"step": True, "first": 0, "end": 2}, "step"),
    ],
)
async def test_a_wrong_range_is_refused_by_field(payload: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput, match=f"Field '{field}'"):
        await run(Coordination(), task("merge_reviews", payload), Bench(results={1: []}))


async def test_merge_reviews_refuses_results_of_another_action() -> None:
    bench = Bench(results={1: [{"text": "not a tally"}]})
    with pytest.raises(BadInput, match="Not a tally"):
        await run(Coordination(), task("merge_reviews", {"step": 1, "first": 0, "end": 1}), bench)
