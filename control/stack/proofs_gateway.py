"""The proof of the gateway: one question to the model of the cheapest tier, through the front as any client asks."""

from __future__ import annotations

from typing import Final

import httpx

from colony.config.endpoints import Endpoints, read_secret
from colony.errors import Unavailable

ASKED: Final = {"messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 4, "temperature": 0.0}
HEADERS: Final = {"X-Colony-Agent": "doctor", "X-Colony-Priority": "high", "X-Colony-Cache": "never"}
SECONDS: Final = 9.0


async def gateway_answers(endpoints: Endpoints) -> str:
    """A model answers through the gateway; nothing is asked where none is configured."""
    gateway = endpoints.gateway
    if gateway is None:
        return "no model is configured"
    headers = {**HEADERS, "Authorization": f"Bearer {read_secret(gateway.key_file)}"}
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=SECONDS) as http:
            answer = await http.post(f"{gateway.url}/v1/chat/completions", json=ASKED, headers=headers)
    except httpx.HTTPError as error:
        raise Unavailable(f"The gateway at {gateway.url} does not answer: {type(error).__name__}.") from error
    if answer.is_error:
        raise Unavailable(f"The gateway answers {answer.status_code}: {answer.text[:200]}")
    said = answer.json()
    where = answer.headers.get("x-colony-backend", "")
    return f"{said.get('model', '')} on {where} answered, {said.get('usage', {}).get('completion_tokens', 0)} tokens"
