"""How many tokens a prompt for Ollama has, and whether the server cut it. Pure.

Ollama has no route that counts tokens. Before 0.13 it also ignores `truncate: false`: it leaves out the oldest messages
of a chat until the rest fits, cuts what is still too long in the middle, and answers with status 200. So the prompt is
bounded before the call, and what the server says it has read is compared with what was sent after it.

Counting exactly with the vocabulary of `/api/show` (verbose) was weighed and left: it would take the pre-tokenizers of
every model family and Go's template language, and 3 MB of JSON, to be sure of what newer servers refuse by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from ray_app.gateway.contracts import Body, Kind
from ray_app.gateway.sizes import TEMPLATE_TOKENS

LONGEST_TOKEN: Final = 32
"""Bytes of visible text in the longest usual token; bounds text without white space."""

FIRST_OBEYING: Final = (0, 13)
"""The first version that surely obeys `truncate` and `shift` in all routes."""

LETTERS_A_TOKEN: Final = 4.0
MARKS_A_TOKEN: Final = 1.0
"""Digits and punctuation."""
TOKENS_A_WIDE: Final = 1.5
"""Tokens of a character that is not ASCII."""

_LEARN_FROM: Final = 200
_FALL: Final = 0.2
_MARGIN: Final = 1.1
_DENSER: Final = 1.5
_BELIEVED: Final = 0.75
_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)
_MARKS = re.compile(r"[^A-Za-z\s]")


@dataclass(frozen=True, slots=True)
class Text:
    """A text, or several, as far as its size matters."""

    letters: int = 0
    """Latin letters and white space."""
    marks: int = 0
    """Other ASCII."""
    wide: int = 0
    """Characters that are not ASCII."""
    size: int = 0
    """Bytes."""
    words: int = 0
    visible: int = 0
    """Characters without white space."""

    def __add__(self, other: Text) -> Text:
        return Text(
            self.letters + other.letters,
            self.marks + other.marks,
            self.wide + other.wide,
            self.size + other.size,
            self.words + other.words,
            self.visible + other.visible,
        )

    @property
    def least(self) -> int:
        """Fewest tokens it can be: the tokenizers of all families Ollama runs split at white space first."""
        return max(self.words, self.visible // LONGEST_TOKEN)

    @property
    def likely(self) -> float:
        """Tokens it usually is; times the `Density` of a model, what it probably is there."""
        return self.letters / LETTERS_A_TOKEN + self.marks / MARKS_A_TOKEN + self.wide * TOKENS_A_WIDE


NOTHING: Final = Text()


def measured(text: str) -> Text:
    """The size of `text`."""
    found = _MARKS.findall(text)
    wide = sum(not mark.isascii() for mark in found)
    words = text.split()
    return Text(
        letters=len(text) - len(found),
        marks=len(found) - wide,
        wide=wide,
        size=len(text.encode("utf-8", "surrogatepass")),
        words=len(words),
        visible=sum(map(len, words)),
    )


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a chat, or one text."""

    text: Text
    kept: bool = False
    """A message of the system: it stays when those before and after it are left out."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent. Images are not counted."""

    parts: tuple[Part, ...]
    tools: Text = NOTHING
    """Belong to no message."""
    chat: bool = False
    """Whether a template is put around it, and whether the server may leave out parts."""

    @property
    def whole(self) -> Text:
        """All of it."""
        return _sum(self.parts) + self.tools

    @property
    def least(self) -> int:
        """Fewest tokens it can be, the template not counted."""
        return self.whole.least

    @property
    def template(self) -> int:
        """Most tokens of the template."""
        return TEMPLATE_TOKENS * (len(self.parts) + 1) if self.chat else 1

    @property
    def most(self) -> int:
        """Most tokens it can be, the template counted: a token is at least a byte."""
        return self.whole.size + self.template


