"""Real product reviews for the demo, with the ratings that twenty people gave each.

They are the ground truth published with C.J. Hutto and E. Gilbert, "VADER: A Parsimonious Rule-based Model for
Sentiment Analysis of Social Media Text" (ICWSM 2014, MIT licence), which the source distribution of vaderSentiment 0.5
carries. It is fetched by pip from whatever package index this machine uses, checked by hash, and kept in the cache.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from colony.errors import BadInput, DeadlineExceeded, NotFound, Unavailable

PACKAGE: Final = "vaderSentiment==0.5"
ARCHIVE: Final = "vaderSentiment-0.5.zip"
SHA256: Final = "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"

_TARBALL: Final = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
_MEMBER: Final = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
_LARGEST_MEMBER: Final = 20_000_000
_SEED: Final = 2014
_DOWNLOAD_SECONDS: Final = 180.0


class Review(NamedTuple):
    """One rated sentence of a review; ratings are from -4 to +4."""

    id: str
    rating: float
    text: str


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where downloads are kept: `COLONY_CACHE`, else `colony` below `XDG_CACHE_HOME` or `~/.cache`."""
    known = os.environ if environment is None else environment
    if known.get("COLONY_CACHE"):
        return Path(known["COLONY_CACHE"])
    base = known.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "colony"


def fetch_reviews(target: Path, count: int = 1000, *, cache: Path | None = None) -> Path:
    """Write `count` reviews to the CSV file `target` (columns id, rating, text) and return it.

    The same rows each time. Above the number there are, rows repeat under fresh ids. Blocks; the first call downloads
    2.4 MB, later ones read the cache. Raises `BadInput` (count, damaged archive), `NotFound` (neither uv nor pip),
    `Unavailable`, `DeadlineExceeded`.
    """
    if count < 1:
        raise BadInput(f"The number of reviews must be at least 1, not {count}.")
    archive = archive_in(cache_folder() if cache is None else cache)
    write_reviews(target, islice(repeated(sampled(reviews_in(archive), count)), count))
    return target


def archive_in(cache: Path) -> Path:
    """The checked archive in `cache`, downloaded when it is not there. Errors as `fetch_reviews`."""
    archive = cache / "data" / ARCHIVE
    if archive.is_file() and _sha256(archive) == SHA256:
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        _download(Path(folder))
        fetched = Path(folder) / ARCHIVE
        if not fetched.is_file() or _sha256(fetched) != SHA256:
            raise BadInput(f"The package index served something else than {ARCHIVE}.")
        fetched.replace(archive)
    return archive


def reviews_in(archive: Path) -> list[Review]:
    """All reviews of the archive, in its order. Raises `BadInput` when it is damaged."""
    try:
        with (
            zipfile.ZipFile(archive) as outer,
            tarfile.open(fileobj=io.BytesIO(outer.read(_TARBALL)), mode="r:gz") as inner,
        ):
            member = inner.extractfile(_MEMBER)
            content = b"" if member is None else member.read(_LARGEST_MEMBER)
    except (OSError, KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise BadInput(f"{archive} is damaged: {error}.", remedy="Delete it and try again.") from error
    return list(parse_reviews(content.decode("utf-8-sig", errors="replace")))


def parse_reviews(content: str) -> Iterator[Review]:
    """Lines of id, rating and text with tabs between; lines of another form are left out."""
    for line in content.splitlines():
        fields = line.split("\t", 2)
        if len(fields) != 3 or not fields[2].strip():
            continue
        try:
            yield Review(fields[0].strip(), float(fields[1]), fields[2].strip())
        except ValueError:
            continue


def sampled(reviews: Sequence[Review], count: int) -> list[Review]:
    """`count` of the reviews, always the same, in their order; all when there are no more."""
    if count >= len(reviews):
        return list(reviews)
    chosen = random.Random(_SEED).sample(range(len(reviews)), count)  # noqa: S311 -- a sample, no secret
    return [reviews[index] for index in sorted(chosen)]


def repeated(reviews: Sequence[Review]) -> Iterator[Review]:
    """The reviews without end; from the second round on ids end in the number of the round. Raises `BadInput`."""
    if not reviews:
        raise BadInput("The archive holds no review.")
    yield from reviews
    turn = 2
    while True:
        for review in reviews:
            yield review._replace(id=f"{review.id}-{turn}")
        turn += 1


def write_reviews(target: Path, reviews: Iterator[Review]) -> None:
    """A CSV file with a header; the file appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(Review._fields)
            writer.writerows(reviews)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _download(folder: Path) -> None:
    """Let pip fetch the archive into `folder`, with the index, proxy and certificates this machine is set up for."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="ascii")
    options = ["--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes"]
    command = [*_pip(), "download", *options, "--dest", str(folder), "--requirement", str(wanted)]
    try:
        done = subprocess.run(
            command,
            env=_pip_environment(os.environ),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeadlineExceeded(f"{ARCHIVE} did not come within {_DOWNLOAD_SECONDS:.0f} s.") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if "error" in line.lower()]
        reason = lines[-1][:200] if lines else f"exit code {done.returncode}"
        raise Unavailable(f"The package index did not give {PACKAGE}: {reason}.", remedy="Check the network.")


def _pip() -> list[str]:
    """How pip is run here: by uv, else the interpreter's own."""
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if uv is not None:
        return [uv, "tool", "run", "--quiet", "pip"]
    own = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, timeout=30, check=False)
    if own.returncode == 0:
        return [sys.executable, "-m", "pip"]
    raise NotFound("Neither uv nor pip is there to fetch the demo's reviews.", remedy="Install uv.")


def _pip_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment`, with uv's index as pip's where only uv's is set: addresses may hold credentials, so never argv."""
    known = dict(environment)
    index = known.get("UV_DEFAULT_INDEX") or known.get("UV_INDEX_URL")
    if index:
        known.setdefault("PIP_INDEX_URL", index)
    known["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    return known


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
