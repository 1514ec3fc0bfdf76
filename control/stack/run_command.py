"""Run a program to its end with a deadline, keeping what it said."""

from __future__ import annotations

import asyncio
import contextlib
import pwd
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colony.errors import DeadlineExceeded, Permanent


def account_arguments(user: str | None) -> dict[str, Any]:
    """Arguments of `subprocess` that give up all rights but those of the account; none for None."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


async def run_command(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    timeout: float,
    folder: Path | None = None,
    user: str | None = None,
) -> str:
    """What the program printed. Raises `Permanent` when it fails, `DeadlineExceeded` when it does not end in time."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=dict(environment),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        **account_arguments(user),
    )
    try:
        async with asyncio.timeout(timeout):
            output, _ = await process.communicate()
    except TimeoutError:
        raise DeadlineExceeded(f"{Path(command[0]).name} did not end in {timeout:.0f} s.") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    text = output.decode(errors="replace").strip()
    if process.returncode != 0:
        raise Permanent(f"{Path(command[0]).name} failed ({process.returncode}): {text[-2000:]}")
    return text
