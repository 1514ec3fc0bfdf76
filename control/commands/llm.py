"""`colony llm` and `colony chat`."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from colony.errors import BadInput

if TYPE_CHECKING:
    from colony.config.endpoints import GatewayEndpoint

_TIERS = ("fast", "standard", "complex")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Show the language models: backends, queues, breakers, cache, tokens.")
    group.callback(invoke_without_command=True)(llm)
    group.command("why")(why)
    group.command("drain")(drain)
    app.add_typer(group, name="llm")
    app.command("chat")(chat)


def llm(context: typer.Context, as_json: Json = False) -> None:
    """Show the language models: backends, queues, breakers, cache, tokens."""
    if context.invoked_subcommand is not None:
        return
    from control.llm_state import parse_view
    from control.llm_view import render_view

    state = asyncio.run(_state())
    if as_json:
        print(json.dumps(state))  # noqa: T201 -- output of the command
        return
    Console().print(render_view(parse_view(state)))


def why(
    request_id: Annotated[str, typer.Argument(help="Id of a request, as the gateway's answers and logs name it.")],
    as_json: Json = False,
) -> None:
    """Say what a waiting request waits for, since when, and what would free it."""
    from control.llm_view import render_why

    found = asyncio.run(_why(request_id))
    if as_json:
        print(json.dumps(found))  # noqa: T201 -- output of the command
        return
    Console().print(render_why(found))


def drain(
    replica: Annotated[str, typer.Argument(help="A replica as `colony llm` names it: BACKEND/NUMBER.")],
    off: Annotated[bool, typer.Option("--off", help="Give it calls again.")] = False,
) -> None:
    """Give a replica no new calls; those under way go on. Lasts until --off, or until the gateway starts anew."""
    asyncio.run(_drain(replica, on=not off))
    Console().print(f"{replica} gets calls again." if off else f"{replica} gets no new calls.", markup=False)


def chat(
    prompt: Annotated[str, typer.Argument(help="One question; a conversation when left out.")] = "",
    tier: Annotated[str, typer.Option(help="fast, standard or complex.")] = "",
    model: Annotated[str, typer.Option(help="A model by name, in place of a tier.")] = "",
    system: Annotated[str, typer.Option(help="What the model is told first.")] = "",
    max_tokens: Annotated[int, typer.Option(help="Most tokens of one answer.", min=1, max=1_000_000)] = 512,
    as_json: Annotated[bool, typer.Option("--json", help="One answer, as JSON, with its counts.")] = False,
) -> None:
    """Talk to a model: one answer to PROMPT or to standard input, or a conversation."""
    from control.chat import Conversation, talk, write_out

    if tier and tier not in _TIERS:
        raise BadInput(f"--tier {tier!r} is unknown.", remedy=f"Use {', '.join(_TIERS)}.")
    conversation = Conversation(_gateway(), tier=tier, model=model, max_tokens=max_tokens, system=system)
    question = prompt if prompt or sys.stdin.isatty() else sys.stdin.read()
    if not question.strip():
        if as_json or not sys.stdin.isatty():
            raise BadInput("There is no question.", remedy="Give it as an argument or on standard input.")
        importlib.import_module("readline")  # gives `input` its history and editing
        talk(conversation, input, print)
        return
    answer = asyncio.run(conversation.say(question, _nothing if as_json else write_out))
    if as_json:
        print(json.dumps(answer._asdict()))  # noqa: T201 -- output of the command
        return
    write_out("\n")
    if answer.finish_reason == "length":
        cut = f"The answer was cut after {max_tokens:,} tokens: --max-tokens allows more."
        Console(stderr=True).print(cut, style="yellow", highlight=False)


def _nothing(_: str) -> None:
    return None


def _gateway() -> GatewayEndpoint:
    from control.chat import gateway_of
    from control.session import endpoints_here
    from control.settings import load_settings

    endpoints = endpoints_here()
    return gateway_of(endpoints, load_settings(endpoints).config)


async def _state() -> dict[str, Any]:
    from colony.llm.gateway_client import open_gateway

    async with open_gateway(_gateway()) as gateway:
        return await gateway.state()


async def _why(request_id: str) -> dict[str, Any]:
    from colony.llm.gateway_client import open_gateway

    async with open_gateway(_gateway()) as gateway:
        return await gateway.why(request_id)


async def _drain(replica: str, *, on: bool) -> None:
    from colony.llm.gateway_client import open_gateway

    async with open_gateway(_gateway()) as gateway:
        await gateway.drain(replica, on=on)
