"""Judged reviews added up so that partial sums can be merged in any grouping with the same result.

All sums are of integers (scores in ten-thousandths, ratings in thousandths), since sums of floats depend on their
order. Lists are bounded by keeping the smallest of a total order, which merges exactly as well. The one exception:
a tally keeps its `PHRASES_KEPT` most frequent phrases, so that counts of rarer ones are lower bounds once a part had
more.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import Field, ValidationError

from agents.skills.hashing import content_hash
from agents.skills.model_use import ModelSum, add_models
from agents.skills.sentiment import Label, label_of
from agents.skills.text import one_line
from agents.skills.trend import NO_TREND, Trend, add_trends, trend_of
from colony.contracts import Frozen
from colony.errors import BadInput

BINS: Final = 21
"""Bars of the histogram of scores, from -1 to 1; the middle one is what counts as neutral."""
PHRASES_KEPT: Final = 400
EXAMPLES_KEPT: Final = 8
POINTS_KEPT: Final = 400
HASHES_KEPT: Final = 10_000
"""Content hashes that travel in a tally (about 190 KB); more are an estimate."""
EXAMPLE_LENGTH: Final = 240
_SHORT: Final = 120
SCORE_UNIT: Final = 10_000
RATING_UNIT: Final = 1_000
_RATING_LIMIT: Final = 1_000_000

SCALES: Final[Mapping[str, tuple[float, float]]] = {"signed": (0.0, 0.5), "five": (3.0, 0.5), "ten": (5.5, 1.0)}
"""Scale of human ratings -> its middle, and how far from it a rating stops being neutral."""

Table = dict[str, dict[str, int]]
"""Counts: expected label -> found label -> count."""


class PairSums(Frozen):
    """All that Pearson's r needs, in integers."""

    n: int = 0
    x: int = 0
    y: int = 0
    xx: int = 0
    yy: int = 0
    xy: int = 0

    def pearson(self) -> float | None:
        """Linear correlation; None below two pairs or when one side is constant."""
        left = self.n * self.xx - self.x * self.x
        right = self.n * self.yy - self.y * self.y
        if self.n < 2 or left <= 0 or right <= 0:
            return None
        return (self.n * self.xy - self.x * self.y) / (math.sqrt(left) * math.sqrt(right))


class Example(Frozen):
    """A review worth quoting."""

    compound: float
    text: str
    id: str = ""
    rating: float | None = None
    hash: str = ""


class PhraseSum(Frozen):
    """One phrase over the reviews that have it."""

    count: int
    score: int
    """Sum of scores, in ten-thousandths."""
    positive: int = 0
    negative: int = 0
    example: Example


class Tally(Frozen):
    """Partial sums over judged reviews. `merge` adds them."""

    reviews: int = 0
    by: dict[str, int] = Field(default_factory=dict[str, int])
    labels: dict[str, int] = Field(default_factory=dict[str, int])
    score: int = 0
    histogram: list[int] = Field(default_factory=lambda: [0] * BINS)
    pairs: PairSums = PairSums()
    """Rating against our score."""
    baseline: PairSums = PairSums()
    """Rating against VADER's score."""
    confusion: dict[str, Table] = Field(default_factory=dict[str, Table])
    """Scale -> counts of rated reviews."""
    baseline_confusion: dict[str, Table] = Field(default_factory=dict[str, Table])
    lowest_rating: float | None = None
    highest_rating: float | None = None
    points: list[tuple[str, float, float]] = Field(default_factory=list[tuple[str, float, float]])
    """A sample of (key, rating, score)."""
    hashes: list[str] = Field(default_factory=list[str])
    """Content hashes, ascending: all of them, or the `HASHES_KEPT` smallest when `pruned`."""
    pruned: bool = False
    positive: list[Example] = Field(default_factory=list[Example])
    negative: list[Example] = Field(default_factory=list[Example])
    phrases: dict[str, PhraseSum] = Field(default_factory=dict[str, PhraseSum])
    models: dict[str, ModelSum] = Field(default_factory=dict[str, ModelSum])
    """Language model -> what it was asked."""
    trend: Trend = NO_TREND
    """Over time, where reviews have a date."""

    def distinct(self) -> int:
        """Number of different reviews: exact, or estimated from the smallest hashes when `pruned`."""
        if not self.pruned:
            return len(self.hashes)
        largest = int(self.hashes[-1], 16) / 16 ** len(self.hashes[-1])
        return min(self.reviews, round((len(self.hashes) - 1) / largest)) if largest else len(self.hashes)


