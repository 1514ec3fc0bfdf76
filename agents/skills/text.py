"""Cleaning text and splitting it into sentences. Pure functions."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final

from agents.skills.stopwords import word_set

_TAG: Final = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_SPACE: Final = re.compile(r"[^\S\n]+")
_BLANK_LINES: Final = re.compile(r"\n{3,}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028\u2029\u2060\ufeff]")
_ENTITY: Final = re.compile(r"&(?:#\d+|#x[0-9a-fA-F]+|[a-zA-Z]+);?")
_MOJIBAKE: Final = re.compile(
    r"[\u00c2\u00c3\u00e2][\u0080-\u00bf\u0152-\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
)
_NEWLINES: Final = re.compile(r"\r\n?|\n")

_TYPOGRAPHY: Final = str.maketrans(
    {"‘": "'", "’": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": " - ", "…": "...", "\u00a0": " "}  # noqa: RUF001 -- these are what is replaced
)

_ABBREVIATIONS: Final = word_set(
    "mr mrs ms dr prof sr jr st vs etc e.g i.e eg ie approx dept est fig inc ltd co corp no vol p pp a.m p.m u.s u.k"
)
_BOUNDARY: Final = re.compile(r"([.!?]+[\"')\]]*)(\s+)|\n{2,}")
_LAST_WORD: Final = re.compile(r"([\w.]+)$")


def clean_text(text: str) -> str:
    """`text` in one clean form.

    HTML entities and tags resolved, UTF-8 that was read as Latin-1 repaired, Unicode NFC, curly quotes and dashes
    made plain, invisible characters dropped, runs of spaces made one, at most one empty line. Doing it twice changes
    nothing more for text without nested entities.
    """
    if "&" in text:
        text = _unescape(text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", repair_mojibake(text)).translate(_TYPOGRAPHY)
    text = _NEWLINES.sub("\n", text)
    text = _SPACE.sub(" ", _CONTROL.sub("", text))
    if "\n" in text:
        text = _BLANK_LINES.sub("\n\n", "\n".join(line.strip() for line in text.split("\n")))
    return text.strip()


def _unescape(text: str) -> str:
    """Entities resolved, also those escaped twice (`&amp;#38;`), which scraped text is full of."""
    for _ in range(3):
        if _ENTITY.search(text) is None:
            break
        once = html.unescape(text)
        if once == text:
            break
        text = once
    return text


def repair_mojibake(text: str) -> str:
    """`caf\u00c3\u00a9` becomes `caf\u00e9`; text that was never broken comes back as it is."""
    if _MOJIBAKE.search(text) is None:
        return text
    for encoding in ("cp1252", "latin-1"):
        try:
            return text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return text


def one_line(text: str, limit: int) -> str:
    """`text` on one line, at most `limit` characters, cut at a word with an ellipsis."""
    flat = " ".join(text.split())
    if len(flat) <= limit:
        return flat
    cut = flat[: max(1, limit - 3)]
    space = cut.rfind(" ")
    return (cut[:space] if space > limit // 2 else cut).rstrip(" ,;:-") + "..."


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence in `text`, in order, without surrounding spaces.

    A full stop ends a sentence unless it closes an abbreviation, an initial or a number, or a lower-case word follows
    that was capitalised text before.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _BOUNDARY.finditer(text):
        mark = match.group(1)
        if mark is not None and not _ends_sentence(text, start, match.start(), mark):
            continue
        end = match.end(1) if mark is not None else match.start()
        _append_span(spans, text, start, end)
        start = match.end()
    _append_span(spans, text, start, len(text))
    return spans


def _ends_sentence(text: str, start: int, mark_at: int, mark: str) -> bool:
    if mark[0] != "." or mark.startswith(".."):
        return True
    word = _LAST_WORD.search(text, start, mark_at)
    if word is None:
        return True
    last = word.group(1).lower()
    return last not in _ABBREVIATIONS and not (len(last) == 1 and last.isalpha() and last != "i")


def _append_span(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if end > start:
        spans.append((start, end))


def sentences(text: str) -> list[str]:
    """The sentences of `text`, in order."""
    return [text[start:end] for start, end in sentence_spans(text)]
