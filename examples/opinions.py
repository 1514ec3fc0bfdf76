"""A workflow written as code: agents judge texts, a person looks at the outcome, then it is published."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from colony.errors import BadInput
    from workflows.blocks import CodedJob, as_object, ask_agent, fan_out, reduce, wait


@workflow.defn(name="opinions")
class Opinions(CodedJob):
    """Judges `{"texts": [...]}`; `"ask": true` has a person approve first."""

    @workflow.run
    async def run(self, given: Any = None) -> dict[str, Any]:
        """Run it; returns what the agents found. Raises `BadInput` without texts."""
        self.begin_main(given)
        asked = as_object(given)
        rows = [{"id": str(number), "text": str(text)} for number, text in enumerate(asked.get("texts") or ())]
        if not rows:
            raise BadInput("The input has no 'texts'.")
        judged = fan_out(rows, agent="analysis", action="sentiment")
        summed = await reduce(judged, agent="coordination", action="merge")
        await self.unpaused()
        first = await ask_agent("analysis", "sentiment", rows[0])
        await wait(0.1)
        decision = None
        if asked.get("ask"):
            decision = await self.approve("Publish these opinions?", timeout=3600, shown=summed.value)
        return {"job": summed.job, "merged": summed.ok, "first": first, "by": "" if decision is None else decision.by}