def tally_of(rows: Iterable[Mapping[str, Any]]) -> Tally:
    """The tally of judged reviews (`text`, `compound`, and optional `id`, `rating`, `date`, `hash`, `phrases`, `by`).

    Raises `BadInput` naming the field that is wrong.
    """
    return merge(_single(row) for row in rows)


def parse_tally(value: Mapping[str, Any]) -> Tally:
    """A tally that travelled as JSON. Raises `BadInput`."""
    try:
        return Tally.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"Not a tally of reviews: {where}: {first['msg']}.") from error


def merge(tallies: Iterable[Tally], *, phrases_kept: int = PHRASES_KEPT, hashes_kept: int = HASHES_KEPT) -> Tally:
    """The tally of all reviews of all `tallies`. Raise the limits for a tally that stays in memory."""
    parts = list(tallies)
    hashes = {value for part in parts for value in part.hashes}
    if any(part.pruned for part in parts):
        hashes_kept = HASHES_KEPT  # only the smallest of a pruned part are known to be all there are
    pruned = len(hashes) > hashes_kept
    return Tally(
        reviews=sum(part.reviews for part in parts),
        by=_add_counts(part.by for part in parts),
        labels=_add_counts(part.labels for part in parts),
        score=sum(part.score for part in parts),
        histogram=[sum(column) for column in zip([0] * BINS, *(part.histogram for part in parts), strict=True)],
        pairs=_add_pairs(part.pairs for part in parts),
        baseline=_add_pairs(part.baseline for part in parts),
        confusion=_add_scales(part.confusion for part in parts),
        baseline_confusion=_add_scales(part.baseline_confusion for part in parts),
        lowest_rating=min((part.lowest_rating for part in parts if part.lowest_rating is not None), default=None),
        highest_rating=max((part.highest_rating for part in parts if part.highest_rating is not None), default=None),
        points=heapq.nsmallest(POINTS_KEPT, (point for part in parts for point in part.points)),
        hashes=heapq.nsmallest(HASHES_KEPT, hashes) if pruned else sorted(hashes),
        pruned=pruned or any(part.pruned for part in parts),
        positive=_best((example for part in parts for example in part.positive), sign=-1),
        negative=_best((example for part in parts for example in part.negative), sign=1),
        phrases=_add_phrases((part.phrases for part in parts), phrases_kept),
        models=add_models(part.models for part in parts),
        trend=add_trends(part.trend for part in parts),
    )


def _single(row: Mapping[str, Any]) -> Tally:
    compound = _number(row, "compound")
    if compound is None or not -1 <= compound <= 1:
        raise BadInput(f"Field 'compound' must be a number from -1 to 1, not {row.get('compound')!r}.")
    text = row.get("text")
    if not isinstance(text, str):
        raise BadInput("Field 'text' must be text.")
    label = str(row.get("label") or label_of(compound))
    rating = _number(row, "rating")
    key = str(row.get("hash") or content_hash(text))
    example = Example(
        compound=compound, text=one_line(text, EXAMPLE_LENGTH), id=str(row.get("id", "")), rating=rating, hash=key
    )
    score = round(compound * SCORE_UNIT)
    tone = {"positive": int(label == Label.POSITIVE), "negative": int(label == Label.NEGATIVE)}
    histogram = [0] * BINS
    histogram[round((compound + 1) / 2 * (BINS - 1))] = 1
    rated = {} if rating is None else _rated(rating, compound, label, _number(row, "baseline"), example)
    return Tally(
        reviews=1,
        by={str(row.get("by", "lexicon")): 1},
        labels={label: 1},
        score=score,
        histogram=histogram,
        hashes=[key],
        positive=[example] if compound > 0 else [],
        negative=[example] if compound < 0 else [],
        phrases={
            str(phrase): PhraseSum(count=1, score=score, example=example, **tone) for phrase in row.get("phrases") or ()
        },
        models=_asked(row),
        trend=trend_of(row.get("date"), score),
        **rated,
    )


def _asked(row: Mapping[str, Any]) -> dict[str, ModelSum]:
    asked = row.get("asked")
    if asked is None:
        return {}
    try:
        return {str(asked["model"]): ModelSum.model_validate(asked["used"])}
    except (KeyError, TypeError, ValidationError):
        raise BadInput("Field 'asked' must say which model was asked and what it used.") from None


