from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.skills.website_brief import MAX_BRIEF, BriefInvalid, brief_of, parse_brief
from tests.documents import ROOT, blocks

LEAST = "name: A\ndescription: b\n"


def test_the_example_is_a_brief() -> None:
    brief = parse_brief((ROOT / "examples" / "brief.yaml").read_bytes())
    assert [page.title for page in brief.pages] == ["Home", "Our bread", "Order", "About", "Contact"]
    assert brief.pages[0].sections[0].items[0].value == "3 am"
    assert brief_of(brief.model_dump(mode="json", exclude_defaults=True)) == brief


def test_the_brief_of_the_documentation_is_one() -> None:
    (block,) = blocks(ROOT / "docs" / "how-to" / "build-a-website.md", "yaml")
    assert parse_brief(block.text.encode()).pages[1].sections[0].items[0].value == "£9"


@pytest.mark.parametrize(
    ("text", "part", "said"),
    [
        ("description: b\npages: [{title: H}]", "name", "lacks 'name'"),
        (LEAST, "pages", "lacks 'pages'"),
        (LEAST + "pages: []", "pages", "wrong at 'pages'"),
        (LEAST + "pages: [{title: H, sections: [{kind: steps}]}]", "pages[0].sections[0]", "needs items"),
        (
            LEAST + "pages: [{title: H, sections: [{kind: prices, items: [{text: x}]}]}]",
            "pages[0].sections[0]",
            "title",
        ),
        (LEAST + "pages: [{title: H, sections: [{kind: call}]}]", "pages[0].sections[0]", "needs 'link'"),
        (LEAST + "pages: [{title: H, sections: [{}]}]", "pages[0].sections[0]", "needs 'text'"),
        (LEAST + "pages: [{title: H}, {title: h}]", "", "is there twice"),
        (LEAST + "pages: [{title: '...'}]", "pages[0].title", "neither letter nor digit"),
        (
            LEAST + "pages: [{title: H, link: {label: L, to: 'javascript:x()'}}]",
            "pages[0].link.to",
            "begins with https",
        ),
        (LEAST + "pages: [{title: H, link: {label: L, to: '//x.example'}}]", "pages[0].link.to", "begins with https"),
        (LEAST + "accent: red\npages: [{title: H}]", "accent", "not written the way"),
        (LEAST + "theme: gothic\npages: [{title: H}]", "theme", "meadow"),
        (LEAST + "colour: x\npages: [{title: H}]", "colour", "means nothing here"),
        (LEAST + "pages: [{title: H}]\nposts: [{title: P, date: soon, text: t}]", "posts[0].date", "is a date"),
        (LEAST + "pages: [{title: H}]\ncontact: {email: 'a b'}", "contact.email", "not written the way"),
        (LEAST + "pages: !!python/object:os.system {}", "", "tags that name types are refused"),
        ("[1, 2]", "", "no list of"),
        ("a: [", "", "is not valid YAML"),
    ],
)
def test_what_is_missing_or_wrong_is_named(text: str, part: str, said: str) -> None:
    with pytest.raises(BriefInvalid) as caught:
        parse_brief(text.encode())
    assert caught.value.part == part
    assert said in str(caught.value)


def test_the_line_is_named() -> None:
    with pytest.raises(BriefInvalid) as caught:
        parse_brief(b"name: A\ndescription: b\npages:\n  - title: Home\n  - summary: no title\n")
    assert caught.value.line == 5


def test_size_and_encoding_have_bounds() -> None:
    with pytest.raises(BriefInvalid, match="at most 65,536"):
        parse_brief(b"#" * (MAX_BRIEF + 1))
    with pytest.raises(BriefInvalid, match="not UTF-8"):
        parse_brief(b"name: \xff")
    with pytest.raises(BriefInvalid, match="at most 100 items"):
        parse_brief((LEAST + "pages:\n" + "".join(f"- {{title: P{n}}}\n" for n in range(101))).encode())


def test_numbers_of_a_brief_are_text() -> None:
    brief = parse_brief((LEAST + "pages: [{title: 404, sections: [{kind: numbers, items: [{value: 7}]}]}]").encode())
    assert (brief.pages[0].title, brief.pages[0].sections[0].items[0].value) == ("404", "7")


@given(st.binary(max_size=400))
def test_any_bytes_are_a_brief_or_refused(raw: bytes) -> None:
    with contextlib.suppress(BriefInvalid):
        parse_brief(raw)
