"""Drawings of a website as SVG: logo, icon, marks and pictures, each the same for the same seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from html import escape
from typing import Final, NamedTuple

from agents.skills.website_art import hills, leaves, orbits, tiles, waves
from agents.skills.website_plan import HOME_PICTURE, LOGO, Part, Site
from agents.skills.website_theme import READABLE, THEMES, mixed, toned

_MARKS: Final = (
    '<path d="M4 24V12A8 8 0 0 1 20 12V24Z"/><circle cx="12" cy="13" r="3" fill="#fff" fill-opacity=".55"/>',
    '<path d="M4 4H14V14H4Z"/><circle cx="18" cy="18" r="6" fill-opacity=".55"/>',
    '<path d="M12 3C20 8 20 18 12 25C4 18 4 8 12 3Z"/><path d="M12 9V25" stroke="#fff" stroke-opacity=".6"/>',
    '<circle cx="12" cy="13" r="9" fill-opacity=".35"/><circle cx="12" cy="13" r="4.5"/>',
    '<path d="M3 24L12 6L21 24Z"/><circle cx="19" cy="7" r="3.4" fill-opacity=".55"/>',
    '<path d="M3 8A9 9 0 0 1 12 17A9 9 0 0 1 21 8V24H3Z"/>',
    '<path d="M3 13A9 9 0 0 1 21 13Z"/><path d="M3 16H21A9 9 0 0 1 3 16Z" fill-opacity=".45"/>',
    '<path d="M4 5H11V12H4Z"/><path d="M13 5H20V12H13Z" fill-opacity=".45"/>'
    '<path d="M4 14H11V21H4Z" fill-opacity=".45"/><path d="M13 14H20V21H13Z"/>',
)


class Palette(NamedTuple):
    """Colours of a drawing, good on light pages and on dark ones."""

    sky: str
    far: str
    middle: str
    near: str
    second: str
    third: str


_ART: Final[dict[str, Callable[[random.Random, Sequence[str], int, int], str]]] = {
    "hills": hills,
    "leaves": leaves,
    "tiles": tiles,
    "orbits": orbits,
    "waves": waves,
}


def palette_of(site: Site, hour: int = 0) -> Palette:
    """The colours of the site's drawings, made from its accent: by day, at dusk and by night (`hour` 0, 1, 2)."""
    look = THEMES[site.theme]
    accent = (site.accent or look.accent).lower()
    pale = "#fffaf2"
    near = mixed(accent, "#101418", 0.3)
    if hour == 1:
        sky, far = mixed(look.second, pale, 0.55), mixed(mixed(accent, look.second, 0.5), pale, 0.3)
        return Palette(sky, far, mixed(accent, pale, 0.12), mixed(accent, "#101418", 0.45), look.third, pale)
    if hour == 2:
        night = mixed(accent, "#12161c", 0.72)
        far, middle = mixed(accent, night, 0.6), mixed(accent, night, 0.35)
        return Palette(night, far, middle, mixed(accent, "#0b0e12", 0.86), mixed(look.second, pale, 0.45), look.second)
    return Palette(
        mixed(accent, pale, 0.82), mixed(accent, pale, 0.58), mixed(accent, pale, 0.25), near, look.second, look.third
    )


def picture_svg(site: Site, part: Part) -> str:
    """A picture of the site's style: a strip of 1200 by 360, or 720 by 640."""
    width, height = (1200, 360) if part.wide else (720, 640)
    # Patterns, not secrets: the same site must look the same each time it is built.
    chance = random.Random(part.seed)  # noqa: S311
    hour = 0 if part.path == HOME_PICTURE else chance.choice((0, 1, 2) if part.wide else (1, 2))
    drawn = _ART[site.art](chance, palette_of(site, hour), width, height)
    return _svg(width, height, part.title, drawn)


def logo_svg(site: Site, part: Part) -> str:
    """The initials of the site on its colour; as logo round, as icon with corners."""
    look = THEMES[site.theme]
    ground = toned((site.accent or look.accent).lower(), "#ffffff", READABLE, darker=True)
    shape = (
        f'<circle cx="32" cy="32" r="32" fill="{ground}"/>'
        if part.path == LOGO
        else f'<rect width="64" height="64" rx="14" fill="{ground}"/>'
    )
    letters = initials_of(site.name)
    size = 30 if len(letters) == 1 else 25
    text = (
        f'<text x="32" y="{32 + size * 0.36:.1f}" text-anchor="middle" font-family="Georgia,Liberation Serif,serif" '
        f'font-size="{size}" font-weight="700" fill="#ffffff">{escape(letters)}</text>'
    )
    dot = f'<circle cx="54" cy="10" r="7" fill="{look.second}"/>' if part.path == LOGO else ""
    return _svg(64, 64, part.title, shape + text + dot)


def initials_of(name: str) -> str:
    """One or two letters for a name: those of its first two words that begin with one."""
    found = [word[0].upper() for word in name.split() if word[0].isalnum()]
    return "".join(found[:2]) or name[:1].upper()


def mark(seed: int, at: int) -> str:
    """A small drawing in the colour of the text around it: no two next to each other are the same."""
    drawing = _MARKS[(seed % len(_MARKS) + at) % len(_MARKS)]
    return f'<svg viewBox="0 0 24 28" width="26" height="30" fill="currentColor" focusable="false">{drawing}</svg>'


def _svg(width: int, height: int, title: str, drawn: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" preserveAspectRatio="xMidYMid slice">\n<title>{escape(title)}</title>\n{drawn}\n</svg>\n'
    )
