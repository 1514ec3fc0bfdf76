from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.skills.website_brief import Brief, PageBrief, PostBrief, SectionBrief
from agents.skills.website_plan import address_of, plan_site, planned, rows_of, slug_of
from colony.errors import BadInput

TITLES = st.lists(
    st.text(min_size=1, max_size=40).filter(lambda text: any(each.isalnum() for each in text)),
    min_size=1,
    max_size=8,
    unique_by=lambda text: " ".join(text.split()).casefold(),
)


def brief(*titles: str, **more: object) -> Brief:
    pages = tuple(PageBrief(title=title) for title in titles)
    return Brief.model_validate({"name": "A", "description": "b", "pages": pages, **more})


@given(TITLES)
def test_every_part_has_a_path_of_its_own_that_any_server_can_serve(titles: list[str]) -> None:
    plan = plan_site(Brief(name="A", description="b", pages=tuple(PageBrief(title=each) for each in titles)))
    paths = [part.path for part in plan.parts]
    assert len(set(paths)) == len(paths)
    assert all(re.fullmatch(r"([a-z]+/)?[a-z0-9][a-z0-9-]*\.(html|css|js|svg)", path) for path in paths), paths
    assert plan.site.places[0].path == "index.html"


def test_slugs_are_plain_and_never_those_we_need() -> None:
    assert slug_of("Über uns & Ärger!") == "uber-uns-arger"
    assert slug_of("日本") == ""
    places = plan_site(brief("Home", "Index", "日本", "404", "index!")).site.places
    assert [place.path for place in places] == [
        "index.html",
        "index-2.html",
        "page-3.html",
        "404-2.html",
        "index-3.html",
    ]


def test_links_find_pages_by_title_and_by_path() -> None:
    site = plan_site(brief("Home", "Our bread")).site
    assert address_of(site, "Our bread") == address_of(site, "our-bread") == address_of(site, "/our-bread.html")
    assert address_of(site, "Our bread#rye-1") == "our-bread.html#rye-1"
    assert address_of(site, "https://a.example/x") == "https://a.example/x"
    assert address_of(site, "Trade list") == "trade-list.html"
    assert "trade-list.html" not in site.files


def test_posts_get_a_page_that_lists_them_newest_first() -> None:
    posts = (PostBrief(title="Old", date="2025-01-01", text="a"), PostBrief(title="New", date="2026-01-01", text="b"))
    site = plan_site(brief("Home", posts=posts)).site
    assert [place.title for place in site.places] == ["Home", "Journal"]
    assert [post.title for post in site.posts] == ["New", "Old"]
    listed = PageBrief(title="News", sections=(SectionBrief(kind="posts"),))
    own = plan_site(Brief(name="A", description="b", pages=(PageBrief(title="Home"), listed), posts=posts)).site
    assert [place.title for place in own.places] == ["Home", "News"]


def test_a_row_is_all_an_agent_needs() -> None:
    whole = brief("Home", "About")
    plan = plan_site(whole)
    rows = list(rows_of(whole))
    assert [planned(row)[1] for row in rows] == list(plan.parts)
    assert {planned(row)[0].model_dump_json() for row in rows} == {plan.site.model_dump_json()}
    with pytest.raises(BadInput, match="no part"):
        planned({**rows[0], "part": "../../etc/passwd"})
    with pytest.raises(BadInput, match="lacks"):
        planned({"part": "index.html", "brief": {}})
