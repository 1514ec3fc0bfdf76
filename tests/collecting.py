"""A collector of calls like Ray Serve's, without Ray: what comes within a time goes together."""

from __future__ import annotations

import asyncio

from ray_app.gateway.batching import Collect, Done, Many, One
from ray_app.gateway.contracts import BackendCall


def collect_within(seconds: float) -> Collect:
    """All that is asked within so many seconds of the first goes together; 0 for one step of the event loop."""

    def collect(many: Many) -> One:
        waiting: list[tuple[BackendCall, asyncio.Future[Done]]] = []

        async def run() -> None:
            await asyncio.sleep(seconds)
            calls, waiting[:] = list(waiting), []
            for (_, future), done in zip(calls, await many([call for call, _ in calls]), strict=True):
                future.set_result(done)

        async def one(call: BackendCall) -> Done:
            future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
            waiting.append((call, future))
            task = asyncio.create_task(run()) if len(waiting) == 1 else None
            done = await future
            if task is not None:
                await task
            return done

        return one

    return collect
