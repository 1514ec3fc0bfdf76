"""Embeddings by a model: which one, in which pieces, and what a bad answer comes to."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from colony.config.model import Config
from colony.errors import DeadlineExceeded, ModelRefused, Unavailable
from colony.llm.embedding import Embeddings, EmbedRequest, decode_embed, encode_embed
from colony.llm.port import Caller
from colony.memory.contracts import normalised
from colony.memory.hashing import HashingEmbedder
from colony.memory.models import ModelEmbedder, embedder_of, embedding_model

POOL = {"pool": {"models": {"chat": {}, "nomic": {"embeddings": True}, "bge": {"embeddings": True}}}}


class Scripted:
    """Answers each text with its length and a number."""

    def __init__(self, *lengths: int) -> None:
        self.asked: list[EmbedRequest] = []
        self._lengths = list(lengths)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        self.asked.append(request)
        size = self._lengths.pop(0) if self._lengths else 3
        vectors = tuple(tuple([float(len(text)), 1.0, *[0.0] * size][:size]) for text in request.texts)
        return Embeddings(vectors=vectors, model=request.model, prompt_tokens=1)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, ""),
        ({"model": {"enabled": True}}, ""),
        ({"model": {"enabled": True}, "gateway": POOL}, "nomic"),
        ({"gateway": POOL}, ""),
        ({"model": {"enabled": True}, "gateway": POOL, "memory": {"model": "bge"}}, "bge"),
        ({"model": {"enabled": True}, "memory": {"model": "nomic-embed-text"}}, "nomic-embed-text"),
        ({"model": {"enabled": True}, "gateway": POOL, "memory": {"embedder": "hashing"}}, ""),
    ],
)
def test_the_configuration_says_who_embeds(given: dict[str, Any], name: str) -> None:
    config = Config.model_validate(given)
    assert embedding_model(config) == name
    embedder = embedder_of(config, Scripted())
    assert embedder.name == (f"model:{name}" if name else "hashing-1")
    assert isinstance(embedder_of(config, None), HashingEmbedder)


@pytest.mark.parametrize(
    "given",
    [{"memory": {"model": "nomic"}}, {"model": {"enabled": True}, "memory": {"model": "x", "embedder": "hashing"}}],
)
def test_a_model_that_nobody_would_ask_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"memory\.model"):
        Config.model_validate(given)


async def test_texts_go_in_batches_with_the_name_of_the_caller() -> None:
    model = Scripted()
    caller = Caller(agent="research-1", job="Run-1")
    vectors = await ModelEmbedder(model, "nomic").embed(["x" * n for n in range(1, 71)], caller, 9.0)
    assert [len(request.texts) for request in model.asked] == [32, 32, 6]
    assert {(request.model, request.caller, request.timeout) for request in model.asked} == {("nomic", caller, 9.0)}
    assert len(vectors) == 70
    assert vectors[2] == pytest.approx([3 / math.sqrt(10), 1 / math.sqrt(10), 0.0])


async def test_vectors_of_two_lengths_are_refused() -> None:
    with pytest.raises(Unavailable):
        await ModelEmbedder(Scripted(3, 4), "nomic").embed(["x"] * 40, Caller(), 9.0)


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], [1.0] * 16_001])
def test_a_vector_without_direction_is_refused(values: list[float]) -> None:
    with pytest.raises(Unavailable):
        normalised(values)


def test_very_large_and_small_numbers_have_a_direction() -> None:
    for size in (1e-300, 1e300):
        assert normalised([3 * size, 4 * size]) == pytest.approx([0.6, 0.8])


REQUEST = EmbedRequest(texts=("a", "b"), model="nomic")


def test_requests_are_written_as_openai_does() -> None:
    assert orjson.loads(encode_embed(REQUEST, "nomic")) == {
        "model": "nomic",
        "input": ["a", "b"],
        "encoding_format": "float",
    }


def test_vectors_come_in_the_order_of_their_numbers() -> None:
    entries = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    found = decode_embed(REQUEST, orjson.dumps({"data": entries, "model": "m", "usage": {"prompt_tokens": 2}}))
    assert found == Embeddings(vectors=((1.0,), (2.0,)), model="m", prompt_tokens=2)


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
        [{"index": 0, "embedding": []}, {"index": 1, "embedding": []}],
        [{"index": 0, "embedding": "AAAA"}, {"index": 1, "embedding": "AAAA"}],
    ],
)
def test_half_an_answer_is_none(data: list[dict[str, Any]]) -> None:
    with pytest.raises(Unavailable):
        decode_embed(REQUEST, orjson.dumps({"data": data}))
    with pytest.raises(Unavailable):
        decode_embed(REQUEST, b"<html>")


async def test_errors_of_the_model_pass() -> None:
    class Failing:
        def __init__(self, error: Exception) -> None:
            self._error = error

        async def embed(self, request: EmbedRequest) -> Embeddings:
            raise self._error

    for error in (ModelRefused("no"), DeadlineExceeded("late")):
        with pytest.raises(type(error)):
            await ModelEmbedder(Failing(error), "nomic").embed(["x"], Caller(), 1.0)
