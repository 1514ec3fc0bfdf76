"""How much memory a model takes, before it is loaded. Pure.

Counted: the weights (mapped, shared by all that serve the same file), the key-value cache for every slot, the buffer
llama.cpp computes in, and the process around it. The numbers are the most it can come to, not what it starts with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from colony.errors import BadInput
from control.pool.gguf import GgufHeader

PROCESS_BYTES: Final = 40_000_000
"""A process that serves a model, without the model: measured 25 MB, and its threads and connections."""

CHAT_BATCH: Final = 512
"""Tokens of a prompt computed at once (llama.cpp's own default), and so the longest input a chat model embeds."""

_HALF: Final = 2
"""Bytes of a number of the key-value cache (16 bits)."""
_FULL: Final = 4
_PAD: Final = 256
"""llama.cpp rounds the context of a slot up to a multiple of this."""
_MAX_LAYERS: Final = 4_096


@dataclass(frozen=True, slots=True)
class Need:
    """Memory of one model in bytes."""

    weights: int
    """The file, mapped: counted once however many serve it."""
    cache: int
    """Key-value cache of all slots."""
    compute: int
    process: int = PROCESS_BYTES

    @property
    def private(self) -> int:
        """What it takes for itself alone."""
        return self.cache + self.compute + self.process


def batch_tokens(context: int, *, embeddings: bool) -> int:
    """Tokens computed at once. An input to embed must fit one batch, so a model for embeddings gets its context."""
    return padded(context) if embeddings else min(CHAT_BATCH, padded(context))


def padded(context: int) -> int:
    """The context of one slot as llama.cpp makes it."""
    return -(-context // _PAD) * _PAD


def estimate(header: GgufHeader, file_bytes: int, *, name: str, slots: int, context: int, embeddings: bool) -> Need:
    """Memory of the model with so many slots of `context` tokens. Raises `BadInput` when the file does not say."""
    layers = header.whole("block_count", 0)
    width = header.whole("embedding_length", 0)
    if not 1 <= layers <= _MAX_LAYERS or not width:
        raise BadInput(
            f"{name} does not say how large its model is (kind {header.architecture[:40]!r}).",
            remedy="Use a GGUF file of a whole language model.",
        )
    length = padded(context)
    cache = sum(_row(header, layer, width) for layer in range(layers)) * _HALF * length * slots
    inner = max(
        header.whole("feed_forward_length", 0),
        header.whole("expert_feed_forward_length", 0) * header.whole("expert_used_count", 0),
        *_per_layer(header, "feed_forward_length"),
        2 * width,
    )
    vocabulary = header.whole("vocab_size", header.lengths.get("tokenizer.ggml.tokens", 0))
    # Scores of the whole vocabulary for each token of a batch are most of it; then two inner layers, four outer
    # ones and the mask. Measured on SmolLM2-135M: 415 MiB with 2,048 tokens a batch, 443 by this formula.
    tokens = batch_tokens(context, embeddings=embeddings)
    compute = tokens * _FULL * (vocabulary + 2 * inner + 4 * width + length) + slots * vocabulary * _FULL
    return Need(weights=file_bytes, cache=cache, compute=compute)


def _row(header: GgufHeader, layer: int, width: int) -> int:
    """Numbers the cache holds for one token in one layer."""
    heads = max(1, header.whole("attention.head_count", 1))
    per_layer = _per_layer(header, "attention.head_count_kv")
    kept = per_layer[layer] if layer < len(per_layer) else header.whole("attention.head_count_kv", heads)
    size = -(-width // heads)
    return kept * (header.whole("attention.key_length", size) + header.whole("attention.value_length", size))


def _per_layer(header: GgufHeader, key: str) -> list[int]:
    found = header.numbers.get(f"{header.architecture}.{key}", ())
    return [int(value) for value in found if isinstance(value, int) and value >= 0]
