"""Reads the corpus of a job once for all its topics in this process."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from agents.base import AgentContext, AgentTask
from agents.skills.content_corpus import Corpus
from agents.skills.text import one_line
from colony.errors import BadInput

MAX_BYTES: Final = 32 * 1024 * 1024
"""Most of a corpus, all documents together."""

MAX_URLS: Final = 50

_KEPT: Final = 4
_SUFFIXES: Final = (".md", ".markdown", ".txt", ".rst", ".html", ".htm")

_Key = tuple[str, int, tuple[str, ...]]


class Shelf:
    """The corpora used last. Those of different jobs are never shared: a job sees files as they are when it starts."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, asyncio.Task[Corpus]] = OrderedDict()

    async def corpus(self, task: AgentTask, ctx: AgentContext, named: Sequence[str]) -> Corpus:
        """The corpus `named` by files, folders and addresses. Raises `BadInput`, and what reading raises."""
        names = tuple(name.strip() for name in named if name.strip())
        if not names:
            raise BadInput(
                "Parameter 'corpus' must name files, folders or addresses.",
                remedy='For example {"parameters": {"research": {"corpus": "articles"}}}.',
            )
        if not task.job:  # a message: nothing says how long its corpus stays as it is
            return await _read(names, ctx)
        key: _Key = (task.job_key, task.job, names)
        reading = self._kept.get(key)
        if reading is None or _useless(reading):
            reading = asyncio.create_task(_read(names, ctx), name="corpus of a job")
            self._kept[key] = reading
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        # One topic's deadline must not end the reading the others wait for.
        return await asyncio.shield(reading)


def _useless(reading: asyncio.Task[Corpus]) -> bool:
    """Whether it failed, or belongs to a loop that is gone."""
    if reading.get_loop() is not asyncio.get_running_loop():
        return True
    return reading.done() and (reading.cancelled() or reading.exception() is not None)


async def _read(names: Sequence[str], ctx: AgentContext) -> Corpus:
    documents: list[tuple[str, str]] = []
    size = left_out = 0
    if sum(map(_is_address, names)) > MAX_URLS:
        raise BadInput(f"The corpus names more than {MAX_URLS} addresses.")
    for name in names:
        for source in [name] if _is_address(name) else await _files(name, ctx):
            content = await _content(source, ctx)
            size += len(content)
            if size > MAX_BYTES:
                raise BadInput(f"The corpus is larger than {MAX_BYTES:,} bytes.", remedy="Name fewer documents.")
            text = _decoded(content)
            if text is None:
                left_out += 1
            else:
                documents.append((source, text))
    corpus = await asyncio.to_thread(Corpus, documents)
    if not corpus.paragraphs:
        binary = f" ({left_out} of its files are no text)" if left_out else ""
        raise BadInput(f"The corpus {one_line(', '.join(names), 120)} has no prose{binary}.")
    return corpus


async def _files(name: str, ctx: AgentContext) -> list[str]:
    listed = await ctx.list_files(name)
    if list(listed) == [name] or (len(listed) == 1 and listed[0].endswith(name)):
        return list(listed)  # a file named by itself may have any suffix
    found = [path for path in listed if path.lower().endswith(_SUFFIXES)]
    if not found:
        raise BadInput(f"The folder {one_line(name, 120)!r} has no file of {', '.join(_SUFFIXES)}.")
    return found


async def _content(source: str, ctx: AgentContext) -> bytes:
    if not _is_address(source):
        return await ctx.read_file(source)
    page = await ctx.fetch(source)
    if page.status >= 400:
        raise BadInput(f"{one_line(source, 200)} answers with status {page.status}.")
    return page.content


def _decoded(content: bytes) -> str | None:
    """The text of a document; None for what is none."""
    if b"\0" in content[:8192]:
        return None
    text = content.decode("utf-8-sig", errors="replace")
    strange = text[:8192].count("\ufffd")
    return None if strange > len(text[:8192]) / 20 else text


def _is_address(name: str) -> bool:
    return name.startswith(("http://", "https://"))
