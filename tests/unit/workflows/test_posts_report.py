"""What the archive of posts makes of posts that are alike."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import orjson
import yaml

from agents.skills.content_alike import Likeness
from agents.skills.content_checks import Check
from agents.skills.content_index import Finished
from agents.skills.content_post import Passage, Post, Section, Sentence, Topic
from workflows.reporting_posts import PostArchive
from workflows.template_content import CONTENT_CREATION


def finished(title: str) -> bytes:
    text = f"{title} needs water."
    one = Finished(
        topic=Topic(id="1", topic=title),
        passages=(
            Passage(number=1, source="a.md", title="A", heading="", line=1, place=0, opens=True, text=text, score=1),
        ),
        post=Post(title=title, date="2026-01-01", lead=Section(sentences=(Sentence(text=text, cites=1),))),
        check=Check(words=3, sentences=1, ease=60, traced=1, repeated=0, sources=1),
    )
    return orjson.dumps(one.model_dump(mode="json"))


def test_a_copy_becomes_a_draft_and_one_that_is_alike_names_the_earlier_post() -> None:
    alike = [Likeness(0, 1, 0.6), Likeness(1, 0, 0.6), Likeness(2, 0, 0.9)]
    archive = PostArchive(frozenset({2}), {each.text: each for each in alike})
    archive.add([finished("Beans")])
    archive.add([finished("Peas"), finished("Bean plants")])
    with zipfile.ZipFile(io.BytesIO(archive.close())) as packed:
        fronts: list[dict[str, Any]] = [
            yaml.safe_load(packed.read(name).decode().split("---\n")[1]) for name in packed.namelist()
        ]
    assert [(front["draft"], front.get("like"), front.get("likeness")) for front in fronts] == [
        (False, None, None),
        (False, "Beans", 0.6),
        (True, "Beans", 0.9),
    ]
    assert fronts[2]["faults"] == ["alike"]
    assert [row.check.faults for row in archive.rows] == [(), (), ("alike",)]


def test_the_bound_of_likeness_is_one_input_of_the_template() -> None:
    steps = {str(step.name): step.parameters.get("most_alike") for step in CONTENT_CREATION.steps}
    asked = {"$input": "most_alike"}
    assert steps == {
        "load": None, "research": None, "draft": asked, "check": asked, "revise": asked, "assemble": asked,
        "choose": None, "lead": None, "report": None,
    }  # fmt: skip
