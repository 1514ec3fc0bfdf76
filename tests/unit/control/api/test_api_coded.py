"""Workflows in code over HTTP: started, looked at, steered; over the twins."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.unit.control.api.api_of_twins import ApiOfTwins, opened, problem


@pytest.fixture
async def api() -> AsyncGenerator[ApiOfTwins]:
    async with opened(coded=("examples.opinions:Opinions",)) as found:
        yield found


async def test_one_started_over_http_is_shown_steered_and_ends(api: ApiOfTwins) -> None:
    assert (await api.submit(template="opinions", input={"texts": ["a"]}, id="mine")).status_code == 202
    shown = (await api.client.get("/v1/jobs/mine")).json()
    assert (shown["state"], shown["job"], shown["template"]) == ("running", None, "opinions")
    assert shown["now"]["phase"] == "running"
    assert [one["state"] for one in (await api.client.get("/v1/jobs")).json()["items"]] == ["running"]
    assert (await api.client.post("/v1/jobs/mine/pause")).status_code == 202
    assert (await api.client.post("/v1/jobs/mine/approve", json={"approve": True})).status_code == 202
    assert [name for name, _ in api.engine.jobs["mine"].updates] == ["pause", "approve"]
    why = (await api.client.get("/v1/jobs/mine/why")).json()
    assert [reason["code"] for reason in why["reasons"]] == ["working"]
    cancelled = await api.client.post("/v1/jobs/mine/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert (await api.client.post("/v1/jobs/mine/pause")).status_code == 409


async def test_one_started_by_somebody_else_is_known_by_its_id(api: ApiOfTwins) -> None:
    await api.engine.start("opinions", {}, "theirs", "m")
    assert (await api.client.get("/v1/jobs/theirs")).json()["state"] == "running"
    api.engine.jobs["theirs"].ended = True
    assert (await api.client.get("/v1/jobs/theirs")).json()["state"] == "done"
    assert (await api.client.post("/v1/jobs/theirs/cancel")).status_code == 409


async def test_what_is_none_of_our_jobs_is_not_found(api: ApiOfTwins) -> None:
    await api.engine.start("temporal-sys-scheduler-workflow", {}, "foreign", "m")
    problem(await api.client.get("/v1/jobs/foreign"), 404, "NotFound")
    problem(await api.client.post("/v1/jobs/foreign/cancel"), 404, "NotFound")
    api.engine.available = False
    problem(await api.client.get("/v1/jobs/nobody"), 404, "NotFound")
