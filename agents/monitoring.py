"""Agents that watch an address and remember what they saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

from pydantic import Field

from agents.base import AgentContext, AgentResult, AgentTask, Page
from agents.fields import optional_number, parameters, text_of, unknown_action
from agents.skills.hashing import sha256
from agents.skills.site_checks import FACTS, answer_facts, failure_facts
from colony.contracts import Frozen
from colony.errors import BadInput, DeadlineExceeded, NotPermitted, Unavailable

REMEMBERED: Final = 200
"""Addresses one agent remembers; the one checked longest ago is forgotten first."""
_DAY: Final = 86_400.0
_JUDGED: Final = ("status", "seconds", "bytes", "hash", "first_seen", "certificate_days")
"""What an answer adds to a finding; one that never came has none of it."""


class _Check(Frozen):
    timeout: float = Field(default=10.0, gt=0, le=60)
    status: int = Field(default=0, ge=0, le=599)
    """Expected; 0 for any below 400."""
    slow_seconds: float = Field(default=5.0, gt=0)
    certificate_days: float = Field(default=14.0, ge=0)
    """A certificate that ends sooner is a finding."""
    contains: str = ""
    """Text the page must have."""


class Monitoring:
    """Checks web addresses against its memory of them."""

    stateful: ClassVar[bool] = True
    actions: ClassVar[Mapping[str, str]] = {
        "check_http": "checks status, latency, content and certificate of an address, and whether it changed",
        "check_site": "looks at a site once and says what it found: status, latency, content, keyword, certificate",
        "forget": "drops what is remembered of an address",
    }
    results: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "check_http": ("url", "checked", "up", "changed", "problems", "failures", *_JUDGED),
        "check_site": FACTS,
        "forget": ("url", "forgotten"),
    }

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        """See `agents.base.Agent`."""
        if task.action not in self.actions:
            raise unknown_action(task, self.actions)
        url = text_of(task.payload, "url")
        if not url.startswith(("http://", "https://")):
            raise BadInput(f"Field 'url' must start with http:// or https://, not {url[:40]!r}.")
        if task.action == "check_site":
            return await _look(url, task.payload, ctx)
        known = _known(ctx.state)
        if task.action == "forget":
            forgotten = known.pop(url, None) is not None
            return AgentResult(value={"url": url, "forgotten": forgotten}, state={"checks": known})
        return await _check(url, parameters(task, _Check), ctx, known)

    async def health(self) -> str:
        """See `agents.base.Agent`."""
        return ""


async def _look(url: str, payload: Mapping[str, Any], ctx: AgentContext) -> AgentResult:
    """One look, remembering nothing: the ledger remembers. What is wrong with a site is no error of the task."""
    site, keyword = text_of(payload, "site"), str(payload.get("keyword", ""))
    timeout = optional_number(payload, "timeout") or 10.0
    try:
        page = await ctx.fetch(url, timeout=timeout)
    except (Unavailable, DeadlineExceeded, NotPermitted) as error:
        return AgentResult(value=failure_facts(site, error))
    return AgentResult(value=answer_facts(site, page, keyword))


async def _check(url: str, wanted: _Check, ctx: AgentContext, known: dict[str, dict[str, Any]]) -> AgentResult:
    """An address that does not answer is a finding, not an error of the task."""
    now = ctx.clock.wall()
    before = known.pop(url, {})
    found: dict[str, Any] = {"url": url, "checked": now, "up": False, "changed": False, "problems": list[str]()}
    try:
        page = await ctx.fetch(url, timeout=wanted.timeout)
    except (Unavailable, DeadlineExceeded) as error:
        found["problems"] = [f"{type(error).__name__}: no answer within {wanted.timeout:g} s"]
    else:
        found |= judge(page, wanted.model_dump(), now, str(before.get("hash", "")))
    failures = 0 if found["up"] else int(before.get("failures", 0)) + 1
    found["failures"] = failures
    # Added last, so that the first entry is always the one checked longest ago.
    known[url] = {"hash": found.get("hash", before.get("hash", "")), "checked": now, "failures": failures}
    while len(known) > REMEMBERED:
        del known[next(iter(known))]
    return AgentResult(value=found, state={"checks": known})


def judge(page: Page, wanted: Mapping[str, Any], now: float, last_hash: str) -> dict[str, Any]:
    """What is to be said of an answer: `up`, `status`, `seconds`, `hash`, `changed`, `certificate_days`, `problems`."""
    problems: list[str] = []
    expected = int(wanted["status"])
    good = page.status == expected if expected else page.status < 400
    if not good:
        problems.append(f"status {page.status}" + (f" instead of {expected}" if expected else ""))
    if page.seconds > wanted["slow_seconds"]:
        problems.append(f"slow: {page.seconds:.1f} s")
    if wanted["contains"] and str(wanted["contains"]).encode() not in page.content:
        problems.append("expected text is missing")
    days = None if page.certificate_expires is None else (page.certificate_expires - now) / _DAY
    if days is not None and days < wanted["certificate_days"]:
        problems.append("certificate has ended" if days < 0 else f"certificate ends in {days:.1f} days")
    digest = sha256(page.content)
    return {
        "up": good,
        "status": page.status,
        "seconds": round(page.seconds, 4),
        "bytes": len(page.content),
        "hash": digest,
        "changed": bool(last_hash) and last_hash != digest,
        "first_seen": not last_hash,
        "certificate_days": None if days is None else round(days, 2),
        "problems": problems,
    }


def _known(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    checks = state.get("checks")
    if not isinstance(checks, Mapping):
        return {}
    entries = cast("Mapping[str, Mapping[str, Any]]", checks)
    ordered = sorted(entries.items(), key=lambda entry: float(entry[1].get("checked", 0.0)))
    return {url: dict(entry) for url, entry in ordered}
