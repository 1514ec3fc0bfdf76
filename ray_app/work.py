"""For which task something is done, also where the agent that does it was asked by a message. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_ORIGIN: Final = re.compile(r"([0-9]{1,18})/([0-9]{1,9})/([0-9]{1,9})/([0-9]{1,9})/([!-~]{0,200})")


class Work(NamedTuple):
    """A task of a job; the job is 0 for work that belongs to none."""

    job: int = 0
    key: str = ""
    """Key of the job."""
    step: int = 0
    seq: int = 0
    generation: int = 0

    def origin(self) -> str:
        """How it travels in an envelope; empty for work of no job."""
        if not self.job:
            return ""
        return f"{self.job}/{self.step}/{self.seq}/{self.generation}/{self.key}"


NO_WORK: Final = Work()


def work_of(origin: str) -> Work:
    """What `Work.origin` wrote; work of no job for anything else."""
    found = _ORIGIN.fullmatch(origin) if origin else None
    if found is None:
        return NO_WORK
    job, step, seq, generation = (int(number) for number in found.groups()[:4])
    return Work(job, found[5], step, seq, generation)
