"""Quotas of providers, kept for the whole cluster by pacing. Pure, time is handed in."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Final

from ray_app.gateway.plan import GatewayPlan

WINDOW: Final = 60.0
"""Seconds a quota counts over, wherever they begin."""

_SLICE: Final = 0.25
"""Seconds counted together, until the end of the last of them: bounds memory, and is always on the safe side."""

_UNKNOWN: Final = 1.0
"""Seconds after which to ask again when only the end of calls under way can make room."""

_ROUNDING: Final = 1e-6
"""Least wait: never 0.0, which would mean reserved."""


class Governor:
    """Requests and tokens a minute of each backend, never more than its quota in any 60 seconds.

    A call counts with what it reserved while it is under way, and with what it used for 60 seconds from its end. So
    the quota holds whenever a provider books the tokens, at the start, at the end or between, and nobody has to say
    which of the calls under way has ended. Backends without a quota are never held up, unless they said 429. Backends
    that name the same quota are one account: they share its numbers, and a 429 to one of them holds all.
    """

    def __init__(self, plan: GatewayPlan) -> None:
        self._accounts = {
            str(name): (config.quota, "" if config.quota else name) for name, config in plan.backends.items()
        }
        """Backend -> what its quota goes by."""
        shared = {
            self._accounts[name]: _Quota(config.requests_per_minute, config.tokens_per_minute)
            for name, config in plan.backends.items()
            if config.requests_per_minute is not None or config.tokens_per_minute is not None
        }
        self._quotas = {name: shared[account] for name, account in self._accounts.items() if account in shared}
        self._sharing = {
            name: tuple(other for other, theirs in self._accounts.items() if theirs == account)
            for name, account in self._accounts.items()
        }
        self._held_until: dict[tuple[str, str], float] = {}

    def sharing(self, backend: str) -> tuple[str, ...]:
        """The backends of one account with this one, itself included."""
        return self._sharing.get(backend, (backend,))

    def delay(self, backend: str, tokens: int, now: float) -> float:
        """Reserve one request of so many tokens: 0.0 when reserved, else the seconds after which to ask again.

        Whoever got 0.0 must `settle`. Infinite for a request that is larger than the whole quota.
        """
        held = self._held(backend, now)
        quota = self._quotas.get(backend)
        if quota is None:
            return held
        wait = max(held, quota.wait(tokens, now))
        if wait <= 0:
            quota.reserve(tokens, now)
            return 0.0
        return wait

    def settle(self, backend: str, reserved: int, used: int, now: float) -> None:
        """A reserved call is over and used so many tokens (0 when it never reached the backend)."""
        quota = self._quotas.get(backend)
        if quota is not None:
            quota.settle(reserved, used, now)

    def hold(self, backend: str, seconds: float, now: float) -> None:
        """The provider said 429: nothing goes there for so long. A shorter hold never ends a longer one."""
        if math.isfinite(seconds) and seconds > 0:
            account = self._account(backend)
            self._held_until[account] = max(self._held_until.get(account, now), now + seconds)

    def state(self, now: float) -> dict[str, dict[str, Any]]:
        """Backend -> how much of its quota is left, and how long it is held; shared ones with each that shares them."""
        names = sorted(
            name for name in self._accounts if name in self._quotas or self._account(name) in self._held_until
        )
        return {
            name: {
                **(self._quotas[name].state(now) if name in self._quotas else {}),
                "held_seconds": round(self._held(name, now), 3),
            }
            for name in names
        }

    def _held(self, backend: str, now: float) -> float:
        account = self._account(backend)
        until = self._held_until.get(account)
        if until is None:
            return 0.0
        if until <= now:
            del self._held_until[account]
            return 0.0
        return until - now

    def _account(self, backend: str) -> tuple[str, str]:
        return self._accounts.get(backend, ("", backend))


class _Quota:
    """The two counts of one backend."""

    def __init__(self, requests: int | None, tokens: int | None) -> None:
        self._requests, self._tokens = requests, tokens
        self._recent_requests, self._recent_tokens = _Window(), _Window()
        self._under_way = 0

    def wait(self, tokens: int, now: float) -> float:
        """Seconds until one request of so many tokens may go."""
        wait = 0.0
        if self._requests is not None:
            wait = self._recent_requests.wait(self._requests - 1, now)
        if self._tokens is not None:
            if tokens > self._tokens:
                return math.inf
            wait = max(wait, self._recent_tokens.wait(self._tokens - self._under_way - tokens, now))
        return wait

    def reserve(self, tokens: int, now: float) -> None:
        if self._requests is not None:
            self._recent_requests.add(1, now)
        if self._tokens is not None:
            self._under_way += tokens

    def settle(self, reserved: int, used: int, now: float) -> None:
        if self._tokens is not None:
            self._under_way = max(0, self._under_way - reserved)
            self._recent_tokens.add(used, now)

    def state(self, now: float) -> dict[str, Any]:
        return {
            "requests_per_minute": self._requests,
            "requests": self._recent_requests.sum(now),
            "tokens_per_minute": self._tokens,
            "tokens": self._recent_tokens.sum(now),
            "tokens_reserved": self._under_way,
        }


class _Window:
    """What was counted in the last 60 seconds, in slices of a quarter of a second."""

    def __init__(self) -> None:
        self._slices: deque[tuple[int, int]] = deque()
        """(number of the slice, count), oldest first."""
        self._sum = 0

    def add(self, count: int, now: float) -> None:
        """Count it now. A clock that stepped back counts in the newest slice."""
        if count <= 0:
            return
        number = math.floor(now / _SLICE)
        self._sum += count
        if self._slices and self._slices[-1][0] >= number:
            number, before = self._slices.pop()
            count += before
        self._slices.append((number, count))

    def sum(self, now: float) -> int:
        """What counts now."""
        while self._slices and _ends(self._slices[0][0]) <= now:
            self._sum -= self._slices.popleft()[1]
        return self._sum

    def wait(self, room: int, now: float) -> float:
        """Seconds until no more than `room` is counted; a second when time alone will not bring that about."""
        counted = self.sum(now)
        if counted <= room:
            return 0.0
        for number, count in self._slices:
            counted -= count
            if counted <= room:
                return max(_ends(number) - now, _ROUNDING)
        return _UNKNOWN


def _ends(number: int) -> float:
    """When a slice stops counting."""
    return (number + 1) * _SLICE + WINDOW
