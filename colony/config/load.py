"""From flags, environment, file and defaults to one `Config`, knowing where each value came from.

Precedence: flag, environment (`COLONY_FLEET__HOSTS=4`), file, default. Messages name file, line, field and remedy,
and never repeat a value: it might be a secret in the wrong place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from pydantic import ValidationError

from colony.config.built_in import BUILT_IN
from colony.config.fields import known_keys, nearest, type_at
from colony.config.model import Config
from colony.config.source_file import read_text
from colony.config.unroll import TemplateInvalid, unroll
from colony.config.yaml_lines import Document, DocumentRefused, Location, Problem, parse_document
from colony.errors import ConfigInvalid

MAX_REPORTED: Final = 10
"""Most errors named in one message."""

_PREFIX: Final = "COLONY_"
_VARIABLE = re.compile(r"\$\{[A-Za-z_]")
_FREE: Final = frozenset({"options", "parameters", "description"})
_REPLACED: Final[tuple[Location, ...]] = (("fleet", "types"),)
"""What a file that names it replaces as a whole: types not listed any more are gone, not built in."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration and where its values come from."""

    config: Config
    origins: Mapping[str, str]
    """Dotted key of each value that is set -> `flag`, `environment COLONY_X`, `file:line` or `default`."""
    file: Path | None
    """The file that was read, absolute; None for none."""

    def origin(self, key: str) -> str:
        """Where the value of the dotted `key` came from; `default` for what nobody set."""
        while key:
            if key in self.origins:
                return self.origins[key]
            key = key.rpartition(".")[0]
        return "default"


def load_config(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    defaults: Config = BUILT_IN,
) -> Loaded:
    """The configuration in force.

    `path` None means no file. `environment` None means that of this process. `flags` maps dotted keys to values;
    None as a value means the flag was not given. `defaults` is what a file changes: its workflow templates are
    replaced by name, its agent types as a whole when the file lists any.
    Raises `ConfigInvalid` naming up to 10 errors at once.
    """
    merge = _Merge(defaults)
    file = None if path is None else path.absolute()
    if file is not None:
        merge.add_file(file)
    merge.add_environment(os.environ if environment is None else environment)
    for key, value in (flags or {}).items():
        if value is not None:
            merge.set(tuple(key.split(".")), value, "flag")
    return Loaded(config=merge.validated(), origins=merge.named_origins(), file=file)


