"""Agents that split work and put its results together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, cast

from agents.base import AgentContext, AgentResult, AgentTask
from agents.content import assemble_posts
from agents.content_choice import LEAD_FIELDS, announce_lead, choose_lead
from agents.fields import list_of, parameters, text_of, unknown_action
from agents.ranges import range_pages
from agents.skills.discussion import Discussion, checked_item, discuss
from agents.skills.planning import merge_rows, split_goal, task_for, urls_in
from agents.skills.report import (
    RunFacts,
    parse_report,
    render_generic_markdown,
    render_markdown,
    report_of,
)
from agents.skills.tally import Tally, merge, parse_tally
from agents.skills.wording import Wording, worded
from agents.website import PART_FIELDS, assemble_site, plan_part, return_part
from colony.errors import BadInput

MOST_TASKS: Final = 1_000
"""Tasks one plan may have."""

_PHRASES_IN_MEMORY: Final = 200_000
_HASHES_IN_MEMORY: Final = 2_000_000
_PAGE: Final = 25
"""Partial sums read at once: each may have some hundred kilobytes."""


class Coordination:
    """Plans, merges and reports."""

    actions: ClassVar[Mapping[str, str]] = {
        "plan": "splits a goal or a list of items into tasks by agent type",
        "discuss": "has agents discuss an item in turns, then one decides",
        "merge": "puts partial results together to one table",
        "merge_reviews": "adds up partial sums to the findings of a report, worded by a language model if there is one",
        "assemble_posts": "puts posts together to a collection and finds those that are alike",
        "choose_lead": "decides which post leads the index, from what others name",
        "announce_lead": "tells authors which post was chosen, and hands its teaser off to them",
        "write_report": "writes Markdown from findings",
        "plan_part": "plans one part of a website from its brief",
        "return_part": "sends a part of a website that failed its checks back to its author",
        "assemble_site": "puts the parts of a website together and sums up what its checks found",
    }
    results: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "plan": ("kind", "tasks", "by_type"),
        "discuss": ("item", "decision", "turns", "transcript"),
        "merge": ("kind", "count", "numbers", "values", "rows"),
        "merge_reviews": ("kind", "report"),
        "assemble_posts": ("kind", "range", "candidates", "collection", "held", "most_alike"),
        "choose_lead": ("lead",),
        "announce_lead": LEAD_FIELDS,
        "write_report": ("kind", "markdown"),
        "plan_part": PART_FIELDS,
        "return_part": PART_FIELDS,
        "assemble_site": ("kind", "range", "report"),
    }

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        """See `agents.base.Agent`."""
        match task.action:
            case "plan":
                return AgentResult(value=_plan(task.payload))
            case "discuss":
                return AgentResult(value=await discuss(checked_item(task.payload), parameters(task, Discussion), ctx))
            case "merge":
                return AgentResult(value=await _merge(task, ctx))
            case "merge_reviews":
                return AgentResult(value=await _merge_reviews(task, ctx))
            case "assemble_posts":
                return AgentResult(value=await assemble_posts(task, ctx))
            case "choose_lead":
                return AgentResult(value=await choose_lead(task))
            case "announce_lead":
                return AgentResult(value=await announce_lead(task, ctx))
            case "write_report":
                return AgentResult(value=_write_report(task.payload))
            case "plan_part":
                return AgentResult(value=await plan_part(task, ctx))
            case "return_part":
                return AgentResult(value=await return_part(task, ctx))
            case "assemble_site":
                return AgentResult(value=await assemble_site(task, ctx))
            case _:
                raise unknown_action(task, self.actions)

    async def health(self) -> str:
        """See `agents.base.Agent`."""
        return ""


def _plan(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Tasks of a `goal` (text), or one for each of `items` (text, or objects that become the payload)."""
    listed = payload.get("items") is not None
    items = list_of(payload, "items") if listed else split_goal(text_of(payload, "goal"))
    if len(items) > MOST_TASKS:
        raise BadInput(f"{len(items)} tasks are more than {MOST_TASKS}.", remedy="Use a workflow with a source file.")
    tasks = [_planned(item, index) for index, item in enumerate(items)]
    counts: dict[str, int] = {}
    for entry in tasks:
        counts[entry["agent_type"]] = counts.get(entry["agent_type"], 0) + 1
    return {"kind": "plan", "tasks": tasks, "by_type": counts}