def _rated(rating: float, compound: float, label: str, baseline: float | None, example: Example) -> dict[str, Any]:
    """The fields of a tally of one review that a human rated."""
    order = hashlib.blake2b(f"{example.id}|{example.hash}|{rating}".encode(), digest_size=6).hexdigest()
    fields: dict[str, Any] = {
        "pairs": _pair(rating, compound),
        "confusion": {scale: {rating_label(rating, scale): {label: 1}} for scale in SCALES},
        "lowest_rating": rating,
        "highest_rating": rating,
        "points": [(order, rating, compound)],
    }
    if baseline is not None:
        found = label_of(baseline).value
        fields["baseline"] = _pair(rating, baseline)
        fields["baseline_confusion"] = {scale: {rating_label(rating, scale): {found: 1}} for scale in SCALES}
    return fields


def rating_label(rating: float, scale: str) -> str:
    """The label a human meant with a rating on one of `SCALES`."""
    middle, neutral = SCALES[scale]
    if rating - middle >= neutral:
        return Label.POSITIVE.value
    return Label.NEGATIVE.value if middle - rating >= neutral else Label.NEUTRAL.value


def _pair(rating: float, compound: float) -> PairSums:
    x = max(-_RATING_LIMIT, min(_RATING_LIMIT, round(rating * RATING_UNIT)))
    y = round(compound * SCORE_UNIT)
    return PairSums(n=1, x=x, y=y, xx=x * x, yy=y * y, xy=x * y)


def _number(row: Mapping[str, Any], field: str) -> float | None:
    value = row.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"Field {field!r} must be a number, not {value!r}.")
    return float(value)


def _add_counts(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for key, count in part.items():
            total[key] = total.get(key, 0) + count
    return total


def _add_pairs(parts: Iterable[PairSums]) -> PairSums:
    full = [part for part in parts if part.n]
    return PairSums(
        n=sum(part.n for part in full),
        x=sum(part.x for part in full),
        y=sum(part.y for part in full),
        xx=sum(part.xx for part in full),
        yy=sum(part.yy for part in full),
        xy=sum(part.xy for part in full),
    )


def _add_scales(parts: Iterable[Mapping[str, Table]]) -> dict[str, Table]:
    total: dict[str, Table] = {}
    for part in parts:
        for scale, table in part.items():
            rows = total.setdefault(scale, {})
            for expected, row in table.items():
                rows[expected] = _add_counts((rows.get(expected, {}), row))
    return total


def _best(examples: Iterable[Example], *, sign: int) -> list[Example]:
    """The most extreme examples, each text once."""
    best: dict[str, Example] = {}
    for example in examples:
        known = best.get(example.hash)
        if known is None or _order(example, sign) < _order(known, sign):
            best[example.hash] = example
    return heapq.nsmallest(EXAMPLES_KEPT, best.values(), key=lambda example: _order(example, sign))


def _order(example: Example, sign: int) -> tuple[float, str, str, str, float]:
    rating = math.inf if example.rating is None else example.rating
    return (sign * example.compound, example.hash, example.id, example.text, rating)


def _add_phrases(parts: Iterable[Mapping[str, PhraseSum]], kept: int) -> dict[str, PhraseSum]:
    groups: dict[str, list[PhraseSum]] = {}
    for part in parts:
        for phrase, entry in part.items():
            groups.setdefault(phrase, []).append(entry)
    counts = {phrase: sum(entry.count for entry in entries) for phrase, entries in groups.items()}
    ranked = heapq.nsmallest(kept, groups, key=lambda phrase: (-counts[phrase], phrase))
    return {phrase: _add_phrase(groups[phrase]) for phrase in ranked}


def _add_phrase(entries: list[PhraseSum]) -> PhraseSum:
    if len(entries) == 1:
        return entries[0]
    return PhraseSum(
        count=sum(entry.count for entry in entries),
        score=sum(entry.score for entry in entries),
        positive=sum(entry.positive for entry in entries),
        negative=sum(entry.negative for entry in entries),
        example=min((entry.example for entry in entries), key=_telling),
    )


def _telling(example: Example) -> tuple[bool, float, tuple[float, str, str, str, float]]:
    """Short and strong first: long reviews score high on everything they mention."""
    return (len(example.text) > _SHORT, -abs(example.compound), _order(example, 1))
