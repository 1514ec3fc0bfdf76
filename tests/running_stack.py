"""A stack of its own for tests: started and stopped by the commands people use."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class RunningStack:
    """A stack in `home`, started from `folder`."""

    home: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "COLONY_HOME": str(self.home), "PYTHONPATH": str(ROOT), "COLUMNS": "100"}

    def colony(self, *arguments: str, timeout: float = 240.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `colony ...`; with `check`, its output is in the error."""
        return self._run([sys.executable, "-m", "control", *arguments], timeout, check)

    def deploy(self, *arguments: str, timeout: float = 240.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `deploy_agents.py ...`."""
        return self._run([sys.executable, str(ROOT / "deploy_agents.py"), *arguments], timeout, check)

    def temporal(self, *arguments: str, timeout: float = 120.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the plain Temporal CLI against the stack."""
        binary = str(Path(sys.executable).with_name("temporal"))
        return self._run([binary, *arguments, "--address", self.endpoints["temporal"]["address"]], timeout, check)

    def _run(self, command: list[str], timeout: float, check: bool) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command} ended {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        return done

    @property
    def endpoints(self) -> dict[str, Any]:
        return json.loads((self.home / "endpoints.json").read_text())

    def status(self) -> dict[str, Any]:
        return json.loads(self.colony("status", "--json").stdout)

    def logs(self) -> str:
        """The ends of all logs, for the message of a failed test."""
        parts = [
            f"== {path.name}\n" + path.read_text(errors="replace")[-3000:]
            for path in sorted((self.home / "logs").glob("*.log"))
        ]
        return "\n".join(parts)


@contextmanager
def running_stack(home: Path, folder: Path, config: Path | None = None) -> Generator[RunningStack]:
    """`colony up` before, `colony down` after."""
    stack = RunningStack(home, folder)
    arguments = ["up", "--profile", "full"]
    if config is not None:
        arguments += ["--config", str(config)]
    try:
        stack.colony(*arguments, timeout=300.0)
        yield stack
    finally:
        stack.colony("down", timeout=120.0)


async def wait_for(check: Any, timeout: float, what: str) -> Any:
    """Poll a blocking check in a thread until it is true."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        value = await asyncio.to_thread(check)
        if value:
            return value
        assert asyncio.get_running_loop().time() < deadline, f"{what}: not within {timeout} s"
        await asyncio.sleep(0.1)
