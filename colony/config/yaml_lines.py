"""YAML that remembers its lines: a bounded, tag-free reader of one document. Pure.

Reads the core of YAML 1.2: `yes`, `on`, `08:30` and dates are text, not booleans, seconds and dates. Keys are
always text. Nothing in a document can name a class, grow without bound or point at itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import yaml

Location = tuple[str | int, ...]
"""Where a value is: keys and list positions from the root."""

MAX_NODES: Final = 100_000
"""Most values of a document, aliases counted in full."""

MAX_DEPTH: Final = 64
"""Deepest nesting of a document."""

_LOADER = cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None, "~": None, "": None}
_PREFIX: Final = "tag:yaml.org,2002:"
_MAX_DIGITS: Final = 400


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and the line it is on (from 1; 0 when no line can be named)."""

    line: int
    text: str


class DocumentRefused(Exception):
    """The text is no document we read any further; holds the one reason."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(line, text)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed document: plain data, the line of each location, and what is wrong though it could be read."""

    data: Any
    lines: dict[Location, int]
    problems: tuple[Problem, ...]

    def line_of(self, location: Location) -> int:
        """Line of `location`, or of the nearest thing around it; 1 for the document itself."""
        for length in range(len(location), 0, -1):
            line = self.lines.get(location[:length])
            if line is not None:
                return line
        return 1


@dataclass(frozen=True, slots=True)
class _Node:
    line: int
    value: Any
    size: int


def parse_scalar(text: str) -> bool | int | float | str | None:
    """The value of an unquoted scalar."""
    word = text if text in ("~", "") else text.lower() if text in (text.lower(), text.title(), text.upper()) else text
    if word in _WORDS:
        return _WORDS[word]
    if len(text) > _MAX_DIGITS:
        return text
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def parse_document(text: str) -> Document:
    """The one document of `text`; an empty one is None. Raises `DocumentRefused`."""
    reader = _Reader()
    try:
        root = reader.read(iter(yaml.parse(text, Loader=_LOADER)))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DocumentRefused(line, "holds a control character that is not allowed in text") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark is not None else 0
        raise DocumentRefused(line, _syntax(text, line, error)) from None
    lines: dict[Location, int] = {}
    data = None if root is None else _flatten(root, (), lines)
    return Document(data=data, lines=lines, problems=tuple(reader.problems))


def _syntax(text: str, line: int, error: yaml.MarkedYAMLError) -> str:
    rows = text.split("\n")
    row = rows[line - 1] if 0 < line <= len(rows) else ""
    if "\t" in row[: len(row) - len(row.lstrip())]:
        return "is indented with a tab; use spaces"
    return f"is not valid YAML: {error.problem or 'cannot be read'}"


def _flatten(node: _Node, location: Location, lines: dict[Location, int]) -> Any:
    if location:
        lines.setdefault(location, node.line)
    value: object = node.value
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, (line, child) in cast("dict[str, tuple[int, _Node]]", value).items():
            lines[(*location, key)] = line
            found[key] = _flatten(child, (*location, key), lines)
        return found
    if isinstance(value, list):
        items = cast("list[_Node]", value)
        return [_flatten(child, (*location, index), lines) for index, child in enumerate(items)]
    return value


class _Reader:
    """Builds nodes from parser events, counting as it goes, so that nothing large is built before it is refused."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._anchors: dict[str, _Node] = {}
        self._nodes = 0

    def read(self, events: Iterator[yaml.Event]) -> _Node | None:
        root: _Node | None = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise DocumentRefused(_line(event), "begins a second document; one file holds one")
            elif not isinstance(event, (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentEndEvent)):
                root = self._node(event, events, 0)
        return root

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> _Node:
        line = _line(event)
        if depth > MAX_DEPTH:
            raise DocumentRefused(line, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, line)
        self._count(1, line)
        before = self._nodes
        value = self._value(event, events, depth, line)
        node = _Node(line, value, self._nodes - before + 1)
        anchor = cast("str | None", getattr(event, "anchor", None))
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent, line: int) -> _Node:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            raise DocumentRefused(line, "refers to an anchor that is not complete before it")
        self._count(node.size, line)
        return node

    def _count(self, number: int, line: int) -> None:
        self._nodes += number
        if self._nodes > MAX_NODES:
            raise DocumentRefused(line, f"brings the document above {MAX_NODES} values, aliases counted in full")

    def _value(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int, line: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, line)
        tag = cast("str | None", getattr(event, "tag", None))
        if tag not in (None, "!", _PREFIX + "map", _PREFIX + "seq"):
            self.problems.append(Problem(line, f"has the tag {_shown(tag)}; tags that name types are refused"))
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(events, depth)
        return self._mapping(events, depth)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Any:
        text = event.value
        if event.tag is None or event.tag == "!":
            return parse_scalar(text) if event.implicit[0] else text
        if event.tag == _PREFIX + "str":
            return text
        if event.tag in (_PREFIX + "int", _PREFIX + "float", _PREFIX + "bool", _PREFIX + "null"):
            return parse_scalar(text)
        self.problems.append(Problem(line, f"has the tag {_shown(event.tag)}; tags that name types are refused"))
        return None

    def _list(self, events: Iterator[yaml.Event], depth: int) -> list[_Node]:
        found: list[_Node] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            found.append(self._node(event, events, depth + 1))
        return found

    def _mapping(self, events: Iterator[yaml.Event], depth: int) -> dict[str, tuple[int, _Node]]:
        found: dict[str, tuple[int, _Node]] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            line = _line(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise DocumentRefused(line, "has a key that is not plain text")
            key = event.value
            value = self._node(next(events), events, depth + 1)
            if key in found:
                first = found[key][0]
                self.problems.append(Problem(line, f"repeats the key {key[:64]!r} of line {first}"))
            elif key == "<<":
                self.problems.append(Problem(line, "merges with '<<'; write the keys out"))
            else:
                found[key] = (line, value)
        return found


def _line(event: yaml.Event) -> int:
    mark = cast("yaml.Mark | None", event.start_mark)
    return 0 if mark is None else mark.line + 1


def _shown(tag: str | None) -> str:
    return repr((tag or "").replace(_PREFIX, "!!")[:64])
