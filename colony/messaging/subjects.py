"""Subjects of the bus: validation and matching. Pure functions, no I/O.

The client library and the server let malformed publish subjects through, so this is the only guard there is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from colony.errors import BadInput

MAX_SUBJECT: Final = 255
"""Most characters of a subject: far below the server's limit for a line, whose breach closes the connection."""

MAX_TOKENS: Final = 16

_PART: Final = "[A-Za-z0-9_-]+"
_PUBLISH = re.compile(rf"{_PART}(?:\.{_PART})*")
_SUBSCRIBE = re.compile(rf"(?:>|(?:{_PART}|\*)(?:\.(?:{_PART}|\*))*(?:\.>)?)")
_QUEUE = re.compile(r"[A-Za-z0-9_-]{0,64}")
_REPLY = re.compile(rf"_INBOX(?:_[a-z]+)?(?:\.{_PART})+")


@lru_cache(maxsize=65_536)
def publish_subject(subject: str) -> str:
    """`subject` if one may send to it: tokens of letters, digits, `_` and `-`, no wildcards. Else `BadInput`."""
    return _checked(subject, _PUBLISH, "send to")


@lru_cache(maxsize=4_096)
def subscribe_subject(subject: str) -> str:
    """`subject` if one may subscribe to it: `*` and a last `>` are allowed too. Else `BadInput`."""
    return _checked(subject, _SUBSCRIBE, "subscribe to")


def queue_group(queue: str) -> str:
    """`queue` if it may name a queue group; empty means none. Else `BadInput`."""
    if _QUEUE.fullmatch(queue) is None:
        raise BadInput(f"{queue[:80]!r} cannot name a queue group.", remedy="Use up to 64 of A-Z, a-z, 0-9, _ and -.")
    return queue


def is_reply_subject(subject: str) -> bool:
    """Whether an answer may go there: only inboxes, so that nobody can make us publish elsewhere."""
    return len(subject) <= MAX_SUBJECT and _REPLY.fullmatch(subject) is not None


def inbox_prefix(role: str) -> str:
    """Where the answers for a role arrive. Per role, so that the server can keep others from reading them."""
    if re.fullmatch(r"[a-z]{1,32}", role) is None:
        raise BadInput(f"{role[:40]!r} is not the name of a role.")
    return f"_INBOX_{role}"


def matches(pattern: str, subject: str) -> bool:
    """Whether a subscription to `pattern` takes messages sent to `subject`."""
    wanted = pattern.split(".")
    given = subject.split(".")
    for position, part in enumerate(wanted):
        if part == ">":
            return len(given) > position
        if position >= len(given) or part not in ("*", given[position]):
            return False
    return len(wanted) == len(given)


def covers(allowed: str, pattern: str) -> bool:
    """Whether every subject that `pattern` can take is also taken by `allowed`."""
    outer = allowed.split(".")
    inner = pattern.split(".")
    for position, part in enumerate(outer):
        if part == ">":
            return len(inner) > position
        if position >= len(inner) or inner[position] == ">" or part not in ("*", inner[position]):
            return False
    return len(outer) == len(inner)


def _checked(subject: str, grammar: re.Pattern[str], what: str) -> str:
    fits = len(subject) <= MAX_SUBJECT and subject.count(".") < MAX_TOKENS
    if not fits or grammar.fullmatch(subject) is None:
        raise BadInput(
            f"{subject[:80]!r} is not a subject one can {what}.",
            remedy=f"Use at most {MAX_TOKENS} tokens of A-Z, a-z, 0-9, _ and -, parted by dots.",
        )
    return subject
