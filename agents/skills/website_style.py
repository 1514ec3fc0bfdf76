"""The stylesheet and the script of a website. Pure but for reading their sources once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from agents.skills.website_page import TEMPLATES
from agents.skills.website_plan import Site
from agents.skills.website_theme import tokens_of

_HEAD: Final = (
    "/* Colours and shapes first, then what is made of them. No framework, nothing loaded from elsewhere. */\n"
)


def style_css(site: Site, *, mended: bool = False) -> str:
    """The stylesheet. The brand's colour is taken as it is; `mended` makes it readable."""
    tokens = tokens_of(site.theme, site.accent, readable=mended)
    light = _block(":root", {**tokens.light, **tokens.shape, "scheme": "light"})
    dark = _declared({**tokens.dark, "scheme": "dark"})
    looks = (
        f"@media (prefers-color-scheme:dark){{\n:root:not([data-look=light]){{{dark}}}\n}}\n"
        f":root[data-look=dark]{{{dark}}}\n:root{{color-scheme:var(--scheme)}}\n"
    )
    return f"{_HEAD}{light}{looks}{_source('site.css')}"


def script_js() -> str:
    """The script: navigation, look, contact form. The page works without it."""
    return _source("site.js")


def _block(selector: str, values: Mapping[str, str]) -> str:
    return f"{selector}{{{_declared(values)}}}\n"


def _declared(values: Mapping[str, str]) -> str:
    return ";".join(f"--{name}:{value}" for name, value in values.items())


@lru_cache(maxsize=4)
def _source(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
