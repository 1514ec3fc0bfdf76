from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from colony.clock import SystemClock
from colony.config.gateway import BackendConfig, GatewayConfig, LimitsConfig, Tier, TierTarget
from colony.config.model import Config
from colony.errors import (
    ColonyError,
    DeadlineExceeded,
    ModelRefused,
    NotFound,
    NotPermitted,
    Overloaded,
    PromptTooLong,
    Unavailable,
    Unreachable,
)
from colony.ids import Id
from colony.ledger.memory import MemoryLedger
from ray_app.gateway import fitting
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.batching import Collect, batched
from ray_app.gateway.calling import Calls, Tries
from ray_app.gateway.catalog import open_catalog
from ray_app.gateway.contracts import (
    Ask,
    BackendCall,
    Body,
    CachePolicy,
    Caller,
    Chunk,
    Grant,
    Kind,
    PromptSize,
    ServedModel,
    Target,
)
from ray_app.gateway.kept_cache import answer_cache
from ray_app.gateway.owner import LocalOwner, open_owner
from ray_app.gateway.path import Parts, RequestPath
from ray_app.gateway.plan import GatewayPlan, gateway_plan
from ray_app.gateway.ports import Backend
from ray_app.gateway.preparing import preparation
from ray_app.gateway.single_flight import single_flight
from ray_app.gateway.usage import UsageBook, usage_book
from tests.collecting import collect_within
from tests.eventually import assert_eventually

A, B = Id("a"), Id("b")


@dataclass
class Stage:
    gate: RequestPath
    owner: LocalOwner
    usage: UsageBook
    ledger: MemoryLedger
    a: tuple[ScriptedBackend, ...]
    b: tuple[ScriptedBackend, ...]

    async def idle(self) -> bool:
        lanes = (await self.owner.state())["backends"]
        return all(replica["in_flight"] == 0 for lane in lanes.values() for replica in lane["replicas"].values())


@asynccontextmanager
async def stage(
    *,
    replicas: int = 1,
    script: Script | None = None,
    preload: bool = False,
    together: Collect | None = None,
    tiers: dict[Tier, tuple[TierTarget, ...]] | None = None,
    **gateway: Any,
) -> AsyncGenerator[Stage]:
    config = Config(
        gateway=GatewayConfig(
            backends={
                A: BackendConfig(kind="scripted", models=("small",), slots=2, context=200, silence=5, preload=preload),
                B: BackendConfig(kind="scripted", models=("large",), slots=2, context=2000, silence=5, preload=preload),
            },
            tiers=tiers or {"complex": (TierTarget(backend=B),)},
            **gateway,
        )
    )
    plan = gateway_plan(config)
    clock = SystemClock()
    ledger = MemoryLedger(clock)
    backends = {
        name: tuple(ScriptedBackend(f"{name}/{n}", script or Script(), own) for n in range(replicas))
        for name, own in plan.backends.items()
    }
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(open_owner(plan, config.gateway, backends, clock))
        catalog = await stack.enter_async_context(open_catalog(backends, clock))
        cache = await stack.enter_async_context(answer_cache(config.gateway.cache, clock, ledger))
        usage = await stack.enter_async_context(usage_book(ledger, clock))
        parts = Parts(
            plan=plan,
            catalog=catalog,
            calls=Calls(plan, _batched(backends, plan, config, together), catalog, owner),
            owner=owner,
            cache=cache,
            flights=await stack.enter_async_context(single_flight()),
            usage=usage,
            preparation=await stack.enter_async_context(preparation(plan, backends, clock)),
            clock=clock,
            tiers={"coordination": "complex"},
        )
        yield Stage(RequestPath(parts), owner, usage, ledger, backends[A], backends[B])


def _batched(
    backends: Mapping[Id, tuple[Backend, ...]], plan: GatewayPlan, config: Config, together: Collect | None
) -> Mapping[str, Sequence[Backend]]:
    batch = config.gateway.batch
    return backends if together is None else batched(backends, plan.backends, together, Counter(), batch)


