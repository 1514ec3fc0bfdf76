"""Bad servers behind the whole gateway: the right status in each API's shape, nothing stuck, others unharmed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from colony.config.gateway import BackendConfig, BreakerConfig, GatewayConfig, LimitsConfig, TierTarget
from colony.ids import Id
from ray_app.gateway.backends.open import speaking_openai
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.plan import TIERS, GatewayPlan
from tests.eventually import assert_eventually
from tests.servers.bad_http import PIECE, BadServer, Behaviour, bad_server, hang, head, page, says, then_hang
from tests.servers.gateway import gateway_over
from tests.servers.gateway_http import KEY

EVENTS = "text/event-stream"
OPENAI, OLLAMA = "/v1/chat/completions", "/api/chat"
HELLO = [{"role": "user", "content": "one two three"}]
NOBODY = "http://127.0.0.1:9"
"""Where nobody listens."""


@dataclass
class Front:
    http: httpx.AsyncClient
    server: BadServer

    async def ask(self, path: str, stream: bool, deadline: float = 20.0) -> httpx.Response:
        body = {"model": "bad", "messages": HELLO, "stream": stream}
        return await self.http.post(path, json=body, headers={"x-colony-deadline": str(deadline)})

    async def good(self, number: int) -> str:
        body = {"model": "good", "messages": [{"role": "user", "content": f"number {number}"}]}
        return (await self.http.post(OPENAI, json=body)).json()["choices"][0]["message"]["content"]

    async def idle(self) -> bool:
        state = (await self.http.get("/colony/state")).json()
        return (state["in_flight"], state["waiting"]) == (0, 0)


@asynccontextmanager
async def front(folder: Path, behave: Behaviour, *, silence: float = 10.0) -> AsyncGenerator[Front]:
    """A bad server and a good one behind one gateway; while the test runs, the good one is asked all the time."""
    async with bad_server() as server:
        server.behave = lists_models_but(server, behave)
        bad = BackendConfig(kind="openai", urls=(server.url,), models=("bad",), silence=silence, preload=False)
        good = BackendConfig(kind="scripted", models=("good",), preload=False)
        both = (TierTarget(backend=Id("good")), TierTarget(backend=Id("bad")))
        plan = GatewayPlan({Id("bad"): bad, Id("good"): good}, dict.fromkeys(TIERS, both))
        config = GatewayConfig(
            limits=LimitsConfig(requests_per_second=1000, burst=1000), breaker=BreakerConfig(failures=1000)
        )
        async with speaking_openai("bad/0", server.url, bad) as opened:
            scripted = ScriptedBackend("good/0", Script(each=0.002), good)
            backends = {"bad": (opened,), "good": (scripted,)}
            async with gateway_over(folder, plan, config, backends) as endpoint:
                headers = {"Authorization": f"Bearer {KEY}"}
                async with httpx.AsyncClient(
                    base_url=endpoint.url, headers=headers, trust_env=False, timeout=30
                ) as http:
                    found = Front(http, server)
                    going = asyncio.gather(*(found.good(number) for number in range(20)))
                    yield found
                    assert await going == [f"number {number}" for number in range(20)]
                    await assert_eventually(found.idle)


def lists_models_but(server: BadServer, behave: Behaviour) -> Behaviour:
    """`behave` where a model is asked: a server that cannot even list its models is found out before it is asked."""
    models = page(b'{"object": "list", "data": [{"id": "bad", "object": "model"}]}')

    async def asked(writer: asyncio.StreamWriter) -> None:
        await (models if server.requests[-1].startswith(b"GET ") else behave)(writer)

    return asked


def said(path: str, answer: httpx.Response) -> str:
    """The message of an error, in the shape of the API it came from."""
    error = answer.json()["error"]
    if path == OLLAMA:
        assert isinstance(error, str)
        return error
    assert set(error) == {"message", "type", "param", "code"}
    return error["message"]


REFUSAL = json.dumps({"error": {"message": "no"}}).encode()
BAD: list[tuple[str, Behaviour, int]] = [
    ("html", page(b"<html>hello</html>", kind="text/html"), 503),
    ("empty body", page(b""), 503),
    ("cut in mid-JSON", says(head(length=1000) + b'{"choices": ['), 503),
    ("gone", says(b""), 503),
    ("500", page(b"<h1>oh</h1>", "500 Internal Server Error", "text/html"), 503),
    ("model removed", page(REFUSAL, "404 Not Found"), 404),
    ("its refusal", page(REFUSAL, "400 Bad Request"), 400),
    ("429", page(REFUSAL, "429 Too Many Requests", more="Retry-After: 7\r\n"), 429),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [OPENAI, OLLAMA])
@pytest.mark.parametrize(("behave", "status"), [one[1:] for one in BAD], ids=[one[0] for one in BAD])
async def test_a_bad_answer_has_its_status(
    tmp_path: Path, behave: Behaviour, status: int, path: str, stream: bool
) -> None:
    async with front(tmp_path, behave) as f:
        answer = await f.ask(path, stream)
        assert answer.status_code == status, answer.text
        assert said(path, answer)
        assert "<h" not in answer.text
        if status == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= 7
        if status == 503:
            assert int(answer.headers["retry-after"]) >= 1


@asynccontextmanager
async def bad_first(folder: Path, behave: Behaviour | None) -> AsyncGenerator[tuple[httpx.AsyncClient, BadServer]]:
    """A tier whose first choice is two replicas of a bad server, or of none at all, and whose second one is good."""
    async with bad_server() as server:
        server.behave = lists_models_but(server, behave or hang)
        url = NOBODY if behave is None else server.url
        bad = BackendConfig(kind="openai", urls=(url, url), models=("bad",), silence=0.5, preload=False)
        good = BackendConfig(kind="scripted", models=("good",), preload=False)
        both = (TierTarget(backend=Id("bad")), TierTarget(backend=Id("good")))
        plan = GatewayPlan({Id("bad"): bad, Id("good"): good}, dict.fromkeys(TIERS, both))
        config = GatewayConfig(
            limits=LimitsConfig(requests_per_second=1000, burst=1000), breaker=BreakerConfig(failures=2)
        )
        async with (
            speaking_openai("bad/0", url, bad) as first,
            speaking_openai("bad/1", url, bad) as second,
            gateway_over(
                folder, plan, config, {"bad": (first, second), "good": (ScriptedBackend("good/0", Script(), good),)}
            ) as endpoint,
            httpx.AsyncClient(
                base_url=endpoint.url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=30
            ) as http,
        ):
            yield http, server


async def answered_by(http: httpx.AsyncClient, number: int) -> str:
    body = {"model": "fast", "messages": [{"role": "user", "content": f"number {number}"}]}
    answer = await http.post(OPENAI, json=body, headers={"x-colony-deadline": "5"})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-colony-backend"]


async def test_a_server_that_always_says_503_is_fallen_back_from_and_its_breaker_opens(tmp_path: Path) -> None:
    async with bad_first(tmp_path, page(b"", "503 Service Unavailable")) as (http, _):
        assert {await answered_by(http, number) for number in range(20)} == {"good"}

        async def opened() -> bool:
            lane = (await http.get("/colony/state")).json()["backends"]["bad"]
            return lane["breakers"]["bad"]["state"] == "open"

        await assert_eventually(opened)
        assert {await answered_by(http, 20 + number) for number in range(5)} == {"good"}


async def test_a_server_that_asks_for_time_gets_it_and_nobody_waits_for_it(tmp_path: Path) -> None:
    behave = page(b"", "503 Service Unavailable", more="Retry-After: 60\r\n")
    async with bad_first(tmp_path, behave) as (http, server):
        assert {await answered_by(http, number) for number in range(20)} == {"good"}
        lane = (await http.get("/colony/state")).json()["backends"]["bad"]
        assert lane["breakers"].get("bad", {"failures": 0})["failures"] == 0
        assert sum(request.startswith(b"POST ") for request in server.requests) == 1


async def test_a_backend_that_cannot_be_reached_costs_no_request(tmp_path: Path) -> None:
    async with bad_first(tmp_path, None) as (http, _):
        backends = await asyncio.gather(*(answered_by(http, number) for number in range(20)))
        assert set(backends) == {"good"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [OPENAI, OLLAMA])
async def test_a_server_that_accepts_and_never_answers(tmp_path: Path, path: str, stream: bool) -> None:
    async with front(tmp_path, hang, silence=0.5) as f:
        answer = await f.ask(path, stream, deadline=1.0)
        assert answer.status_code in (503, 504), answer.text
        assert said(path, answer)


@pytest.mark.parametrize(
    "rest", [says(head(kind=EVENTS) + PIECE + PIECE[:40]), then_hang(head(kind=EVENTS) + PIECE)], ids=["cut", "hangs"]
)
async def test_a_stream_cut_in_mid_json_ends_with_an_error_and_never_as_if_whole(
    tmp_path: Path, rest: Behaviour
) -> None:
    async with front(tmp_path, rest, silence=2.0) as f:
        answer = await f.ask(OPENAI, True)
        assert (answer.status_code, answer.headers["x-colony-backend"]) == (200, "bad")
        last = answer.text.strip().split("\n\n")[-1]
        assert "error" in json.loads(last.removeprefix("data: "))
        assert "[DONE]" not in answer.text
    async with front(tmp_path, rest, silence=2.0) as f:
        lines = [json.loads(line) for line in (await f.ask(OLLAMA, True)).text.strip().split("\n")]
        assert list(lines[-1]) == ["error"]
        assert not any(line.get("done") for line in lines)


NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "-1", '"0.5"', "[]", "{}", "true")


@pytest.mark.parametrize("number", NUMBERS)
async def test_a_temperature_that_is_no_number_is_refused(tmp_path: Path, number: str) -> None:
    async with front(tmp_path, hang) as f:
        start = '{"model": "good", "messages": [{"role": "user", "content": "hello"}], '
        bodies: dict[str, Any] = {
            OPENAI: f'{start}"temperature": {number}}}',
            OLLAMA: f'{start}"options": {{"temperature": {number}}}}}',
        }
        for path, body in bodies.items():
            answer = await f.http.post(path, content=body)
            assert answer.status_code == 400, answer.text
            assert said(path, answer)
