"""Foreign text on its way into a prompt. Pure functions."""

from __future__ import annotations

import re
from typing import Final

from agents.skills.text import one_line

OPEN: Final = "<<<"
CLOSE: Final = ">>>"

# Our own marks, and the control tokens of chat templates (<|im_end|>, [INST], <s>, <end_of_turn>, ...).
_MARKS: Final = re.compile(
    r"<\|[^<>|]{0,40}\|>|<<+|>>+|\[/?INST\]|</?s>|<</?SYS>>|<(?:start|end)_of_turn>", re.IGNORECASE
)


def block(text: str, limit: int) -> str:
    """`text` on one line, at most `limit` characters, between marks that it cannot hold itself."""
    return f"{OPEN}\n{one_line(harmless(text), limit)}\n{CLOSE}"


def harmless(text: str) -> str:
    """`text` without marks and control tokens, also those that appear once others are taken out."""
    while True:
        cleaned = _MARKS.sub(" ", text)
        if cleaned == text:
            return text
        text = cleaned
