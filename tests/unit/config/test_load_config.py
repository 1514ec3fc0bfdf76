from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.config.built_in import BUILT_IN
from colony.config.load import MAX_REPORTED, Loaded, load_config
from colony.config.model import Config
from colony.config.templates import StepConfig, TemplateConfig
from colony.errors import ConfigInvalid
from colony.ids import Id
from colony.jobs import StepKind


def write(folder: Path, text: str) -> Path:
    path = folder / "agent_config.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def load(path: Path | None = None, environment: dict[str, str] | None = None, **more: Any) -> Loaded:
    return load_config(path, environment=environment or {}, **more)


def refused(path: Path, **more: Any) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        load(path, **more)
    return str(caught.value)


def template() -> TemplateConfig:
    return TemplateConfig(steps=(StepConfig(name=Id("load"), kind=StepKind.LOAD),))


def test_without_a_file_there_are_620_agents_of_five_types() -> None:
    loaded = load()
    assert loaded.config == BUILT_IN
    assert sum(one.count for one in loaded.config.fleet.types.values()) == 620
    assert {str(name): one.count for name, one in loaded.config.fleet.types.items() if one.count} == {
        "research": 100,
        "processing": 200,
        "analysis": 150,
        "monitoring": 100,
        "coordination": 70,
    }
    assert loaded.file is None
    assert loaded.origin("fleet.hosts") == "default"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "fleet:\n", "fleet: {}\nmodel: ~\n", "\ufeff"])
def test_an_empty_file_or_section_changes_nothing(tmp_path: Path, text: str) -> None:
    assert load(write(tmp_path, text)).config == BUILT_IN


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    path = write(tmp_path, "fleet:\n  hosts: 3\n  queue_length: 5\n  task_concurrency: 7\n")
    environment = {"COLONY_FLEET__HOSTS": "4", "COLONY_FLEET__QUEUE_LENGTH": "6"}
    loaded = load(path, environment, flags={"fleet.hosts": 5, "fleet.queue_length": None})
    fleet = loaded.config.fleet
    assert (fleet.hosts, fleet.queue_length, fleet.task_concurrency, fleet.host_memory_mb) == (5, 6, 7, 1500)
    assert loaded.origin("fleet.hosts") == "flag"
    assert loaded.origin("fleet.queue_length") == "environment COLONY_FLEET__QUEUE_LENGTH"
    assert loaded.origin("fleet.task_concurrency") == f"{path}:4"
    assert loaded.origin("fleet.host_memory_mb") == "default"


def test_types_in_a_file_replace_the_built_in_ones_as_a_whole(tmp_path: Path) -> None:
    path = write(tmp_path, "fleet:\n  types:\n    probe: {count: 9}\n")
    assert {str(name): one.count for name, one in load(path).config.fleet.types.items()} == {"probe": 9}
    more = load(path, {"COLONY_FLEET__TYPES__PROBE__COUNT": "10", "COLONY_FLEET__TYPES__OTHER__COUNT": "1"})
    assert {str(name): one.count for name, one in more.config.fleet.types.items()} == {"probe": 10, "other": 1}


def test_templates_in_a_file_replace_given_ones_by_name(tmp_path: Path) -> None:
    base = Config(workflows={Id("first"): template(), Id("second"): template()})
    path = write(tmp_path, "workflows:\n  second:\n    description: mine\n    steps: [{name: other, kind: load}]\n")
    workflows = load(path, defaults=base).config.workflows
    assert workflows[Id("first")] == template()
    assert workflows[Id("second")].description == "mine"
    assert [str(step.name) for step in workflows[Id("second")].steps] == ["other"]


def test_environment_reads_text_numbers_and_lists() -> None:
    loaded = load(
        None,
        {
            "COLONY_DATA_ROOTS": "[/a, /b]",
            "COLONY_SERVERS__POSTGRES_USER": "123",
            "COLONY_MODEL__ENABLED": "true",
            "COLONY_MODEL__NAMES__FAST": "tiny",
            "COLONY_FLEET__LEASE_SECONDS": "2e1",
            "COLONY_HOME": "/somewhere",
            "COLONY_MODEL_PORT": "1",
        },
    )
    config = loaded.config
    assert config.data_roots == ("/a", "/b")
    assert config.servers.postgres_user == "123"
    assert config.model.enabled
    assert config.model.names == {"fast": "tiny"}
    assert config.fleet.lease_seconds == 20.0


