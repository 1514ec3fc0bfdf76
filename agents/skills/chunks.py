"""Cutting long text into overlapping pieces that end at sentences. Pure functions."""

from __future__ import annotations

from typing import NamedTuple

from agents.skills.text import sentence_spans


class Chunk(NamedTuple):
    """A piece of a text: `text[start:end]`."""

    start: int
    end: int
    text: str


def chunk_text(text: str, *, size: int, overlap: int = 0) -> list[Chunk]:
    """Pieces of at most `size` characters that cover every sentence of `text`, in order.

    A piece ends at the end of a sentence where one fits; a sentence longer than `size` is cut. The next piece starts
    at the first sentence of the last `overlap` characters. Raises `ValueError` unless 0 <= overlap < size.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"overlap {overlap} must be at least 0 and below size {size}")
    units = [unit for span in sentence_spans(text) for unit in _fitting(span, size)]
    chunks: list[Chunk] = []
    first = 0
    while first < len(units):
        last = first
        while last + 1 < len(units) and units[last + 1][1] - units[first][0] <= size:
            last += 1
        start, end = units[first][0], units[last][1]
        chunks.append(Chunk(start, end, text[start:end]))
        if last + 1 >= len(units):
            break
        first = _next_first(units, first, last, size, overlap)
    return chunks


def _fitting(span: tuple[int, int], size: int) -> list[tuple[int, int]]:
    start, end = span
    return [(at, min(at + size, end)) for at in range(start, end, size)]


def _next_first(units: list[tuple[int, int]], first: int, last: int, size: int, overlap: int) -> int:
    """Where the next piece starts: after `first`, and late enough that it holds something new."""
    end = units[last][1]
    following = last + 1
    while following - 1 > first and end - units[following - 1][0] <= overlap:
        following -= 1
    while following <= last and units[last + 1][1] - units[following][0] > size:
        following += 1
    return following
