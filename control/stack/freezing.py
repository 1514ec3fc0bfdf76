"""When does a service that lives count as frozen? Pure: fed with the answers to its probe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Silence:
    """How long a service has not answered."""

    patience: float
    """Seconds without any answer after which it is frozen."""
    began: float | None = None
    """Moment of the first question that was not answered since the last answer."""

    def note(self, *, answered: bool, now: float) -> bool:
        """Take one answer in, or the lack of it. True when the service is frozen."""
        if answered:
            self.began = None
            return False
        if self.began is None:
            self.began = now
        return now - self.began >= self.patience
