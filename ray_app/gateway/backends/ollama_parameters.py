"""Parameters of OpenAI's interface as Ollama takes them, or refuses them. Pure.

None is dropped in silence: Ollama itself passes over options it does not know.
"""

from __future__ import annotations

from typing import Any, Final

from colony.errors import ModelRefused
from ray_app.gateway.contracts import Body

OPTIONS: Final = (
    "temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "presence_penalty", "frequency_penalty",
    "repeat_penalty", "repeat_last_n",
)  # fmt: skip
"""Parameters that both name alike."""

UNKNOWN: Final = (
    "logprobs", "top_logprobs", "logit_bias", "functions", "function_call", "audio", "prediction", "echo",
    "min_tokens", "ignore_eos", "chat_template_kwargs", "mirostat", "mirostat_tau", "mirostat_eta",
)  # fmt: skip
"""Parameters of OpenAI, vLLM and older versions that Ollama has nothing for; refused when they ask for something."""

ONLY: Final[dict[str, Any]] = {"repetition_penalty": 1, "verbosity": "medium", "parallel_tool_calls": True}
"""Parameters that Ollama has nothing for but what they mean when they are left out."""

_THINK: Final[dict[str, str | bool]] = {
    "none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high",
}  # fmt: skip
"""OpenAI's `reasoning_effort` -> Ollama's `think`; a model that does not think is refused by Ollama."""


def refuse_unknown(body: Body) -> None:
    """Raises `ModelRefused` for what the request asks for and Ollama cannot do."""
    for name in UNKNOWN:
        if body.get(name):
            raise ModelRefused(f"Ollama does not know the parameter {name}.", remedy="Leave it out.")
    for name, only in ONLY.items():
        if body.get(name, only) not in (only, None) and (name != "parallel_tool_calls" or body.get("tools")):
            remedy = "Use repeat_penalty." if name == "repetition_penalty" else "Leave it out."
            raise ModelRefused(f"Ollama takes {name} as {str(only).lower()} only.", remedy=remedy)


def think_of(body: Body) -> Body:
    """The field `think` of a request, where it says how much to think. Raises `ModelRefused`."""
    effort = body.get("reasoning_effort")
    if effort is None:
        return {}
    if effort not in _THINK:
        raise ModelRefused(
            f"Ollama takes no reasoning_effort of {str(effort)[:40]!r}.", remedy=f"There is {', '.join(_THINK)}."
        )
    return {"think": _THINK[effort]}
