from __future__ import annotations

import csv
import io
import tarfile
import zipfile
from itertools import islice
from pathlib import Path

import pytest

from colony.errors import BadInput
from control import demo_data
from control.demo_data import Review, cache_folder, fetch_reviews, parse_reviews, repeated, reviews_in, sampled

REVIEWS = [Review(f"{number}_1", number / 10, f'text, "{number}"') for number in range(40)]


def _archive(path: Path, content: bytes) -> Path:
    tarball = io.BytesIO()
    with tarfile.open(fileobj=tarball, mode="w:gz") as inner:
        member = tarfile.TarInfo("hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt")
        member.size = len(content)
        inner.addfile(member, io.BytesIO(content))
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz", tarball.getvalue())
    return path


def test_lines_of_another_form_are_left_out() -> None:
    content = "1_1\t-0.9\tno picture\r\nnonsense\r\n1_2\tx\ttext\r\n1_3\t2\t \r\n1_4\t3.5\tgood\tand more\r\n"
    assert list(parse_reviews(content)) == [Review("1_1", -0.9, "no picture"), Review("1_4", 3.5, "good\tand more")]


def test_samples_are_always_the_same_and_rounds_have_fresh_ids() -> None:
    assert sampled(REVIEWS, 10) == sampled(REVIEWS, 10)
    assert sampled(REVIEWS, 10) == [review for review in REVIEWS if review in sampled(REVIEWS, 10)]
    assert sampled(REVIEWS, 400) == REVIEWS
    many = list(islice(repeated(REVIEWS), 1_000))
    assert len({review.id for review in many}) == 1_000
    with pytest.raises(BadInput, match="no review"):
        next(repeated([]))


def test_a_checked_archive_becomes_a_csv_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(f"{review.id}\t{review.rating}\t{review.text}\r\n" for review in REVIEWS)
    archive = _archive(tmp_path / "data" / demo_data.ARCHIVE, lines.encode())
    monkeypatch.setattr(demo_data, "SHA256", demo_data._sha256(archive))
    target = fetch_reviews(tmp_path / "out" / "reviews.csv", 100, cache=tmp_path)
    with target.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 100
    assert rows[0] == {"id": "0_1", "rating": "0.0", "text": 'text, "0"'}
    assert [path.name for path in target.parent.iterdir()] == ["reviews.csv"]


def test_a_damaged_archive_and_a_silly_count_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "x.zip"
    broken.write_bytes(b"no zip")
    with pytest.raises(BadInput, match="damaged"):
        reviews_in(broken)
    with pytest.raises(BadInput, match="at least 1"):
        fetch_reviews(tmp_path / "y.csv", 0, cache=tmp_path)


def test_the_cache_follows_the_environment() -> None:
    assert cache_folder({"COLONY_CACHE": "/c"}) == Path("/c")
    assert cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/colony")
    assert cache_folder({}) == Path.home() / ".cache" / "colony"
