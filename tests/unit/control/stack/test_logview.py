"""`colony logs`."""

from __future__ import annotations

from pathlib import Path

import pytest

from control.stack.logview import show_logs


def test_several_logs_name_their_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "api.log").write_text("one\ntwo\n")
    (tmp_path / "worker.log").write_text("three\n")
    show_logs(tmp_path, ["api", "worker"], lines=1, follow=False)
    assert capsys.readouterr().out == "api    | two\nworker | three\n"


def test_an_empty_log_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "consul.log").touch()
    show_logs(tmp_path, ["consul"], lines=50, follow=False)
    told = capsys.readouterr()
    assert (told.out, "The log of consul is empty" in told.err) == ("", True)
