"""Documents as prose: paragraphs with their headings and lines, without code, lists, tables and markup. Pure functions.

Reads Markdown, reStructuredText, HTML and plain text alike, by what stands in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final, NamedTuple

from agents.skills.chunks import chunk_text
from agents.skills.text import clean_text, one_line, sentences

LONGEST_PARAGRAPH: Final = 1_100
"""Characters; longer ones are cut at sentences."""

_LEAST_WORDS: Final = 8
_ATX: Final = re.compile(r"(#{1,6})\s+(.*?)\s*#*")
_RULE: Final = re.compile(r"([=\-~^*+\"#'`])\1{2,}")
_FENCE: Final = re.compile(r"(`{3,}|~{3,})")
_ITEM: Final = re.compile(r"(?:[-*+•]|\d{1,3}[.)]|\||>|\.\. |:\w)")
_MARKUP: Final = (
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),
    (re.compile(r"\[([^\]]+)\]\([^)]*\)"), r"\1"),
    (re.compile(r"\[\^[^\]]+\]"), ""),
    (re.compile(r":[\w:]+:`~?\.?([^`<]+?)(?:\s*<[^>`]*>)?`"), r"\1"),
    (re.compile(r"``([^`]+)``"), r"\1"),
    (re.compile(r"`([^`]+)`_{0,2}"), r"\1"),
    (re.compile(r"(\*{1,3}|(?<!\w)_)(?=[^\s_])([^*_]+?)(?<=\S)\1(?!\w)"), r"\2"),
    # A single word between double underscores is a name of Python, not bold.
    (re.compile(r"(?<!\w)__(?=\S)([^*_]+\s[^*_]+?)(?<=\S)__(?!\w)"), r"\1"),
)
_STRANGE: Final = re.compile(r"[{}<>|\\=~^]|::|https?://")
_SPACES: Final = re.compile(r"\s+")
_ENDS: Final = (".", "!", "?", '."', '!"', '?"', ".)", "!)", "?)")
_BLOCKS: Final = frozenset(
    ("p", "div", "li", "ul", "ol", "table", "tr", "section", "article", "br", "blockquote", "dd", "dt", "main")
)
_UNREAD: Final = frozenset(
    ("script", "style", "nav", "footer", "aside", "form", "pre", "table", "svg", "noscript", "template")
)


class Paragraph(NamedTuple):
    """Some prose of a document."""

    source: str
    title: str
    """Of the document; its name where it has none."""
    heading: str
    """Of the section; empty before the first one."""
    line: int
    """Line it starts on, from 1."""
    text: str
    opens: bool
    """Whether it is the first of its section."""


class _Block(NamedTuple):
    line: int
    text: str
    level: int
    """Of a heading, 1 to 6; 0 for prose."""


def paragraphs_of(source: str, text: str) -> list[Paragraph]:
    """The prose of a document in order. `source` is its path or address."""
    head = text[:600].lower()
    if "<html" in head or "<!doctype" in head or (source.endswith((".html", ".htm")) and "<" in head):
        text = _markdown_of(text)
    title, heading = "", ""
    found: list[Paragraph] = []
    opens = True
    for block in _blocks(text):
        if block.level:
            if not title:
                title, heading = block.text, ""
            else:
                heading = block.text if block.text != title else ""
            opens = True
            continue
        for piece in chunk_text(block.text, size=LONGEST_PARAGRAPH):
            found.append(Paragraph(source, "", heading, block.line, piece.text, opens))
            opens = False
    name = title or name_of(source)
    return [paragraph._replace(title=name) for paragraph in found]


def name_of(source: str) -> str:
    """A title made of the last part of a path or address."""
    last = source.rstrip("/").rsplit("/", 1)[-1]
    stem = re.sub(r"[?#].*$", "", last).rsplit(".", 1)[0]
    words = re.sub(r"[-_+%\d]+", " ", stem).strip() or stem
    return one_line(words[:1].upper() + words[1:], 80) or "Untitled"


def _blocks(text: str) -> Iterator[_Block]:
    """Headings and prose, in order, each with its line."""
    kept: list[str] = []
    start = 0
    previous = ""
    for number, line in _outside_code(text):
        bare = line.strip()
        atx = _ATX.fullmatch(bare)
        if atx is not None and not line.startswith("    "):
            yield from _prose(kept, start)
            kept = []
            if heading := _plain(atx.group(2)):
                yield _Block(number, one_line(heading, 120), len(atx.group(1)))
        elif _RULE.fullmatch(bare) is not None:
            if len(kept) == 1 and len(kept[0]) < 120 and len(bare) >= len(kept[0].strip()) - 2 and previous:
                yield _Block(number - 1, one_line(_plain(kept[0]), 120), 1 if bare[0] in "=*#" else 2)
            else:
                yield from _prose(kept, start)
            kept = []
        elif not bare:
            yield from _prose(kept, start)
            kept = []
        else:
            if not kept:
                start = number
            kept.append(line)
        previous = bare
    yield from _prose(kept, start)


def _outside_code(text: str) -> Iterator[tuple[int, str]]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    fence = ""
    matter = lines[0].strip() == "---"  # front matter
    for number, line in enumerate(lines, start=1):
        bare = line.strip()
        if matter:
            matter = number == 1 or bare not in ("---", "...")
            continue
        mark = _FENCE.match(bare)
        if mark is not None and (not fence or bare.startswith(fence)):
            fence = "" if fence else mark.group(1)
            yield number, ""
        elif not fence:
            yield number, line


def _prose(lines: list[str], start: int) -> Iterator[_Block]:
    """The lines as one paragraph, if they are prose: whole sentences in words."""
    if not lines or any(_ITEM.match(line.lstrip()) for line in lines[:1]):
        return
    deepest = min(len(line) - len(line.lstrip()) for line in lines)
    if deepest >= 4:
        return
    text = _plain(" ".join(line.strip() for line in lines))
    if not text.endswith(_ENDS) or not (text[0].isupper() or text[0].isdigit() or text[0] in "\"'("):
        return
    kept = [sentence for sentence in sentences(text) if _readable(sentence)]
    if sum(len(sentence.split()) for sentence in kept) >= _LEAST_WORDS:
        yield _Block(start, " ".join(kept), 0)


def _readable(sentence: str) -> bool:
    letters = sum(character.isalpha() or character.isspace() for character in sentence)
    return _STRANGE.search(sentence) is None and letters >= 0.8 * len(sentence) and sentence.endswith(_ENDS)


def _plain(text: str) -> str:
    for pattern, instead in _MARKUP:
        text = pattern.sub(instead, text)
    return " ".join(clean_text(text).split())


class _Reader(HTMLParser):
    """HTML to headings and paragraphs; what a page has around its text is left out."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unread: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNREAD:
            self._unread.append(tag)
        elif len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            self.parts.append(f"\n\n{'#' * int(tag[1])} ")
        elif tag in _BLOCKS:
            self.parts.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._unread:
            while self._unread and self._unread.pop() != tag:
                pass
        elif tag in _BLOCKS or (len(tag) == 2 and tag[0] == "h" and tag[1] in "123456"):
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._unread:
            self.parts.append(_SPACES.sub(" ", data))


def _markdown_of(page: str) -> str:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return "".join(reader.parts)
