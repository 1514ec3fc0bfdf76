"""What the documentation names exists: files, commands, options, settings; generated pages are up to date."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from colony.config.built_in import BUILT_IN
from colony.config.fields import type_at
from colony.config.load import load_config
from colony.config.model import Config
from control.cli import build_app
from docs.generate_reference import FOLDER, pages
from tests.documents import DOCUMENTS, ROOT, blocks, inline_code, links, name_of
from workflows.templates import with_templates

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
SETTING = re.compile(rf"(?:{'|'.join(Config.model_fields)})(?:\.[A-Za-z_]+)+")
FILES = (".py", ".yaml", ".yml", ".md", ".json", ".csv", ".sql")


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    for link in links(document):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}, link


@every_document
def test_commands_exist(document: Path) -> None:
    for block in blocks(document, "console"):
        for line in block.lines:
            _check_line(line)
    for code in inline_code(document):
        if code.startswith(("bin/colony ", "make ", "colony ")):
            _check_line(code.replace("colony ", "bin/colony ", 1) if code.startswith("colony ") else code)


def test_a_wrong_command_would_be_noticed() -> None:
    for wrong in ("bin/colony fly", "bin/colony run --sauce x", "make love", "bin/colony config burn"):
        with pytest.raises(AssertionError):
            _check_line(wrong)


@every_document
def test_settings_exist(document: Path) -> None:
    for code in inline_code(document):
        key = code.split(":")[0]
        if SETTING.fullmatch(key) and not key.endswith(FILES):
            assert type_at(tuple(key.replace("[]", ".0").split("."))) is not None, key


@every_document
def test_configurations_are_valid(document: Path, tmp_path: Path) -> None:
    for number, block in enumerate(block for block in blocks(document, "yaml") if not block.reason):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block.text)
        load_config(file, environment={}, defaults=with_templates(BUILT_IN))


@every_document
def test_paths_in_the_repository_exist(document: Path) -> None:
    for code in inline_code(document):
        if re.fullmatch(r"(?:agents|bench|colony|control|deploy|docs|examples|ray_app|tests|workflows)/[\w./-]*", code):
            assert (ROOT / code).exists(), code


@pytest.mark.parametrize("page", pages())
def test_generated_pages_are_up_to_date(page: str) -> None:
    assert (FOLDER / page).read_text("utf-8") == pages()[page], "run: .venv/bin/python -m docs.generate_reference"


def test_examples_are_what_the_guide_shows() -> None:
    guide = ROOT / "docs" / "how-to" / "your-own-agent.md"
    (shown,) = blocks(guide, "python")
    source = (ROOT / "examples" / "greeter.py").read_text("utf-8")
    for line in shown.lines:
        assert line in source, line
    (configuration,) = blocks(guide, "yaml")
    assert configuration.text in (ROOT / "examples" / "greetings.yaml").read_text("utf-8")
    load_config(ROOT / "examples" / "greetings.yaml", environment={}, defaults=with_templates(BUILT_IN))


def _check_line(line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[:1] == ["make"]:
        targets = [word for word in words[1:] if "=" not in word]
        assert set(targets) <= TARGETS, line
    for number, word in enumerate(words):
        if word in ("bin/colony", "$(bin/colony"):
            _check_arguments(get_command(build_app()), words[number + 1 :], line)
        elif word.endswith("$(bin/colony env)"):
            _check_arguments(get_command(build_app()), ["env"], line)
        elif word == "deploy_agents.py":
            _check_arguments(get_command(build_app()), ["scale", *words[number + 1 :]], line)


def _check_arguments(command: Any, words: list[str], line: str) -> None:
    while getattr(command, "commands", None) and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in command.commands, line
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    given = {word.split("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)}
    assert given <= known, line
