"""The documentation as data: blocks, links and inline code of the Markdown files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "deploy" / "README.md", *ROOT.glob("docs/**/*.md")]
)

_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block. `reason` says why it is not run; empty for one that is."""

    document: Path
    language: str
    text: str
    reason: str

    @property
    def lines(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.strip()]


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def blocks(document: Path, language: str) -> list[Block]:
    """Blocks of one language, in order."""
    return [
        Block(document, found["language"], found["text"], found["reason"] or "")
        for found in _BLOCK.finditer(document.read_text("utf-8"))
        if found["language"] == language
    ]


def links(document: Path) -> list[str]:
    return _LINK.findall(_BLOCK.sub("", document.read_text("utf-8")))


def inline_code(document: Path) -> list[str]:
    return _CODE.findall(_BLOCK.sub("", document.read_text("utf-8")))
