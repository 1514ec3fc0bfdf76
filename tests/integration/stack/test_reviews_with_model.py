"""The main job on a whole stack with the embedded model: it judges, words the report, and is named in it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.running_stack import RunningStack, running_stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

CONFIG = {"fleet": {"hosts": 1}, "model": {"enabled": True, "slots": 4, "context": 1024}}
JUDGED = 16
REVIEWS = [
    (5, "The battery life is great and the screen is lovely."),
    (1, "Terrible battery life, it broke after two days and support was rude."),
    (4, "Fast delivery, good quality, the screen is bright."),
    (2, "The speaker sounds awful and I want my money back."),
]


@pytest.fixture(scope="module", name="stack")
def with_the_embedded_model() -> Generator[RunningStack]:
    folder = Path(tempfile.mkdtemp(prefix="rm-", dir="/tmp"))
    folder.chmod(0o755)
    file = folder / "agent_config.yaml"
    file.write_text(json.dumps(CONFIG), encoding="utf-8")
    lines = [
        "id,review,rating",
        *(f'{n},"{REVIEWS[n % 4][1]} Bought in week {n}.",{REVIEWS[n % 4][0]}' for n in range(JUDGED)),
    ]
    (folder / "reviews.csv").write_text("\n".join(lines), encoding="utf-8")
    try:
        with running_stack(folder / "h", folder, file) as running:
            running.deploy("--count", "40")
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report_of(stack: RunningStack, name: str) -> dict[str, Any]:
    stack.colony("results", name, "--format", "files", "--output", str(stack.folder))
    (found,) = stack.folder.glob("job-*/results.json")
    return json.loads(found.read_text(encoding="utf-8"))["report"]


def test_the_model_judges_every_review_and_words_the_report(stack: RunningStack) -> None:
    given = {"source": "reviews.csv", "parameters": {"classify": {"model": "all", "trust": 1}}}
    stack.temporal(
        *("workflow", "start", "--type", "review_analysis", "--task-queue", "colony"),
        *("--workflow-id", "with-model", "--input", json.dumps(given)),
    )
    stack.temporal("workflow", "result", "--workflow-id", "with-model", timeout=600)
    report = report_of(stack, "with-model")
    uses = {use["step"]: use for use in report["models"]}
    assert report["by"]["model"] > JUDGED / 2
    assert uses["sentiment"]["answers"] >= report["by"]["model"]
    assert uses["sentiment"]["completion_tokens"] > 0
    assert set(uses) > {"sentiment"}, "neither themes nor summary were asked of the model"
    assert {use["model"] for use in uses.values()} == {"smollm2-135m-instruct"}

    said = json.loads(stack.colony("job", "with-model", "--transcript", "--limit", "100", "--json").stdout)
    calls = [line for line in said["items"] if line["kind"] == "model"]
    assert len(calls) >= report["by"]["model"]
    told = json.loads(stack.colony("llm", "--json").stdout)
    assert told["usage"]["requests"] >= report["by"]["model"], told


def test_the_table_of_the_terminal_names_the_model(stack: RunningStack) -> None:
    done = stack.colony("run", "review_analysis", "--source", "reviews.csv", timeout=600)
    assert "smollm2-135m-instruct" in done.stdout
