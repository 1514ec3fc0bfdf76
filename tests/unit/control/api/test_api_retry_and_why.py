"""Going on with what a job left undone, and what a job waits for, over HTTP; over the twins."""

from __future__ import annotations

import pytest

from colony.contracts import JobState
from colony.ledger.submissions import SubmissionState
from tests.contract.ledger.fleet_of_one import bad, batch_of, good, loaded_job, start_host
from tests.unit.control.api.api_of_twins import ApiOfTwins, problem


async def failed_job(api: ApiOfTwins) -> int:
    """A job with three tasks, of which the last failed for good."""
    plan = await loaded_job(api.ledger, 3)
    host = await start_host(api.ledger)
    await host.commit(batch_of(plan, 0, 3), [good(0), good(1), bad(2, transient=False)])
    await api.ledger.close_job(plan.job, JobState.FAILED, "too many errors")
    return plan.job


async def test_dead_letters_are_listed_and_tried_again(api: ApiOfTwins) -> None:
    job = await failed_job(api)
    (letter,) = (await api.client.get(f"/v1/jobs/{job}/dead-letters")).json()["items"]
    assert (letter["step"], letter["seq"], letter["error"]) == (1, 2, "TaskTimeout")
    answer = await api.client.post(f"/v1/jobs/{job}/retry")
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/reviews.retry-{job}")
    found = answer.json()
    assert (found["retry_of"], found["step"], found["tasks"], found["job"]["state"]) == (job, "clean", 1, "opening")
    started = api.engine.jobs[f"reviews.retry-{job}"]
    assert (started.template, started.given) == (
        "review_analysis",
        {"retry": {"job": str(job), "step": "clean", "whole": False}},
    )


async def test_dead_letters_come_in_pages(api: ApiOfTwins) -> None:
    plans = [await loaded_job(api.ledger, 3) for _ in range(2)]
    host = await start_host(api.ledger)
    for plan in plans:
        await host.commit(batch_of(plan, 0, 3), [bad(seq, transient=False) for seq in range(3)])
    expected = [(plan.job, seq) for plan in reversed(plans) for seq in range(3)]

    async def pages(path: str) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await api.client.get(path, params={"limit": 2, **cursor})).json()
            assert 1 <= len(page["items"]) <= 2
            seen += [(letter["job"], letter["seq"]) for letter in page["items"]]
            if page["next"] is None:
                return seen
            cursor = {"cursor": page["next"]}

    assert await pages("/v1/dead-letters") == expected
    assert await pages(f"/v1/jobs/{plans[0].job}/dead-letters") == expected[3:]
    problem(await api.client.get("/v1/dead-letters?cursor=1.2"), 422, "BadInput", "cursor")


async def test_a_job_is_retried_once_and_the_same_request_gives_the_same_retry(api: ApiOfTwins) -> None:
    job = await failed_job(api)
    headers = {"Idempotency-Key": "again"}
    answers = [await api.client.post(f"/v1/jobs/{job}/retry", headers=headers) for _ in range(2)]
    assert [answer.json()["job"]["id"] for answer in answers] == [f"reviews.retry-{job}"] * 2
    found = problem(await api.client.post(f"/v1/jobs/{job}/retry"), 409, "AlreadyExists")
    assert "retried already" in found["detail"]
    other = await api.client.post(f"/v1/jobs/{job}/retry", json={"id": "other", "all": True, "step": "clean"})
    assert (other.status_code, other.json()["tasks"]) == (202, 3)


async def test_a_retry_by_somebody_else_is_seen(api: ApiOfTwins) -> None:
    job = await failed_job(api)
    await api.engine.start("review_analysis", {}, f"reviews.retry-{job}", "a command")
    for _ in range(2):
        problem(await api.client.post(f"/v1/jobs/{job}/retry"), 409, "AlreadyExists")
    assert len(api.engine.jobs) == 1


async def test_a_retry_while_temporal_is_away_is_kept(api: ApiOfTwins) -> None:
    job = await failed_job(api)
    api.engine.available = False
    answer = await api.client.post(f"/v1/jobs/{job}/retry")
    assert (answer.status_code, answer.json()["job"]["state"]) == (202, "accepted")
    assert [one.workflow_id for one in await api.ledger.open_submissions(9)] == [f"reviews.retry-{job}"]


async def test_a_retry_that_never_started_stands_in_no_other_s_way(api: ApiOfTwins) -> None:
    job = await failed_job(api)
    name = f"reviews.retry-{job}"
    api.engine.available = False
    for expected in (name, f"{name}-2"):
        answer = await api.client.post(f"/v1/jobs/{job}/retry")
        assert (answer.status_code, answer.json()["job"]["id"]) == (202, expected)
        assert (await api.client.post(f"/v1/jobs/{expected}/cancel")).json()["state"] == "cancelled"
    taken = problem(await api.client.post(f"/v1/jobs/{job}/retry", json={"id": name}), 409, "AlreadyExists")
    assert "never started" in taken["detail"]
    api.engine.available, api.parts.outbox.away = True, False
    answer = await api.client.post(f"/v1/jobs/{job}/retry")
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{name}-3")
    assert list(api.engine.jobs) == [f"{name}-3"]
    found = problem(await api.client.post(f"/v1/jobs/{job}/retry"), 409, "AlreadyExists")
    assert f"{name}-3" in found["detail"]


