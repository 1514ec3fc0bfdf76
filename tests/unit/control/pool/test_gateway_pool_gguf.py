from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from colony.errors import BadInput
from control.pool.estimate import batch_tokens, estimate
from control.pool.gguf import GgufHeader, parse_header, read_header
from control.processes.model import find_weights

U32, STRING, ARRAY, U64 = 4, 8, 9, 10


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def u32(key: str, value: int) -> bytes:
    return entry(key, U32, struct.pack("<I", value))


def gguf(*entries: bytes, version: int = 3, claimed: int | None = None) -> bytes:
    count = len(entries) if claimed is None else claimed
    return b"GGUF" + struct.pack("<IQQ", version, 0, count) + b"".join(entries)


def parse(data: bytes) -> GgufHeader:
    return parse_header(io.BytesIO(data), len(data), name="some.gguf")


def llama(**more: int) -> GgufHeader:
    values: dict[str, Any] = {
        "general.architecture": "llama",
        "llama.block_count": 30,
        "llama.embedding_length": 576,
        "llama.feed_forward_length": 1536,
        "llama.attention.head_count": 9,
        "llama.attention.head_count_kv": 3,
        "llama.vocab_size": 49152,
    }
    return GgufHeader(values | {f"llama.{key}": value for key, value in more.items()})


def test_values_short_arrays_and_lengths_are_kept() -> None:
    header = parse(
        gguf(
            entry("general.architecture", STRING, text("llama")),
            u32("llama.block_count", 2),
            entry("llama.heads", ARRAY, struct.pack("<IQII", U32, 2, 7, 8)),
            entry("tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, 2) + text("a") + text("b")),
        )
    )
    assert header.architecture == "llama"
    assert header.whole("block_count", 0) == 2
    assert header.whole("missing", 5) == 5
    assert header.numbers == {"llama.heads": (7, 8)}
    assert header.lengths == {"llama.heads": 2, "tokenizer.ggml.tokens": 2}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "ends too early"),
        (b"GGU", "ends too early"),
        (b"hello, world", "is no GGUF file"),
        (gguf(version=1), "GGUF of version 1"),
        (gguf(version=0x03000000), "GGUF of version"),
        (gguf(claimed=1 << 63), "entries of metadata"),
        (gguf(claimed=3), "ends too early"),
        (gguf(struct.pack("<Q", 1 << 62)), "ends too early"),
        (gguf(entry("a", ARRAY, struct.pack("<IQ", U32, 1 << 60))), "an array of"),
        (gguf(entry("a", ARRAY, struct.pack("<IQ", STRING, 7_000_000))), "ends too early"),
        (gguf(entry("a", ARRAY, struct.pack("<IQ", ARRAY, 1))), "unknown type 9"),
        (gguf(entry("a", 13, b"")), "unknown type 13"),
    ],
)
def test_damaged_files_are_refused_by_name(data: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        parse(data)
    assert "some.gguf" in caught.value.message


@given(st.binary(max_size=400), st.booleans())
@example(gguf(u32("a", 1)), False)
def test_no_bytes_raise_anything_else(data: bytes, prefix: bool) -> None:
    whole = gguf(claimed=3) + data if prefix else data
    try:
        parse(whole)
    except BadInput as error:
        assert "some.gguf" in error.message  # noqa: PT017 -- most inputs raise, some do not


def test_a_stream_shorter_than_it_says() -> None:
    data = gguf(u32("a", 1))
    with pytest.raises(BadInput, match="ends within its header"):
        parse_header(io.BytesIO(data[:-2]), len(data), name="some.gguf")


def test_files_that_are_missing_or_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "no.gguf", tmp_path):
        with pytest.raises(BadInput, match="cannot be read") as caught:
            read_header(path)
        assert str(path) in caught.value.message


def test_the_installed_weights_need_what_llama_cpp_takes() -> None:
    """Its own log, at 4 slots of 2,048 tokens: 180 MiB of cache; 415 MiB to compute batches of 2,048 tokens."""
    header = read_header(find_weights())
    need = estimate(header, 98_362_432, name="x", slots=4, context=2048, embeddings=True)
    assert need.cache == 180 * 1024 * 1024
    assert 415 <= need.compute / 1024**2 <= 460
    assert need.weights == 98_362_432


def test_the_cache_follows_layers_heads_and_context() -> None:
    def cache(header: GgufHeader, slots: int = 1, context: int = 256) -> int:
        return estimate(header, 0, name="x", slots=slots, context=context, embeddings=False).cache

    assert cache(llama()) == 30 * 256 * 3 * 128 * 2
    assert cache(llama(), slots=3) == 3 * cache(llama())
    assert cache(llama(), context=257) == 2 * cache(llama())
    assert cache(llama(**{"attention.key_length": 128, "attention.value_length": 64})) == cache(llama()) * 3 // 2
    per_layer = GgufHeader(
        {key: value for key, value in llama().values.items() if "head_count_kv" not in key},
        {"llama.attention.head_count_kv": (3,) * 10 + (0,) * 20},
    )
    assert cache(per_layer) == cache(llama()) // 3


def test_a_model_for_embeddings_computes_its_context_at_once() -> None:
    assert batch_tokens(2048, embeddings=True) == 2048
    assert batch_tokens(2048, embeddings=False) == 512
    assert batch_tokens(300, embeddings=False) == 512
    assert batch_tokens(256, embeddings=False) == 256


@pytest.mark.parametrize("wrong", [{"block_count": 0}, {"block_count": 1 << 40}, {"embedding_length": 0}])
def test_a_file_that_does_not_say_its_size_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="x does not say"):
        estimate(llama(**wrong), 0, name="x", slots=1, context=512, embeddings=False)
