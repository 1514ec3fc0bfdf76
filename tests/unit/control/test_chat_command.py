"""`colony chat` and `colony llm` as a person runs them, against the gateway's own HTTP interfaces."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from colony.config.endpoints import (
    Endpoints,
    GatewayEndpoint,
    NatsEndpoint,
    PostgresEndpoint,
    RayEndpoint,
    RegistryEndpoint,
    TemporalEndpoint,
)
from colony.config.model import Config
from colony.errors import NotFound, Overloaded
from control.chat import Conversation, gateway_of, printable
from tests.eventually import assert_eventually
from tests.servers.gateway_http import KEY, ScriptedGate, serving


def stack_at(folder: Path, url: str, *, enabled: bool = True) -> Endpoints:
    key = folder / "gateway-key"
    key.write_text(KEY)
    config = folder / "agent_config.yaml"
    config.write_text(f"model:\n  enabled: {str(enabled).lower()}\n")
    endpoints = Endpoints(
        home=str(folder),
        folder=str(folder),
        config_file=str(config),
        postgres=PostgresEndpoint(host="127.0.0.1", port=9, password_file="none"),
        temporal=TemporalEndpoint(address="127.0.0.1:9"),
        nats=NatsEndpoint(url="nats://127.0.0.1:9", credentials="none"),
        registry=RegistryEndpoint(kind="nats-kv"),
        ray=RayEndpoint(address="127.0.0.1:9"),
        gateway=GatewayEndpoint(url=url, key_file=str(key)) if url else None,
    )
    endpoints.file.write_text(endpoints.model_dump_json())
    return endpoints


async def started(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "control",
        *arguments,
        env={**os.environ, "COLONY_HOME": str(folder)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def colony(folder: Path, *arguments: str, given: str = "") -> tuple[int, str, str]:
    process = await started(folder, *arguments)
    out, err = await asyncio.wait_for(process.communicate(given.encode()), 30)
    return process.returncode or 0, out.decode(), err.decode()


async def test_one_question_as_argument_on_standard_input_and_as_json(tmp_path: Path) -> None:
    gate = ScriptedGate()
    async with serving(gate) as url:
        stack_at(tmp_path, url)
        assert await colony(tmp_path, "chat", "--tier", "complex", "--system", "be brief", "hi") == (
            0,
            "one two three\n",
            "",
        )
        assert (await colony(tmp_path, "chat", given="what is this?\n"))[:2] == (0, "one two three\n")
        code, out, _ = await colony(tmp_path, "chat", "--json", "hi")
        assert await colony(tmp_path, "chat") == (2, "", "There is no question.\n" + _GIVE)
    assert code == 0
    assert json.loads(out)["text"] == "one two three"
    assert json.loads(out)["completion_tokens"] == 3
    assert gate.seen[0].tier == "complex"
    assert [turn["content"] for turn in gate.seen[0].body["messages"]] == ["be brief", "hi"]


_GIVE = "Give it as an argument or on standard input.\n"


async def test_an_interrupt_hangs_up(tmp_path: Path) -> None:
    gate = ScriptedGate(words=["word "] * 1000, delay=0.05)
    async with serving(gate) as url:
        stack_at(tmp_path, url)
        process = await started(tmp_path, "chat", "tell me a story")
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.read(5), 30) == b"word "
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 130
        await assert_eventually(lambda: gate.freed == 1)


async def test_without_a_model_it_says_what_to_do(tmp_path: Path) -> None:
    stack_at(tmp_path, "http://127.0.0.1:9", enabled=False)
    for command in (("chat", "hi"), ("llm",), ("llm", "why", "r1")):
        code, _, err = await colony(tmp_path, *command)
        assert code == 2
        assert "enabled: true" in err
    endpoints = stack_at(tmp_path, "")
    with pytest.raises(NotFound, match="gateway"):
        gateway_of(endpoints, Config.model_validate({"model": {"enabled": True}}))


async def test_state_and_why_from_the_command_line(tmp_path: Path) -> None:
    async with serving(ScriptedGate()) as url:
        stack_at(tmp_path, url)
        assert json.loads((await colony(tmp_path, "llm", "--json"))[1])["in_flight"] == 0
        assert "no backend" in (await colony(tmp_path, "llm"))[1]
        assert "a slot" in (await colony(tmp_path, "llm", "why", "waiting"))[1]
        assert (await colony(tmp_path, "llm", "why", "unheard-of"))[0] == 2
        assert "no new calls" in (await colony(tmp_path, "llm", "drain", "twin/0"))[1]
        assert "gets calls again" in (await colony(tmp_path, "llm", "drain", "twin/0", "--off"))[1]
        assert (await colony(tmp_path, "llm", "drain", "nobody/7"))[0] == 2


async def test_a_conversation_remembers_also_what_was_stopped(tmp_path: Path) -> None:
    gate = ScriptedGate()
    async with serving(gate) as url:
        endpoints = stack_at(tmp_path, url)
        assert endpoints.gateway is not None
        talk = Conversation(endpoints.gateway)
        heard: list[str] = []
        answer = await talk.say("first", heard.append)
        assert (answer.text, answer.completion_tokens) == ("one two three", 3)
        gate.delay, gate.words = 0.05, ["and "] * 1000
        second = asyncio.create_task(talk.say("second", heard.append))
        await assert_eventually(lambda: heard[-1] == "and ")
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        gate.delay, gate.error = 0.0, Overloaded("full")
        with pytest.raises(Overloaded):
            await talk.say("third", heard.append)
    said = [turn.content for turn in talk.turns]
    assert said[:3] == ["first", "one two three", "second"]
    assert said[3].startswith("and ")
    assert len(said) == 4, "what failed is not remembered"
    talk.start_over()
    assert talk.turns == []


def test_a_model_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\r\x07c\n\td\x9b1m é") == "a[2Jbc\n\td1m é"
