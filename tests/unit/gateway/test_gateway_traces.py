"""The gateway's part of a trace, behind its real HTTP interfaces."""

from __future__ import annotations

from contextlib import aclosing

import httpx
import pytest

from colony.config.gateway import BackendConfig
from colony.errors import Unavailable
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.contracts import Ask, BackendCall, Caller, Kind
from ray_app.gateway.ports import Streamed
from ray_app.gateway.traced import TracedBackend, TracedGate
from tests.servers.gateway_http import KEY, ScriptedGate, serving
from tests.spans import Spans, below, facts, span_id, trace_id

ABOVE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
SECRET = "the prompt nobody may see"
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": SECRET}]}
HEADERS = {"authorization": f"Bearer {KEY}", "traceparent": ABOVE}


async def test_a_request_stands_below_its_caller_and_hands_on_its_own_span() -> None:
    spans, gate = Spans("gateway"), ScriptedGate()
    async with serving(TracedGate(gate, spans.tracer)) as url, httpx.AsyncClient(trust_env=False) as client:
        for body in (CHAT, {**CHAT, "stream": True}):
            answer = await client.post(f"{url}/v1/chat/completions", json=body, headers=HEADERS)
            assert answer.status_code == 200
    whole, streamed = spans.named("gateway chat")
    assert [span.parent.span_id for span in (whole, streamed) if span.parent] == [int("b" * 16, 16)] * 2
    assert {trace_id(span) for span in spans.all} == {"a" * 32}
    assert [ask.caller.trace.split("-")[2] for ask in gate.seen] == [
        f"{span_id(one):016x}" for one in (whole, streamed)
    ]
    assert facts(streamed)["colony.llm.pieces"] > 0
    assert SECRET not in " ".join(span.to_json() for span in spans.all)


async def test_a_request_without_a_trace_begins_one() -> None:
    spans = Spans("gateway")
    async with serving(TracedGate(ScriptedGate(), spans.tracer)) as url, httpx.AsyncClient(trust_env=False) as client:
        headers = {"authorization": f"Bearer {KEY}"}
        assert (await client.post(f"{url}/v1/chat/completions", json=CHAT, headers=headers)).status_code == 200
    assert spans.one("gateway chat").parent is None


async def test_errors_are_told_by_class_also_from_the_midst_of_a_stream() -> None:
    spans = Spans("gateway")
    ask = Ask(request_id="r", kind=Kind.CHAT, caller=Caller(trace=ABOVE), body={})
    early = TracedGate(ScriptedGate(error=Unavailable(SECRET)), spans.tracer)
    late = TracedGate(ScriptedGate(breaks=Unavailable(SECRET)), spans.tracer)
    with pytest.raises(Unavailable):
        await early.answer(ask)
    with pytest.raises(Unavailable):
        await early.open(ask)
    stream = await late.open(ask)
    with pytest.raises(Unavailable):
        async for _ in stream.pieces:
            pass
    assert [span.status.description for span in spans.named("gateway chat")] == ["Unavailable"] * 3
    assert SECRET not in " ".join(span.to_json() for span in spans.all)


class BegunGate(ScriptedGate):
    """Its streams have begun when they are handed out, as those of the real gate."""

    async def open(self, ask: Ask) -> Streamed:
        stream = await super().open(ask)
        await anext(stream.pieces)
        return stream


async def test_a_stream_that_nobody_reads_is_closed_and_its_span_ended() -> None:
    spans, gate = Spans("gateway"), BegunGate()
    ask = Ask(request_id="r", kind=Kind.CHAT, caller=Caller(trace=ABOVE), body={})
    stream = await TracedGate(gate, spans.tracer).open(ask)
    async with aclosing(stream.pieces):
        pass
    assert gate.under_way == 0
    assert facts(spans.one("gateway chat"))["colony.cancelled"] is True


async def test_a_call_of_a_backend_stands_below_the_request() -> None:
    spans = Spans("gateway")
    inner = ScriptedBackend("twin/0", Script(), BackendConfig(kind="scripted"))
    backend = TracedBackend(inner, spans.tracer)
    with spans.tracer.span("gateway chat") as above:
        body = {"messages": CHAT["messages"]}
        call = BackendCall(kind=Kind.CHAT, model="scripted", body=body, seconds=5, trace=above.trace)
        await backend.answer(call)
        pieces = [piece async for piece in backend.stream(call)]
    assert pieces
    assert all(pieces), "the wrapper's own empty piece stays inside"
    calls = spans.named("backend call")
    assert len(calls) == 2
    assert all(below(one, spans.one("gateway chat")) for one in calls)
    assert [one.trace.split("-")[2] for one in inner.calls] == [f"{span_id(one):016x}" for one in calls]
