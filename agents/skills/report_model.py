"""What a report says, as data: the findings of a review analysis, and how the run went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Field, ValidationError

from agents.skills.measures import accuracy
from agents.skills.model_use import ModelUse
from agents.skills.tally import BINS, SCALES, SCORE_UNIT, Example, PhraseSum, Table, Tally
from agents.skills.timeline import Timeline, timeline_of
from colony.contracts import Frozen
from colony.errors import BadInput

THEMES_KEPT: Final = 30
RELATED_KEPT: Final = 4
_RELATED_SEEN: Final = 8
_LABELS: Final = ("positive", "neutral", "negative")


class Theme(Frozen):
    """A phrase that reviews share."""

    phrase: str
    count: int
    """Reviews that have it."""
    mean: float
    """Mean score of those reviews."""
    positive: int = 0
    negative: int = 0
    example: str = ""
    also: tuple[str, ...] = ()
    """Other phrases that share a word with it, most frequent first."""
    label: str = ""
    """Its name in a language model's words; empty for none."""

    @property
    def name(self) -> str:
        """What to call it."""
        return self.label or self.phrase


class Agreement(Frozen):
    """How well scores agree with human ratings."""

    rated: int
    """Reviews that have a rating."""
    scale: str
    """`signed`, `five` or `ten`: see `agents.skills.tally.SCALES`."""
    pearson: float | None = None
    accuracy: float | None = None
    """Share of reviews whose label is the one the rating means."""
    baseline_pearson: float | None = None
    """The same for VADER as published."""
    baseline_accuracy: float | None = None


class Point(Frozen):
    """One rated review."""

    rating: float
    compound: float


class ReviewReport(Frozen):
    """The findings: `value["report"]` of what `merge_reviews` returns."""

    reviews: int
    duplicates: int = 0
    duplicates_estimated: bool = False
    labels: dict[str, int] = Field(default_factory=dict[str, int])
    """positive, neutral, negative -> reviews."""
    by: dict[str, int] = Field(default_factory=dict[str, int])
    """lexicon, model -> reviews judged by it."""
    mean: float = 0.0
    histogram: tuple[int, ...] = (0,) * BINS
    agreement: Agreement | None = None
    confusion: Table = Field(default_factory=dict[str, dict[str, int]])
    """Label by human rating -> our label -> reviews."""
    themes: tuple[Theme, ...] = ()
    most_positive: tuple[Example, ...] = ()
    most_negative: tuple[Example, ...] = ()
    points: tuple[Point, ...] = ()
    """A sample of rated reviews."""
    trend: Timeline | None = None
    """Over time; None where no review has a date."""
    summary: str = ""
    """A paragraph written by `summary_by`; empty for none."""
    summary_by: str = ""
    """Name of the language model."""
    models: tuple[ModelUse, ...] = ()
    """What language models did."""

    def share(self, label: str) -> float:
        """Share of reviews with a label, 0 to 1."""
        return self.labels.get(label, 0) / self.reviews if self.reviews else 0.0

    def top_themes(self, number: int) -> list[Theme]:
        """The themes that say most, those in most reviews first."""
        return sorted(self.themes[:number], key=lambda theme: (-theme.count, theme.phrase))

    def model_names(self) -> list[str]:
        """The language models that did something, each once."""
        return list(dict.fromkeys(use.model for use in self.models if use.model))


def shares(counts: Mapping[str, int], digits: int) -> dict[str, float]:
    """Percentages of `counts` with so many digits after the point, rounded so that they add up to 100.

    By largest remainders; equal ones go to the first. All 0 where there is nothing.
    """
    total = sum(counts.values())
    if not total:
        return dict.fromkeys(counts, 0.0)
    unit = 100 * 10**digits
    parts = {name: divmod(count * unit, total) for name, count in counts.items()}
    missing = unit - sum(whole for whole, _ in parts.values())
    raised = set(sorted(parts, key=lambda name: -parts[name][1])[:missing])
    return {name: (whole + (name in raised)) / 10**digits for name, (whole, _) in parts.items()}


def summary_note(report: ReviewReport) -> str:
    """Who wrote the summary, in a sentence for people."""
    return f"Written by the language model {report.summary_by} from the figures below; it may be wrong."


def model_rows(report: ReviewReport) -> list[tuple[str, str, str, str, str]]:
    """What language models did: step, model, calls, tokens read and written, what came of it."""
    return [
        (
            use.step,
            use.model or "-",
            f"{use.calls:,}",
            f"{use.prompt_tokens:,} / {use.completion_tokens:,}",
            use.note,
        )
        for use in report.models
    ]


MODEL_COLUMNS: Final = ("step", "model", "calls", "tokens read / written", "result")


class Phase(Frozen):
    """A stretch of a run."""

    name: str
    seconds: float
    tasks: int = 0


class BadRowFact(Frozen):
    """A row of the source that became no task."""

    line: int
    reason: str


