"""Spans, so that one trace shows the way of a job through all processes. A port, and the twin that does nothing.

A span says what was done, when, for whom and how it ended. It never holds what users, agents or models said: names,
numbers and classes of errors only.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, Literal, Protocol

Fact = str | int | float | bool
"""A value noted on a span. No text of users, no secret."""

Kind = Literal["internal", "server", "client", "producer", "consumer"]

NO_FACTS: Final[Mapping[str, Fact]] = {}


class Span(Protocol):
    """Something under way."""

    @property
    def trace(self) -> str:
        """W3C `traceparent` for what is done on its behalf; empty for none."""
        ...

    def note(self, facts: Mapping[str, Fact]) -> None:
        """Add facts."""
        ...

    def rename(self, name: str) -> None:
        """Give it a better name than at the start."""
        ...

    def fail(self, error: str) -> None:
        """It did not end well: the class of the error, never its text."""
        ...

    def end(self) -> None:
        """It is over: only for spans of `Tracer.begin`."""
        ...


class Tracer(Protocol):
    """Makes spans. Never blocks and never raises for what the collector does or does not do."""

    @property
    def on(self) -> bool:
        """Whether spans are made at all."""
        ...

    def current(self) -> str:
        """`traceparent` of the span around the code that runs now; empty for none."""
        ...

    def span(
        self, name: str, *, parent: str = "", kind: Kind = "internal", facts: Mapping[str, Fact] = NO_FACTS
    ) -> AbstractContextManager[Span]:
        """A span around a block; an exception out of it marks it as failed, with the class only.

        `parent` is a `traceparent`; without one it stands below the span around it, or begins a trace.
        """
        ...

    def begin(
        self, name: str, *, parent: str = "", kind: Kind = "internal", facts: Mapping[str, Fact] = NO_FACTS
    ) -> Span:
        """As `span`, for what does not end where it began: it is current nowhere, and its maker ends it."""
        ...

    def within(self, trace: str) -> AbstractContextManager[None]:
        """A block that belongs to the span of this `traceparent`, made elsewhere; empty: to none."""
        ...


class NoSpan:
    """See `Span`."""

    trace = ""

    def note(self, facts: Mapping[str, Fact]) -> None:
        """See `Span`."""

    def rename(self, name: str) -> None:
        """See `Span`."""

    def fail(self, error: str) -> None:
        """See `Span`."""

    def end(self) -> None:
        """See `Span`."""


class NoTracer:
    """See `Tracer`."""

    on = False

    def current(self) -> str:
        """See `Tracer`."""
        return ""

    @contextmanager
    def span(
        self, name: str, *, parent: str = "", kind: Kind = "internal", facts: Mapping[str, Fact] = NO_FACTS
    ) -> Generator[Span]:
        """See `Tracer`."""
        yield NO_SPAN

    def begin(
        self, name: str, *, parent: str = "", kind: Kind = "internal", facts: Mapping[str, Fact] = NO_FACTS
    ) -> Span:
        """See `Tracer`."""
        return NO_SPAN

    def within(self, trace: str) -> AbstractContextManager[None]:
        """See `Tracer`."""
        return nullcontext()


NO_SPAN: Final = NoSpan()
OFF: Final = NoTracer()
"""Traces are switched off."""
