from __future__ import annotations

import json
from pathlib import Path

import pytest

from colony.config.templates import TemplateConfig
from colony.errors import BadInput
from workflows import source_folder
from workflows.given_rows import pin_rows
from workflows.source_folder import folder_rows, pin_folder

TEMPLATE = TemplateConfig.model_validate(
    {"inputs": {"given": {"type": "path"}}, "steps": [{"name": "load", "kind": "load", "rows": {"$input": "given"}}]}
)


def filled(folder: Path, count: int) -> Path:
    (folder / "deep").mkdir(parents=True)
    for number in range(count):
        place = folder / "deep" if number % 2 else folder
        (place / f"{number:05}.txt").write_text("x" * (number % 5))
    (folder / ".hidden").write_text("not mine")
    (folder / "link.txt").symlink_to(folder / "00000.txt")
    return folder


def test_many_files_are_named_by_reference(tmp_path: Path) -> None:
    folder = filled(tmp_path / "many", 2_100)
    pin = pin_folder(folder)
    chunks = list(folder_rows(pin))
    assert [len(chunk) for chunk in chunks] == [1_000, 1_000, 100]
    assert [seq for chunk in chunks for seq, _ in chunk] == list(range(2_100))
    rows = [json.loads(payload) for chunk in chunks for _, payload in chunk]
    assert {row["name"].rpartition("/")[2] for row in rows} == {f"{number:05}.txt" for number in range(2_100)}
    assert all(Path(row["path"]).stat().st_size == row["bytes"] for row in rows)
    assert len(pin.model_dump_json()) < 1_000


def test_few_files_stand_in_the_plan(tmp_path: Path) -> None:
    few, many = filled(tmp_path / "few", 5), filled(tmp_path / "many", 500)
    assert len(pin_rows(TEMPLATE, {"given": str(few)}, [tmp_path]).rows) == 5
    pin = pin_rows(TEMPLATE, {"given": str(many)}, [tmp_path])
    assert (pin.format, pin.size, pin.rows) == ("folder", 500, ())


def test_a_folder_that_changed_is_refused(tmp_path: Path) -> None:
    folder = filled(tmp_path / "a", 5)
    pin = pin_folder(folder)
    (folder / "new.txt").write_text("")
    with pytest.raises(BadInput, match="changed after the job was opened"):
        list(folder_rows(pin))
    (folder / "new.txt").unlink()
    assert len(next(folder_rows(pin))) == 5
    (folder / "00000.txt").write_text("longer than it was")
    with pytest.raises(BadInput, match="changed"):
        list(folder_rows(pin))


def test_no_files_and_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no files"):
        pin_folder(tmp_path / "empty")
    monkeypatch.setattr(source_folder, "MOST_FILES", 3)
    with pytest.raises(BadInput, match="more than 3 files"):
        pin_folder(filled(tmp_path / "a", 4))


def test_what_is_hidden_is_not_gone_through_and_the_rest_not_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = filled(tmp_path / "a", 4)
    (folder / ".git" / "deep").mkdir(parents=True)
    for number in range(50):
        (folder / ".git" / "deep" / str(number)).write_text("not mine")
    (folder / "around").symlink_to(folder)
    monkeypatch.setattr(source_folder, "_LOOKED_AT", 20)
    assert pin_folder(folder).size == 4
    for number in range(20):
        (folder / f"empty-{number}").mkdir()
    with pytest.raises(BadInput, match="more than 20 files"):
        pin_folder(folder)
