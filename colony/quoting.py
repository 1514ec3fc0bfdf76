"""What was said, fit to be kept: secrets hidden, long texts cut. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import orjson

from colony.llm.port import ChatMessage

HIDDEN: Final = "[hidden]"
"""Stands in place of a secret."""

_MOST_TURNS: Final = 40
_LEAST_LETTERS: Final = 200
_DEEPEST: Final = 64

_SECRET_NAME: Final = re.compile(
    r"(?i)(?:^|[_\-.])(?:pass(?:word|wd|phrase)|secret|token|credentials?|authorization|cookie|"
    r"api[_\-]?key|private[_\-]?key|access[_\-]?key)s?$|(?:secret|password|apikey)$"
)
_NAMES: Final = (("api", "key"), ("access", "key"), ("access", "token"), ("auth", "token"), ("client", "secret"))

# What a text must hold, in small letters, before it is worth a look with the pattern: most texts hold nothing of it.
_SECRETS: Final[tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...]] = (
    (
        ("private key-----",),
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
        ),
        HIDDEN,
    ),
    (("://",), re.compile(r"(://[^\s/:@\"']{1,200}:)[^\s/@\"']{1,200}@"), rf"\1{HIDDEN}@"),
    (
        ("bearer", "basic"),
        re.compile(r"(?i)\b(bearer|basic)\s+(?=[^\s\"']*[0-9])[A-Za-z0-9._~+/=\-]{12,}"),
        rf"\1 {HIDDEN}",
    ),
    (
        ("password", "passwd", "passphrase", *(f"{one}{mark}{two}" for one, two in _NAMES for mark in ("", "_", "-"))),
        re.compile(
            r"(?i)\b(pass(?:word|wd|phrase)|client[_-]?secret|api[_-]?key|access[_-]?(?:key|token)|auth[_-]?token)"
            r"(\\?[\"']?\s?[:=]\s?\\?[\"']?)[^\s\"',;\\]{6,}"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (
        ("sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "akia", "asia", "aiza", "eyj"),
        re.compile(
            r"\b(?:sk-[A-Za-z0-9_\-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|"
            r"glpat-[A-Za-z0-9_\-]{16,}|xox[abprs]-[A-Za-z0-9\-]{10,}|A[KS]IA[A-Z0-9]{16}|AIza[A-Za-z0-9_\-]{30,}|"
            r"eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]+)"
        ),
        HIDDEN,
    ),
)


class Quote(NamedTuple):
    """A text as it is kept."""

    text: str
    cut: int = 0
    """Letters left out."""


def quoted(text: str, most: int) -> Quote:
    """`text` without secrets that are known by their form, at most about `most` letters of it: its head and its end.

    What was left out is marked in its place.
    """
    # A secret that the first cut splits lies where the second one cuts again: no half of it stays.
    rough, left_out = _cut(text, 2 * most) if len(text) > 4 * most else (text, 0)
    small = rough.lower()
    for signs, pattern, instead in _SECRETS:
        if any(sign in small for sign in signs):
            rough = pattern.sub(instead, rough)
    if len(rough) <= most:
        return Quote(f"{rough}{_mark(left_out)}" if left_out else rough, left_out)
    head, tail = _ends(most)
    left_out += len(rough) - most
    return Quote(f"{rough[:head]}{_mark(left_out)}{rough[len(rough) - tail :]}", left_out)


def quoted_payload(payload: Any, most: int) -> Quote:
    """A payload as JSON without secrets; text that is no JSON any more where it was cut."""
    try:
        text = orjson.dumps(_hidden(payload, 0), option=orjson.OPT_NON_STR_KEYS, default=str).decode()
    except (TypeError, ValueError, RecursionError) as error:
        text = f"(no JSON: {type(error).__name__})"
    return quoted(text, most)


def quoted_turns(turns: Sequence[ChatMessage], most: int) -> Quote:
    """Messages to a model as a JSON list, each cut where they are longer than `most` letters together."""
    left_out = 0
    kept = list(turns)
    if len(kept) > _MOST_TURNS:
        gone = kept[2 : 2 + len(kept) - _MOST_TURNS]
        left_out = sum(len(turn.content) for turn in gone)
        note = ChatMessage(role="note", content=_mark(left_out).strip())
        kept = [*kept[:2], note, *kept[2 + len(gone) :]]
    share = most
    if sum(len(turn.content) for turn in kept) > most:
        # Short ones need less than their share: what they leave goes to the long ones.
        share = _share([len(turn.content) for turn in kept], most)
    found: list[dict[str, str]] = []
    for turn in kept:
        quote = quoted(turn.content, share)
        left_out += quote.cut
        # A lone surrogate is no JSON.
        found.append({"role": turn.role, "content": quote.text.encode("utf-8", "replace").decode()})
    return Quote(orjson.dumps(found).decode(), left_out)


def _share(lengths: list[int], most: int) -> int:
    """The length that each of these may have, so that all together have about `most`."""
    room, left = most, len(lengths)
    for length in sorted(lengths):
        if length > room // left:
            break
        room -= length
        left -= 1
    return max(_LEAST_LETTERS, room // max(1, left))


def _ends(most: int) -> tuple[int, int]:
    tail = most // 4
    return most - tail, tail


def _cut(text: str, most: int) -> tuple[str, int]:
    head, tail = _ends(most)
    return text[:head] + text[len(text) - tail :], len(text) - head - tail


def _mark(letters: int) -> str:
    return f" [... {letters:,} letters left out ...] "


def _hidden(value: Any, depth: int) -> Any:
    """The value without what stands below a name that secrets have."""
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value)
        return {
            name: HIDDEN
            if inner and isinstance(inner, str) and _SECRET_NAME.search(str(name))
            else _hidden(inner, depth + 1)
            for name, inner in entries.items()
        }
    if isinstance(value, list | tuple):
        return [_hidden(inner, depth + 1) for inner in cast("Sequence[Any]", value)]
    return value