async def test_a_retry_that_was_refused_stands_in_no_other_s_way(api: ApiOfTwins) -> None:
    job = await failed_job(api)
    name = f"reviews.retry-{job}"
    api.engine.available = False
    await api.client.post(f"/v1/jobs/{job}/retry")
    await api.ledger.settle_submission(name, SubmissionState.REFUSED, error="BadInput", reason="too large")
    answer = await api.client.post(f"/v1/jobs/{job}/retry")
    assert answer.json()["job"]["id"] == f"{name}-2"


async def test_a_retry_given_up_while_it_was_started_is_one(api: ApiOfTwins) -> None:
    """Its row shows that it was started after all, as by the command."""
    job = await failed_job(api)
    name = f"reviews.retry-{job}"
    api.engine.available = False
    await api.client.post(f"/v1/jobs/{job}/retry")
    await api.client.post(f"/v1/jobs/{name}/cancel")
    await api.ledger.open_job("a key", name, "review_analysis", (), None, {})
    found = problem(await api.client.post(f"/v1/jobs/{job}/retry"), 409, "AlreadyExists")
    assert "retried already" in found["detail"]


async def test_what_cannot_be_retried_is_refused(api: ApiOfTwins) -> None:
    job = await failed_job(api)
    running = await loaded_job(api.ledger, 1)
    problem(await api.client.post("/v1/jobs/nobody/retry"), 404, "NotFound")
    problem(await api.client.post(f"/v1/jobs/{running.job}/retry"), 422, "BadInput")
    problem(await api.client.post(f"/v1/jobs/{job}/retry", json={"step": "nowhere"}), 422, "BadInput")
    problem(await api.client.post(f"/v1/jobs/{job}/retry", json={"steps": "x"}), 422, "BadInput", "steps")
    assert api.engine.jobs == {}


async def test_a_retry_may_be_given_another_priority_tenant_and_budget(api: ApiOfTwins) -> None:
    job = await failed_job(api)
    more = {"priority": 1, "tenant": "acme", "llm_tokens": 900}
    assert (await api.client.post(f"/v1/jobs/{job}/retry", json=more)).status_code == 202
    assert {name: api.engine.jobs[f"reviews.retry-{job}"].given[name] for name in more} == more
    for wrong in ({"priority": 6}, {"tenant": "a b"}, {"llm_tokens": 0}):
        problem(await api.client.post(f"/v1/jobs/{job}/retry", json=wrong), 422, "BadInput", next(iter(wrong)))


async def test_a_retry_of_a_job_whose_tasks_are_all_good_goes_on_after_them(api: ApiOfTwins) -> None:
    plan = await loaded_job(api.ledger, 1)
    host = await start_host(api.ledger)
    await host.commit(batch_of(plan, 0, 1), [good(0)])
    await api.ledger.close_job(plan.job, JobState.FAILED, "rejected")
    found = (await api.client.post(f"/v1/jobs/{plan.job}/retry")).json()
    assert (found["step"], found["tasks"]) == (str(plan.steps[2].name), 0)


async def test_why_a_job_or_a_task_waits(api: ApiOfTwins) -> None:
    job = await failed_job(api)
    found = (await api.client.get(f"/v1/jobs/{job}/why")).json()
    assert (found["job"], found["state"], found["task"]) == (job, "failed", "")
    assert [reason["code"] for reason in found["reasons"]] == ["ended"]
    for task, code in (("clean/0", "done"), ("1/2", "failed"), ("clean/9", "missing")):
        found = (await api.client.get(f"/v1/jobs/{job}/why", params={"task": task})).json()
        assert ([reason["code"] for reason in found["reasons"]], found["task"]) == ([code], task)


async def test_why_says_who_does_not_answer(api: ApiOfTwins) -> None:
    plan = await loaded_job(api.ledger, 1)
    reasons = (await api.client.get(f"/v1/jobs/{plan.job}/why")).json()["reasons"]
    assert any("Temporal does not answer" in reason["what"] for reason in reasons)


async def test_why_of_a_job_without_a_row(api: ApiOfTwins) -> None:
    api.engine.available = False
    await api.submit(id="first")
    found = (await api.client.get("/v1/jobs/first/why")).json()
    assert (found["job"], found["state"], found["reasons"][0]["code"]) == (None, "accepted", "engine")
    api.engine.available = True
    (waiting,) = await api.ledger.open_submissions(1)
    await api.parts.outbox.start(waiting)
    assert (await api.client.get("/v1/jobs/first/why")).json()["reasons"][0]["code"] == "worker"
    await api.engine.cancel("first")
    assert (await api.client.get("/v1/jobs/first/why")).json()["reasons"][0]["code"] == "ended"


@pytest.mark.parametrize("task", ["clean", "clean/x", "/", "a/b/c", "clean/-1", "clean/1234567890"])
async def test_what_is_no_task_is_refused(api: ApiOfTwins, task: str) -> None:
    job = await failed_job(api)
    problem(await api.client.get(f"/v1/jobs/{job}/why", params={"task": task}), 422, "BadInput", "task")


async def test_why_of_what_is_not_there(api: ApiOfTwins) -> None:
    job = await failed_job(api)
    problem(await api.client.get("/v1/jobs/nobody/why"), 404, "NotFound")
    problem(await api.client.get(f"/v1/jobs/{job}/why", params={"task": "nowhere/1"}), 404, "NotFound")


async def test_queues_say_who_does_not_answer(api: ApiOfTwins) -> None:
    await api.ledger.start_lease("a", "colony-host-0", 10)
    found = (await api.client.get("/v1/queues")).json()
    assert [(each["host"], each["told"]) for each in found["hosts"]] == [("colony-host-0", False)]
    assert (found["tasks"], found["models"], len(found["trouble"])) == ([], [], 1)
