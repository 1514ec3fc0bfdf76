"""Splitting a goal into tasks, and putting partial results together. Pure functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from agents.skills.text import one_line, sentences

ROWS_KEPT: Final = 200
"""Rows a merged table shows; all are counted."""
_VALUES_KEPT: Final = 10
_COLUMNS_KEPT: Final = 50

_RULES: Final[Sequence[tuple[str, str, str]]] = (
    (
        r"\b(monitor|watch|check (?:that|whether|if|http)|uptime|reachable|certificate|alive)\b",
        "monitoring",
        "check_http",
    ),
    (r"\b(sentiment|opinions?|feel\w*|reviews?|feedback|complain\w*)\b", "analysis", "sentiment"),
    (r"\b(themes?|topics?|key ?phrases?)\b", "analysis", "themes"),
    (r"\b(statistics?|average|mean|correlat\w*|compare|trend\w*|numbers?)\b", "analysis", "statistics"),
    (r"\b(clean|normali[sz]e|repair|tidy)\b", "processing", "clean"),
    (r"\b(duplicates?|dedup\w*)\b", "processing", "deduplicate"),
    (r"\b(chunk|split|cut)\b", "processing", "chunk"),
    (r"\b(extract|parse)\b", "processing", "extract"),
    (r"\b(merge|combine|join|report|write up)\b", "coordination", "merge"),
    (r"\b(summar\w+|overview)\b", "research", "summarise"),
    (r"\b(find|search|look up|research|which|what|who|when|where|why|how)\b", "research", "search"),
)
_COMPILED: Final = tuple((re.compile(pattern, re.IGNORECASE), kind, action) for pattern, kind, action in _RULES)
_PARTS: Final = re.compile(r"\s*(?:;|\n|,? (?:and )?then |, and (?=[a-z]+ ))\s*", re.IGNORECASE)
_URL: Final = re.compile(r"https?://\S+")
_NUMBERING: Final = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")


def split_goal(goal: str) -> list[str]:
    """The parts of a goal: its sentences, lines and steps joined by "then", in order."""
    parts = [part for sentence in sentences(goal) for part in _PARTS.split(sentence)]
    cleaned = [_NUMBERING.sub("", part).strip(" .") for part in parts]
    return [part for part in cleaned if part]


def task_for(part: str, *, default: tuple[str, str] = ("research", "search")) -> tuple[str, str]:
    """Agent type and action for a part of a goal: of the first word that says so."""
    found = [(match.start(), kind, action) for rule, kind, action in _COMPILED if (match := rule.search(part))]
    if not found:
        return ("monitoring", "check_http") if _URL.fullmatch(part) else default
    _, kind, action = min(found, key=lambda entry: entry[0])
    return kind, action


def urls_in(part: str) -> list[str]:
    """Addresses a part of a goal names."""
    return [url.rstrip(".,;)") for url in _URL.findall(part)]


def merge_rows(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A table of all rows: the first of them, sums over numbers, and the most frequent values of short texts."""
    shown: list[dict[str, Any]] = []
    count = 0
    numbers: dict[str, list[float]] = {}
    texts: dict[str, Counter[str]] = {}
    for row in rows:
        count += 1
        if len(shown) < ROWS_KEPT:
            shown.append({key: _short(value) for key, value in list(row.items())[:_COLUMNS_KEPT]})
        for key, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                _add_number(numbers, key, float(value))
            elif isinstance(value, str | bool) and (key in texts or len(texts) < _COLUMNS_KEPT):
                _count_text(texts.setdefault(key, Counter()), value)
    return {
        "kind": "table",
        "count": count,
        "numbers": [
            {"column": key, "count": int(n), "sum": total, "mean": total / n, "minimum": low, "maximum": high}
            for key, (n, total, low, high) in numbers.items()
        ],
        "values": {key: dict(found.most_common(_VALUES_KEPT)) for key, found in texts.items() if len(found) < count},
        "rows": shown,
    }


def _add_number(numbers: dict[str, list[float]], key: str, value: float) -> None:
    known = numbers.get(key)
    if known is not None:
        known[:] = [known[0] + 1, known[1] + value, min(known[2], value), max(known[3], value)]
    elif len(numbers) < _COLUMNS_KEPT:
        numbers[key] = [1.0, value, value, value]


def _count_text(found: Counter[str], value: str | bool) -> None:
    text = str(value)
    if len(text) <= 60 and (text in found or len(found) < 1_000):
        found[text] += 1


def _short(value: object) -> object:
    return value if isinstance(value, int | float | bool) or value is None else one_line(str(value), 200)
