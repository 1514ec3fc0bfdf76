"""Agents, messages, templates and the fleet over HTTP; over the twins."""

from __future__ import annotations

from typing import Any

import pytest

from colony.contracts import AgentSpec
from colony.errors import BadInput
from colony.ids import AgentId, AgentType, agent_subject
from colony.messaging.memory import MemoryMessenger
from colony.messaging.port import Envelope
from tests.unit.control.api.api_of_twins import ApiOfTwins, problem


async def pages(api: ApiOfTwins, **query: Any) -> list[str]:
    seen: list[str] = []
    cursor: str | None = None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = (await api.client.get("/v1/agents", params={**query, **more})).json()
        assert len(page["items"]) <= query.get("limit", 50)
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            return seen


@pytest.mark.parametrize("limit", [1, 3, 500])
async def test_pages_show_every_agent_once(api: ApiOfTwins, limit: int) -> None:
    more = [AgentSpec(agent_id=AgentId(f"processing-{n:05d}"), agent_type=AgentType("processing")) for n in range(40)]
    await api.ledger.put_agents(more)
    everyone = [str(one.agent_id) for one in await api.ledger.agents()]
    assert sorted(await pages(api, limit=limit)) == everyone
    mine = await pages(api, limit=limit, type="research")
    assert sorted(mine) == [f"research-{n:05d}" for n in range(9)]
    assert (await api.client.get("/v1/agents?type=research&limit=1")).json()["total"] == 9
    assert (await api.client.get("/v1/agents?type=nobody")).json() == {"items": [], "total": 0, "next": None}


async def test_one_agent(api: ApiOfTwins) -> None:
    found = (await api.client.get("/v1/agents/analysis-00001")).json()
    assert (found["type"], found["host"], found["passing"]) == ("analysis", "", False)
    problem(await api.client.get("/v1/agents/nobody"), 404, "NotFound")
    problem(await api.client.get("/v1/agents/Not.An.Id"), 422, "BadInput", "agent")
    problem(await api.client.get("/v1/agents?cursor=5"), 422, "BadInput", "cursor")


async def test_ask_gives_the_answer_or_the_error_of_the_agent(api: ApiOfTwins) -> None:
    async def answer(_: str, envelope: Envelope) -> Envelope:
        if envelope.kind == "fail":
            raise BadInput("The agent does not like it.", remedy="Say something else.")
        return Envelope(kind="answer", payload={"heard": envelope.payload, "from": envelope.sender})

    host = MemoryMessenger(api.bus, role="host")
    await host.subscribe(agent_subject(AgentId("analysis-00001")), answer)
    path = "/v1/agents/analysis-00001/messages"
    asked = await api.client.post(path, json={"mode": "ask", "kind": "greet", "payload": {"a": 1}})
    assert asked.json()["answer"] == {"heard": {"a": 1}, "from": "api"}
    problem(await api.client.post(path, json={"mode": "ask", "kind": "fail"}), 422, "BadInput")
    assert (await api.client.post(path, json={"kind": "greet"})).json()["mode"] == "tell"
    silent = {"mode": "ask", "kind": "greet", "timeout": 0.05}
    assert (await api.client.post("/v1/agents/research-00001/messages", json=silent)).status_code == 504
    problem(await api.client.post("/v1/agents/nobody/messages", json={"kind": "greet"}), 404, "NotFound")


async def test_deliver_keeps_a_message_once(api: ApiOfTwins) -> None:
    body = {"mode": "deliver", "kind": "greet", "message_id": "m-1"}
    answers = [(await api.client.post("/v1/agents/analysis-00001/messages", json=body)).json() for _ in range(2)]
    assert [(one["message_id"], one["fresh"]) for one in answers] == [("m-1", True), ("m-1", False)]
    assert (await api.client.get("/v1/messages/dead")).json() == {"items": [], "next": None}


async def test_without_the_bus_and_the_registry_the_rest_goes_on(api: ApiOfTwins) -> None:
    api.bus.available = False
    asked = {"mode": "ask", "kind": "greet", "timeout": 0.05}
    assert (await api.client.post("/v1/agents/analysis-00001/messages", json=asked)).status_code in (503, 504)
    fleet = (await api.client.get("/v1/fleet")).json()
    assert (fleet["desired"], fleet["types"]) == (10, {"analysis": 1, "research": 9})


async def test_templates(api: ApiOfTwins) -> None:
    names = [one["name"] for one in (await api.client.get("/v1/templates")).json()["items"]]
    assert {"review_analysis", "website_monitor", "pipeline"} <= set(names)
    one = (await api.client.get("/v1/templates/review_analysis")).json()
    assert one["steps"][0] == "load"
    assert one["definition"]["steps"]
    problem(await api.client.get("/v1/templates/nothing"), 404, "NotFound")
    monitor = (await api.client.get("/v1/templates/website_monitor")).json()
    assert monitor["steps"] == ["check"]
    assert monitor["definition"]["inputs"]["sites"]["type"] == "list"
