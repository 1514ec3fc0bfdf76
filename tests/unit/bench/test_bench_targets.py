from __future__ import annotations

import pytest

from bench.result import at_least, at_most
from bench.reviews import growth


@pytest.mark.parametrize(("found", "met"), [(29.9, True), (30.0, True), (30.1, False)])
def test_a_bound_from_above(found: float, met: bool) -> None:
    assert at_most("seconds", found, 30.0).met is met


@pytest.mark.parametrize(("found", "met"), [(0.94, False), (0.95, True), (1.2, True)])
def test_a_bound_from_below(found: float, met: bool) -> None:
    assert at_least("share", found, 0.95).met is met


def test_growth_leaves_the_first_quarter_out() -> None:
    assert growth([50.0, 100.0, 105.0, 108.0]) == pytest.approx(1.08)
    assert growth([50.0, 100.0]) == 1.0
    assert growth([]) == 1.0
