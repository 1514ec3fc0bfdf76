from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from colony.errors import BadInput, NotPermitted
from control.cli import build_app
from workflows.encryption import read_keys


def made(*arguments: str) -> None:
    result = CliRunner().invoke(build_app(), ["codec-key", *arguments])
    if result.exception is not None:
        raise result.exception


def test_a_fresh_key_stands_in_front_of_those_before(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    made(str(path), "--name", "one")
    first = read_keys(path)
    assert path.stat().st_mode & 0o777 == 0o600
    made(str(path), "--name", "two")
    both = read_keys(path)
    assert list(both) == ["two", "one"]
    assert both["one"] == first["one"]
    assert both["two"] != both["one"]
    assert [each.name for each in tmp_path.iterdir()] == ["keys"]


def test_a_name_that_is_taken_and_a_file_others_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    made(str(path), "--name", "one")
    with pytest.raises(BadInput, match="two keys with the name 'one'"):
        made(str(path), "--name", "one")
    path.chmod(0o644)
    with pytest.raises(NotPermitted):
        made(str(path))
