"""What the API says of itself holds for whatever is sent: schemathesis against the application over the twins."""

from __future__ import annotations

import asyncio
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from colony.contracts import AgentSpec, Artifact, JobState
from colony.ids import AgentId, AgentType, Id
from colony.jobs import StepKind, StepPlan
from colony.ledger.memory import MemoryLedger
from control.api.app import build_app
from control.api.edge import EdgeSettings
from tests.unit.control.api.api_of_twins import KEY, twins
from workflows.schedules import Timing

EXAMPLES = 8
"""Requests to each path and method: about 15 s for all of them on an idle machine."""


async def fill(ledger: MemoryLedger) -> None:
    """A closed job called 1, whose streams end at once, and an agent."""
    steps = (StepPlan(number=0, name=Id("load"), kind=StepKind.LOAD),)
    job = (await ledger.open_job("key", "first", "review_analysis", steps, None, {})).job
    await ledger.put_artifacts(job, [Artifact(name="report.md", media_type="text/markdown", content=b"# Good")])
    await ledger.close_job(job, JobState.DONE)
    await ledger.put_agents([AgentSpec(agent_id=AgentId("analysis-00001"), agent_type=AgentType("analysis"))])


PARTS, LEDGER, _, _ = twins()
asyncio.run(fill(LEDGER))
asyncio.run(PARTS.schedules.create("nightly", Timing(template="review_analysis", every=60), {}))
PARTS.stopping.set()  # streams of jobs that other requests made would have no end
SCHEMA: Any = schemathesis.openapi.from_asgi(
    "/openapi.json", build_app(PARTS, EdgeSettings(key=KEY, hosts=frozenset({"testserver"})))
)

KNOWN = {
    "name": "1",
    "schedule": "nightly",
    "agent": "analysis-00001",
    "template": "review_analysis",
    "artifact": "report.md",
}


MEANING = ("/v1/schedules", "/v1/jobs/{name}/retry")
"""Paths that refuse what is well formed: one of cron and every, a time zone, a job with nothing left to do."""


@SCHEMA.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_described(case: Any) -> None:
    parameters = case.path_parameters or {}
    if case.meta.generation.mode.is_positive and len(str(parameters)) % 2 == 0:
        # Half of the good requests name something that is there.
        case.path_parameters = {name: KNOWN.get(name, value) for name, value in parameters.items()}
    if isinstance(case.body, dict) and isinstance(case.body.get("timeout"), int | float) and case.body["timeout"] > 0:
        case.body["timeout"] = min(case.body["timeout"], 0.01)  # nobody answers
    elif isinstance(case.body, dict) and case.body.get("mode") == "ask":
        case.body.setdefault("timeout", 0.01)
    # Of two ways to send the key this replaces one: tests of their own say who comes in.
    excluded = [ignored_auth, not_a_server_error]
    if case.path.endswith(MEANING):
        excluded.append(positive_data_acceptance)
    answer = case.call_and_validate(headers={"X-API-Key": KEY}, excluded_checks=excluded)
    # 503 and 504 are described; 500 is a fault of ours.
    assert answer.status_code != 500
