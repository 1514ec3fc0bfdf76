"""A service that does not answer counts as frozen only after its patience, without one answer in between."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from control.processes.ready import is_ready, ready, ready_and_beating, ready_file
from control.stack.freezing import Silence
from tests.eventually import assert_eventually


@given(st.lists(st.tuples(st.floats(0.1, 5), st.booleans()), max_size=60))
def test_only_an_unbroken_silence_counts(questions: list[tuple[float, bool]]) -> None:
    silence, now, last_answer = Silence(patience=10), 0.0, 0.0
    for pause, answered in questions:
        now += pause
        frozen = silence.note(answered=answered, now=now)
        if answered:
            last_answer = now
        assert not frozen or now - last_answer >= 10
        assert frozen or answered or now - last_answer < 10 + 5


def test_an_old_sign_of_life_is_none(tmp_path: Path) -> None:
    with ready(tmp_path, "worker"):
        assert is_ready(tmp_path, "worker", os.getpid(), oldest=10)
        assert not is_ready(tmp_path, "worker", os.getpid() + 1, oldest=10)
        past = time.time() - 60
        os.utime(ready_file(tmp_path, "worker"), (past, past))
        assert not is_ready(tmp_path, "worker", os.getpid(), oldest=10)
        assert is_ready(tmp_path, "worker", os.getpid())


async def test_a_living_process_says_so_again_and_again(tmp_path: Path) -> None:
    async with ready_and_beating(tmp_path, "worker"):
        past = time.time() - 60
        os.utime(ready_file(tmp_path, "worker"), (past, past))
        await assert_eventually(lambda: is_ready(tmp_path, "worker", os.getpid(), oldest=10), timeout=30)
    assert not is_ready(tmp_path, "worker", os.getpid())
