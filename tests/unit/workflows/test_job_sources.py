from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.config.templates import TemplateConfig
from colony.contracts import BadRow
from colony.errors import BadInput
from colony.jobs import SourcePin
from workflows.contracts import RangeSource
from workflows.rows import MAX_LINE
from workflows.sources import pin_file, pin_range, read_rows, resolve_source
from workflows.templates import DURABLE_TASKS, REVIEW_ANALYSIS


def load(
    folder: Path, content: bytes, name: str = "reviews.csv", template: TemplateConfig = REVIEW_ANALYSIS
) -> tuple[list[dict[str, Any]], list[BadRow], SourcePin]:
    path = folder / name
    path.write_bytes(content)
    pin = pin_file(path, template, {})
    bad: list[BadRow] = []
    rows = [row for chunk in read_rows(pin, template.optional, bad) for row in chunk]
    assert [seq for seq, _ in rows] == list(range(len(rows)))
    return [json.loads(payload) for _, payload in rows], bad, pin


def test_csv_with_mark_quotes_and_newlines(tmp_path: Path) -> None:
    content = '\ufeffReview_ID,Stars,Review\r\n7,5,"good, really\nand ""cheap"""\r\n\r\n8,bad,so so\r\n'.encode()
    rows, bad, pin = load(tmp_path, content)
    assert rows == [
        {"id": "7", "text": 'good, really\nand "cheap"', "rating": 5.0, "line": 2},
        {"id": "8", "text": "so so", "line": 5},
    ]
    assert bad == []
    assert pin.columns == {"id": "Review_ID", "text": "Review", "rating": "Stars"}


def test_semicolons_and_tabs(tmp_path: Path) -> None:
    assert load(tmp_path, b"id;text\n1;a, b\n")[0] == [{"id": "1", "text": "a, b", "line": 2}]
    assert load(tmp_path, b"id\ttext\n1\ta; b\n", "x.tsv")[0] == [{"id": "1", "text": "a; b", "line": 2}]


def test_broken_rows_are_named_and_the_others_kept(tmp_path: Path) -> None:
    content = b"".join(
        [
            b"id,text\n",
            b"1,fine\n",
            b"2\n",
            b"3,\n",
            b"4,caf\xe9\n",
            b'5,"a"b\n',
            b"6," + b"x" * 300_000 + b"\n",
            b"7," + b"y" * (MAX_LINE + 10) + b"\n",
            b"8,also fine\n",
        ]
    )
    rows, bad, _ = load(tmp_path, content)
    assert [row["id"] for row in rows] == ["1", "8"]
    assert {row.line: row.reason.split(":")[0] for row in bad} == {
        3: "broken line",
        4: "no text",
        5: "not UTF-8",
        6: "broken line",
        7: "broken line",
        8: "broken line",
    }
    assert "field limit" in bad[4].reason


def test_a_line_cut_within_the_last_field_is_not_believed(tmp_path: Path) -> None:
    fields = 6
    header = ",".join(["text", *(f"c{number}" for number in range(fields - 1))])
    long = ",".join(["z" * 200_000] * fields)
    rows, bad, _ = load(tmp_path, f"{header}\n{long}\n{','.join('abcdef')}\n".encode())
    assert [row["text"] for row in rows] == ["a"]
    assert [row.line for row in bad] == [2]


def test_an_open_quote_costs_bounded_memory_and_not_the_rest_of_the_file(tmp_path: Path) -> None:
    lines = [b"id,text\n", b'1,"never closed\n', *(b"%d,%s\n" % (n, b"w" * 1000) for n in range(2, 800))]
    rows, bad, _ = load(tmp_path, b"".join(lines))
    assert [row.line for row in bad] == [2]
    assert rows[-1]["id"] == "799"
    assert len(rows) > 400


def test_json_lines(tmp_path: Path) -> None:
    content = b'{"id": 1, "text": "a", "rating": 4}\n\n{"text": ["b"]}\n{"text": "\xff"}\n[1]\n{"text": "c"}\n{"te'
    rows, bad, pin = load(tmp_path, content, "reviews.jsonl")
    assert pin.format == "jsonl"
    assert rows == [{"id": "1", "text": "a", "rating": 4.0, "line": 1}, {"id": "6", "text": "c", "line": 6}]
    assert [row.line for row in bad] == [3, 4, 5, 7]
    assert bad[0].reason == "text is list, not text"