def _planned(item: object, index: int) -> dict[str, Any]:
    if isinstance(item, Mapping):
        fields = dict(cast("Mapping[str, Any]", item))
        said = str(fields.pop("task", "") or fields.get("query") or fields.get("url") or fields.get("text") or "")
        kind, action = task_for(said, default=("analysis", "sentiment") if "text" in fields else ("research", "search"))
        return {"seq": index, "agent_type": kind, "action": action, "payload": fields}
    if not isinstance(item, str) or not item.strip():
        raise BadInput(f"Field 'items[{index}]' must be text or an object.")
    kind, action = task_for(item)
    urls = urls_in(item)
    field = {"research": "query", "monitoring": "url"}.get(kind, "text")
    payload: dict[str, Any] = {field: urls[0] if kind == "monitoring" and urls else item}
    if kind == "research" and urls:
        payload["urls"] = urls
    return {"seq": index, "agent_type": kind, "action": action, "payload": payload}


async def _merge(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """One table of `parts` (a list of objects), or of the results in the range of a reduce task."""
    if task.payload.get("parts") is None:
        return merge_rows([row async for page in range_pages(task, ctx) for row in page])
    parts = list_of(task.payload, "parts")
    for index, part in enumerate(parts):
        if not isinstance(part, Mapping):
            raise BadInput(f"Field 'parts[{index}]' must be an object.")
    return merge_rows(cast("list[Mapping[str, Any]]", parts))


async def _merge_reviews(task: AgentTask, ctx: AgentContext) -> dict[str, Any]:
    """The findings over all partial sums in the range: `{"kind": "reviews", "report": ...}`.

    Where there is a language model it names themes and writes a summary: see `Wording` for the parameters.

    Parts of equal weight are merged first, so that no part is added more than log2(pages) times; in a thread, since
    adding up a hundred thousand reviews takes seconds and the host must go on renewing its lease.
    """
    weighed: list[tuple[int, Tally]] = []
    async for page in range_pages(task, ctx, page=_PAGE):
        weighed.append((1, await asyncio.to_thread(_parsed_and_merged, page)))
        while len(weighed) > 1 and weighed[-1][0] == weighed[-2][0]:
            weight, tally = weighed.pop()
            weighed[-1] = (2 * weight, await asyncio.to_thread(_merged, (weighed[-1][1], tally)))
    total = await asyncio.to_thread(_merged, [tally for _, tally in weighed])
    report = await worded(report_of(total), ctx.llm, parameters(task, Wording))
    return {"kind": "reviews", "report": report.model_dump(mode="json")}


def _parsed_and_merged(parts: Sequence[Mapping[str, Any]]) -> Tally:
    return _merged([parse_tally(part) for part in parts])


def _merged(parts: Iterable[Tally]) -> Tally:
    return merge(parts, phrases_kept=_PHRASES_IN_MEMORY, hashes_kept=_HASHES_IN_MEMORY)


def _write_report(payload: Mapping[str, Any]) -> dict[str, Any]:
    value = payload.get("value")
    if not isinstance(value, Mapping):
        raise BadInput("Field 'value' must be an object.")
    findings = cast("Mapping[str, Any]", value)
    run = RunFacts(source=str(payload.get("source") or ""), template=str(payload.get("title") or ""))
    reviews = findings.get("kind") == "reviews"
    markdown = render_markdown(parse_report(findings), run) if reviews else render_generic_markdown(findings, run)
    return {"kind": "markdown", "markdown": markdown}