class RunFacts(Frozen):
    """How the run went. Everything has a default, so that a report can be written from what is known."""

    job: int = 0
    workflow_id: str = ""
    template: str = ""
    source: str = ""
    """Name of the source file."""
    started: float = 0.0
    """Wall-clock seconds; 0 when unknown."""
    seconds: float = 0.0
    tasks: int = 0
    tasks_per_second: float = 0.0
    agents: int = 0
    hosts: int = 0
    phases: tuple[Phase, ...] = ()
    bad_rows: int = 0
    bad_row_list: tuple[BadRowFact, ...] = ()
    """The first of them."""
    failed: dict[str, int] = Field(default_factory=dict[str, int])
    """Error class -> tasks that ended with it."""
    model: str = ""
    """Language model used; empty for none."""
    results_shown: int = 0
    """Outcomes of the reported step that stand in the report: the first ones."""
    results_total: int = 0
    """Good outcomes it has in all; 0 when unknown."""
    engine: tuple[str, ...] = ()
    """Lines such as "Temporal 1.31 on Postgres"."""


def parse_report(value: Mapping[str, Any]) -> ReviewReport:
    """The report in what `merge_reviews` returned. Raises `BadInput` when it is something else."""
    if value.get("kind") != "reviews" or "report" not in value:
        raise BadInput(f"Not the value of merge_reviews: kind is {value.get('kind')!r}.")
    try:
        return ReviewReport.model_validate(value["report"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"The report is damaged at {where}: {first['msg']}.") from error


def report_of(tally: Tally) -> ReviewReport:
    """The findings of all reviews in `tally`."""
    scale = scale_of(tally)
    return ReviewReport(
        reviews=tally.reviews,
        duplicates=max(0, tally.reviews - tally.distinct()),
        duplicates_estimated=tally.pruned,
        labels={label: tally.labels.get(label, 0) for label in _LABELS},
        by=dict(tally.by),
        mean=round(tally.score / SCORE_UNIT / tally.reviews, 4) if tally.reviews else 0.0,
        histogram=tuple(tally.histogram),
        agreement=_agreement(tally, scale),
        confusion=tally.confusion.get(scale, {}),
        themes=themes_of(tally),
        most_positive=tuple(tally.positive),
        most_negative=tuple(tally.negative),
        points=tuple(Point(rating=rating, compound=compound) for _, rating, compound in tally.points),
        trend=timeline_of(tally.trend),
        models=tuple(
            ModelUse(step="sentiment", model=name, note="judged reviews", **entry.model_dump())
            for name, entry in sorted(tally.models.items())
        ),
    )


def scale_of(tally: Tally) -> str:
    """The scale the ratings are most likely on: signed when any is below 0, else five, else ten."""
    if tally.lowest_rating is None or tally.highest_rating is None or tally.lowest_rating < 0:
        return "signed"
    return "five" if tally.highest_rating <= 5 else "ten"


def _agreement(tally: Tally, scale: str) -> Agreement | None:
    if not tally.pairs.n:
        return None
    return Agreement(
        rated=tally.pairs.n,
        scale=scale,
        pearson=_rounded(tally.pairs.pearson()),
        accuracy=_rounded(accuracy(tally.confusion.get(scale, {}))),
        baseline_pearson=_rounded(tally.baseline.pearson()),
        baseline_accuracy=_rounded(accuracy(tally.baseline_confusion.get(scale, {}))),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def themes_of(tally: Tally, *, limit: int = THEMES_KEPT) -> tuple[Theme, ...]:
    """The phrases that say most, each in at least two reviews (one, when nothing repeats).

    Longer phrases count for more, since "battery life" says more than "battery"; a phrase is left out when one
    already chosen says it in nearly as many reviews.
    """
    repeated = {phrase: entry for phrase, entry in tally.phrases.items() if entry.count > 1} or tally.phrases
    ranked = sorted(repeated, key=lambda phrase: (-repeated[phrase].count * _weight(phrase), phrase))
    chosen: list[str] = []
    for phrase in ranked:
        words = set(phrase.split())
        if all(_says_more(words, repeated[phrase].count, other, repeated[other].count) for other in chosen):
            chosen.append(phrase)
        if len(chosen) == limit:
            break
    return tuple(
        Theme(
            phrase=phrase,
            count=repeated[phrase].count,
            mean=round(repeated[phrase].score / SCORE_UNIT / repeated[phrase].count, 4),
            positive=repeated[phrase].positive,
            negative=repeated[phrase].negative,
            example=repeated[phrase].example.text,
            also=also,
        )
        for phrase, also in zip(chosen, _related(chosen, repeated), strict=True)
    )


def _related(chosen: Sequence[str], phrases: Mapping[str, PhraseSum]) -> list[tuple[str, ...]]:
    """For each of `chosen` the most frequent other phrases that share a word with it."""
    by_word: dict[str, list[str]] = {}
    for phrase in sorted(phrases, key=lambda phrase: (-phrases[phrase].count, phrase)):
        for word in phrase.split():
            by_word.setdefault(word, []).append(phrase)
    found: list[tuple[str, ...]] = []
    for phrase in chosen:
        near = {other for word in phrase.split() for other in by_word[word][:_RELATED_SEEN]} - {phrase}
        ranked = sorted(near, key=lambda other: (-phrases[other].count, other))
        found.append(tuple(ranked[:RELATED_KEPT]))
    return found


def _weight(phrase: str) -> float:
    return 2.0 if " " in phrase else 1.0


def _says_more(words: set[str], count: int, other: str, other_count: int) -> bool:
    known = set(other.split())
    if words < known:
        return count > 1.5 * other_count
    return not (known < words and len(known) > 1)


def scale_words(scale: str) -> str:
    """How a rating is read on a scale, for people."""
    middle, neutral = SCALES[scale]
    return f"ratings from {middle - neutral:g} to {middle + neutral:g} count as neutral"
