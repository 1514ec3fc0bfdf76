"""The header of a GGUF file, version 2 or 3: what says how much memory the model needs. Nothing is trusted.

Source: the format's specification, `docs/gguf.md` of ggml. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from colony.errors import BadInput

Scalar = int | float | bool | str

MAX_HEADER_BYTES: Final = 128 * 1024 * 1024
"""A header is refused beyond this; the largest vocabularies in use take about 20 MB."""
MAX_ENTRIES: Final = 10_000
"""Most entries of metadata."""
MAX_ELEMENTS: Final = 8_000_000
"""Most elements of all arrays together."""
KEPT_ELEMENTS: Final = 4_096
"""Arrays of numbers up to this length are kept (one number for each layer), of longer ones only the length."""

_MAGIC: Final = b"GGUF"
_KEPT_TEXT: Final = 4_096
_BOOL: Final = 7
_STRING: Final = 8
_ARRAY: Final = 9
_NUMBERS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", _BOOL: "?", 10: "Q", 11: "q", 12: "d"}
_REMEDY: Final = "Download the file again; only GGUF files of version 2 and 3 can be served."


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """The metadata of a model."""

    values: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    """Numbers and texts by key; texts over 4 KiB are left out."""
    numbers: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict[str, tuple[Scalar, ...]])
    """Short arrays of numbers by key."""
    lengths: Mapping[str, int] = field(default_factory=dict[str, int])
    """Lengths of all arrays by key."""

    @property
    def architecture(self) -> str:
        """Kind of the model, the prefix of its own keys; empty when the file does not say."""
        value = self.values.get("general.architecture", "")
        return value if isinstance(value, str) else ""

    def whole(self, key: str, default: int) -> int:
        """The whole number at `<architecture>.<key>`, not negative; `default` when there is none."""
        value = self.values.get(f"{self.architecture}.{key}", default)
        return value if isinstance(value, int) and value >= 0 else default


def read_header(path: Path) -> GgufHeader:
    """The header of the file. Raises `BadInput` naming the file when it is missing, no GGUF, or damaged."""
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            return parse_header(stream, size, name=str(path))
    except OSError as error:
        raise BadInput(
            f"The model file {path} cannot be read: {error.strerror}.", remedy="Set `file` to a GGUF file."
        ) from error


def parse_header(stream: BinaryIO, size: int, *, name: str) -> GgufHeader:
    """The header at the start of a stream of `size` bytes; `name` is what errors call it. Raises `BadInput`."""
    reader = _Reader(stream, min(size, MAX_HEADER_BYTES), name)
    if reader.take(4) != _MAGIC:
        raise BadInput(f"{name} is no GGUF file.", remedy=_REMEDY)
    version = reader.number("I")
    if version not in (2, 3):
        raise BadInput(f"{name} is GGUF of version {version}.", remedy=_REMEDY)
    reader.number("Q")  # how many tensors
    entries = reader.number("Q")
    if not isinstance(entries, int) or entries > MAX_ENTRIES:
        raise reader.damaged(f"it claims {entries} entries of metadata")
    header = _Collected()
    for _ in range(entries):
        _read_entry(reader, header)
    return GgufHeader(header.values, header.numbers, header.lengths)


@dataclass(slots=True)
class _Collected:
    values: dict[str, Scalar] = field(default_factory=dict[str, Scalar])
    numbers: dict[str, tuple[Scalar, ...]] = field(default_factory=dict[str, tuple[Scalar, ...]])
    lengths: dict[str, int] = field(default_factory=dict[str, int])


class _Reader:
    """Reads forward, never beyond `size` bytes and never more at once than the stream has left."""

    def __init__(self, stream: BinaryIO, size: int, name: str) -> None:
        self._stream = stream
        self._left = size
        self._name = name
        self._elements = MAX_ELEMENTS

    def damaged(self, what: str) -> BadInput:
        return BadInput(f"{self._name} is a damaged GGUF file: {what}.", remedy=_REMEDY)

    def take(self, count: int) -> bytes:
        if count > self._left:
            raise self.damaged("its header ends too early, or is larger than any model's")
        data = self._stream.read(count)
        if len(data) < count:
            raise self.damaged("it ends within its header")
        self._left -= count
        return data

    def number(self, code: str) -> Scalar:
        form = f"<{code}"
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self) -> int:
        return int(self.number("Q"))

    def text(self) -> str:
        data = self.take(self.count())
        return data.decode("utf-8", errors="replace")

    def skip_texts(self, count: int) -> None:
        for _ in range(count):
            self.take(self.count())

    def elements(self) -> int:
        count = self.count()
        self._elements -= count
        if self._elements < 0:
            raise self.damaged(f"it has an array of {count} elements")
        return count


def _read_entry(reader: _Reader, header: _Collected) -> None:
    key = reader.text()
    kind = int(reader.number("I"))
    if kind in _NUMBERS:
        header.values[key] = reader.number(_NUMBERS[kind])
    elif kind == _STRING:
        text = reader.text()
        if len(text) <= _KEPT_TEXT:
            header.values[key] = text
    elif kind == _ARRAY:
        _read_array(reader, header, key)
    else:
        raise reader.damaged(f"the value of {key[:80]!r} has the unknown type {kind}")


def _read_array(reader: _Reader, header: _Collected, key: str) -> None:
    kind = int(reader.number("I"))
    length = reader.elements()
    header.lengths[key] = length
    if kind == _STRING:
        reader.skip_texts(length)
    elif kind in _NUMBERS:
        form = f"<{length}{_NUMBERS[kind]}"
        data = reader.take(struct.calcsize(form))
        if length <= KEPT_ELEMENTS:
            header.numbers[key] = struct.unpack(form, data)
    else:  # arrays of arrays are in the format, and in no model
        raise reader.damaged(f"the array {key[:80]!r} has elements of the unknown type {kind}")
