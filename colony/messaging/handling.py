"""What a subscription does with messages, the same on the real bus and on its twin.

Messages are only queued where they arrive; handlers run in tasks of our own, so that whatever they do (raise,
cancel themselves, take for ever) cannot stop the subscription.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

import structlog

from colony.errors import ColonyError, DeadlineExceeded, Permanent, by_name
from colony.messaging.port import Envelope, Handler

_log = structlog.get_logger(__name__)

Reply = Callable[[Envelope], None]
"""Answers an `ask`; never raises, never blocks."""

MAX_WAITING: Final = 10_000
"""Messages that may wait for a handler of one subscription; more are dropped and counted."""

_MAX_ERROR_TEXT: Final = 1_000


def error_reply(error: BaseException) -> Envelope:
    """The answer that carries `error` to the asker. Text of foreign errors is kept short."""
    if isinstance(error, ColonyError):
        return Envelope(kind="error", error=type(error).__name__, error_message=str(error)[:_MAX_ERROR_TEXT])
    return Envelope(kind="error", error=Permanent.__name__, error_message=repr(error)[:_MAX_ERROR_TEXT])


def raise_answered_error(answer: Envelope) -> None:
    """Raise the error an answer carries, if any, as the class of that name."""
    if answer.error:
        raise by_name(answer.error)(answer.error_message[:_MAX_ERROR_TEXT])


class HandlerPool:
    """Runs `handler` for messages, at most `concurrency` at once; costs nothing while there are none.

    `take` is an `Intake`: it queues and returns. `counters` gets `dropped_full`, `expired` and `handler_failed`.
    """

    def __init__(
        self,
        handler: Handler,
        concurrency: int,
        counters: Counter[str],
        wall: Callable[[], float],
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._handler = handler
        self._concurrency = max(1, concurrency)
        self._counters = counters
        self._wall = wall
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[str, Envelope, Reply | None]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    def take(self, subject: str, envelope: Envelope, reply: Reply | None) -> None:
        """Queue one message; dropped and counted when too many wait already."""
        if len(self._waiting) >= self._max_waiting:
            self._counters["dropped_full"] += 1
            return
        self._waiting.append((subject, envelope, reply))
        if len(self._running) < self._concurrency:
            self._start()

    def _start(self) -> None:
        task = asyncio.get_running_loop().create_task(self._work(), name="message handler")
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        # A handler that cancelled its own task took the worker with it: the rest of the queue gets a new one.
        if self._waiting and len(self._running) < self._concurrency and not task.get_loop().is_closed():
            self._start()

    async def _work(self) -> None:
        while self._waiting:
            subject, envelope, reply = self._waiting.popleft()
            if envelope.deadline is not None and envelope.deadline < self._wall():
                self._counters["expired"] += 1
                continue
            await self._handle(subject, envelope, reply)

    async def _handle(self, subject: str, envelope: Envelope, reply: Reply | None) -> None:
        try:
            answer = await self._handler(subject, envelope)
        except asyncio.CancelledError:
            self._counters["handler_failed"] += 1
            if reply is not None:
                reply(error_reply(DeadlineExceeded("The handler of this message was cancelled.")))
            raise
        except Exception as error:  # noqa: BLE001 -- a user's handler may raise anything; the asker gets it as an answer
            self._counters["handler_failed"] += 1
            _log.warning("a message handler failed", subject=subject, kind=envelope.kind[:64], error=repr(error)[:500])
            answer = error_reply(error)
        if reply is not None and answer is not None:
            reply(answer)

    async def finish(self, timeout: float) -> None:
        """Wait until all taken messages are handled, at most `timeout` seconds, then cancel the rest."""
        deadline = asyncio.get_running_loop().time() + timeout
        while self._running:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await asyncio.wait(list(self._running), timeout=left)
        self._waiting.clear()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
