"""Exit codes of the commands."""

from __future__ import annotations

from typing import Final

FAILED_JOB: Final = 1
"""The command worked, the job did not."""

WRONG: Final = 2
"""What was asked for is wrong or refused."""

NOT_NOW: Final = 3
"""A server does not answer; the same command may work later."""
