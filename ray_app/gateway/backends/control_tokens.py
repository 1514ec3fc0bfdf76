"""Control tokens of chat templates in text: kept from being read as such. Pure.

llama.cpp and vLLM put messages into the template as text and then read the tokens of the template out of all of it. A
message that holds `<|im_end|>` ends its own role there and can begin another one (measured: llama.cpp reads it as one
token). Such words are broken with a space after their first character: still readable, no longer a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, cast

from ray_app.gateway.contracts import Body

# The families in use: ChatML and Llama 3 `<|im_end|>`, Gemma `<start_of_turn>` and `<|turn>`, DeepSeek (other bars and
# `▁`), Mistral `[INST]` and its like, Llama 2 `<<SYS>>`.
_FAMILIES: Final = (
    r"<(?=[|\uff5c][^\s<>|\uff5c]{1,64}[|\uff5c]?>)",
    r"<(?=[^\s<>|\uff5c]{1,64}[|\uff5c]>)",
    r"<(?=/?(?:start|end)_of_(?:turn|text|image)>)",
    r"<(?=/?(?:bos|eos|pad|unk|sys|SYS)>)",
    r"<(?=</?SYS>>)",
    r"\[(?=/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|SYSTEM_PROMPT|ARGS|CALL_ID|THINK)\])",
)
_WORD: Final = re.compile(r"<[^<>\s{}%'\"]{1,64}>|\[/?[A-Z_]{2,40}\]")
_BROKEN: Final = r"\g<0> "


class ControlTokens:
    """Breaks control tokens in what callers say: the known families, and those of one model."""

    def __init__(self, own: Iterable[str] = ()) -> None:
        """`own`: further tokens, as they are written."""
        # A look ahead, so that only the first character is taken: words that overlap are all found.
        exact = [f"{re.escape(word[0])}(?={re.escape(word[1:])})" for word in sorted(set(own)) if len(word) > 1]
        self._pattern = re.compile("|".join((*_FAMILIES, *exact)))

    def found_in(self, text: str) -> bool:
        """Whether `text` holds any."""
        return ("<" in text or "[" in text) and self._pattern.search(text) is not None

    def broken(self, text: str) -> str:
        """`text` without them."""
        if "<" not in text and "[" not in text:
            return text
        return self._pattern.sub(_BROKEN, text)

    def broken_in(self, value: Any) -> Any:
        """The same for every text within JSON. What holds none is handed back as it is."""
        if isinstance(value, str):
            return self.broken(value)
        if isinstance(value, list):
            entries = cast("list[Any]", value)
            cleaned = [self.broken_in(entry) for entry in entries]
            return cleaned if any(new is not old for new, old in zip(cleaned, entries, strict=True)) else entries
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            clean = {name: self.broken_in(inner) for name, inner in fields.items()}
            return clean if any(clean[name] is not fields[name] for name in fields) else fields
        return value


def tokens_in_template(template: str, *others: str) -> frozenset[str]:
    """What looks like a control token in a chat template, and `others` (the tokens that begin and end a text)."""
    return frozenset(_WORD.findall(template)) | {word for word in others if _WORD.fullmatch(word)}


def safe_chat(tokens: ControlTokens, body: Body) -> Body:
    """A chat whose messages cannot leave their role.

    Prompts of `/v1/completions` are left alone: they have no roles, and write their template themselves.
    """
    changed: dict[str, Any] = {}
    for field in ("messages", "tools"):
        if field in body:
            clean = tokens.broken_in(body[field])
            if clean is not body[field]:
                changed[field] = clean
    return {**body, **changed} if changed else body
