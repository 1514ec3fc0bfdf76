"""Makes `.venv` from `uv.lock`, with nothing but Python 3.11's standard library: `python3 bootstrap.py`.

Debian's python3 brings neither pip nor venv. The lock file names the wheel of `uv` with its hash; this program fetches
that wheel, checks it, and lets `uv` do the rest. A second run with nothing changed takes a fraction of a second.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
FOLDER = ROOT / ".bootstrap"
STAMP = FOLDER / "stamp"
PYTHON = ROOT / ".venv" / "bin" / "python"


def main() -> None:
    """Do what is missing and say so."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this runs with whatever python3 is
        fail(f"Python 3.11 or newer is needed, this is {platform.python_version()}.")
    began = time.monotonic()
    fingerprint = current_fingerprint()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text("ascii") == fingerprint:
        return
    version, url, digest = locked_uv((ROOT / "uv.lock").read_text("utf-8"), sys.platform, platform.machine(), libc())
    uv = find_uv(version) or fetch_uv(version, url, digest)
    say("installing the locked packages into .venv")
    FOLDER.mkdir(exist_ok=True)
    done = subprocess.run([uv, "sync", "--frozen", "--all-extras", "--quiet"], cwd=ROOT, env=uv_environment())
    if done.returncode != 0:
        fail("uv could not install the packages; see its message above.")
    STAMP.write_text(fingerprint, "ascii")
    say(f"ready in {time.monotonic() - began:.1f} s")


def current_fingerprint() -> str:
    """Changes when the lock file, the project file or the Python that runs this does."""
    digest = hashlib.sha256(sys.version.encode())
    for name in ("uv.lock", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def locked_uv(lock: str, system: str, machine: str, c_library: str) -> tuple[str, str, str]:
    """Version, address and sha256 of the wheel of `uv` for a machine, from the text of a lock file. Pure."""
    import tomllib  # not there before 3.11, where `main` says so

    package = next((entry for entry in tomllib.loads(lock)["package"] if entry["name"] == "uv"), None)
    if package is None:
        fail("uv.lock does not name the package uv.")
    for wheel in package["wheels"]:
        if matches(wheel["url"].rsplit("-", 1)[-1].removesuffix(".whl"), system, machine, c_library):
            return package["version"], wheel["url"], wheel["hash"].removeprefix("sha256:")
    return fail(f"uv.lock has no wheel of uv for {system} on {machine}. Install uv {package['version']} yourself.")


def matches(tags: str, system: str, machine: str, c_library: str) -> bool:
    """Whether one of a wheel's platform tags (joined by dots) fits the machine. Pure."""
    machine = {"amd64": "x86_64", "AMD64": "x86_64"}.get(machine, machine)
    if system == "darwin":
        return any(tag.startswith("macosx") and tag.endswith(machine) for tag in tags.split("."))
    wanted = "musllinux" if c_library == "musl" else "manylinux"
    return system == "linux" and any(tag.startswith(wanted) and tag.endswith(machine) for tag in tags.split("."))


def libc() -> str:
    """`glibc` or `musl`."""
    return "glibc" if platform.libc_ver()[0] == "glibc" or sys.platform != "linux" else "musl"


def find_uv(version: str) -> Path | None:
    """A `uv` of exactly this version: fetched before, or on PATH."""
    for candidate in (FOLDER / f"uv-{version}", shutil.which("uv")):
        if candidate is None or not Path(candidate).exists():
            continue
        try:
            said = subprocess.run([candidate, "--version"], capture_output=True, text=True, timeout=30).stdout
        except (OSError, subprocess.TimeoutExpired):
            continue
        if said.split()[1:2] == [version]:
            return Path(candidate)
    return None


def fetch_uv(version: str, url: str, digest: str) -> Path:
    """Fetch the wheel, check it, unpack the program."""
    began = time.monotonic()
    content = fetch(url)
    if hashlib.sha256(content).hexdigest() != digest:
        fail(f"The file from {url} is not the one that uv.lock names: its sha256 differs.")
    FOLDER.mkdir(exist_ok=True)
    target = FOLDER / f"uv-{version}"
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".data/scripts/uv"))
        fresh.write_bytes(wheel.read(name))
    fresh.chmod(0o755)
    fresh.replace(target)
    say(f"fetched uv {version} ({len(content) / 1e6:.0f} MB, sha256 checked) in {time.monotonic() - began:.1f} s")
    return target


def certificates() -> str | None:
    """File of certificate authorities the user names, if any."""
    return os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT") or None


def fetch(url: str) -> bytes:
    """The content behind an https address; three tries."""
    if not url.startswith("https://"):
        fail(f"{url} is no https address.")
    context = ssl.create_default_context(cafile=certificates())
    for attempt in range(3):
        try:
            with urllib.request.urlopen(url, timeout=60, context=context) as answer:  # noqa: S310 - https, see above
                return answer.read()
        except (OSError, urllib.error.URLError) as error:
            if attempt == 2:
                fail(f"{url} cannot be fetched: {error}. Behind a proxy, set HTTPS_PROXY and SSL_CERT_FILE.")
            time.sleep(1 + attempt)
    raise AssertionError("unreachable")


def uv_environment() -> dict[str, str]:
    """Our environment, with the certificates where uv looks for them and this Python as the one to use.

    Locks that uv leaves in the folder for temporary files stay in ours.
    """
    found = {**os.environ, "TMPDIR": str(FOLDER)}
    found.pop("VIRTUAL_ENV", None)
    found.setdefault("UV_PYTHON", str(Path(sys.executable).resolve()))
    chosen = certificates()
    if chosen:
        found.setdefault("SSL_CERT_FILE", chosen)
    return found


def say(message: str) -> None:
    """One line for people."""
    sys.stderr.write(f"bootstrap: {message}\n")
    sys.stderr.flush()


def fail(message: str) -> NoReturn:
    """End with a message."""
    sys.exit(f"bootstrap: {message}")


if __name__ == "__main__":
    main()
