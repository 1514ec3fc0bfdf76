"""The lanes of one batch: started one after the other as there is work for them, each with a place of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from colony.clock import Clock
from ray_app.crew import Crew
from ray_app.lanes import Lane
from ray_app.places import Place
from ray_app.turns import Claim


class BatchLanes:
    """Runs `main` in each lane; tells `ended` of each that is over, with its error if it failed.

    As long as there is work one more lane could take (`wanted`), some lane runs or stands in line for a place, unless
    there are as many as may run: `expand` follows each step that could leave none.
    """

    def __init__(
        self,
        crew: Crew,
        clock: Clock,
        claim: Claim,
        main: Callable[[Lane, Place | None], Awaitable[None]],
        ended: Callable[[BaseException | None], None],
        wanted: Callable[[], bool],
    ) -> None:
        self.claim = claim
        self.tasks: set[asyncio.Task[None]] = set()
        self.inside = 0
        """Lanes that wait inside an agent or for a commit."""
        self._wanted = wanted
        self._looking = False
        self._alone = False
        self._crew = crew
        self._clock = clock
        self._main = main
        self._ended = ended
        self._asking: set[asyncio.Task[None]] = set()
        """Lanes that wait for a place."""

    def run(self) -> bool:
        """Whether some lane waits neither inside an agent, nor for a commit, nor for a place."""
        return self.inside + len(self._asking) < len(self.tasks)

    async def start_first(self) -> None:
        """Wait for a place, then start a lane; none is started if it is dismissed meanwhile."""
        place = self._place()
        waiting = asyncio.create_task(place.take(), name="wait for a place")
        self._asking.add(waiting)
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError:
            waiting.cancel()
            waiting.add_done_callback(lambda _: place.give_back())
            raise
        finally:
            self._asking.discard(waiting)
        if not waiting.cancelled():
            self.start(place)

    def start(self, place: Place | None) -> asyncio.Task[None]:
        """Start a lane: in `place`, or in none for what does not take turns, and runs alone."""
        self._alone = place is None
        task = asyncio.create_task(self._run(place), name="lane")
        self.tasks.add(task)
        task.add_done_callback(lambda task: self._lane_ended(task, place))
        return task

    def expand(self) -> None:
        """Add a lane if there is work for it and all that there are wait inside an agent.

        One at a time waits for its place, so that batches get their places by turns.
        """
        self._looking = False
        room = 0 < len(self.tasks) < self._crew.concurrency and not self._alone
        if room and not self._asking and self.inside >= len(self.tasks) and self._wanted():
            self.start(self._place())

    def enter(self) -> None:
        """A lane is about to wait inside an agent; `leave` follows."""
        self.inside += 1
        if self.inside >= len(self.tasks) and not self._looking:
            # By the loop: it comes to that only if the lane really gave way, and once for many quick tasks.
            self._looking = True
            asyncio.get_running_loop().call_soon(self.expand)

    def leave(self) -> None:
        """A lane waits no more."""
        self.inside -= 1

    def dismiss(self) -> None:
        """There is no more work: lanes that still wait for a place are not needed."""
        for task in self._asking:
            task.cancel()

    def interrupt(self) -> None:
        """Interrupt all lanes."""
        for task in list(self.tasks):
            task.cancel()

    async def hand_on(self, lane: Lane, place: Place | None) -> bool:
        """Between two visits: let another have the place if its turn is over. False if this lane is to end.

        The last lane that could ask for a place goes on when it has its next turn: those inside agents cannot.
        """
        if place is None or not place.due():
            return True
        if self._asking or self.inside + 1 < len(self.tasks):
            place.give_back()
            # At once: of two lanes that end in the same moment, the second must see that it is the last.
            self.tasks.discard(lane.task)
            return False
        await self._waited(lane, place.take_again())
        return True

    def _place(self) -> Place:
        return Place(self._crew.places, self.claim, self._clock)

    async def _run(self, place: Place | None) -> None:
        lane = self._crew.watch.enter()
        try:
            if place is not None and not place.held:
                await self._waited(lane, place.take())
            await self._main(lane, place)
        finally:
            self._crew.watch.leave(lane)

    async def _waited(self, lane: Lane, place: Awaitable[None]) -> None:
        self._asking.add(lane.task)
        try:
            await place
        finally:
            self._asking.discard(lane.task)

    def _lane_ended(self, task: asyncio.Task[None], place: Place | None) -> None:
        self.tasks.discard(task)
        if place is not None:
            # Here and not in the lane: one that is interrupted before its first step never runs.
            place.give_back()
        self._ended(None if task.cancelled() else task.exception())
        self.expand()
