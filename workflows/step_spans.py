"""Where workflow code says that a step begins and ends, for whoever writes traces. Nothing happens without one.

Workflow code stays as it was: what is written is decided outside of it, never while a history is replayed, and changes
no command but for headers, which a replay does not compare.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, cast

from temporalio import workflow

STEP_SPAN: Final = "__colony_step_span"
"""Name under which the worker's interceptor offers the making of a step's span to the sandbox."""

Begin = Callable[[int, str, str], AbstractContextManager[None]]
"""Number, name and kind of a step -> what surrounds it."""


@contextmanager
def step_span(number: int, name: str, kind: str) -> Generator[None]:
    """Around the code of one step: what it starts stands below the step in the trace of the job."""
    functions = cast("Any", workflow).extern_functions()
    begin: Begin | None = functions.get(STEP_SPAN)
    if begin is None:
        yield
        return
    with begin(number, name, kind):
        yield
