"""Jobs over HTTP: submit once, list, steer, results; over the twins."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from colony.contracts import Artifact, JobState
from colony.errors import Cancelled
from colony.ids import Id
from colony.jobs import StepKind, StepPlan
from tests.eventually import assert_eventually
from tests.unit.control.api.api_of_twins import ApiOfTwins, problem
from workflows.contracts import PendingApproval

STEPS = (StepPlan(number=0, name=Id("load"), kind=StepKind.LOAD),)


async def open_job(api: ApiOfTwins, workflow_id: str, key: str = "") -> int:
    plan = await api.ledger.open_job(key or f"key-{workflow_id}", workflow_id, "review_analysis", STEPS, None, {})
    return plan.job


async def test_a_job_is_kept_and_started(api: ApiOfTwins) -> None:
    found = await api.submit(input={"source": "a.csv"}, id="first", priority=2, tenant="acme")
    assert found.status_code == 202
    assert found.headers["location"] == "/v1/jobs/first"
    assert found.json()["state"] == "opening"
    job = api.engine.jobs["first"]
    assert (job.template, job.given) == ("review_analysis", {"source": "a.csv", "priority": 2, "tenant": "acme"})
    assert found.json()["key"] == job.key
    await open_job(api, "first")
    shown = (await api.client.get("/v1/jobs/first")).json()
    assert (shown["state"], shown["job"], shown["id"]) == ("running", 1, "first")


async def test_a_name_is_made_where_none_is_given(api: ApiOfTwins) -> None:
    names = {(await api.submit()).json()["id"] for _ in range(3)}
    assert len(names) == 3
    assert names == set(api.engine.jobs)


async def test_a_taken_id_is_refused(api: ApiOfTwins) -> None:
    await api.submit(id="first")
    problem(await api.submit(id="first"), 409, "AlreadyExists")
    await api.engine.start("review_analysis", {}, "foreign", "somebody else")
    problem(await api.submit(id="foreign"), 409, "AlreadyExists")
    assert len(api.engine.jobs) == 2


async def test_the_same_key_and_body_give_the_same_job(api: ApiOfTwins) -> None:
    headers = {"Idempotency-Key": "once"}
    body = {"template": "review_analysis", "input": {"source": "a.csv", "parallel": 2}}
    answers = await asyncio.gather(*(api.client.post("/v1/jobs", json=body, headers=headers) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == len(api.engine.jobs) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    turned = {"input": {"parallel": 2, "source": "a.csv"}, "template": "review_analysis"}
    assert (await api.client.post("/v1/jobs", json=turned, headers=headers)).status_code == 202
    other = await api.client.post("/v1/jobs", json={**body, "id": "x"}, headers=headers)
    problem(other, 409, "AlreadyExists", "Idempotency-Key")
    assert len(api.engine.jobs) == 1


async def test_a_refusal_is_the_same_answer_too(api: ApiOfTwins) -> None:
    await api.engine.start("review_analysis", {}, "foreign", "somebody else")
    for _ in range(2):
        body = {"template": "review_analysis", "id": "foreign"}
        answer = await api.client.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k"})
        problem(answer, 409, "AlreadyExists")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"template": "Not A Name"}, "template"),
    ({"input": []}, "input"),
    ({"priority": 0}, "priority"),
    ({"priority": 6}, "priority"),
    ({"priority": 1, "input": {"priority": 2}}, "priority"),
    ({"tenant": "a b"}, "tenant"),
    ({"id": ""}, "id"),
    ({"id": "a/b"}, "id"),
    ({"id": "x" * 200}, "id"),
    ({"colour": "red"}, "colour"),
]


@pytest.mark.parametrize(("body", "field"), BAD, ids=[str(body)[:40] for body, _ in BAD])
async def test_bad_requests_name_their_field(api: ApiOfTwins, body: dict[str, Any], field: str) -> None:
    problem(await api.submit(**body), 422, "BadInput", field)
    assert api.engine.jobs == {}
    assert await api.ledger.submissions(10) == []


@pytest.mark.parametrize("name", ["website_monitor", "pipeline"])
async def test_what_is_no_template_is_started_too(api: ApiOfTwins, name: str) -> None:
    given = {"sites": ["https://example.com"]}
    assert (await api.submit(template=name, input=given, id="mine")).status_code == 202
    assert (api.engine.jobs["mine"].template, api.engine.jobs["mine"].given) == (name, given)


async def test_an_unknown_template_is_not_found(api: ApiOfTwins) -> None:
    found = problem(await api.submit(template="nothing"), 404, "NotFound", "template")
    assert "review_analysis" in found["detail"]


async def test_a_job_waits_for_an_engine_that_is_away(api: ApiOfTwins) -> None:
    api.engine.available = False
    found = await api.submit(id="later")
    assert (found.status_code, found.json()["state"]) == (202, "accepted")
    assert (await api.client.get("/v1/jobs/later")).json()["state"] == "accepted"
    problem(await api.submit(id="later"), 409, "AlreadyExists")
    problem(await api.client.post("/v1/jobs/later/pause"), 409, "BadInput")
    ready = await api.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["checks"]["temporal"]["ok"] is False
    assert ready.json()["checks"]["ledger"]["ok"] is True

    running = asyncio.create_task(api.parts.outbox.run())
    await asyncio.sleep(0)
    assert api.engine.jobs == {}
    api.engine.available = True
    await assert_eventually(lambda: "later" in api.engine.jobs)
    await assert_eventually(lambda: not api.parts.outbox.away)
    running.cancel()
    kept = await api.ledger.submission("later")
    assert kept is not None
    assert (kept.state.value, kept.key) == ("started", api.engine.jobs["later"].key)
    assert (await api.client.get("/readyz")).json()["ready"] is True


async def test_a_job_that_waits_can_be_given_up(api: ApiOfTwins) -> None:
    api.engine.available = False
    await api.submit(id="later")
    found = await api.client.post("/v1/jobs/later/cancel")
    assert (found.status_code, found.json()["state"]) == (202, "cancelled")
    api.engine.available = True
    assert await api.ledger.open_submissions(10) == []
    problem(await api.client.post("/v1/jobs/later/cancel"), 409, "BadInput")


async def test_a_job_given_up_while_it_is_started_is_cancelled(api: ApiOfTwins) -> None:
    api.engine.available = False
    await api.submit(id="later")
    (waiting,) = await api.ledger.open_submissions(10)
    await api.client.post("/v1/jobs/later/cancel")
    api.engine.available = True
    await api.parts.outbox.start(waiting)  # by one that had read it before
    assert isinstance(api.engine.jobs["later"].failure, Cancelled)


async def test_what_the_engine_refused_later_is_told(api: ApiOfTwins) -> None:
    api.engine.available = False
    await api.submit(id="foreign")
    api.engine.available = True
    await api.engine.start("review_analysis", {}, "foreign", "somebody else")
    (waiting,) = await api.ledger.open_submissions(10)
    await api.parts.outbox.start(waiting)
    found = (await api.client.get("/v1/jobs/foreign")).json()
    assert found["state"] == "failed"
    assert "already" in found["reason"]


async def test_a_workflow_that_ended_without_a_row_is_told(api: ApiOfTwins) -> None:
    await api.submit(id="gone")
    await api.engine.cancel("gone")
    found = (await api.client.get("/v1/jobs/gone")).json()
    assert (found["state"], found["reason"]) == ("cancelled", "Job 'gone' was cancelled.")


async def test_pages_show_every_job_once(api: ApiOfTwins) -> None:
    for number in range(7):
        await open_job(api, f"open-{number}")
    api.engine.available = False
    for number in range(5):
        await api.submit(id=f"wait-{number}")
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query: dict[str, Any] = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await api.client.get("/v1/jobs", params=query)).json()
        assert len(page["items"]) <= 3
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [f"wait-{n}" for n in (4, 3, 2, 1, 0)] + [f"open-{n}" for n in (6, 5, 4, 3, 2, 1, 0)]


async def test_a_job_that_is_started_is_listed_before_it_has_a_row(api: ApiOfTwins) -> None:
    await open_job(api, "older")
    for name in ("failed", "first", "second"):
        await api.submit(id=name)
    await api.engine.cancel("failed")
    seen = [(each["id"], each["state"]) for each in (await api.client.get("/v1/jobs")).json()["items"]]
    assert seen == [("second", "opening"), ("first", "opening"), ("failed", "cancelled"), ("older", "running")]
    await open_job(api, "first")
    seen = [(each["id"], each["state"]) for each in (await api.client.get("/v1/jobs")).json()["items"]]
    assert seen == [("second", "opening"), ("failed", "cancelled"), ("first", "running"), ("older", "running")]
    api.engine.available = False
    assert [each["id"] for each in (await api.client.get("/v1/jobs")).json()["items"]] == [name for name, _ in seen]


async def test_a_running_job_says_whether_it_is_paused_and_who_is_to_approve(api: ApiOfTwins) -> None:
    await api.submit(id="first")
    await open_job(api, "first")
    found = (await api.client.get("/v1/jobs/first")).json()["now"]
    assert (found["paused"], found["priority"], found["approvals"]) == (False, 3, [])
    await api.client.post("/v1/jobs/first/pause")
    await api.client.post("/v1/jobs/first/priority", json={"priority": 1})
    asked = PendingApproval(step="ok", prompt="Publish?", since=1.0, until=2.0, default="reject")
    api.engine.jobs["first"].approvals = (asked,)
    found = (await api.client.get("/v1/jobs/first")).json()["now"]
    assert (found["phase"], found["paused"], found["priority"]) == ("approving", True, 1)
    assert found["approvals"] == [asked.model_dump(mode="json")]
    assert (await api.client.get("/v1/jobs")).json()["items"][0]["now"] is None
    api.engine.available = False
    assert (await api.client.get("/v1/jobs/first")).json()["now"] is None
    await api.ledger.close_job(1, JobState.DONE)
    assert (await api.client.get("/v1/jobs/first")).json()["now"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("cursor=x1", "cursor"),
        ("cursor=", "cursor"),
    ],
)
async def test_bounds_of_pages(api: ApiOfTwins, query: str, field: str) -> None:
    problem(await api.client.get(f"/v1/jobs?{query}"), 422, "BadInput", field)


async def test_unknown_jobs_are_not_found(api: ApiOfTwins) -> None:
    for path in ("", "/events", "/results", "/artifacts", "/artifacts/a.md", "/dead-letters"):
        problem(await api.client.get(f"/v1/jobs/nobody{path}"), 404, "NotFound")
    for path in ("/cancel", "/pause", "/resume"):
        problem(await api.client.post(f"/v1/jobs/nobody{path}"), 404, "NotFound")
    assert (await api.client.get("/v1/jobs/99999999999999999999999")).status_code == 404


async def test_jobs_are_steered_by_updates(api: ApiOfTwins) -> None:
    await api.submit(id="first")
    await open_job(api, "first")
    for path, body in (
        ("pause", None),
        ("resume", {}),
        ("priority", {"priority": 1}),
        ("approve", {"approve": False, "comment": "no", "by": "me"}),
    ):
        answer = await api.client.post(f"/v1/jobs/first/{path}", json=body)
        assert answer.status_code == 202, answer.text
    assert api.engine.jobs["first"].updates == [
        ("pause", ()),
        ("resume", ()),
        ("set_priority", (1,)),
        ("approve", ({"approve": False, "step": "", "comment": "no", "by": "me"},)),
    ]
    problem(await api.client.post("/v1/jobs/first/priority", json={"priority": 9}), 422, "BadInput", "priority")
    assert (await api.client.post("/v1/jobs/first/cancel")).status_code == 202
    await api.ledger.close_job(1, JobState.CANCELLED)
    problem(await api.client.post("/v1/jobs/first/pause"), 409, "BadInput")


async def test_results_and_artifacts(api: ApiOfTwins) -> None:
    job = await open_job(api, "first")
    problem(await api.client.get("/v1/jobs/first/results?format=md"), 404, "NotFound")
    await api.ledger.put_artifacts(job, [Artifact(name="report.md", media_type="text/markdown", content=b"# Good")])
    page = Artifact(name="site/index.html", media_type="text/html", content=b"<script>alert(1)</script>")
    await api.ledger.put_artifacts(job, [page])
    report = await api.client.get("/v1/jobs/first/results?format=md")
    assert (report.text, report.headers["content-type"]) == ("# Good", "text/markdown; charset=utf-8")
    everything = json.loads((await api.client.get("/v1/jobs/first/results")).text)
    assert (everything["job"]["workflow_id"], everything["rows"]) == ("first", [])
    assert (await api.client.get("/v1/jobs/first/results?format=csv")).text == "\n"
    problem(await api.client.get("/v1/jobs/first/results?format=xml"), 422, "BadInput", "format")
    listed = (await api.client.get("/v1/jobs/first/artifacts")).json()["items"]
    assert [(each["name"], each["bytes"]) for each in listed] == [("report.md", 6), ("site/index.html", 25)]
    got = await api.client.get("/v1/jobs/first/artifacts/site/index.html")
    assert got.content == page.content
    assert "sandbox" in got.headers["content-security-policy"]
    problem(await api.client.get("/v1/jobs/first/artifacts/nothing"), 404, "NotFound")
    assert (await api.client.get("/v1/jobs/first/dead-letters")).json() == {"items": [], "next": None}
    assert (await api.client.get("/v1/dead-letters")).json() == {"items": [], "next": None}
