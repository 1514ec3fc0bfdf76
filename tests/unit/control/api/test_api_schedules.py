"""Schedules over HTTP, over the twins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.control.api.api_of_twins import ApiOfTwins, problem
from workflows.memory_schedules import MemorySchedules

NIGHTLY: dict[str, Any] = {
    "name": "nightly",
    "template": "review_analysis",
    "input": {"source": "a.csv"},
    "cron": "0 6 * * *",
    "timezone": "Europe/Berlin",
}


def twin(api: ApiOfTwins) -> MemorySchedules:
    assert isinstance(api.parts.schedules, MemorySchedules)
    return api.parts.schedules


async def test_a_schedule_from_its_start_to_its_end(api: ApiOfTwins) -> None:
    made = await api.client.post("/v1/schedules", json=NIGHTLY)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/schedules/nightly")
    assert made.json()["timing"]["cron"] == "0 6 * * *"
    assert [one["name"] for one in (await api.client.get("/v1/schedules")).json()["items"]] == ["nightly"]
    paused = await api.client.post("/v1/schedules/nightly/pause", json={"note": "holidays"})
    assert (paused.json()["paused"], paused.json()["note"]) == (True, "holidays")
    assert (await api.client.post("/v1/schedules/nightly/resume")).json()["paused"] is False
    triggered = await api.client.post("/v1/schedules/nightly/trigger")
    assert (triggered.status_code, triggered.json()["started"]) == (202, 1)
    assert twin(api).started == [("review_analysis", {"source": "a.csv"})]
    assert (await api.client.get("/v1/schedules/nightly")).json()["recent"] == ["nightly-1"]
    assert (await api.client.delete("/v1/schedules/nightly")).status_code == 204
    problem(await api.client.get("/v1/schedules/nightly"), 404, "NotFound")


@pytest.mark.parametrize("name", ["website_monitor", "pipeline"])
async def test_what_is_no_template_is_scheduled_too(api: ApiOfTwins, name: str) -> None:
    made = await api.client.post("/v1/schedules", json={**NIGHTLY, "template": name})
    assert (made.status_code, made.json()["timing"]["template"]) == (201, name)


async def test_a_retry_is_scheduled_too(api: ApiOfTwins) -> None:
    again = {"retry": {"job": "reviews-1"}}
    assert (await api.client.post("/v1/schedules", json={**NIGHTLY, "input": again})).status_code == 201


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 500])
async def test_pages_hold_each_schedule_once_by_name(api: ApiOfTwins, limit: int) -> None:
    names = ["b", "a.1", "Z", "c_0"]
    for name in names:
        await api.client.post("/v1/schedules", json={**NIGHTLY, "name": name})
    seen: list[str] = []
    asked: dict[str, Any] = {"limit": limit}
    while True:
        page = (await api.client.get("/v1/schedules", params=asked)).json()
        assert 1 <= len(page["items"]) <= limit
        seen += [one["name"] for one in page["items"]]
        if page["next"] is None:
            break
        asked["cursor"] = page["next"]
    assert seen == sorted(names)
    past = (await api.client.get("/v1/schedules", params={"cursor": "d"})).json()
    assert past == {"items": [], "next": None}


async def test_a_name_is_taken_once(api: ApiOfTwins) -> None:
    await api.client.post("/v1/schedules", json=NIGHTLY)
    problem(await api.client.post("/v1/schedules", json=NIGHTLY), 409, "AlreadyExists")


@pytest.mark.parametrize(
    ("change", "status", "error", "field"),
    [
        ({"template": "nothing"}, 404, "NotFound", None),
        ({"every": 60}, 422, "BadInput", None),
        ({"cron": ""}, 422, "BadInput", None),
        ({"cron": "tomorrow"}, 422, "BadInput", None),
        ({"timezone": "Mars"}, 422, "BadInput", "timezone"),
        ({"overlap": "perhaps"}, 422, "BadInput", "overlap"),
        ({"cron": "", "every": 0}, 422, "BadInput", "every"),
        ({"name": "a b"}, 422, "BadInput", "name"),
        ({"input": []}, 422, "BadInput", "input"),
        ({"more": 1}, 422, "BadInput", "more"),
        ({"input": {}}, 422, "BadInput", None),
        ({"input": {"source": "a.csv", "tasks": 3}}, 422, "BadInput", None),
        ({"input": {"source": "a.csv", "wrong": 1}}, 422, "BadInput", None),
        ({"input": {"source": "a.csv", "priority": 9}}, 422, "BadInput", None),
        ({"template": "website_monitor", "input": {"sites": 5}}, 422, "BadInput", None),
    ],
)
async def test_what_cannot_be_is_refused(
    api: ApiOfTwins, change: dict[str, Any], status: int, error: str, field: str | None
) -> None:
    problem(await api.client.post("/v1/schedules", json={**NIGHTLY, **change}), status, error, field)
    assert await twin(api).list() == []


@pytest.mark.parametrize("path", ["", "/pause", "/resume", "/trigger"])
async def test_one_that_is_not_there(api: ApiOfTwins, path: str) -> None:
    problem(await api.client.request("POST" if path else "DELETE", f"/v1/schedules/gone{path}"), 404, "NotFound")


async def test_while_temporal_is_away(api: ApiOfTwins) -> None:
    twin(api).available = False
    found = problem(await api.client.post("/v1/schedules", json=NIGHTLY), 503, "Unavailable")
    assert found["retry_after"] >= 1
    problem(await api.client.get("/v1/schedules"), 503, "Unavailable")
