"""`colony send · listen`: talk to agents, hear what happens."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

from colony.errors import BadInput, DeadlineExceeded

if TYPE_CHECKING:
    from control.messages import Heard, Mode

console = Console()
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("send")(send)
    app.command("listen")(listen)


def send(
    agent: Annotated[str, typer.Argument(help="Id of the agent, such as analysis-1.")],
    kind: Annotated[str, typer.Argument(help="What it should do: an action its type knows.")],
    payload: Annotated[str, typer.Argument(help="A JSON object.")] = "{}",
    ask: Annotated[bool, typer.Option("--ask", help="Wait for the answer and print it (the default).")] = False,
    tell: Annotated[bool, typer.Option("--tell", help="Send at most once and go.")] = False,
    deliver: Annotated[bool, typer.Option("--deliver", help="Keep it until its effect is saved.")] = False,
    message_id: Annotated[str, typer.Option("--id", help="With --deliver: the same id twice is one message.")] = "",
    timeout: Annotated[float, typer.Option(help="Seconds an answer may take.", min=0.1, max=600)] = 10.0,
    as_json: Json = False,
) -> None:
    """Send a message to an agent."""
    from control import messages  # the clients behind it take a second to import

    if ask + tell + deliver > 1:
        raise BadInput("Choose one of --ask, --tell and --deliver.")
    if message_id and not deliver:
        raise BadInput("--id needs --deliver.")
    mode: Mode = "deliver" if deliver else "tell" if tell else "ask"
    sent = asyncio.run(messages.send(agent, kind, _object(payload), mode, timeout=timeout, message_id=message_id))
    if as_json:
        print(json.dumps(sent._asdict()))  # noqa: T201 -- output of the command
    elif sent.mode == "ask":
        print(json.dumps(sent.answer, indent=2, ensure_ascii=False))  # noqa: T201 -- output of the command
    elif sent.mode == "tell":
        console.print(f"Told {agent}.", markup=False, highlight=False)
    else:
        word = "is kept" if sent.fresh else "was kept before"
        console.print(f"Message {sent.message_id} for {agent} {word}.", markup=False, highlight=False)


def listen(
    pattern: Annotated[str, typer.Argument(help="Subjects; `>` stands for all that follows.")] = "colony.event.>",
    count: Annotated[int | None, typer.Option(help="End after so many messages.", min=1)] = None,
    timeout: Annotated[
        float | None, typer.Option(help="End after so many seconds; exit code 3 if --count is not reached.", min=0.1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what is said on the bus: events, topics, heartbeats. Ends with control-C."""
    heard = asyncio.run(_listen(pattern, count, timeout, as_json=as_json))
    if count is not None and heard < count:
        raise DeadlineExceeded(f"Heard {heard} of {count} messages in {timeout:g} s.")


async def _listen(pattern: str, count: int | None, timeout: float | None, *, as_json: bool) -> int:
    from control import messages

    heard = dropped = 0
    try:
        async with asyncio.timeout(timeout), aclosing(messages.listen(pattern)) as incoming:
            async for each in incoming:
                _print(each, as_json=as_json)
                if each.dropped > dropped:
                    dropped = each.dropped
                    Console(stderr=True).print(f"{dropped} messages came too fast and are lost so far.")
                heard += 1
                if heard == count:
                    break
    except TimeoutError:
        return heard
    return heard


def _print(heard: Heard, *, as_json: bool) -> None:
    envelope = heard.envelope
    if as_json:
        fields = {"subject": heard.subject, "kind": envelope.kind, "sender": envelope.sender}
        print(json.dumps({**fields, "payload": envelope.payload}), flush=True)  # noqa: T201 -- output of the command
        return
    now = datetime.now(UTC).strftime("%H:%M:%S")
    payload = json.dumps(envelope.payload, ensure_ascii=False)
    console.print(f"{now} {heard.subject} {payload}", markup=False, highlight=False, soft_wrap=True)


def _object(text: str) -> dict[str, Any]:
    try:
        given: Any = json.loads(text)
    except ValueError as error:
        raise BadInput(f"The payload is no JSON: {error}.") from error
    if not isinstance(given, dict):
        raise BadInput("The payload of a message is a JSON object.", remedy='For example: \'{"text": "hello"}\'.')
    return cast("dict[str, Any]", given)