def test_a_mistyped_variable_is_named() -> None:
    with pytest.raises(ConfigInvalid, match=r"environment COLONY_FLET__HOSTS: flet: .* did you mean fleet\?"):
        load(None, {"COLONY_FLET__HOSTS": "3"})
    with pytest.raises(ConfigInvalid, match=r"environment COLONY_FLEET__HOSTS: fleet.hosts: .*integer"):
        load(None, {"COLONY_FLEET__HOSTS": "many"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fleet:\n  host: 3\n", ":2: fleet.host: there is no such field; did you mean hosts?"),
        ("fleet:\n  hosts: many\n", ":2: fleet.hosts: "),
        ("fleet:\n  hosts: true\n", ":2: fleet.hosts: true and false are no numbers"),
        ("fleet:\n  hosts: 0\n", ":2: fleet.hosts: Input should be greater than or equal to 1"),
        ("fleet:\n  lease_seconds: inf\n", ":2: fleet.lease_seconds: "),
        ("model:\n  url: 7\n", ":2: model.url: "),
        ("fleet:\n  hosts: 1\n\n  hosts: 2\n", ":4: repeats the key 'hosts' of line 2"),
        ("fleet:\n\thosts: 1\n", ":2: is indented with a tab; use spaces"),
        ("fleet: [1\nmodel: 2\n", ":2: is not valid YAML"),
        ("fleet:\n  hosts: !!python/object/apply:os.getpid []\n", ":2: has the tag '!!python/object/apply:os.getpid'"),
        ("fleet:\n  hosts: !!python/name:os.getpid\n", ":2: has the tag"),
        ("base: &b {hosts: 1}\nfleet:\n  <<: *b\n", ":3: merges with '<<'"),
        ("model:\n  url: http://${HOST}:1\n", ":2: model.url: variables are not expanded"),
        ("- fleet\n", ":1: the file holds no settings"),
        ("just text\n", ":1: the file holds no settings"),
        ("fleet: {}\n---\nfleet: {}\n", ":2: begins a second document"),
        ("fleet: \x00\n", ":1: holds a control character"),
        ("fleet:\n  types:\n    Big Name: {count: 1}\n", ":3: fleet.types.Big Name: "),
        ("fleet:\n  shards: 12\n", "fleet.shards is 12"),
        (
            "workflows:\n  w:\n    steps:\n    - {name: a, kind: load}\n    - {name: b, kin: map}\n",
            ":5: workflows.w.steps.1.kin",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    message = refused(path)
    assert expected in message
    assert str(path) in message


def test_all_errors_are_named_at_once_up_to_a_limit(tmp_path: Path) -> None:
    few = refused(write(tmp_path, "profile: other\nfleet: {hosts: 0, host: 1}\nmodel: {slots: x}\n"))
    assert all(part in few for part in ("profile: ", "fleet.hosts: ", "fleet.host: ", "model.slots: "))
    many = refused(write(tmp_path, "fleet:\n" + "".join(f"  wrong{number}: 1\n" for number in range(25))))
    assert many.count("there is no such field") == MAX_REPORTED
    assert "and 15 more" in many


def test_a_value_is_never_echoed(tmp_path: Path) -> None:
    secret = "hunter2-hunter2"
    text = f"model:\n  slots: {secret}\n  api_key: {secret}\nprofile: {secret}\nfleet:\n  types: {secret}\n"
    assert secret not in refused(write(tmp_path, text))
    with pytest.raises(ConfigInvalid) as caught:
        load(None, {"COLONY_MODEL__SLOTS": secret, "COLONY_FETCH": f"[{secret}"}, flags={"fleet.hosts": secret})
    assert secret not in str(caught.value)
    assert secret not in repr(caught.value)


def bomb() -> str:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (bomb(), "values, aliases counted in full"),
        ("fleet: &loop {types: *loop}", "anchor that is not complete"),
        ("[" * 100_000, "nested deeper"),
        ("{a: " * 5_000, "nested deeper"),
        ("- " * 5_000 + "x", "nested deeper"),
        ("fleet: {hosts: " + "9" * 6_000 + "}", "fleet.hosts"),
    ],
)
def test_hostile_documents_are_refused_quickly(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refused(write(tmp_path, text))


def test_aliases_of_ordinary_size_are_fine(tmp_path: Path) -> None:
    path = write(tmp_path, "fleet:\n  types:\n    a: &one {count: 4}\n    b: *one\n")
    assert [one.count for one in load(path).config.fleet.types.values()] == [4, 4]


@pytest.mark.parametrize("word", ["yes", "on", "off", "12:30", "2026-01-01", "1_000"])
def test_text_stays_text(tmp_path: Path, word: str) -> None:
    path = write(tmp_path, f"model:\n  url: {word}\n")
    assert load(path).config.model.url == word


class TestFile:
    def test_missing(self, tmp_path: Path) -> None:
        assert "does not exist" in refused(tmp_path / "none.yaml")

    def test_folder(self, tmp_path: Path) -> None:
        assert "is a folder" in refused(tmp_path)

    def test_pipe_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert "no regular file" in refused(tmp_path / "pipe")

    def test_link_to_itself(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        assert "leads back to itself" in refused(tmp_path / "loop")

    def test_utf16(self, tmp_path: Path) -> None:
        (tmp_path / "wide").write_bytes("fleet: {}".encode("utf-16"))
        assert "UTF-16" in refused(tmp_path / "wide")

    def test_latin1(self, tmp_path: Path) -> None:
        (tmp_path / "old").write_bytes(b"fleet: {}\n# caf\xe9\n")
        assert "old:2: is not UTF-8" in refused(tmp_path / "old")

    def test_too_large(self, tmp_path: Path) -> None:
        (tmp_path / "big").write_bytes(b"#" * 10_000_001)
        assert "larger than 10 MB" in refused(tmp_path / "big")

    def test_nul_in_the_name(self) -> None:
        assert "no usable path" in refused(Path("a\0b"))

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_unreadable(self, tmp_path: Path) -> None:
        path = write(tmp_path, "fleet: {}")
        path.chmod(0)
        assert "may not be read" in refused(path)


@given(st.text(max_size=200))
def test_any_text_loads_or_is_refused_with_our_own_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load(path)
    except ConfigInvalid as error:
        assert str(path) in str(error)  # noqa: PT017 -- both ends are fine, anything else is the fault


@given(
    st.dictionaries(
        st.sampled_from(["hosts", "queue_length", "task_concurrency"]), st.integers(min_value=1, max_value=4096)
    )
)
def test_what_a_file_says_is_what_is_loaded(tmp_path_factory: pytest.TempPathFactory, values: dict[str, int]) -> None:
    path = tmp_path_factory.getbasetemp() / "says.yaml"
    path.write_text("fleet:\n" + "".join(f"  {key}: {value}\n" for key, value in values.items()), encoding="utf-8")
    fleet = load(path).config.fleet.model_dump()
    assert {key: fleet[key] for key in values} == values