class _Merge:
    """Collects values from the weakest source to the strongest, with their origins and every error met."""

    def __init__(self, defaults: Config) -> None:
        self._data: dict[str, Any] = defaults.model_dump(mode="json")
        self._origins: dict[Location, str] = {}
        self._problems: list[str] = []
        self._file: tuple[Path, Document] | None = None
        for location in _leaves(self._data, ()):
            self._origins[location] = "default"

    def add_file(self, path: Path) -> None:
        try:
            document = parse_document(read_text(path))
        except DocumentRefused as refused:
            raise _invalid([_at(path, refused.problem)]) from None
        self._file = (path, document)
        self._problems.extend(_at(path, problem) for problem in document.problems)
        if document.data is None:
            return
        data = _mapping(document.data)
        if data is None:
            raise _invalid([f"{path}:1: the file holds no settings; write `section:` and its fields below."])
        for location in [*_REPLACED, *(("workflows", name) for name in _keys(data.get("workflows")))]:
            if isinstance(_value_at(data, location), dict):
                self._forget(location)
        for location in _leaves(data, ()):
            value = _value_at(data, location)
            line = document.line_of(location)
            if isinstance(value, str) and _VARIABLE.search(value) and not _FREE.intersection(location):
                field = ".".join(map(str, location))
                self._problems.append(f"{path}:{line}: {field}: variables are not expanded; set COLONY_... instead.")
            self.set(location, value, f"{path}:{line}")

    def add_environment(self, environment: Mapping[str, str]) -> None:
        for name in sorted(environment):
            if not name.startswith(_PREFIX):
                continue
            location = tuple(part.lower() for part in name[len(_PREFIX) :].split("__"))
            if len(location) == 1 and location[0] not in Config.model_fields:
                continue  # COLONY_HOME and the like belong to others
            self.set(location, self._from_text(location, name, environment[name]), f"environment {name}")

    def _from_text(self, location: Location, name: str, text: str) -> Any:
        if type_at(location) is str:
            return text
        try:
            document = parse_document(text)
        except DocumentRefused as refused:
            self._problems.append(f"environment {name}: {refused.problem.text}.")
            return text
        self._problems.extend(f"environment {name}: {problem.text}." for problem in document.problems)
        return document.data

    def set(self, location: Location, value: Any, origin: str) -> None:
        """Put a value in place; a scalar in the way of a section is replaced, to be judged by the schema."""
        target: dict[str, Any] = self._data
        for part in location[:-1]:
            child = _mapping(target.get(str(part)))
            if child is None:
                child = target[str(part)] = {}
            target = child
        if (value is None or value == {}) and isinstance(target.get(str(location[-1])), dict):
            return  # an empty section changes nothing
        if isinstance(value, bool) and type_at(location) in (int, float):
            place = f"{origin}: {'.'.join(map(str, location))}"
            self._problems.append(f"{place}: true and false are no numbers.")
        target[str(location[-1])] = value
        self._forget_origins(location)
        self._origins[location] = origin

    def _forget(self, location: Location) -> None:
        parent = _mapping(_value_at(self._data, location[:-1]))
        if parent is not None:
            parent.pop(str(location[-1]), None)
        self._forget_origins(location)

    def _forget_origins(self, location: Location) -> None:
        size = len(location)
        self._origins = {known: text for known, text in self._origins.items() if known[:size] != location}

    def validated(self) -> Config:
        try:
            config = Config.model_validate(self._data)
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False, include_context=False)
            self._problems.extend(self._message(entry["type"], entry["loc"], entry["msg"]) for entry in found)
        else:
            self._problems.extend(self._template_problems(config))
            if not self._problems:
                return config
        raise _invalid(self._problems)

    def _template_problems(self, config: Config) -> list[str]:
        """The first thing wrong with each template that makes no plan."""
        found: list[str] = []
        for name, template in config.workflows.items():
            try:
                unroll(template)
            except TemplateInvalid as error:
                told = f"{error.message.rstrip('.')}. {error.remedy}".rstrip()
                found.append(self._message("template", ("workflows", name, *error.where), told))
        return found

    def _message(self, kind: str, where: tuple[int | str, ...], text: str) -> str:
        location = tuple(part for part in where if part != "[key]")
        field = ".".join(map(str, location))
        place = self._place(location)
        head = f"{place}: {field}: " if field else f"{place}: "
        if kind == "extra_forbidden":
            known = known_keys(location[:-1])
            near = nearest(str(location[-1]), known)
            hint = f"did you mean {near}?" if near else f"known here: {', '.join(known)}."
            return f"{head}there is no such field; {hint}"
        return head + text.removeprefix("Value error, ").rstrip(".") + "."

    def _place(self, location: Location) -> str:
        for length in range(len(location), 0, -1):
            found = self._origins.get(location[:length])
            if found is not None and found != "default":
                return self._exact(found, location)
        for known, text in self._origins.items():
            if location and known[: len(location)] == location and text != "default":
                return self._exact(text, location)
        return "defaults" if self._file is None else str(self._file[0])

    def _exact(self, origin: str, location: Location) -> str:
        """The line inside a list too, where the origin knows only where the list begins."""
        if self._file is None or not origin.startswith(f"{self._file[0]}:"):
            return origin
        path, document = self._file
        return f"{path}:{document.line_of(location)}"

    def named_origins(self) -> dict[str, str]:
        return {".".join(map(str, location)): text for location, text in self._origins.items()}


def _invalid(problems: list[str]) -> ConfigInvalid:
    shown = problems[:MAX_REPORTED]
    if len(problems) > MAX_REPORTED:
        shown.append(f"... and {len(problems) - MAX_REPORTED} more.")
    return ConfigInvalid("\n".join(shown), remedy="`colony config schema` prints every field and its type.")


def _at(path: Path, problem: Problem) -> str:
    return f"{path}:{problem.line}: {problem.text}."


def _leaves(data: Any, location: Location) -> list[Location]:
    """Locations of all values that are no sections; an empty section counts as one. Lists are values."""
    children = _mapping(data)
    if children:
        return [found for key, child in children.items() for found in _leaves(child, (*location, key))]
    return [location] if location else []


def _value_at(data: Any, location: Location) -> Any:
    for part in location:
        children = _mapping(data)
        if children is None:
            return None
        data = children.get(str(part))
    return data


def _keys(data: Any) -> list[str]:
    return list(_mapping(data) or {})


def _mapping(data: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", data) if isinstance(data, dict) else None
