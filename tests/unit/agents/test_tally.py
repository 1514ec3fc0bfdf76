from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.skills import tally
from agents.skills.hashing import content_hash
from agents.skills.measures import pearson
from agents.skills.report_model import report_of, scale_of
from agents.skills.sentiment import label_of
from agents.skills.tally import Tally, merge, parse_tally, tally_of
from colony.errors import BadInput

_PHRASES = ["battery life", "screen", "picture quality", "remote control", "price"]


def _row(number: int, text: str, compound: float, rating: float | None, phrases: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": str(number),
        "text": text,
        "hash": content_hash(text),
        "compound": compound,
        "label": label_of(compound).value,
        "phrases": phrases,
        "by": "lexicon",
    }
    return row if rating is None else row | {"rating": rating, "baseline": compound / 2}


_rows = st.lists(
    st.builds(
        _row,
        st.integers(0, 50),
        st.sampled_from([f"review {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]),
        st.integers(-10_000, 10_000).map(lambda score: score / 10_000),
        st.none() | st.integers(-80, 80).map(lambda rating: rating / 20),
        st.lists(st.sampled_from(_PHRASES), unique=True, max_size=3),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(_rows, st.data())
def test_merging_in_any_grouping_and_order_gives_the_same(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    whole = tally_of(rows)
    shuffled = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    parts = [tally_of(shuffled[a:b]) for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    left = Tally()
    for part in parts:
        left = merge((left, part))
    right = Tally()
    for part in reversed(parts):
        right = merge((part, right))
    assert left == right == merge(parts) == whole


@settings(max_examples=100, deadline=None)
@given(_rows)
def test_what_travels_as_json_is_the_same(rows: list[dict[str, Any]]) -> None:
    whole = tally_of(rows)
    assert parse_tally(whole.model_dump(mode="json")) == whole


@settings(max_examples=100, deadline=None)
@given(_rows)
def test_sums_are_those_of_the_rows(rows: list[dict[str, Any]]) -> None:
    report = report_of(tally_of(rows))
    rated = [(row["rating"], row["compound"]) for row in rows if "rating" in row]
    assert report.reviews == len(rows)
    assert report.duplicates == len(rows) - len({row["hash"] for row in rows})
    assert sum(report.labels.values()) == len(rows) == sum(report.histogram)
    expected = pearson([rating for rating, _ in rated], [score for _, score in rated])
    found = report.agreement.pearson if report.agreement else None
    if expected is None or found is None:
        assert expected == found
    else:
        assert found == pytest.approx(expected, abs=1e-4)
    for phrase in {phrase for row in rows for phrase in row["phrases"]}:
        assert tally_of(rows).phrases[phrase].count == sum(phrase in row["phrases"] for row in rows)


def test_lists_stay_bounded_and_the_distinct_count_becomes_a_good_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "HASHES_KEPT", 400)
    rows = [_row(n, f"review number {n}", ((n % 200) - 100) / 100, n % 9 - 4.0, [f"phrase {n}"]) for n in range(2_000)]
    parts = [merge((tally_of(rows[at : at + 250]),), hashes_kept=400) for at in range(0, 2_000, 250)]
    whole = merge(parts, hashes_kept=400)
    assert whole.pruned
    assert len(whole.hashes) == 400
    assert len(whole.phrases) == tally.PHRASES_KEPT
    assert len(whole.positive) == len(whole.negative) == tally.EXAMPLES_KEPT
    assert len(whole.points) == tally.POINTS_KEPT
    assert whole.distinct() == pytest.approx(2_000, rel=0.2)
    assert len(whole.model_dump_json()) < 400_000


@pytest.mark.parametrize(
    ("ratings", "scale"), [([-2.0, 3.0], "signed"), ([1.0, 5.0], "five"), ([2.0, 9.0], "ten"), ([], "signed")]
)
def test_the_scale_of_ratings_is_found(ratings: list[float], scale: str) -> None:
    assert scale_of(tally_of([_row(1, "x", 0.5, rating, []) for rating in ratings])) == scale


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"text": "x"}, "compound"),
        ({"text": "x", "compound": 3}, "compound"),
        ({"compound": 0.1}, "text"),
        ({"text": "x", "compound": 0.1, "rating": "good"}, "rating"),
        ({"text": "x", "compound": True}, "compound"),
    ],
)
def test_a_wrong_row_is_refused_by_field(row: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput, match=field):
        tally_of([row])
