"""The model pool with the real model, twice under two names. Needs no stack."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

from control.processes.model import find_weights
from tests.eventually import assert_eventually
from tests.servers.model_pool import KEY, Pool, alive, model_pool

SMALL = {"slots": 1, "context": 512}
TWICE = {"one": SMALL, "two": SMALL}


def client_of(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=httpx.Timeout(60)
    )


async def says(url: str, name: str) -> str:
    body = {"model": name, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}
    async with client_of(url) as client:
        answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncGenerator[Pool]:
    async with model_pool(tmp_path, TWICE) as running:
        yield running


async def test_models_are_loaded_on_demand_and_share_their_file(pool: Pool) -> None:
    listed = await pool.client.get("/v1/models")
    assert [(m["id"], m["meta"]["n_ctx"]) for m in listed.json()["data"]] == [("one", 512), ("two", 512)]
    assert pool.children() == []
    first, second = await pool.load("one"), await pool.load("two")
    assert first["url"] != second["url"]
    assert await says(first["url"], "one")
    assert await says(second["url"], "two")
    weights = find_weights().stat().st_size
    mapped = [mapping(pid, "gguf") for pid in pool.children()]
    assert len(mapped) == 2
    for rss, pss in mapped:
        assert rss > 0.8 * weights
        assert pss < 0.6 * weights
    print("weights in MB, (rss, pss) of each process:", [(rss / 1e6, pss / 1e6) for rss, pss in mapped])
    print(await pool.states())


def mapping(pid: int, name: str) -> tuple[int, int]:
    """Bytes resident and proportional of the files whose path holds `name`."""
    rss = pss = 0
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        field = line.split()
        if not field[0].endswith(":"):
            inside = name in line
        elif inside and field[0] == "Rss:":
            rss += int(field[1]) * 1024
        elif inside and field[0] == "Pss:":
            pss += int(field[1]) * 1024
    return rss, pss


async def test_one_server_chats_and_embeds(pool: Pool) -> None:
    loaded = await pool.load("one")
    async with client_of(loaded["url"]) as client:
        answers = await asyncio.gather(
            says(loaded["url"], "one"),
            client.post("/v1/embeddings", json={"model": "one", "input": ["a cat", "the stock market"]}),
        )
    vectors = [entry["embedding"] for entry in answers[1].json()["data"]]
    assert answers[0]
    assert [len(vector) for vector in vectors] == [576, 576]
    assert abs(sum(x * x for x in vectors[0]) - 1.0) < 0.01


async def test_callers_of_one_model_share_one_load(pool: Pool) -> None:
    found = await asyncio.gather(*(pool.load("one", holder=f"h{number}") for number in range(8)))
    assert len({state["url"] for state in found}) == 1
    assert len(pool.children()) == 1
    assert (await pool.states())["one"]["leases"] == 8


async def test_a_crash_takes_no_other_model_along_and_the_next_load_brings_it_back(pool: Pool) -> None:
    first = await pool.load("one")
    (victim,) = pool.children()
    second = await pool.load("two")
    os.kill(victim, signal.SIGKILL)

    async def noticed() -> bool:
        return (await pool.states())["one"]["state"] == "failed"

    await assert_eventually(noticed, 30)
    assert (await pool.states())["one"]["error"] == "Its process ended with -9."
    assert (await pool.touch("one", 30)).status_code == 503
    assert await says(second["url"], "two")
    again = await pool.load("one")
    assert again["url"] != first["url"]
    assert await says(again["url"], "one")


async def test_the_death_of_the_pool_is_that_of_its_models(tmp_path: Path) -> None:
    async with model_pool(tmp_path, TWICE) as pool:
        await pool.load("one")
        children = pool.children()
        assert children
        pool.process.kill()
        await pool.process.wait()
        await assert_eventually(lambda: not any(alive(child) for child in children), 30)


async def test_nobody_without_the_key_and_no_page_but_the_pools(pool: Pool) -> None:
    async with httpx.AsyncClient(base_url=pool.url, trust_env=False) as client:
        assert (await client.get("/health")).status_code == 200
        for path in ("/pool", "/v1/models"):
            refused = await client.get(path)
            assert (refused.status_code, refused.json()["error"]["type"]) == (401, "NotPermitted")
    chat = await pool.client.post("/v1/chat/completions", json={})
    assert (chat.status_code, chat.json()["error"]["type"]) == (404, "NotFound")
    assert "Ask the gateway" in chat.json()["error"]["remedy"]
    unknown = await pool.client.post("/pool/three/load", json={"holder": "x", "seconds": 1})
    assert unknown.status_code == 404
    assert "one, two" in unknown.json()["error"]["remedy"]
    for body in (
        b"",
        b"{",
        b"[]",
        b'{"holder":"x","seconds":-1}',
        b'{"holder":"x","seconds":1,"more":1}',
        b"x" * 20_000,
    ):
        assert (await pool.client.post("/pool/one/load", content=body)).status_code == 400
    assert pool.children() == []


async def test_idle_models_are_unloaded_leased_and_critical_ones_are_not(tmp_path: Path) -> None:
    models = {"one": SMALL, "two": SMALL, "always": {**SMALL, "critical": True}}
    async with model_pool(tmp_path, models, idle_seconds=1) as pool:
        await pool.load("one", seconds=600, holder="caller")
        await pool.load("two", seconds=0)

        async def state(name: str) -> str:
            return (await pool.states())[name]["state"]

        async def settled() -> bool:
            return (await state("two")) == "unloaded" and (await state("always")) == "loaded"

        await assert_eventually(settled, 60)
        assert await state("one") == "loaded"
        assert (await pool.touch("one", 0, holder="caller")).status_code == 200

        async def gone() -> bool:
            return await state("one") == "unloaded"

        await assert_eventually(gone, 30)
        assert await state("always") == "loaded"


async def test_what_does_not_fit_is_refused_with_numbers_and_the_idle_make_room(tmp_path: Path) -> None:
    models = {"one": SMALL, "two": SMALL, "huge": {"slots": 64, "context": 8192}}
    async with model_pool(tmp_path, models, max_mb=300) as pool:
        never = await pool.client.post("/pool/huge/load", json={"holder": "x", "seconds": 1})
        assert (never.status_code, never.json()["error"]["type"]) == (400, "ModelRefused")
        assert "all models together may have 300 MB" in never.json()["error"]["message"]
        await pool.load("one", seconds=60)
        now = await pool.client.post("/pool/two/load", json={"holder": "x", "seconds": 1})
        assert (now.status_code, now.json()["error"]["type"]) == (503, "Overloaded")
        assert 1 <= int(now.headers["Retry-After"]) <= 60
        assert "in use (one)" in now.json()["error"]["message"]
        await pool.touch("one", 0)

        async def fits() -> bool:
            answer = await pool.client.post("/pool/two/load", json={"holder": "x", "seconds": 1})
            return answer.status_code == 200

        await assert_eventually(fits, 30)
        assert (await pool.states())["one"]["state"] == "unloaded"


async def test_files_that_are_none_cut_or_gone(tmp_path: Path) -> None:
    weights = find_weights()
    (tmp_path / "text.gguf").write_text("no model at all")
    with weights.open("rb") as source, (tmp_path / "cut.gguf").open("wb") as target:
        target.write(source.read(3_000_000))
    shutil.copyfile(weights, tmp_path / "good.gguf")
    names = ("text", "cut", "gone", "good")
    models = {name: {**SMALL, "file": str(tmp_path / f"{name}.gguf")} for name in names}
    async with model_pool(tmp_path, models) as pool:
        for name in ("text", "cut", "gone"):
            answer = await pool.client.post(f"/pool/{name}/load", json={"holder": "x", "seconds": 1})
            assert answer.status_code == 422, answer.text
            assert f"{name}.gguf" in answer.json()["error"]["message"]
        loaded = await pool.load("good")
        (tmp_path / "good.gguf").unlink()
        assert await says(loaded["url"], "good"), "a file removed while it is mapped stays until it is let go"


async def test_a_file_cut_while_in_use_ends_that_model_only(tmp_path: Path) -> None:
    shutil.copyfile(find_weights(), tmp_path / "cut.gguf")
    models = {"cut": {**SMALL, "file": str(tmp_path / "cut.gguf")}, "one": SMALL}
    async with model_pool(tmp_path, models) as pool:
        cut, one = await pool.load("cut"), await pool.load("one")
        os.truncate(tmp_path / "cut.gguf", 3_000_000)
        with pytest.raises(httpx.HTTPError):
            await says(cut["url"], "cut")

        async def noticed() -> bool:
            return (await pool.states())["cut"]["error"] == f"Its process ended with {-signal.SIGBUS}."

        await assert_eventually(noticed, 30)
        answer = await pool.client.post("/pool/cut/load", json={"holder": "x", "seconds": 1})
        assert answer.status_code == 422
        assert await says(one["url"], "one")
