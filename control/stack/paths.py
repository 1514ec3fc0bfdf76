"""Where a stack keeps its things: pure names below one data directory, and making them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from colony.errors import NotPermitted

REPOSITORY: Final = Path(__file__).resolve().parents[2]
"""The folder that holds `control`; on `PYTHONPATH` of every process."""


def python_path(config_file: str) -> str:
    """Where processes find modules: ours first, then packages beside the user's configuration."""
    return f"{REPOSITORY}:{Path(config_file).parent}" if config_file else str(REPOSITORY)


LONGEST_RAY_FOLDER: Final = 38
"""Ray puts sockets up to 67 bytes deeper; the kernel's limit for a socket path is 107."""


@dataclass(frozen=True)
class StackPaths:
    """The names of everything a stack writes. `home` is absolute."""

    home: Path

    @property
    def run(self) -> Path:
        """Process state: lock, pids, ready files."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.home / "logs"

    @property
    def secrets(self) -> Path:
        """Credentials, mode 0600 in a folder of mode 0700."""
        return self.home / "secrets"

    @property
    def configs(self) -> Path:
        """Rendered configuration files of the servers; some hold credentials."""
        return self.home / "secrets" / "servers"

    @property
    def state_file(self) -> Path:
        """What the supervisor knows."""
        return self.run / "state.json"

    @property
    def lock_file(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.run / "supervisor.lock"

    @property
    def ports_file(self) -> Path:
        """Ports chosen at first start."""
        return self.home / "ports.json"

    @property
    def endpoints_file(self) -> Path:
        """Addresses, for every process."""
        return self.home / "endpoints.json"

    @property
    def tag(self) -> str:
        """Short name of this data directory, for names outside of it."""
        return hashlib.sha256(os.fsencode(self.home)).hexdigest()[:10]

    @property
    def ray(self) -> Path:
        """Ray's temporary folder: in the data directory, or a short one where that path is too long for sockets."""
        inside = self.home / "ray"
        if len(os.fsencode(inside)) <= LONGEST_RAY_FOLDER:
            return inside
        return Path(tempfile.gettempdir()) / f"colony-{self.tag}"

    def data(self, service: str) -> Path:
        """Data of one service."""
        return self.home / "data" / service

    def log(self, service: str) -> Path:
        """Log of one service."""
        return self.logs / f"{service}.log"

    def make(self) -> None:
        """Create the folders. Raises `NotPermitted` where that is impossible (read-only disk, foreign owner)."""
        try:
            for folder in (self.home, self.run, self.logs, self.home / "data"):
                folder.mkdir(parents=True, exist_ok=True)
            for folder in (self.secrets, self.configs):
                folder.mkdir(mode=0o700, exist_ok=True)
                folder.chmod(0o700)
            trial = self.run / f".write-{os.getpid()}"
            trial.write_bytes(b"x")
            trial.unlink()
        except OSError as error:
            raise NotPermitted(
                f"The data directory {self.home} cannot be written: {error.strerror}.",
                remedy="Choose another with --home or COLONY_HOME.",
            ) from error


def make_private_folder(path: Path) -> None:
    """Create `path` with mode 0700. Raises `NotPermitted` when it exists and is not a folder of ours."""
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        found = path.lstat()
        if not path.is_dir() or path.is_symlink() or found.st_uid != os.geteuid():
            raise NotPermitted(f"{path} exists and belongs to somebody else.", remedy="Remove it.") from None
        path.chmod(0o700)
