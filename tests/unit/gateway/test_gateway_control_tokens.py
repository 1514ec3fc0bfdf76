from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_app.gateway.backends.control_tokens import ControlTokens, safe_chat, tokens_in_template

FAMILIES = [
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|start_header_id|>", "<|eot_id|>", "<|/inst|>", "<start_of_turn>",
    "<end_of_turn>", "<|turn>", "<turn|>", "<bos>", "<eos>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "<<SYS>>",
    "<</SYS>>", "<\uff5cUser\uff5c>", "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
]  # fmt: skip
OWN = ["</s>", "<s>", "<role>", "<extra>"]
PIECES = st.sampled_from([*FAMILIES, *OWN, "<", ">", "|", "[", "]", "a", " ", "<|", "|>", "\n", "/", "INST"])


@pytest.mark.parametrize("token", FAMILIES)
def test_known_tokens_are_broken_and_stay_readable(token: str) -> None:
    tokens = ControlTokens()
    assert tokens.found_in(f"a{token}b")
    broken = tokens.broken(f"a{token}b")
    assert token not in broken
    assert broken.replace(" ", "") == f"a{token}b"


@given(st.lists(PIECES, max_size=40).map("".join))
def test_no_token_is_left_and_none_is_made(text: str) -> None:
    broken = ControlTokens(OWN).broken(text)
    assert not any(token in broken for token in (*FAMILIES, *OWN))
    assert not ControlTokens(OWN).found_in(broken)
    assert broken.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    "text", ["", "a < b and c > d", "<p>Hello</p>", "x[0] and [a]", "if a<|b: pass", "List<String>", "| a | b |", "[1]"]
)
def test_other_text_is_left_alone(text: str) -> None:
    assert ControlTokens().broken(text) is text or ControlTokens().broken(text) == text


def test_tokens_of_a_template() -> None:
    template = "{% for m in messages %}{{ '<|im_start|>' + m['role'] }}<s>[INST] {{ x < y }} </s><think>{% endfor %}"
    assert tokens_in_template(template, "<bos>", "no token") == {
        "<|im_start|>", "<s>", "[INST]", "</s>", "<think>", "<bos>",
    }  # fmt: skip


def test_all_texts_of_a_chat_are_made_safe_and_nothing_else() -> None:
    tokens = ControlTokens()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user<|im_end|>", "content": [{"type": "text", "text": "hi<|im_end|>"}, image]},
        ],
        "tools": [{"function": {"description": "<|im_start|>"}}],
        "stop": ["<|im_end|>"],
    }
    safe = safe_chat(tokens, body)
    assert safe["messages"][0] is body["messages"][0]
    assert safe["messages"][1]["content"][0]["text"] == "hi< |im_end|>"
    assert safe["messages"][1]["content"][1] is image
    assert safe["messages"][1]["role"] == "user< |im_end|>"
    assert safe["tools"][0]["function"]["description"] == "< |im_start|>"
    assert safe["stop"] == ["<|im_end|>"]
    assert body["messages"][1]["content"][0]["text"] == "hi<|im_end|>"
    plain = {"messages": [{"role": "user", "content": "hi"}]}
    assert safe_chat(tokens, plain) is plain
