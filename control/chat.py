"""A conversation with a model, for a person at a terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from colony.config.endpoints import Endpoints, GatewayEndpoint
from colony.config.model import Config
from colony.errors import ColonyError, NotFound
from colony.llm.gateway_client import open_gateway
from colony.llm.openai_format import Piece
from colony.llm.port import ChatMessage, ChatRequest
from ray_app.gateway.plan import gateway_plan

_SECONDS: Final = 300.0
_HELP: Final = "Ctrl-C stops an answer, Ctrl-D ends. /new starts over, /quit ends."


def gateway_of(endpoints: Endpoints, config: Config) -> GatewayEndpoint:
    """Where the gateway is. Raises `NotFound` saying what to do when there is none, or nothing behind it."""
    if not gateway_plan(config).backends:
        raise NotFound(
            "No language model is configured.",
            remedy="Set `model: {enabled: true}` in agent_config.yaml, then run `colony down` and `colony up`.",
        )
    if endpoints.gateway is None:
        raise NotFound("This stack runs without the gateway.", remedy="Run `colony down`, then `colony up`.")
    return endpoints.gateway


@dataclass
class Conversation:
    """What was said so far, and how to go on."""

    endpoint: GatewayEndpoint
    tier: str = ""
    model: str = ""
    max_tokens: int = 512
    system: str = ""
    turns: list[ChatMessage] = field(default_factory=list[ChatMessage])

    async def say(self, prompt: str, write: Callable[[str], None]) -> Piece:
        """One answer, written as it comes; returns the whole with its counts.

        Cancelled, it hangs up: what was said until then stays in the conversation. An error leaves it as it was.
        """
        asked = ChatMessage(role="user", content=prompt)
        first = [ChatMessage(role="system", content=self.system)] if self.system else []
        request = ChatRequest(
            messages=(*first, *self.turns, asked),
            tier=self.tier,
            model=self.model,
            max_tokens=self.max_tokens,
            timeout=_SECONDS,
            priority=1,
        )
        said: list[str] = []
        last = Piece("")
        try:
            async with open_gateway(self.endpoint) as gateway:
                async for piece in gateway.stream(request):
                    last = _joined(last, piece)
                    if text := printable(piece.text):
                        said.append(text)
                        write(text)
        except asyncio.CancelledError:
            self._keep(asked, said)
            raise
        self._keep(asked, said)
        return last._replace(text="".join(said))

    def start_over(self) -> None:
        """Forget what was said."""
        self.turns.clear()

    def _keep(self, asked: ChatMessage, said: list[str]) -> None:
        if said:
            self.turns += [asked, ChatMessage(role="assistant", content="".join(said))]


def printable(text: str) -> str:
    """`text` without control characters: what a model says must not steer a terminal."""
    return "".join(char for char in text if char in "\n\t" or char.isprintable())


def _joined(last: Piece, piece: Piece) -> Piece:
    return Piece(
        "",
        piece.model or last.model,
        piece.finish_reason or last.finish_reason,
        piece.prompt_tokens or last.prompt_tokens,
        piece.completion_tokens or last.completion_tokens,
    )


def talk(conversation: Conversation, read: Callable[[str], str], tell: Callable[[str], None]) -> None:
    """Ask and answer until the person ends it. `read` shows a prompt and raises `EOFError` at the end.

    Errors of the model are told and do not end the conversation.
    """
    tell(_HELP)
    with asyncio.Runner() as runner:
        while True:
            try:
                line = read("you> ").strip()
            except (EOFError, KeyboardInterrupt):
                tell("")
                return
            if line in ("/quit", "/exit"):
                return
            if line == "/new":
                conversation.start_over()
            elif line.startswith("/"):
                tell(_HELP)
            elif line:
                _answer(runner, conversation, line, tell)


def _answer(runner: asyncio.Runner, conversation: Conversation, line: str, tell: Callable[[str], None]) -> None:
    try:
        runner.run(conversation.say(line, write_out))
    except KeyboardInterrupt:
        tell(" (stopped)")
    except ColonyError as error:
        tell(f"{error}")
    else:
        tell("")


def write_out(text: str) -> None:
    """Show a piece at once."""
    sys.stdout.write(text)
    sys.stdout.flush()
