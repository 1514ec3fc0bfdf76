"""What language models did for a job: who, for which step, how much. Pure data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from colony.contracts import Frozen
from colony.llm.port import ChatAnswer


class ModelSum(Frozen):
    """Answers of one model, added up."""

    answers: int = 0
    calls: int = 0
    """More than answers where some had to be repaired."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class ModelUse(ModelSum):
    """What one model did in one step."""

    step: str
    model: str
    note: str = ""
    """What came of it, for people."""


def sum_of(answer: ChatAnswer) -> ModelSum:
    """One answer."""
    return ModelSum(
        answers=1,
        calls=answer.calls,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
    )


def add_models(parts: Iterable[Mapping[str, ModelSum]]) -> dict[str, ModelSum]:
    """Sums by model."""
    total: dict[str, ModelSum] = {}
    for part in parts:
        for name, entry in part.items():
            total[name] = _added(total[name], entry) if name in total else entry
    return total


def _added(one: ModelSum, other: ModelSum) -> ModelSum:
    return ModelSum(
        answers=one.answers + other.answers,
        calls=one.calls + other.calls,
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
    )
