"""The task for which something is said travels in an envelope, whatever else comes there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.messaging.codec import decode, encode
from colony.messaging.port import Envelope
from ray_app.work import NO_WORK, Work, work_of

NUMBERS = st.integers(0, 999_999_999)


@given(job=st.integers(1, 10**18 - 1), key=st.uuids().map(str), step=NUMBERS, seq=NUMBERS, generation=NUMBERS)
def test_there_and_back(job: int, key: str, step: int, seq: int, generation: int) -> None:
    work = Work(job, key, step, seq, generation)
    envelope = Envelope(kind="note", origin=work.origin())
    assert work_of(decode(encode(envelope)).origin) == work


@pytest.mark.parametrize(
    "origin", ["", "5", "1/2/3/4", "-1/0/0/0/k", "1/2/3/4/\n", "1/2/3/4/" + "k" * 201, "x" * 10**6]
)
def test_anything_else_is_no_work(origin: str) -> None:
    assert work_of(origin) == NO_WORK


@given(st.text())
def test_nothing_makes_it_raise(origin: str) -> None:
    assert isinstance(work_of(origin), Work)


def test_no_work_has_no_origin() -> None:
    assert NO_WORK.origin() == ""
