"""Any OpenAI-compatible server (Ollama, vLLM, llama.cpp, a hosted one) over one pool of connections."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import httpx

from colony.config.endpoints import GatewayEndpoint, ModelEndpoint, read_secret
from colony.config.model import ModelConfig
from colony.errors import ConfigInvalid, DeadlineExceeded, ModelRefused, Overloaded, Unavailable
from colony.llm.embedding import Embeddings, EmbedRequest, decode_embed, encode_embed
from colony.llm.gateway_headers import BACKEND, CACHE, gateway_headers
from colony.llm.openai_format import decode_answer, decode_models, encode_request, error_of
from colony.llm.port import ChatAnswer, ChatRequest

MAX_BYTES: Final = 8_000_000
"""Most bytes of one answer, unpacked."""

_CONNECT_SECONDS: Final = 5.0
_LIST_SECONDS: Final = 10.0
_CONNECTIONS: Final = 256
_NO_HEADERS: Final[Mapping[str, str]] = {}
# llama.cpp closes idle connections after 5 s: give them up before, or calls fail on a connection just closed.
_KEEP_SECONDS: Final = 4.0


class HttpModel:
    """A `LanguageModel` and `EmbeddingModel` over HTTP; use through `open_model` or `open_gateway_model`.

    One call, one request: nothing is tried twice.
    """

    def __init__(self, client: httpx.AsyncClient, config: ModelConfig, *, gateway: bool = False) -> None:
        """With `gateway`, calls say who makes them, and tiers are left to the other side."""
        self._client = client
        self._gateway = gateway
        self._names = config.names
        self._timeout = config.timeout
        self._first = ""
        self._asking = asyncio.Lock()

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """See `LanguageModel`. Takes at most the shorter of the request's and the configured time."""
        seconds = min(request.timeout, self._timeout)
        async with _deadline(seconds):
            if self._gateway:
                model, headers = request.model, gateway_headers(request, seconds)
            else:
                model = request.model or self._tier(request.tier) or await self._default_model()
                headers = {}
            content = encode_request(request, model)
            body, told = await self._exchange("POST", "/v1/chat/completions", content, headers)
        origin = {"backend": told.get(BACKEND, ""), "cache": told.get(CACHE, "")}
        return decode_answer(request, body).model_copy(update=origin)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `EmbeddingModel`. Takes at most the shorter of the request's and the configured time."""
        seconds = min(request.timeout, self._timeout)
        async with _deadline(seconds):
            model = request.model
            if not model and not self._gateway:
                model = self._tier(request.tier) or await self._default_model()
            headers = gateway_headers(request, seconds) if self._gateway else {}
            body = await self._call("POST", "/v1/embeddings", encode_embed(request, model), headers)
        return decode_embed(request, body)

    async def models(self) -> list[str]:
        """See `LanguageModel`."""
        async with _deadline(min(_LIST_SECONDS, self._timeout)):
            return decode_models(await self._call("GET", "/v1/models", None))

    def _tier(self, tier: str) -> str:
        return next((name for known, name in self._names.items() if known == tier), "")

    async def _default_model(self) -> str:
        async with self._asking:
            if not self._first:
                served = decode_models(await self._call("GET", "/v1/models", None))
                if not served:
                    raise ModelRefused("The model server serves no model.", remedy="Load one, or set model.names.")
                self._first = served[0]
            return self._first

    async def _call(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str] = _NO_HEADERS
    ) -> bytes:
        return (await self._exchange(method, path, content, headers))[0]

    async def _exchange(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> tuple[bytes, Mapping[str, str]]:
        """Body and headers of an answer of status 200."""
        headers = headers if content is None else {"Content-Type": "application/json", **headers}
        try:
            async with self._client.stream(method, path, content=content, headers=headers) as response:
                body = await _read(response)
        except httpx.PoolTimeout:
            raise Overloaded("All connections to the model server are taken.") from None
        except httpx.ConnectTimeout:
            raise Unavailable(f"The model server took no connection in {_CONNECT_SECONDS:.0f} s.") from None
        except httpx.TimeoutException:
            raise DeadlineExceeded("The model server stopped answering.") from None
        except httpx.HTTPError as error:
            raise Unavailable(f"The model server cannot be reached: {type(error).__name__}.") from error
        if response.status_code == HTTPStatus.OK:
            return body, response.headers
        if response.status_code == HTTPStatus.NOT_FOUND:
            self._first = ""  # the server may have been given another model
        raise error_of(response.status_code, body, response.headers.get("Retry-After", ""))


@asynccontextmanager
async def open_model(endpoint: ModelEndpoint, config: ModelConfig) -> AsyncGenerator[HttpModel]:
    """A model at `endpoint`. Sends nothing until it is used.

    The key is read from the endpoint's file, or from that of `config`. Raises `ConfigInvalid`, `NotFound`, `BadInput`.
    """
    async with http_client(endpoint.url, endpoint.key_file or config.key_file) as client:
        yield HttpModel(client, config)


@asynccontextmanager
async def open_gateway_model(endpoint: GatewayEndpoint, config: ModelConfig) -> AsyncGenerator[HttpModel]:
    """The models behind the gateway. Sends nothing until it is used. Raises as `open_model`."""
    async with http_client(endpoint.url, endpoint.key_file) as client:
        yield HttpModel(client, config, gateway=True)


def http_client(address: str, key_file: str) -> httpx.AsyncClient:
    """A pool of connections to a server whose URL ends before `/v1`, with the key of `key_file` unless that is empty.

    It has no time-out but for connecting: set a deadline around each call. Raises as `open_model`.
    """
    headers = {"Authorization": f"Bearer {read_secret(key_file)}"} if key_file else {}
    url = _base(address)
    return httpx.AsyncClient(
        base_url=url,
        headers=headers,
        # The deadline of a call is set around it; these catch what hangs below it.
        timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=_CONNECTIONS, keepalive_expiry=_KEEP_SECONDS),
        follow_redirects=False,
        # A proxy named in the environment is for the outside, never for this machine.
        trust_env=not _is_loopback(url.host),
    )


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise DeadlineExceeded(f"The model gave no answer in {seconds:g} s.") from None


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            raise Unavailable(f"The model server answered with more than {MAX_BYTES // 1_000_000} MB.")
    return bytes(body)


def _base(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text.rstrip("/").removesuffix("/v1"))
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigInvalid(
            "The address of the model server is no http URL.", remedy="Set model.url to http://host:port."
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