def prompt_of(kind: Kind, body: Body) -> Prompt:
    """The prompt of a request in OpenAI's shape. Of a list of prompts or inputs: the longest one."""
    if kind is Kind.CHAT:
        messages = cast("Sequence[dict[str, Any]]", body.get("messages") or ())
        parts = (Part(_spoken(message), message.get("role") in ("system", "developer")) for message in messages)
        return Prompt(tuple(parts), _uncertain(body.get("tools")), chat=True)
    texts = [measured(text) for text in _strings(body.get("prompt" if kind is Kind.COMPLETION else "input"))]
    return Prompt((Part(max(texts, key=lambda text: text.size, default=NOTHING)),))


class Density:
    """How many tokens a model makes of a text, compared with the usual. Learned from its answers.

    Rises at once and falls slowly: a guess on the safe side.
    """

    def __init__(self) -> None:
        self.value = 1.0

    def learn(self, prompt: Prompt, tokens: int) -> None:
        """A prompt that was read whole had `tokens`."""
        if prompt.whole.likely < _LEARN_FROM:  # the template weighs too much in it
            return
        seen = max(0.3, min(4.0, tokens / prompt.whole.likely))
        self.value = max(seen, self.value + (seen - self.value) * _FALL)


def answer_limit(prompt: Prompt, wanted: int | None, context: int, density: float) -> int:
    """Tokens of answer to ask for, so that a server that shifts its context has no reason to.

    `wanted` if it surely fits; else no more than probably fits, and at least one.
    """
    if wanted is not None and prompt.most + wanted <= context:
        return wanted
    likely = int(prompt.whole.likely * density * _MARGIN) + prompt.template
    room = max(1, context - min(likely, prompt.most))
    return room if wanted is None else min(wanted, room)


def lost_part(prompt: Prompt, read: int, context: int, density: float) -> bool:
    """Whether a server that read `read` tokens must be thought to have left out a part of the prompt.

    Certain when it read a whole context, or fewer tokens than the prompt can be. Beyond that: a message is left out
    only if it did not fit beside what was read. Where that can be, the likely size decides, in doubt against.
    """
    if read >= context or read < prompt.least:
        return True
    if not prompt.chat:
        return False
    whole = prompt.whole.likely * density
    for dropped, rest in _stories(prompt):
        kept = rest.likely * density
        too_large = dropped.likely * density * _DENSER + TEMPLATE_TOKENS > context - read
        if too_large and rest.least <= read < kept + (whole - kept) * _BELIEVED:
            return True
    return False


def obeys_truncate(version: str) -> bool:
    """Whether a server of this version refuses long prompts by itself when told to. False for an unreadable one."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) >= FIRST_OBEYING


def _stories(prompt: Prompt) -> Iterator[tuple[Text, Text]]:
    """What can have been the first message that did not fit, and what was read then. Follows Ollama's `chatPrompt`."""
    for number in range(1, len(prompt.parts)):
        earlier = tuple(part for part in prompt.parts[: number - 1] if part.kept)
        yield prompt.parts[number - 1].text, _sum(earlier + prompt.parts[number:]) + prompt.tools


def _sum(parts: Sequence[Part]) -> Text:
    return sum((part.text for part in parts), NOTHING)


def _spoken(message: dict[str, Any]) -> Text:
    """What of a message reaches the model: not the ids of calls, not images."""
    content = message.get("content")
    if isinstance(content, list):
        content = [part.get("text") for part in cast("list[dict[str, Any]]", content)]
    if message.get("role") == "assistant":
        content = [_THOUGHTS.sub("", text) for text in _strings(content)]  # the server leaves out old thoughts
    calls = [call.get("function") for call in cast("list[dict[str, Any]]", message.get("tool_calls") or ())]
    return _all(content) + _uncertain(calls)


def _uncertain(value: Any) -> Text:
    """What a template may render or leave out: it says nothing of the fewest tokens."""
    return replace(_all(value), words=0, visible=0)


def _all(value: Any) -> Text:
    return sum(map(measured, _strings(value)), NOTHING)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in cast("dict[str, Any]", value).values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _strings(inner)
