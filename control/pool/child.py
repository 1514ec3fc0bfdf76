"""One model's process: `python -m control.pool.child PARENT_PID`, started by the pool.

Reads its settings from standard input (one line of JSON: the key is in no command line and no environment), says on
standard output where it serves or why it cannot, and serves until it is killed. Dies with its parent, however that
ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

from colony.errors import BadInput, ColonyError
from control.pool.serving import ModelSettings, start_server

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends; end at once if it has."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def main() -> int:
    """Serve; returns only when it cannot."""
    die_with(int(sys.argv[1]))
    # Nothing needs saving: both signals end it at once, calls under way break off.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    settings = ModelSettings(**json.loads(sys.stdin.buffer.readline()))
    try:
        server = start_server(settings)
    except ColonyError as error:
        return _refuse(error)
    except (RuntimeError, OSError):
        return _refuse(
            BadInput(
                f"llama.cpp cannot serve {settings.weights} as {settings.name!r}.",
                remedy="The log of `model` says why: `colony logs model`.",
            )
        )
    _say({"url": server.listening_address})
    os.dup2(2, 1)  # nobody reads on: what is still written goes to the log
    while True:
        signal.pause()


def _refuse(error: ColonyError) -> int:
    _say({"error": type(error).__name__, "message": error.message, "remedy": error.remedy})
    return 2


def _say(line: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # Leave without destructors: those of llama.cpp wait for its threads.
    os._exit(main())