_numbers = iter(range(1_000_000))


def ask(text: str = "hello there", *, agent: str = "me", agent_type: str = "", **more: Any) -> Ask:
    body = {"messages": [{"role": "user", "content": text}], **more.pop("body", {})}
    caller = Caller(name=agent, agent_type=agent_type)
    return Ask(request_id=f"r{next(_numbers)}", kind=Kind.CHAT, caller=caller, body=body, **more)


async def text_of(pieces: AsyncGenerator[dict[str, Any]]) -> str:
    return "".join([(choice["delta"].get("content") or "") async for piece in pieces for choice in piece["choices"]])


async def test_an_answer_and_its_record() -> None:
    async with stage() as s:
        answered = await s.gate.answer(ask("one two three"))
        assert answered.body["choices"][0]["message"]["content"] == "one two three"
        record = answered.record
        assert (record.backend, record.model, record.cache, record.outcome) == ("a", "small", "miss", "ok")
        assert (record.prompt_tokens, record.completion_tokens) == (3, 3)
        assert await s.idle()


async def test_small_calls_of_many_reach_the_server_in_few_batches() -> None:
    async with stage(together=collect_within(0.1)) as s:

        def embed(number: int) -> Ask:
            asked = ask(agent=f"agent {number}", cache=CachePolicy.NEVER)
            return asked.model_copy(update={"kind": Kind.EMBEDDING, "body": {"input": f"text {number}"}})

        answers = await asyncio.gather(*(s.gate.answer(embed(number)) for number in range(24)))
        assert [len(answered.body["data"]) for answered in answers] == [1] * 24
        batches = [len(call.body["input"]) for call in s.a[0].calls if isinstance(call.body.get("input"), list)]
        assert max(batches) >= 10
        assert await s.idle()


async def test_the_trace_of_the_caller_goes_with_the_call() -> None:
    async with stage() as s:
        asked = ask("one")
        await s.gate.answer(asked.model_copy(update={"caller": Caller(name="me", trace="00-aa-bb-01")}))
        assert s.a[0].calls[0].trace == "00-aa-bb-01"


async def test_a_stream_says_the_same_piece_by_piece() -> None:
    async with stage() as s:
        pieces = (await s.gate.open(ask("one two three"))).pieces
        assert await text_of(pieces) == "one two three"
        assert s.usage.state()["requests"] == 1
        assert await s.idle()


async def test_a_stream_knows_before_its_first_piece_where_it_comes_from() -> None:
    async with stage(script=Script(first=0.1)) as s:
        asked = [ask("kept", body={"temperature": 0}) for _ in range(2)]
        found = await asyncio.gather(*(s.gate.open(one) for one in asked))
        assert sorted((stream.backend, stream.cache) for stream in found) == [("", "shared"), ("a", "miss")]
        for stream in found:
            assert await text_of(stream.pieces) == "kept"
        again = await s.gate.open(ask("kept", body={"temperature": 0}))
        assert (again.backend, again.cache, await text_of(again.pieces)) == ("", "hit", "kept")
        s.a[0].then(Unavailable("gone"))
        elsewhere = await s.gate.open(ask("elsewhere"))
        assert (elsewhere.backend, elsewhere.cache, await text_of(elsewhere.pieces)) == ("b", "miss", "elsewhere")


async def test_the_tier_of_an_agent_type_decides_and_a_call_may_say_otherwise() -> None:
    async with stage() as s:
        assert (await s.gate.answer(ask(agent_type="coordination"))).record.backend == "b"
        assert (await s.gate.answer(ask(agent_type="coordination", tier="fast"))).record.backend == "a"
        assert (await s.gate.answer(ask(model="large"))).record.backend == "b"


