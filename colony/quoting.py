"""What was said, fit to be kept: secrets hidden, long texts cut. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

import orjson

from colony.llm.port import ChatMessage

HIDDEN: Final = "[hidden]"
"""Stands in place of a secret."""

_MOST_TURNS: Final = 40
_LEAST_LETTERS: Final = 200
_DEEPEST: Final = 64

_LONGEST_NAME: Final = 100

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SECRET_NAME: Final = re.compile(
    r"(?:^|_)(?:pass|pwd|credential|cookie|authorization|pass(?:wd|phrase)|"
    r"(?:api|private|access|secret|signing|encryption)_?key|(?:access|auth|refresh|session|api|bearer)_?token)s?$|"
    r"(?:secret|password)s?$|(?:apikey|token)$"
)
_COUNTED: Final = re.compile(r"(?:^|_)tokens$")
"""Many tokens are more often words than secrets: only a text below such a name is hidden."""

# Names that only secrets have, and names that prose has too: after those, what looks like a word stays.
_SURE: Final = (
    r"(?:pass(?:word|wd|phrase)s?|(?<=[_\-])(?:pass|pwd)|(?:api|access|private|secret|signing|encryption)[_\-]?keys?|"
    r"client[_\-]?secrets?|(?:access|auth|refresh|session|api|bearer)[_\-]?tokens?)"
)
_LIKELY: Final = r"(?:secret|token|cookie|credentials?|authorization|api key|access key)"
_QUOTED: Final = (
    r"(?:(?<=\\[\"'])(?:\\{2,7}[\"']|\\\\|[^\"'\\\n]){1,4000}|"
    r"(?<!\\)(?<=\")(?:\\.|[^\"\\\n]){1,4000}|(?<!\\)(?<=')(?:\\.|[^\"'\\\n]){1,4000})"
)
_BARE: Final = r"(?:[^\s\"'\\,;]|[,;](?=[^\s\"'\\]))"
_IS: Final = r"\\{0,7}[\"']?\s?"
_WORDS: Final = ("password", "passwd", "passphrase", "_pass", "-pass", "_pwd", "-pwd", "secret", "token")
_KEYS: Final = tuple(
    f"{one}{mark}key" for one in ("api", "access", "private", "signing", "encryption") for mark in ("", "_", "-", " ")
)


def _assigned(name: str, bare: str) -> re.Pattern[str]:
    """`name = value` and `name: value`, also as JSON, and as JSON in JSON. Every repetition is bounded."""
    return re.compile(rf"(?i)({name}{_IS}(?:=(?![=>])|:)\s?(?:\\{{0,7}}[\"'])?)(?:{_QUOTED}|(?<![\"']){bare})")


# What a text must hold, in small letters, before it is worth a look with the pattern: most texts hold nothing of it.
_SECRETS: Final[tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...]] = (
    (
        ("private key-----",),
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
        ),
        HIDDEN,
    ),
    # Up to the last @ before the host: a password may hold one.
    (("://",), re.compile(r"(://[^\s/:@\"'\[]{0,200}:)[^\s/\"']{1,200}@"), rf"\1{HIDDEN}@"),
    (
        ("authorization",),
        re.compile(
            r"(?i)(authorization\\{0,7}[\"']?\s?[:=]\s?\\{0,7}[\"']?(?:bearer|basic|token|digest|apikey)\s)"
            r"\s?[^\s\"'\\]{6,}"
        ),
        rf"\1{HIDDEN}",
    ),
    (
        ("bearer", "basic"),
        re.compile(
            r"((?i:bearer\s{1,4})(?=[^\s\"']{0,200}(?:[0-9]|[a-z][A-Z])|[^\s\"']{16})|"
            r"(?i:basic\s{1,4})(?=[^\s\"']{0,200}(?:[0-9]|[a-z][A-Z])|[^\s\"']{24}))[A-Za-z0-9._~+/=\-]{12,}"
        ),
        rf"\1{HIDDEN}",
    ),
    (
        ("cookie:",),
        re.compile(r"(?i)(cookie:\s?)(?=[^\s=\"'\\]{1,200}=)[^\r\n\"\\]{1,8000}"),
        rf"\1{HIDDEN}",
    ),
    ((*_WORDS, *_KEYS), _assigned(_SURE, rf"(?:(?:(?<==)|(?<==\s)){_BARE}{{3}}|{_BARE}{{6}}){_BARE}*"), rf"\1{HIDDEN}"),
    (
        ("secret", "token", "cookie", "credential", "authorization", "api key", "access key"),
        _assigned(
            _LIKELY, rf"(?:(?:(?<==)|(?<==\s)){_BARE}{{6}}|(?={_BARE}{{0,40}}[0-9]){_BARE}{{6}}|{_BARE}{{20}}){_BARE}*"
        ),
        rf"\1{HIDDEN}",
    ),
    (
        ("sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "akia", "asia", "aiza", "eyj"),
        re.compile(
            r"(?<![A-Za-z0-9])(?:sk-[A-Za-z0-9_\-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|"
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
    """Letters left out; of a very large payload at least so many."""


def quoted(text: str, most: int) -> Quote:
    """`text` without secrets that are known by their form, at most about `most` letters of it: its head and its end.

    What was left out is marked in its place.
    """
    return _quoted(text, most, 0)


def quoted_payload(payload: Any, most: int) -> Quote:
    """A payload as JSON without secrets; text that is no JSON any more where it was cut.

    Of a large one only about the first 4 * `most` letters are looked at.
    """
    walk = Walk(4 * most)
    try:
        text = orjson.dumps(walk.hidden(payload), option=orjson.OPT_NON_STR_KEYS, default=str).decode()
    except (TypeError, ValueError, RecursionError) as error:
        text = f"(no JSON: {type(error).__name__})"
    return _quoted(text, most, walk.left_out)


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


def _quoted(text: str, most: int, left_out: int) -> Quote:
    # A secret that the first cut splits lies where the second one cuts again: no half of it stays.
    rough, more = _cut(text, 2 * most) if len(text) > 4 * most else (text, 0)
    left_out += more
    small = rough.lower()
    for signs, pattern, instead in _SECRETS:
        if any(sign in small for sign in signs):
            rough = pattern.sub(instead, rough)
    if len(rough) <= most:
        return Quote(f"{rough}{_mark(left_out)}" if left_out else rough, left_out)
    head, tail = _ends(most)
    left_out += len(rough) - most
    return Quote(f"{rough[:head]}{_mark(left_out)}{rough[len(rough) - tail :]}", left_out)


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


@lru_cache(maxsize=4_096)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(_plain(name)) is not None


def _plain(name: str) -> str:
    """`accessToken` and `Access-Token` as `access_token`."""
    return re.sub(r"[\-. ]", "_", _CAMEL.sub("_", name)).lower()


class Walk:
    """Copies a value without what stands below a name that secrets have, and only as much as there is room for."""

    def __init__(self, letters: int) -> None:
        self._room = letters
        self._least = letters // 2
        self.nodes = 0
        """Values looked at: at most half as many as letters, and one."""
        self.left_out = 0
        """Letters left out, at least."""

    def hidden(self, value: Any, depth: int = 0) -> Any:
        """What is kept of the value."""
        self.nodes += 1
        self._room -= 2
        if depth > _DEEPEST:
            return "..."
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return self._object(cast("dict[Any, Any]", value), depth)
        if isinstance(value, list | tuple):
            entries = cast("Sequence[Any]", value)
            kept: list[Any] = []
            for entry in entries:
                if self._room <= 0:
                    break
                kept.append(self.hidden(entry, depth + 1))
            self.left_out += 2 * (len(entries) - len(kept))
            return kept
        return value

    def _object(self, entries: dict[Any, Any], depth: int) -> dict[Any, Any]:
        kept: dict[Any, Any] = {}
        looked_at = 0
        for name, inner in entries.items():
            if self._room <= 0:
                break
            looked_at += 1
            known = self._text(name) if isinstance(name, str) else name
            kept[known] = HIDDEN if _is_kept_back(str(known), inner) else self.hidden(inner, depth + 1)
        self.left_out += 4 * (len(entries) - looked_at)
        return kept

    def _text(self, text: str) -> str:
        # No shorter than what is kept of all in the end: a secret that is split here is cut away there.
        most = max(self._room, self._least)
        self._room -= len(text) + 2
        if len(text) <= most:
            return text
        text, left_out = _cut(text, most)
        self.left_out += left_out
        return text


def _is_kept_back(name: str, value: Any) -> bool:
    """Whether what stands below the name is a secret. An empty value is none, nor is a yes or no."""
    if not value or isinstance(value, bool):
        return False
    name = name[-_LONGEST_NAME:]
    return _is_secret(name) or (isinstance(value, str) and _COUNTED.search(_plain(name)) is not None)
