from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any
from typing import cast as cast_to

import pytest
from arro3.core import Array, DataType, RecordBatch, Table
from arro3.io import write_parquet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colony.config.templates import TemplateConfig
from colony.contracts import BadRow
from colony.errors import BadInput, Unavailable
from workflows import source_parquet, sources
from workflows.rows import Record
from workflows.source_parquet import look_parquet, parquet_records
from workflows.sources import pin_file, read_rows
from workflows.templates import DURABLE_TASKS, REVIEW_ANALYSIS

TEXT = DataType.string()
INTEGER = DataType.int64()


def written(path: Path, columns: dict[str, Array], **how: Any) -> Path:
    batch = RecordBatch.from_pydict(cast_to("dict[str, Any]", columns))  # pyright: ignore[reportUnknownMemberType]
    write_parquet(Table.from_batches([batch]), path, **how)
    return path


def texts(values: list[str | None]) -> Array:
    return Array(values, TEXT)


def cast(values: list[int | None], target: DataType) -> Array:
    return Array(values, INTEGER).cast(target)


def rows_of(path: Path, template: TemplateConfig = REVIEW_ANALYSIS) -> tuple[list[dict[str, Any]], list[BadRow]]:
    bad: list[BadRow] = []
    chunks = list(read_rows(pin_file(path, template, {}), template.optional, bad))
    assert [seq for chunk in chunks for seq, _ in chunk] == list(range(sum(map(len, chunks))))
    return [json.loads(payload) for chunk in chunks for _, payload in chunk], bad


def good() -> dict[str, Array]:
    stars = Array([5, 4, None], INTEGER)
    return {"review": texts(["fine", None, "also fine"]), "stars": stars, "other": texts(["x"] * 3)}