def test_an_optional_field_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    content = b'{"text": "a", "id": ["b"], "date": {"$date": "2024-05-31"}}\n{"text": "c", "date": "2024-05-31"}\n'
    rows, bad, _ = load(tmp_path, content, "reviews.jsonl")
    assert rows == [{"text": "a", "id": "1", "line": 1}, {"text": "c", "id": "2", "date": "2024-05-31", "line": 2}]
    assert bad == []


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"", "a.csv", "is empty"),
        (b"\xef\xbb\xbf \n", "a.csv", "is empty"),
        (b"id,text\n", "a.csv", "no data rows"),
        (b"id,text\n\n \n", "a.csv", "no data rows"),
        (b"id,words\n1,a\n", "a.csv", "found 'id', 'words'"),
        (b"PARE....", "a.parquet", "an encrypted Parquet"),
        (b"\xff\xfei\0d\0", "a.csv", "UTF-16"),
        (b"\x1f\x8b\x08", "a.csv.gz", "gzip"),
        (b'[{"text": "a"}]', "a.json", "JSON array"),
        (b"text\0,a\n1,2\n", "a.csv", "binary"),
        (b'"id,text\n1,2\n', "a.csv", "header"),
    ],
)
def test_refused_files(tmp_path: Path, content: bytes, name: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        load(tmp_path, content, name)


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"nr,words\n1,a\n")
    assert pin_file(path, REVIEW_ANALYSIS, {"text": "Words"}).columns == {"text": "words"}
    with pytest.raises(BadInput, match="looked for 'wordz', found 'nr', 'words'"):
        pin_file(path, REVIEW_ANALYSIS, {"text": "wordz"})
    with pytest.raises(BadInput, match="does not know"):
        pin_file(path, REVIEW_ANALYSIS, {"txet": "words"})


def test_a_file_that_changed_is_refused_after_the_last_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text\na\n")
    pin = pin_file(path, REVIEW_ANALYSIS, {})
    path.write_bytes(b"text\nb\n")
    with pytest.raises(BadInput, match="changed"):
        list(read_rows(pin, REVIEW_ANALYSIS.optional, []))
    path.unlink()
    with pytest.raises(BadInput, match="any more"):
        list(read_rows(pin, REVIEW_ANALYSIS.optional, []))


def test_paths_stay_below_the_data_roots(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "deep").mkdir(parents=True)
    (root / "deep" / "a.csv").write_text("text\na\n")
    (tmp_path / "secret.csv").write_text("text\na\n")
    (root / "link.csv").symlink_to(tmp_path / "secret.csv")
    (root / "loop").symlink_to(root / "loop")
    (tmp_path / "data-other").mkdir()
    (tmp_path / "data-other" / "a.csv").write_text("text\na\n")
    good = root / "deep" / "a.csv"
    assert resolve_source("deep/a.csv", [root]) == good
    assert resolve_source(str(good), [root]) == good
    assert resolve_source("deep/../deep/a.csv", [tmp_path / "data-other", root]) == good
    for path in ("../secret.csv", "link.csv", str(tmp_path / "secret.csv"), "/etc/passwd", "../data-other/a.csv"):
        with pytest.raises(BadInput, match="outside the data roots"):
            resolve_source(path, [root])
    with pytest.raises(BadInput, match="is a directory"):
        resolve_source("deep", [root])
    with pytest.raises(BadInput, match="does not exist"):
        resolve_source("none.csv", [root])
    for path in ("", "a\0b", "loop", "x" * 5000):
        with pytest.raises(BadInput):
            resolve_source(path, [root])


def test_a_generated_range() -> None:
    pin = pin_range(RangeSource(range=2500, bytes=200), DURABLE_TASKS)
    chunks = list(read_rows(pin, (), []))
    assert [len(chunk) for chunk in chunks] == [1000, 1000, 500]
    assert {len(payload) for chunk in chunks for _, payload in chunk} == {200}
    assert json.loads(chunks[2][-1][1])["n"] == 2499
    with pytest.raises(BadInput, match="reads the columns text"):
        pin_range(RangeSource(range=1), REVIEW_ANALYSIS)


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1).filter(str.strip)


@given(st.lists(text, min_size=1, max_size=20))
def test_any_text_survives_csv(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["id", "text"])
    writer.writerows([str(number), value] for number, value in enumerate(texts))
    rows, bad, _ = load(tmp_path_factory.mktemp("csv"), written.getvalue().encode())
    assert bad == []
    assert [row["text"] for row in rows] == texts


@given(st.binary(max_size=2000))
def test_no_content_is_worse_than_bad_input(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    for name, head in (("a.csv", b"text,id\n"), ("a.jsonl", b'{"text": "a"}\n')):
        with contextlib.suppress(BadInput):
            load(tmp_path_factory.mktemp("any"), head + content, name)