async def test_equal_deterministic_requests_are_answered_from_the_cache_and_cost_no_rate() -> None:
    async with stage(limits=LimitsConfig(requests_per_second=0.001, burst=1)) as s:
        first = await s.gate.answer(ask(body={"temperature": 0}))
        for _ in range(5):
            again = await s.gate.answer(ask(body={"temperature": 0}))
            assert again.record.cache == "hit"
            assert again.body["choices"] == first.body["choices"]
            assert again.body["id"] != first.body["id"]
        pieces = (await s.gate.open(ask(body={"temperature": 0}))).pieces
        assert await text_of(pieces) == "hello there"
        assert len(s.a[0].calls) == 1
        with pytest.raises(Overloaded) as refused:
            await s.gate.answer(ask("another"))
        assert (refused.value.retry_after or 0) > 0


async def test_what_is_random_is_asked_anew_unless_the_caller_wants_the_cache() -> None:
    async with stage() as s:
        for _ in range(2):
            await s.gate.answer(ask(body={"temperature": 1}))
        assert len(s.a[0].calls) == 2
        for _ in range(2):
            await s.gate.answer(ask("kept", cache=CachePolicy.ALWAYS))
        assert len(s.a[0].calls) == 3
        await s.gate.answer(ask("kept", cache=CachePolicy.NEVER))
        assert len(s.a[0].calls) == 4


async def test_identical_requests_under_way_are_one_call() -> None:
    async with stage(script=Script(first=0.2)) as s:
        asks = [ask(body={"seed": 1}, agent=f"a{n}") for n in range(10)]
        answers = await asyncio.gather(
            *(s.gate.answer(one) for one in asks[:8]), *(whole(s.gate, one) for one in asks[8:])
        )
        assert len(s.a[0].calls) == 1
        assert {answer.record.cache for answer in answers[:8] if not isinstance(answer, str)} == {"miss", "shared"}
        assert answers[8:] == ["hello there", "hello there"]


async def test_what_a_fallback_answered_is_not_kept_for_the_model_that_was_asked() -> None:
    async with stage() as s:
        s.a[0].then(Unavailable("gone"))
        found = [(await s.gate.answer(ask(body={"temperature": 0}))).record for _ in range(3)]
        assert [(one.backend, one.cache) for one in found] == [("b", "miss"), ("a", "miss"), ("", "hit")]


async def test_many_equal_streams_of_one_who_asks_too_often_are_all_refused() -> None:
    limits = LimitsConfig(requests_per_second=0.1, burst=1)
    async with stage(limits=limits) as s, asyncio.timeout(5):
        assert (await s.gate.answer(ask("first"))).record.outcome == "ok"
        asked: list[asyncio.Task[Any]] = []
        for _ in range(20):  # one in each step of the event loop: some come when the first has just failed
            asked.append(asyncio.create_task(s.gate.open(ask("again", body={"temperature": 0}))))
            await asyncio.sleep(0)
        assert {type(error) for error in await asyncio.gather(*asked, return_exceptions=True)} == {Overloaded}
        assert await s.idle()


@pytest.mark.parametrize("streamed", [False, True])
async def test_who_joins_anothers_call_keeps_a_deadline_of_his_own(streamed: bool) -> None:
    async with stage(script=Script(first=3)) as s:
        first = asyncio.create_task(s.gate.answer(ask(body={"temperature": 0})))
        await assert_eventually(lambda: s.a[0].running == 1)
        hurried = ask(body={"temperature": 0}, seconds=0.05)
        began = asyncio.get_running_loop().time()
        late = s.gate.open(hurried) if streamed else s.gate.answer(hurried)
        with pytest.raises(DeadlineExceeded):
            await late
        assert asyncio.get_running_loop().time() - began < 2
        assert (await first).record.cache == "miss"


async def test_the_first_of_several_may_leave_and_the_others_get_their_answer() -> None:
    async with stage(script=Script(first=0.3)) as s:
        first = asyncio.create_task(whole(s.gate, ask(body={"seed": 1})))
        await assert_eventually(lambda: s.a[0].running == 1)
        second = asyncio.create_task(s.gate.answer(ask(body={"seed": 1})))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).record.outcome == "ok"
        assert s.a[0].left == 0


