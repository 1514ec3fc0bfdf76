"""The embedded model alone, as it is by default: one process that chats and embeds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from tests.servers.model import embedded_model


async def test_chat_and_embeddings_come_from_one_process(tmp_path: Path) -> None:
    async with (
        embedded_model(tmp_path, slots=2, context=1024) as endpoint,
        httpx.AsyncClient(base_url=endpoint.url, trust_env=False, timeout=60) as client,
    ):
        chat = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}
        said, embedded = await asyncio.gather(
            client.post("/v1/chat/completions", json=chat),
            client.post("/v1/embeddings", json={"input": ["a cat", "a kitten", "interest rates"]}),
        )
        assert said.json()["usage"]["completion_tokens"] == 4
        cat, kitten, rates = (entry["embedding"] for entry in embedded.json()["data"])
        assert len(cat) == 576
        assert dot(cat, kitten) > dot(cat, rates)
        fits = await client.post("/v1/embeddings", json={"input": "word " * 500})
        assert fits.status_code == 200
        too_long = await client.post("/v1/embeddings", json={"input": "word " * 600})
        assert too_long.status_code >= 400, "refused, not cut"


def dot(one: list[float], other: list[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))
