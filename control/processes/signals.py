"""SIGTERM and SIGINT as an event: the first asks for an orderly stop, the second ends the process at once."""

from __future__ import annotations

import asyncio
import os
import signal

FAST_EXIT = 143


def stop_on_signals() -> asyncio.Event:
    """An event that the first signal sets. Call it after `ray.init`, which installs handlers of its own."""
    stop = asyncio.Event()

    def arrived() -> None:
        if stop.is_set():
            os._exit(FAST_EXIT)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, arrived)
    return stop
