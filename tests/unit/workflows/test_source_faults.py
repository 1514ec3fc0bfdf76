"""What a machine lacks for a while is no fault of the file: it is read again, and the job lives."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from colony.config.templates import TemplateConfig
from colony.errors import BadInput, Unavailable
from workflows import source_parquet
from workflows.source_folder import folder_rows, pin_folder
from workflows.sources import pin_file, read_rows, resolve_source
from workflows.templates import REVIEW_ANALYSIS, WEBSITE_BUILD

PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)


def failing(code: int) -> Any:
    def fails(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fails


@pytest.mark.parametrize("template", [REVIEW_ANALYSIS, WEBSITE_BUILD])
@pytest.mark.parametrize("code", PASSING)
def test_a_source_is_pinned_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, template: TemplateConfig
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\nfine\n")
    monkeypatch.setattr(Path, "open", failing(code))
    with pytest.raises(Unavailable, match=r"'a\.csv' cannot be read: "):
        pin_file(path, template, {})


@pytest.mark.parametrize("code", PASSING)
def test_rows_are_read_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\nfine\n")
    pin, folder = pin_file(path, REVIEW_ANALYSIS, {}), pin_folder(tmp_path)
    monkeypatch.setattr(Path, "open", failing(code))
    with pytest.raises(Unavailable, match="cannot be read any more"):
        list(read_rows(pin, REVIEW_ANALYSIS.optional, []))
    monkeypatch.setattr(os, "walk", failing(code))
    with pytest.raises(Unavailable, match="cannot be read any more"):
        list(folder_rows(folder))


def test_a_machine_without_room_for_a_process_reads_parquet_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1....")
    monkeypatch.setattr(source_parquet.subprocess, "Popen", failing(errno.EAGAIN))
    with pytest.raises(Unavailable):
        pin_file(path, REVIEW_ANALYSIS, {})


def test_a_disk_that_does_not_answer_hides_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as away:
        away.setattr(Path, "stat", failing(errno.EIO))
        with pytest.raises(Unavailable, match="cannot be looked up"):
            resolve_source("a.csv", [tmp_path])
    with pytest.raises(BadInput, match="does not exist"):
        resolve_source("a.csv", [tmp_path])


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOENT, errno.EISDIR, errno.ELOOP])
def test_what_is_wrong_with_the_file_stays_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\nfine\n")
    monkeypatch.setattr(Path, "open", failing(code))
    with pytest.raises(BadInput, match="cannot be read: "):
        pin_file(path, REVIEW_ANALYSIS, {})
