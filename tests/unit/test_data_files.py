from __future__ import annotations

import os
from pathlib import Path

import pytest

from colony.data_files import MAX_LISTED, list_below, read_below
from colony.errors import BadInput, NotFound, NotPermitted


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside.txt").write_text("secret")
    inside = tmp_path / "root"
    (inside / "deep").mkdir(parents=True)
    (inside / "a.md").write_text("A")
    (inside / "deep" / "b.md").write_text("B")
    (inside / ".hidden").write_text("no")
    (inside / "way_out.txt").symlink_to(tmp_path / "outside.txt")
    (inside / "way_in.md").symlink_to(inside / "deep" / "b.md")
    os.mkfifo(inside / "pipe")
    return inside


def test_files_below_a_root_are_read_by_relative_and_full_path(root: Path) -> None:
    assert read_below("a.md", [root]) == b"A"
    assert read_below(str(root / "deep" / "b.md"), [root]) == b"B"
    assert read_below("b.md", [root, root / "deep"]) == b"B"
    assert read_below("way_in.md", [root]) == b"B"


@pytest.mark.parametrize("path", ["../outside.txt", "way_out.txt", "/etc/hostname", "deep/../../outside.txt"])
def test_what_leads_out_of_the_roots_is_refused(root: Path, path: str) -> None:
    with pytest.raises(NotPermitted):
        read_below(path, [root])
    with pytest.raises(NotPermitted):
        list_below(path, [root])


def test_a_listing_is_sorted_and_holds_no_hidden_file_no_pipe_and_no_way_out(root: Path) -> None:
    names = [str(Path(path).relative_to(root)) for path in list_below(".", [root])]
    assert names == ["a.md", "deep/b.md", "way_in.md"]
    assert list_below("a.md", [root]) == [str(root / "a.md")]


@pytest.mark.parametrize("path", ["nothing.md", "pipe"])
def test_what_is_no_file_is_not_found(root: Path, path: str) -> None:
    with pytest.raises(NotFound):
        list_below(path, [root])


def test_paths_and_folders_have_bounds(root: Path) -> None:
    with pytest.raises(BadInput, match="NUL"):
        read_below("a\0b", [root])
    for number in range(MAX_LISTED + 1):
        (root / "deep" / f"{number}.txt").touch()
    with pytest.raises(BadInput, match="more than 2,000 files"):
        list_below("deep", [root])
