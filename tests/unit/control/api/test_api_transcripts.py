"""`GET /v1/jobs/{name}/transcript`."""

from __future__ import annotations

import pytest

from tests.contract.ledger.fleet_of_one import open_job
from tests.contract.ledger.test_ledger_transcripts_contract import said
from tests.unit.control.api.api_of_twins import ApiOfTwins, problem


@pytest.fixture
async def job(api: ApiOfTwins) -> int:
    found = (await open_job(api.ledger, "talk")).job
    entries = [said(found, number, agent=f"research-{number % 2:05d}", step=1 + number % 2) for number in range(10)]
    await api.ledger.write_transcript(entries)
    return found


async def test_page_by_page(api: ApiOfTwins, job: int) -> None:
    url: str | None = "/v1/jobs/talk/transcript?limit=4"
    found: list[int] = []
    pages = 0
    while url is not None:
        page = (await api.client.get(url)).raise_for_status().json()
        assert page["totals"] == {"entries": 10, "calls": 10, "prompt_tokens": 100, "completion_tokens": 30, "lost": 0}
        found += [item["seq"] for item in page["items"]]
        pages += 1
        url = page["next"] and f"/v1/jobs/{job}/transcript?limit=4&cursor={page['next']}"
    assert (found, pages) == (list(range(10)), 3)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("agent=research-00001", [1, 3, 5, 7, 9]),
        ("step=classify&limit=2", [1, 3]),
        ("step=1&task=4", [4]),
        ("task=999", []),
    ],
)
async def test_some_of_it(api: ApiOfTwins, job: int, query: str, expected: list[int]) -> None:
    page = (await api.client.get(f"/v1/jobs/{job}/transcript?{query}")).raise_for_status().json()
    assert [item["seq"] for item in page["items"]] == expected


async def test_what_is_refused(api: ApiOfTwins, job: int) -> None:
    url = f"/v1/jobs/{job}/transcript"
    problem(await api.client.get("/v1/jobs/nobody/transcript"), 404, "NotFound")
    problem(await api.client.get(f"{url}?step=nothing"), 404, "NotFound")
    problem(await api.client.get(f"{url}?cursor=now"), 422, "BadInput", "cursor")
    problem(await api.client.get(f"{url}?limit=501"), 422, "BadInput", "limit")
