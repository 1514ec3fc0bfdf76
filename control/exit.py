"""Exit codes of the commands, and how a process ends."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn

FAILED_JOB: Final = 1
"""The command worked, the job did not."""

WRONG: Final = 2
"""What was asked for is wrong or refused."""

NOT_NOW: Final = 3
"""A server does not answer; the same command may work later."""


def leave(code: int) -> NoReturn:
    """End this process with what it printed written out, and without finalising the interpreter.

    Threads of the Temporal SDK may call into an interpreter that is being finalised, which aborts the process after
    its work was done (https://github.com/temporalio/sdk-python/issues/300). Nothing may be left to `atexit`.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # who read it has gone
            continue
    os._exit(code)


def run_and_leave(command: Callable[[], None]) -> NoReturn:
    """Run a command to its end or its `SystemExit`, then `leave`. Other errors are raised."""
    try:
        command()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)  # noqa: T201 -- what the interpreter would do
            leave(FAILED_JOB)
        leave(ended.code or 0)
    leave(0)


def serve_and_leave(process: Callable[[], Coroutine[Any, Any, None]]) -> NoReturn:
    """Run the main function of a service to its end, then `leave`. Errors are raised."""
    run_and_leave(lambda: asyncio.run(process()))
