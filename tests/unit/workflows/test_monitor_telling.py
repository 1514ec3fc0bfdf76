"""Who tells what after a round: also for monitors that an earlier build began."""

from __future__ import annotations

from typing import Any

import pytest

from workflows.monitor_contracts import MonitorResume, NoticesOf, TickReply, TickResult
from workflows.monitor_notices import Publisher, Teller, Telling


class Heard(Teller):
    """Keeps what it is woken for."""

    def __init__(self) -> None:
        super().__init__(NoticesOf(job=1, key="k", workflow_id="w"))
        self.woken: list[tuple[int, bool]] = []

    def wake(self, upto: int, *, publish: bool) -> None:
        self.woken.append((upto, publish))


class Published(Publisher):
    """Publishes at once."""

    def __init__(self, heard: int | None, known: int = 0) -> None:
        super().__init__(1, "k", heard, known)

    def wake(self, known: int) -> None:
        if self.heard is None:
            super().wake(known)
        else:
            self.heard = self.known = max(self.known, known)


def after_round(notices: int, last: int) -> TickResult:
    return TickResult(reply=TickReply(), sites=1, paused=0, next_due=None, notices=notices, last_notice=last)


def told(publisher: Publisher | None, *rounds: TickResult) -> tuple[list[tuple[int, bool]], Any]:
    teller = Heard()
    telling = Telling(teller, publisher)
    for last in rounds:
        telling.wake(last)
    return teller.woken, telling.heard


def test_a_new_monitor_publishes_apart_from_the_webhook() -> None:
    assert told(Published(0), after_round(2, 7), after_round(0, 0)) == ([(7, False)], (7, 7))


def test_nobody_is_woken_for_nothing() -> None:
    assert told(Published(7, 7), after_round(0, 0)) == ([], (7, 7))


def test_what_an_earlier_build_left_is_told_as_that_build_did_it() -> None:
    woken, heard = told(Published(None), after_round(0, 0), after_round(2, 7), after_round(1, 8))
    assert woken == [(7, True), (8, False)]
    assert heard == (8, 8)


def test_a_history_of_an_earlier_build_goes_on_as_it_was() -> None:
    assert told(None, after_round(1, 7)) == ([(7, True)], (None, 0))


def test_an_activity_of_an_earlier_build_publishes_itself() -> None:
    assert told(Published(3, 3), after_round(1, 0))[0] == [(0, True)]


@pytest.mark.parametrize("heard", [None, 4])
def test_the_next_run_knows_what_the_bus_has(heard: int | None) -> None:
    given: dict[str, Any] = {"job": 1, "key": "k", "tick": 1, "gap": 1.0, "sites": 1, "reported_day": 1}
    given |= {} if heard is None else {"heard": heard, "known": 9}
    resumed = MonitorResume.model_validate(given)
    assert (resumed.heard, resumed.known) == (heard, 0 if heard is None else 9)
