"""Notes what one agent says in one piece of work: its calls of models and its messages to others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from colony.clock import Clock
from colony.ledger.transcripts import Said, TranscriptEntry
from colony.llm.port import ChatAnswer, ChatRequest, LanguageModel
from colony.quoting import quoted, quoted_payload, quoted_turns
from ray_app.transcripts import TranscriptBook
from ray_app.work import Work

_MOST_MESSAGE: Final = 500


class Answered:
    """What a question led to, set by whoever asked."""

    __slots__ = ("payload", "sender")

    def __init__(self) -> None:
        self.payload: Mapping[str, Any] | None = None
        self.sender = ""


class Witness:
    """Writes to `book` what `agent` says for `work`; to nowhere without a book, or for work of no job."""

    __slots__ = ("_agent", "_book", "_clock", "_work")

    def __init__(self, book: TranscriptBook | None, clock: Clock, agent: str, work: Work) -> None:
        self._book = book if work.job else None
        self._clock = clock
        self._agent = agent
        self._work = work

    def listening(self, model: LanguageModel) -> LanguageModel:
        """The model, each of its calls noted."""
        return model if self._book is None else _Heard(model, self, self._clock)

    @asynccontextmanager
    async def message(
        self, kind: Said, peer: str, subject: str, payload: Mapping[str, Any]
    ) -> AsyncGenerator[Answered]:
        """Note a message that is sent inside, with what came of it."""
        answered = Answered()
        if self._book is None:
            yield answered
            return
        # As it is now: the agent may change it while it waits.
        said = quoted_payload(payload, self._book.letters)
        entry = self._entry(kind)._replace(peer=peer, subject=subject, request=said.text, cut=said.cut)
        started = self._clock.monotonic()
        try:
            yield answered
        except (Exception, asyncio.CancelledError) as error:
            self._add(_failed(entry, error), started)
            raise
        if answered.payload is not None:
            heard = quoted_payload(answered.payload, self._book.letters)
            entry = entry._replace(answer=heard.text, cut=entry.cut + heard.cut, peer=answered.sender or peer)
        self._add(entry, started)

    def handed_off(self, value: Mapping[str, Any]) -> None:
        """Note a result that names who goes on; other results are no messages."""
        note: Any = value.get("hand_off")
        if self._book is None or not isinstance(note, dict):
            return
        fields = cast("dict[str, Any]", note)
        said = quoted_payload(fields.get("payload"), self._book.letters)
        self._add(
            self._entry(Said.HAND_OFF)._replace(
                peer=f"type:{fields.get('agent', '')}",
                subject=str(fields.get("action", "")),
                request=said.text,
                cut=said.cut,
            ),
            self._clock.monotonic(),
        )

    def called(
        self, request: ChatRequest, started: float, answer: ChatAnswer | None, error: BaseException | None
    ) -> None:
        """Note a call of a model that ended, with an answer or an error."""
        if self._book is None:
            return
        said = quoted_turns(request.messages, self._book.letters)
        entry = self._entry(Said.MODEL)._replace(
            at=self._clock.wall() - (self._clock.monotonic() - started),
            request=said.text,
            cut=said.cut,
            model=request.model,
            tier=request.tier,
        )
        if error is not None:
            entry = _failed(entry, error)
        if answer is not None:
            heard = quoted(answer.text, self._book.letters)
            entry = entry._replace(
                answer=heard.text,
                cut=said.cut + heard.cut,
                model=answer.model or request.model,
                backend=answer.backend,
                cache=answer.cache,
                prompt_tokens=answer.prompt_tokens,
                completion_tokens=answer.completion_tokens,
            )
        self._add(entry, started)

    def _entry(self, kind: Said) -> TranscriptEntry:
        work = self._work
        return TranscriptEntry(
            entry_id="",
            job=work.job,
            at=self._clock.wall(),
            kind=kind.value,
            agent=self._agent,
            step=work.step,
            seq=work.seq,
            generation=work.generation,
        )

    def _add(self, entry: TranscriptEntry, started: float) -> None:
        if self._book is not None:
            self._book.add(entry._replace(seconds=self._clock.monotonic() - started))


class _Heard:
    """A model whose calls are noted."""

    def __init__(self, model: LanguageModel, witness: Witness, clock: Clock) -> None:
        self._model = model
        self._witness = witness
        self._clock = clock

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """See `LanguageModel`."""
        started = self._clock.monotonic()
        try:
            answer = await self._model.chat(request)
        except (Exception, asyncio.CancelledError) as error:
            self._witness.called(request, started, None, error)
            raise
        self._witness.called(request, started, answer, None)
        return answer

    async def models(self) -> list[str]:
        """See `LanguageModel`."""
        return await self._model.models()


def _failed(entry: TranscriptEntry, error: BaseException) -> TranscriptEntry:
    name = "Cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__
    return entry._replace(error=name[:64], message=quoted(str(error), _MOST_MESSAGE).text)