async def whole(gate: RequestPath, one: Ask) -> str:
    return await text_of((await gate.open(one)).pieces)


async def test_a_dead_replica_costs_no_request() -> None:
    async with stage(replicas=3) as s:
        s.a[1].die()
        answers = await asyncio.gather(*(s.gate.answer(ask(f"n {n}", agent=f"a{n}")) for n in range(30)))
        assert {answer.record.outcome for answer in answers} == {"ok"}
        assert await s.idle()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_replica_killed_in_the_middle_is_fallen_back_from_before_the_first_piece(streamed: bool) -> None:
    async with stage(replicas=2, script=Script(first=0.3)) as s:
        one = ask("over here")
        task = asyncio.create_task(whole(s.gate, one) if streamed else answer_text(s.gate, one))
        await assert_eventually(lambda: s.a[0].running + s.a[1].running == 1)
        (s.a[0] if s.a[0].running else s.a[1]).die()
        assert await task == "over here"


async def answer_text(gate: RequestPath, one: Ask) -> str:
    return (await gate.answer(one)).body["choices"][0]["message"]["content"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_killed_backend_of_several_replicas_costs_no_request(streamed: bool) -> None:
    async with stage(replicas=3, script=Script(first=0.1)) as s:
        asks = [ask(f"n {number}", agent=f"a{number}") for number in range(30)]
        tasks = [asyncio.create_task(whole(s.gate, one) if streamed else answer_text(s.gate, one)) for one in asks]
        await assert_eventually(lambda: sum(backend.running for backend in s.a) == 6)
        for backend in s.a:
            backend.die()
        assert await asyncio.gather(*tasks) == [f"n {number}" for number in range(30)]
        assert {(await s.gate.answer(ask("after"))).record.backend} == {"b"}
        await assert_eventually(s.idle)


async def test_a_call_that_could_not_be_sent_goes_on_to_every_replica_there_is() -> None:
    async with stage(replicas=3) as s:
        for backend in s.a:
            backend.then(Unreachable("nobody there"))
        assert (await s.gate.answer(ask())).record.backend == "b"
        assert [called(backend) for backend in s.a] == [1, 1, 1]
        assert (await s.owner.state())["counts"]["Unreachable"] == 3


async def test_a_call_that_was_sent_goes_to_two_of_a_backend_and_to_one_of_another() -> None:
    async with stage(replicas=3) as s:
        for backend in (*s.a, *s.b):
            backend.then(*[Unavailable("it fell over")] * 2)
        with pytest.raises(Unavailable, match="fell over"):
            await s.gate.answer(ask())
        assert (sum(map(called, s.a)), sum(map(called, s.b))) == (2, 1)


def called(backend: ScriptedBackend) -> int:
    """Calls of it that were no checks."""
    return sum(call.body.get("max_tokens") != 1 for call in backend.calls)


def test_where_a_request_may_still_go() -> None:
    replicas = {"a": ("a/0", "a/1", "a/2"), "b": ("b/0",)}
    a, b = Target(backend="a", model="m"), Target(backend="b", model="m")
    tries = Tries(replicas)
    for number in range(2):
        grant = Grant(request_id="r", target=a, replica=f"a/{number}")
        assert tries.another(grant, Unavailable("x"), [a, b])
    assert set(tries.avoid) == {"a/0", "a/1", "a/2"}
    assert not tries.another(Grant(request_id="r", target=b, replica="b/0"), Unavailable("x"), [a, b])
    alone = Tries(replicas)
    for number, expected in enumerate((True, False)):
        grant = Grant(request_id="r", target=a, replica=f"a/{number}")
        assert alone.another(grant, Unavailable("x"), [a]) is expected


async def test_a_stream_that_breaks_after_its_first_piece_raises_and_frees_its_slot() -> None:
    async with stage(script=Script(each=0.2)) as s:
        pieces = (await s.gate.open(ask("a b c d e f"))).pieces
        await anext(pieces)
        s.a[0].die()
        with pytest.raises(Unavailable):
            await text_of(pieces)
        await assert_eventually(s.idle)
        assert s.usage.state()["by_outcome"]["Unavailable"] == 1


async def test_leaving_a_stream_before_and_after_its_first_piece_frees_the_slot() -> None:
    async with stage(script=Script(each=0.2)) as s:
        for taken in (0, 1):
            pieces = (await s.gate.open(ask("a b c d e f"))).pieces
            for _ in range(taken):
                await anext(pieces)
            await pieces.aclose()
            await assert_eventually(s.idle)
        assert s.a[0].left == 2


async def test_leaving_a_whole_answer_frees_the_slot() -> None:
    async with stage(script=Script(first=30)) as s:
        task = asyncio.create_task(s.gate.answer(ask()))
        await assert_eventually(lambda: s.a[0].running == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await assert_eventually(s.idle)
        assert s.a[0].left == 1


async def test_a_stream_that_is_left_again_while_it_closes_frees_the_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as s:
        closing = asyncio.Event()

        async def stream(call: BackendCall) -> AsyncGenerator[Chunk]:
            try:
                yield {"choices": []}
            finally:
                closing.set()
                await asyncio.Event().wait()

        monkeypatch.setattr(s.a[0], "stream", stream)
        pieces = (await s.gate.open(ask(model="small"))).pieces
        await anext(pieces)
        leaving = asyncio.create_task(pieces.aclose())
        await closing.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await assert_eventually(s.idle)


async def test_an_answer_with_counters_that_are_none_frees_the_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as s:

        async def answer(call: BackendCall) -> Body:
            return {"choices": [], "usage": {"prompt_tokens": "many"}}

        monkeypatch.setattr(s.a[0], "answer", answer)
        with pytest.raises(ValueError, match="many"):
            await s.gate.answer(ask(model="small"))
        assert await s.idle()


async def test_a_prompt_goes_to_a_model_it_fits_or_is_refused_before_anybody_is_called() -> None:
    async with stage() as s:
        long = "word " * 300
        assert (await s.gate.answer(ask(long))).record.backend == "b"
        with pytest.raises(PromptTooLong, match="small"):
            await s.gate.answer(ask(long, model="small"))
        with pytest.raises(PromptTooLong):
            await s.gate.open(ask("word " * 30_000))
        assert [len(backend.calls) for backend in (s.a[0], s.b[0])] == [0, 1]


async def test_an_answer_longer_than_the_context_is_refused_and_one_that_is_nearly_fitted() -> None:
    async with stage() as s:
        with pytest.raises(PromptTooLong, match="at most"):
            await s.gate.answer(ask(model="small", body={"max_tokens": 10_000}))
        await s.gate.answer(ask("one two", model="small", body={"max_tokens": 200}))
        assert s.a[0].calls[-1].body["max_tokens"] == 198


async def test_a_refusal_is_told_and_neither_tried_elsewhere_nor_held_against_the_backend() -> None:
    async with stage(replicas=2) as s:
        for backend in s.a:
            backend.then(*[ModelRefused("no such thing")] * 20)
        for number in range(10):
            with pytest.raises(ModelRefused, match="no such thing"):
                await s.gate.answer(ask(f"n {number}", model="small", agent=f"a{number}"))
        assert sum(len(backend.calls) for backend in s.a) == 10
        for backend in s.a:
            backend.then()
        await assert_eventually(s.idle)


async def test_a_backend_that_asks_to_be_left_alone_is_told_of_as_that_where_there_is_no_other() -> None:
    async with stage() as s:
        s.a[0].then(Overloaded("too much", retry_after=7.0))
        with pytest.raises(Overloaded, match="too much") as told:
            await s.gate.answer(ask(model="small"))
        assert told.value.retry_after == 7.0


async def test_a_backend_that_refuses_our_key_is_fallen_back_from_and_then_told_as_its_own_trouble() -> None:
    async with stage() as s:
        for backend in (*s.a, *s.b):
            backend.then(*[NotPermitted("invalid key sk-secret")] * 20)
        s.b[0].then()
        with pytest.raises(Unavailable, match="'a' refuses the key") as told:
            await s.gate.answer(ask(model="small"))
        assert "sk-secret" not in str(told.value)
        with pytest.raises(Unavailable, match="refuses the key") as told:
            await s.gate.open(ask(model="small"))
        assert "sk-secret" not in str(told.value)
        assert "sk-secret" not in str(await s.gate.state())
        assert (await s.owner.state())["backends"]["a"]["breakers"]["small"]["failures"] >= 1


async def test_a_backend_that_refuses_our_key_costs_no_request_another_can_answer() -> None:
    async with stage() as s:
        s.a[0].then(NotPermitted("no"))
        assert (await s.gate.answer(ask())).record.backend == "b"


async def test_counting_tokens_keeps_the_deadline_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as s:

        async def silent(kind: Kind, model: str, body: Body) -> PromptSize:
            await asyncio.Event().wait()
            raise AssertionError(kind, model, body)

        monkeypatch.setattr(s.a[0], "prompt_size", silent)
        async with asyncio.timeout(5):
            with pytest.raises(DeadlineExceeded):
                await s.gate.answer(ask("word " * 300, model="small", seconds=0.05))
        assert not s.a[0].calls


class Counts:
    """What replicas were asked to count, and what comes of it."""

    def __init__(self, patch: pytest.MonkeyPatch, *backends: ScriptedBackend) -> None:
        self.asked: list[str] = []
        self.ends: dict[str, ColonyError | asyncio.Event | int] = {}
        for backend in backends:
            patch.setattr(backend, "prompt_size", self._counting(backend))

    def _counting(self, backend: ScriptedBackend) -> Any:
        async def count(kind: Kind, model: str, body: Body) -> PromptSize:
            del kind, model, body
            self.asked.append(backend.name)
            end = self.ends.get(backend.name, 300)
            if isinstance(end, asyncio.Event):
                await end.wait()
            elif isinstance(end, ColonyError):
                raise end
            return PromptSize(tokens=end if isinstance(end, int) else 1, exact=True)

        return count


LONG = "w" * 2300
"""By its bound it may be too long for both models, which take 200 and 2,000 tokens."""


async def test_a_fallback_counts_only_where_it_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as s:
        counts = Counts(monkeypatch, *s.a, *s.b)
        counts.ends["a/0"] = 20
        assert (await s.gate.answer(ask(LONG))).record.backend == "a"
        assert counts.asked == ["a/0"]
        s.a[0].then(Unavailable("gone"))
        counts.asked.clear()
        assert (await s.gate.answer(ask(LONG, agent="you"))).record.backend == "b"
        assert counts.asked == ["a/0", "b/0"]


async def test_what_does_not_fit_the_fallback_says_what_was_wrong_with_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(limits=LimitsConfig(requests_per_second=0.001, burst=1)) as s:
        counts = Counts(monkeypatch, *s.a, *s.b)
        counts.ends |= {"a/0": 20, "b/0": 5000}
        s.a[0].then(Unavailable("it fell over"))
        with pytest.raises(Unavailable, match="fell over"):
            await s.gate.answer(ask(LONG))
        assert not s.b[0].calls
        assert await s.idle()


async def test_a_granted_target_that_does_not_fit_is_left_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(tiers={"fast": (TierTarget(backend=B), TierTarget(backend=A))}) as s:
        counts = Counts(monkeypatch, *s.a, *s.b)
        counts.ends |= {"b/0": 5000, "a/0": ModelRefused("cannot count this")}
        with pytest.raises(PromptTooLong, match="large"):
            await s.gate.answer(ask(LONG))
        assert counts.asked == ["b/0", "a/0"], "a fallback that cannot count is left out"
        counts.ends["b/0"] = ModelRefused("no such tool")
        with pytest.raises(ModelRefused, match="no such tool"):
            await s.gate.answer(ask(LONG))
        assert await s.idle()


async def test_a_count_that_hangs_is_waited_for_once_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "COUNT_SECONDS", 0.05)
    async with stage() as s:
        counts = Counts(monkeypatch, *s.a, *s.b)
        counts.ends["a/0"] = asyncio.Event()
        for number in range(3):
            answered = await s.gate.answer(ask("word " * 100 + f"{number}", model="small"))
            assert answered.record.outcome == "ok", "the server is asked as it is"
        assert counts.asked == ["a/0"]


async def test_a_caller_in_a_hurry_keeps_nobody_else_from_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as s:
        counts = Counts(monkeypatch, *s.a, *s.b)
        counts.ends["a/0"] = asyncio.Event()
        with pytest.raises(DeadlineExceeded):
            await s.gate.answer(ask(LONG, model="small", seconds=0.05))
        counts.ends["a/0"] = 20
        await s.gate.answer(ask(LONG, model="small"))
        assert counts.asked == ["a/0", "a/0"]


async def test_a_replica_that_cannot_be_reached_is_not_asked_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(replicas=2) as s:
        counts = Counts(monkeypatch, *s.a)
        counts.ends |= {"a/0": Unreachable("nobody there"), "a/1": 20}
        for number in range(2):
            await s.gate.answer(ask(LONG + str(number), model="small"))
        assert counts.asked == ["a/0", "a/1", "a/1"]


async def test_only_a_stream_has_a_first_piece() -> None:
    async with stage(script=Script(first=0.02)) as s:
        assert (await s.gate.answer(ask("one two"))).record.first == 0.0
        await text_of((await s.gate.open(ask("one three"))).pieces)
        assert s.usage.state()["first_seconds"] > 0
        assert (s.usage.state()["calls"], s.usage.state()["streams"]) == (2, 1)


async def test_an_unknown_model_is_not_found_and_a_removed_one_is_looked_up_again() -> None:
    async with stage() as s:
        with pytest.raises(NotFound, match=r"'nobody'"):
            await s.gate.answer(ask(model="nobody"))
        s.a[0].serve(["renamed"])
        assert (await s.gate.answer(ask())).record.outcome == "ok"


async def test_a_slot_is_free_while_the_models_are_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as s:
        asked = asyncio.Event()

        async def silent() -> tuple[ServedModel, ...]:
            asked.set()
            await asyncio.Event().wait()
            return ()

        monkeypatch.setattr(s.a[0], "models", silent)
        s.a[0].then(NotFound("it is gone"))
        task = asyncio.create_task(s.gate.answer(ask(model="small")))
        await asked.wait()
        assert await s.idle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await s.idle()


async def test_the_callers_own_hurry_ends_its_call_and_opens_no_breaker() -> None:
    async with stage(script=Script(first=2)) as s:
        for number in range(6):
            with pytest.raises(DeadlineExceeded):
                await s.gate.answer(ask(f"n {number}", model="small", seconds=0.05, agent=f"a{number}"))
        assert await s.idle()
        assert (await s.gate.answer(ask("patient", model="small"))).record.outcome == "ok"


async def test_a_hanging_backend_opens_its_breaker_and_the_fallback_is_used() -> None:
    async with stage() as s:
        s.a[0].then(*[Unavailable("it is broken")] * 50)
        outcomes = [(await s.gate.answer(ask(f"n {n}", agent=f"a{n}"))).record.backend for n in range(20)]
        assert set(outcomes) == {"b"}
        assert len(s.a[0].calls) < 20


async def test_models_and_tiers_are_listed() -> None:
    async with stage() as s:
        assert {model.name for model in await s.gate.models()} == {"small", "large", "fast", "standard", "complex"}


async def test_state_says_what_people_ask() -> None:
    async with stage(preload=True) as s:
        await s.gate.answer(ask(body={"temperature": 0}))
        state = await s.gate.state()
        assert {"backends", "cache", "usage", "models", "preparing"} <= set(state)

        async def prepared() -> bool:
            return all(entry["doing"] == "ready" for entry in (await s.gate.state())["preparing"])

        await assert_eventually(prepared)
