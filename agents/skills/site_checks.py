"""What one look at a site found: facts, no judgement. Pure functions."""

from __future__ import annotations

from typing import Any, Final

from agents.base import Page
from agents.skills.hashing import sha256
from colony.errors import (
    CertificateInvalid,
    ColonyError,
    DeadlineExceeded,
    NotPermitted,
    TooLarge,
    TooManyRedirects,
)

FACTS: Final = (
    *("site", "answered", "status", "seconds", "bytes", "digest", "certificate_ends", "keyword"),
    *("problem", "detail"),
)
"""Names of all facts: those of an answer, and those of a look that got none."""

_MOST_DETAIL: Final = 300

_PROBLEMS: Final[tuple[tuple[type[ColonyError], str], ...]] = (
    (CertificateInvalid, "certificate"),
    (TooLarge, "too-large"),
    (TooManyRedirects, "redirects"),
    (DeadlineExceeded, "timeout"),
    (NotPermitted, "not-permitted"),
)


def answer_facts(site: str, page: Page, keyword: str) -> dict[str, Any]:
    """Facts of an answer: `site`, `answered`, `status`, `seconds`, `bytes`, `digest`, `certificate_ends`, `keyword`.

    `keyword` says whether the page has it, and is true where none was asked for.
    """
    return {
        "site": site,
        "answered": True,
        "status": page.status,
        "seconds": round(page.seconds, 4),
        "bytes": len(page.content),
        "digest": sha256(page.content),
        "certificate_ends": page.certificate_expires,
        "keyword": not keyword or keyword.encode() in page.content,
    }


def failure_facts(site: str, error: ColonyError) -> dict[str, Any]:
    """Facts of a look that got no page: `problem` is its kind, `detail` says more."""
    problem = next((name for kind, name in _PROBLEMS if isinstance(error, kind)), "unreachable")
    return {"site": site, "answered": False, "problem": problem, "detail": error.message[:_MOST_DETAIL]}
