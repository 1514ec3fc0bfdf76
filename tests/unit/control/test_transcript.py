"""`colony job ID --transcript`: for people in 80 columns, for programs page by page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from typer.testing import CliRunner

from colony.clock import ManualClock
from colony.errors import BadInput, NotFound
from colony.ledger.memory import MemoryLedger
from colony.ledger.transcripts import Said, TranscriptEntry
from control import session
from control.cli import build_app
from tests.contract.ledger.fleet_of_one import open_job
from tests.contract.ledger.test_ledger_transcripts_contract import said


class Stage:
    """A ledger, and the command on it."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger(ManualClock())
        self.job = asyncio.run(open_job(self.ledger)).job

    def write(self, *entries: TranscriptEntry) -> None:
        asyncio.run(self.ledger.write_transcript(entries))

    def said(self, number: int = 0, **fields: Any) -> TranscriptEntry:
        return said(self.job, number, **fields)

    def shown(self, *options: str) -> str:
        command = ["job", str(self.job), "--transcript", *options]
        return CliRunner().invoke(build_app(), command, catch_exceptions=False).output

    def page(self, *options: str) -> dict[str, Any]:
        return json.loads(self.shown("--json", *options))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    found = Stage()

    @asynccontextmanager
    async def here() -> AsyncGenerator[MemoryLedger]:
        yield found.ledger

    monkeypatch.setattr(session, "ledger_here", here)
    return found


def test_a_job_in_which_nothing_was_said(stage: Stage) -> None:
    assert "Nothing was said" in stage.shown()
    assert stage.page() == {
        "items": [],
        "next": None,
        "totals": {"entries": 0, "calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "lost": 0},
    }


def test_people_read_it_in_80_columns(stage: Stage) -> None:
    long = "word " * 400
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": long}]
    message = {"kind": Said.ASK, "peer": "analysis-00001", "subject": "check", "prompt_tokens": 0}
    message |= {"completion_tokens": 0, "cache": "", "model": "", "request": '{"n":1}', "answer": '{"ok":true}'}
    stage.write(
        stage.said(0, request=json.dumps(turns), cache="hit"),
        stage.said(1, **message),
        stage.said(2, seq=0, generation=1, incarnation="life-2-and-more", error="DeadlineExceeded", message="late"),
        stage.said(3, kind=Said.GAP, agent="colony-host-0", lost=1_234, prompt_tokens=0, completion_tokens=0),
    )
    text = stage.shown()
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    for expected in (
        "22:13:20 clean #0 · research-00001 calls m (fast, default) · 0.25 s",
        "  system:    be brief",
        "  answer:    because",
        "research-00001 asks analysis-00001: check",
        '  answer:    {"ok":true}',
        "try 2",
        "again on host life life-2-a",
        "  failed:    DeadlineExceeded: late",
        "1,234 entries are missing",
        "3 of 3 entries, 2 calls of models with 20+6 tokens; 1,234 entries are missing.",
    ):
        assert expected in " ".join(lines) or expected in text, expected
    assert "..." in text
    assert len(lines) < 40
    assert text.count("word") < 50 < stage.shown("--whole").count("word")


def test_what_was_said_does_not_steer_the_terminal(stage: Stage) -> None:
    stage.write(stage.said(0, answer="\x1b[2J[bold red]gone[/]\r\n\x07"))
    text = stage.shown()
    assert "\x1b" not in text
    assert "[bold red]gone[/]" in text


def test_programs_get_all_of_it_page_by_page(stage: Stage) -> None:
    stage.write(*(stage.said(number, answer=str(number)) for number in range(7)))
    page = stage.page("--limit", "3")
    found = page["items"]
    assert page["totals"]["entries"] == 7
    while page["next"]:
        assert len(page["items"]) == 3
        assert f"--after {page['next']}" in stage.shown("--limit", "3") or found[3:]
        page = stage.page("--limit", "3", "--after", page["next"])
        found += page["items"]
    assert [item["seq"] for item in found] == list(range(7))
    assert found[0]["request"] == [{"role": "user", "content": "why?"}]
    assert found[4]["answer"] == "4", "text of a model stays text"
    assert (found[0]["kind"], found[0]["step"], found[0]["backend"]) == ("model", "clean", "default")


def test_a_payload_that_was_cut_is_text(stage: Stage) -> None:
    stage.write(stage.said(0, kind=Said.TELL, request='{"n": [... 9 letters left out ...]', cut=9))
    (item,) = stage.page()["items"]
    assert (item["request"], item["cut"]) == ('{"n": [... 9 letters left out ...]', 9)


def test_by_agent_step_and_task(stage: Stage) -> None:
    stage.write(stage.said(0, agent="a"), stage.said(1, step=2), stage.said(2, agent="b", peer="a"))
    assert [item["seq"] for item in stage.page("--agent", "a")["items"]] == [0, 2]
    assert [item["seq"] for item in stage.page("--step", "classify")["items"]] == [1]
    assert [item["seq"] for item in stage.page("--step", "2")["items"]] == [1]
    assert [item["seq"] for item in stage.page("--step", "clean", "--task", "2")["items"]] == [2]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--after", "yesterday"], "cursor"),
        (["--after", "1e9~x'; --"], "cursor"),
    ],
)
def test_wrong_wishes_are_refused(stage: Stage, options: list[str], error: str) -> None:
    with pytest.raises(BadInput, match=error):
        stage.shown(*options)


def test_options_of_a_transcript_need_it(stage: Stage) -> None:
    with pytest.raises(BadInput, match="transcript"):
        CliRunner().invoke(build_app(), ["job", str(stage.job), "--agent", "a"], catch_exceptions=False)


def test_no_such_step(stage: Stage) -> None:
    with pytest.raises(NotFound, match="no step"):
        stage.shown("--step", "nothing")


def test_no_such_job(stage: Stage) -> None:
    with pytest.raises(NotFound):
        CliRunner().invoke(build_app(), ["job", "99", "--transcript"], catch_exceptions=False)
