"""Token budgets of jobs and of all they start."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.config.gateway import LimitsConfig
from colony.errors import BadInput
from ray_app.gateway.budgets import DEEPEST, Budgets, BudgetVerdict

GO = BudgetVerdict(allowed=True)
STOP = BudgetVerdict(allowed=False)


def budgets(tokens: int | None = 100, on_budget: Literal["stop", "degrade"] = "stop", most: int = 1000) -> Budgets:
    return Budgets(LimitsConfig(job_tokens=tokens, on_budget=on_budget), most=most)


def test_a_spent_budget_stops() -> None:
    book = budgets()
    assert book.reserve("j", 60) == GO
    book.settle("j", 60, 60)
    assert book.reserve("j", 41) == STOP
    assert book.reserve("j", 40) == GO
    assert book.reserve("other", 100) == GO


def test_what_others_have_reserved_only_delays() -> None:
    book = budgets()
    assert book.reserve("j", 80) == GO
    assert book.reserve("j", 30) == BudgetVerdict(allowed=False, later=True)
    book.settle("j", 80, 5)
    assert book.reserve("j", 95) == GO
    assert book.use("j")[:3] == (5, 95, 100)


def test_a_spent_budget_may_degrade_instead() -> None:
    book = budgets(on_budget="degrade")
    assert book.reserve("j", 90) == GO
    assert book.reserve("j", 20) == BudgetVerdict(allowed=True, degrade=True)
    book.settle("j", 90, 90)
    book.settle("j", 20, 20)
    assert book.use("j")[:2] == (110, 0)


def test_no_job_and_no_budget_mean_no_end() -> None:
    assert budgets(tokens=1).reserve("", 10**9) == GO
    book = budgets(tokens=None)
    assert book.reserve("j", 10**9) == GO
    book.settle("", 1, 1)
    assert book.state()["jobs"] == 1


def test_children_share_the_budget_of_their_parent() -> None:
    book = budgets()
    book.reserve("child", 10)
    book.settle("child", 10, 10)
    book.adopt("child", "parent")
    book.adopt("grandchild", "child")
    book.adopt("grandchild", "child")
    assert book.use("parent").used == 10
    assert book.reserve("grandchild", 50) == GO
    book.settle("grandchild", 50, 50)
    assert book.reserve("parent", 41) == STOP
    assert book.reserve("child", 41) == STOP
    assert book.reserve("other", 41) == GO
    assert [book.use(key).used for key in ("parent", "child", "grandchild")] == [60, 60, 50]


def test_a_budget_set_for_a_job_replaces_the_configured_one() -> None:
    book = budgets()
    book.adopt("child", "parent")
    book.set_budget("parent", 1000)
    book.set_budget("child", 20)
    assert book.reserve("child", 21) == STOP
    assert book.reserve("parent", 500) == GO
    book.set_budget("parent", None)
    assert book.reserve("parent", 1) == BudgetVerdict(allowed=False, later=True)


@pytest.mark.parametrize(("child", "parent"), [("a", "a"), ("", "a"), ("a", ""), ("top", "low")])
def test_circles_are_refused(child: str, parent: str) -> None:
    book = budgets()
    book.adopt("low", "top")
    with pytest.raises(BadInput):
        book.adopt(child, parent)


def test_a_second_parent_and_endless_generations_are_refused() -> None:
    book = budgets()
    book.adopt("child", "parent")
    with pytest.raises(BadInput):
        book.adopt("child", "other")
    for number in range(DEEPEST - 1):
        book.adopt(f"j{number + 1}", f"j{number}")
    with pytest.raises(BadInput):
        book.adopt("last", f"j{DEEPEST - 1}")


def test_the_past_is_told_once() -> None:
    book = budgets()
    book.adopt("child", "parent")
    assert book.unknown("child") == ("child", "parent")
    book.used_so_far("parent", 70)
    book.used_so_far("child", 30)
    assert book.unknown("child") == ()
    assert book.reserve("child", 31) == STOP
    assert book.reserve("child", 30) == GO
    book.settle("child", 30, 30)
    book.used_so_far("child", 40)
    assert book.use("child").used == 60


@given(st.data())
def test_a_line_of_jobs_never_overruns_its_budget(data: st.DataObject) -> None:
    book = budgets(tokens=500)
    for number in range(1, 6):
        book.adopt(f"j{number}", f"j{data.draw(st.integers(0, number - 1))}")
    under_way: list[tuple[str, int]] = []
    total = 0
    for _ in range(data.draw(st.integers(0, 80))):
        if under_way and data.draw(st.booleans()):
            job, reserved = under_way.pop()
            used = data.draw(st.integers(0, reserved))
            book.settle(job, reserved, used)
            total += used
        else:
            job, tokens = f"j{data.draw(st.integers(0, 5))}", data.draw(st.integers(0, 300))
            if book.reserve(job, tokens).allowed:
                under_way.append((job, tokens))
        assert total + sum(tokens for _, tokens in under_way) <= 500
        assert book.use("j0").used == total


def test_jobs_used_long_ago_are_forgotten_but_not_those_under_way() -> None:
    book = budgets(most=50)
    book.reserve("busy", 10)
    for number in range(500):
        book.reserve(f"j{number}", 0)
    assert book.state()["jobs"] <= 50
    assert book.use("busy").reserved == 10