def test_rows_and_broken_ones(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", good())
    pin = pin_file(path, REVIEW_ANALYSIS, {})
    assert (pin.format, pin.columns, pin.size) == (
        "parquet",
        {"text": "review", "rating": "stars"},
        path.stat().st_size,
    )
    rows, bad = rows_of(path)
    assert rows == [
        {"text": "fine", "rating": 5.0, "id": "1", "line": 1},
        {"text": "also fine", "id": "3", "line": 3},
    ]
    assert bad == [BadRow(line=2, reason="no text")]


@pytest.mark.parametrize("codec", ["uncompressed", "snappy", "gzip(6)", "brotli(3)", "lz4_raw", "zstd(3)"])
def test_every_usual_compression(tmp_path: Path, codec: str) -> None:
    assert len(rows_of(written(tmp_path / "a.parquet", good(), compression=codec))[0]) == 2


def test_values_that_are_no_text_become_text(tmp_path: Path) -> None:
    second = 1_700_000_000
    columns = {
        "text": cast([7], TEXT),
        "id": Array([b"caf\xc3\xa9"], DataType.binary()),
        "rating": Array(["4.5"], TEXT).cast(DataType.decimal128(5, 2)),
        "date": cast([second * 10**6], DataType.timestamp("us", tz="UTC")),
    }
    assert rows_of(written(tmp_path / "a.parquet", columns))[0] == [
        {"text": "7", "id": "caf\xe9", "rating": 4.5, "date": "2023-11-14T22:13:20+00:00", "line": 1}
    ]
    for kind, value, said in (
        (DataType.timestamp("ms"), second * 10**3, "2023-11-14T22:13:20"),
        (DataType.timestamp("ns", tz="Europe/Berlin"), second * 10**9, "2023-11-14T23:13:20+01:00"),
        (DataType.date32(), 19_675, "2023-11-14"),
    ):
        source = cast([value], kind) if kind != DataType.date32() else Array([value], DataType.int32()).cast(kind)
        path = written(tmp_path / "b.parquet", {"text": texts(["a"]), "date": source})
        assert rows_of(path)[0][0]["date"] == said


def test_what_no_text_can_stand_for_is_a_broken_row(tmp_path: Path) -> None:
    columns = {"text": Array([b"\xff\xfe", b"good"], DataType.binary())}
    rows, bad = rows_of(written(tmp_path / "a.parquet", columns))
    assert [row["text"] for row in rows] == ["good"]
    assert bad == [BadRow(line=1, reason="not UTF-8")]
    nested = {"text": texts(["a"]).cast(DataType.list(TEXT)), "id": texts(["b"])}
    assert rows_of(written(tmp_path / "b.parquet", nested))[1] == [BadRow(line=1, reason="text is list, not text")]


def test_moments_beyond_the_calendar_are_left_out(tmp_path: Path) -> None:
    columns = {"text": texts(["a", "b"]), "date": cast([2**62, 1_700_000_000 * 10**6], DataType.timestamp("us"))}
    rows, bad = rows_of(written(tmp_path / "a.parquet", columns))
    assert [row.get("date") for row in rows] == [None, "2023-11-14T22:13:20"]
    assert bad == []


def test_the_examples_hold_the_same_reviews() -> None:
    examples = Path(__file__).parents[3] / "examples"
    (table, broken), (lines, none) = (rows_of(examples / name) for name in ("kettle.parquet", "kettle.csv"))
    assert [row | {"line": 0} for row in table] == [row | {"line": 0} for row in lines]
    assert (len(table), broken, none) == (60, [], [])


def test_a_template_without_columns_takes_them_all(tmp_path: Path) -> None:
    columns = {"name": texts(["a"]), "size": Array([2**63 - 1], INTEGER), "large": Array([1.5], DataType.float64())}
    rows, _ = rows_of(written(tmp_path / "a.parquet", columns), DURABLE_TASKS)
    assert rows == [{"name": "a", "size": str(2**63 - 1), "large": "1.5", "id": "1", "line": 1}]


def test_a_column_that_is_missing_is_told_as_of_any_file(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", {"nr": texts(["1"]), "words": texts(["a"])})
    with pytest.raises(BadInput, match=r"looked for 'text', 'review', .* found 'nr', 'words'"):
        pin_file(path, REVIEW_ANALYSIS, {})
    with pytest.raises(BadInput, match="looked for 'wordz', found 'nr', 'words'"):
        pin_file(path, REVIEW_ANALYSIS, {"text": "wordz"})
    assert pin_file(path, REVIEW_ANALYSIS, {"text": "Words"}).columns == {"text": "words"}


def test_a_file_without_rows(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no data rows"):
        pin_file(written(tmp_path / "a.parquet", {"text": texts([])}), REVIEW_ANALYSIS, {})


def test_broken_files_are_named_with_a_remedy(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.parquet", {"text": texts([f"review {n}" for n in range(5_000)])}).read_bytes()
    for name, content in (
        ("a.parquet", b"PAR1...."),
        ("b.parquet", whole[: len(whole) // 2]),
        ("c.parquet", whole[:-8] + b"\xff\xff\xff\x7fPAR1"),
        ("d.parquet", b"PAR1"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=f"{name}' cannot be read: .*Look whether it was written fully"):
            pin_file(tmp_path / name, REVIEW_ANALYSIS, {})
    (tmp_path / "e.parquet").write_bytes(b"PARE....")
    with pytest.raises(BadInput, match="encrypted"):
        pin_file(tmp_path / "e.parquet", REVIEW_ANALYSIS, {})


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", {"text": texts(["a"])})
    pin = pin_file(path, REVIEW_ANALYSIS, {})
    written(path, {"text": texts(["b"])})
    with pytest.raises(BadInput, match="changed"):
        list(read_rows(pin, REVIEW_ANALYSIS.optional, []))
    path.unlink()
    with pytest.raises(BadInput, match="any more"):
        list(read_rows(pin, REVIEW_ANALYSIS.optional, []))


def test_a_file_put_in_its_place_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.parquet", {"text": texts(["a"])})
    pin = pin_file(path, REVIEW_ANALYSIS, {})

    def late(place: Path, columns: Sequence[str]) -> Iterator[Record]:
        written(tmp_path / "b.parquet", {"text": texts(["b"])}).replace(place)
        return parquet_records(place, columns)

    monkeypatch.setattr(sources, "parquet_records", late)
    with pytest.raises(BadInput, match="changed"):
        list(read_rows(pin, REVIEW_ANALYSIS.optional, []))


def test_memory_is_bounded_whatever_the_file_asks_for(tmp_path: Path) -> None:
    """One long text in a dictionary, and each row names it: kilobytes of file, gigabytes of rows."""
    path = written(tmp_path / "bomb.parquet", {"text": texts(["x" * 1_500_000] * 200)}, compression="zstd(3)")
    with pytest.raises(BadInput, match=r"more than 350,000,000 bytes of memory.*smaller pages"):
        list(parquet_records(path, ["text"], memory=350_000_000))


def test_a_long_field_costs_its_row_only(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", {"text": texts(["y" * 300_000, "z" * 2_000_000, "short"])})
    rows, bad = rows_of(path)
    assert [row["text"] for row in rows] == ["short"]
    assert [row.line for row in bad] == [1, 2]


def test_a_reader_that_others_end_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ended.py"
    program.write_text(f"import os\nos.kill(os.getpid(), {signal.SIGKILL.value})\n")
    monkeypatch.setattr(source_parquet, "_PROGRAM", program)
    with pytest.raises(Unavailable, match="signal 9"):
        look_parquet(tmp_path / "a.parquet")


def test_names_of_columns_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.parquet", {"text": texts(["a"]), "n" * 2_000_000: texts(["b"])})
    for read in (lambda: look_parquet(path), lambda: list(parquet_records(path, ["text"]))):
        with pytest.raises(BadInput, match=r"columns of the Parquet file 'a\.parquet' have more .*shorter names"):
            read()
    whole = written(tmp_path / "b.parquet", {"text": texts(["a"]), "id": texts(["b"])})
    monkeypatch.setattr(source_parquet, "MAX_HEADER", len(b'["text","id"]\n'))
    assert look_parquet(whole) == (["text", "id"], True)


def test_rows_are_bounded_however_small_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.parquet", {"name": texts(["x"] * 5_000)})
    assert path.stat().st_size < 2_000
    monkeypatch.setattr(sources, "MAX_ROWS", 5_000)
    assert len(rows_of(path, DURABLE_TASKS)[0]) == 5_000
    monkeypatch.setattr(sources, "MAX_ROWS", 4_999)
    with pytest.raises(BadInput, match=r"'a\.parquet' has more than 4,999 rows.*Split"):
        rows_of(path, DURABLE_TASKS)


def test_who_leaves_early_leaves_no_process(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", {"text": texts([f"{n}" * 200 for n in range(100_000)])})
    records = cast_to("Generator[Record]", parquet_records(path, ["text"]))
    assert next(iter(records)).values == ["0" * 200]
    children = f"/proc/{os.getpid()}/task"
    records.close()
    assert not [each for each in _children(children) if "parquet_lines" in each]


def _children(tasks: str) -> list[str]:
    pids = [pid for task in Path(tasks).iterdir() for pid in (task / "children").read_text().split()]
    return [Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace") for pid in pids]


def test_reading_imports_nothing_into_this_process() -> None:
    """The memory of a worker stays what it was: nothing of Arrow is in it."""
    code = "import sys, workflows.sources; print([name for name in sys.modules if 'arro' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


FIELD = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.none() | FIELD, st.none() | FIELD, st.none() | st.integers(-(2**40), 2**40)),
        min_size=1,
        max_size=250,
    )
)
def test_the_same_rows_as_of_json_lines(
    tmp_path_factory: pytest.TempPathFactory, listed: list[tuple[str | None, str | None, int | None]]
) -> None:
    folder = tmp_path_factory.mktemp("both")
    lines = folder / "a.jsonl"
    names = ("text", "id", "rating")
    lines.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in listed))
    columns = {
        "text": texts([row[0] for row in listed]),
        "id": texts([row[1] for row in listed]),
        "rating": Array([row[2] for row in listed], INTEGER),
    }
    path = written(folder / "a.parquet", columns, max_row_group_size=100)
    assert rows_of(path) == rows_of(lines)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_damage_is_worse_than_bad_input(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = written(folder / "a.parquet", {"text": texts([f"review {n % 7}" for n in range(300)])}, compression="snappy")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(4, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        rows_of(path)
    except BadInput as error:
        said = str(error)
    else:
        said = "a.parquet"
    assert "a.parquet" in said or "No column" in said
