"""Design tokens of a website: colours for light and dark, type, shape; contrast by WCAG 2.2. Pure."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import Final, NamedTuple

from colony.contracts import Frozen

READABLE: Final = 4.5
"""Least contrast of text (WCAG 2.2, success criterion 1.4.3, level AA)."""

VISIBLE: Final = 3.0
"""Least contrast of what is no text but must be seen, such as the ring around what has the focus (1.4.11)."""

_SANS: Final = '"Inter","Helvetica Neue",Arial,"Liberation Sans",sans-serif'
_SERIF: Final = '"Iowan Old Style","Palatino Linotype",Palatino,Charter,Georgia,"Liberation Serif",serif'


class Pair(NamedTuple):
    """Two colours that meet, by the names of their tokens, and the contrast they need."""

    front: str
    back: str
    least: float


PAIRS: Final = (
    Pair("ink", "back", READABLE),
    Pair("ink", "card", READABLE),
    Pair("ink", "tint", READABLE),
    Pair("soft", "back", READABLE),
    Pair("soft", "card", READABLE),
    Pair("soft", "tint", READABLE),
    Pair("link", "back", READABLE),
    Pair("link", "card", READABLE),
    Pair("link", "tint", READABLE),
    Pair("on-accent", "accent", READABLE),
    Pair("on-deep", "deep", READABLE),
    Pair("on-deep-soft", "deep", READABLE),
    Pair("focus", "back", VISIBLE),
)
"""What the stylesheet puts on what. The checks measure these, in light and in dark."""


class Theme(Frozen):
    """One look."""

    accent: str
    accent_dark: str
    """The accent on a dark page."""
    second: str
    """Second colour of the drawings."""
    third: str
    hue: float
    """Of the greys, 0 to 1: they are never quite grey."""
    warmth: float
    """How much of it, 0 to 0.2."""
    headings: str
    body: str
    weight: int
    """Of headings."""
    radius: int
    """Of corners, in pixels."""
    art: str


THEMES: Final[Mapping[str, Theme]] = {
    "meadow": Theme(
        accent="#2f6b4f", accent_dark="#7cc7a0", second="#e0a458", third="#c8553d", hue=0.11, warmth=0.16,
        headings=_SERIF, body=_SANS, weight=600, radius=14, art="leaves",
    ),
    "harbour": Theme(
        accent="#1d4e89", accent_dark="#84b6ec", second="#f2b441", third="#e4572e", hue=0.58, warmth=0.12,
        headings=_SANS, body=_SANS, weight=700, radius=10, art="waves",
    ),
    "ember": Theme(
        accent="#a63a1e", accent_dark="#f29c7b", second="#f0b67f", third="#a4343a", hue=0.06, warmth=0.14,
        headings=_SERIF, body=_SANS, weight=600, radius=4, art="hills",
    ),
    "orchid": Theme(
        accent="#6b3fa0", accent_dark="#c3a3ef", second="#f2a1b8", third="#2f9c95", hue=0.77, warmth=0.08,
        headings=_SANS, body=_SANS, weight=700, radius=18, art="orbits",
    ),
    "graphite": Theme(
        accent="#24292f", accent_dark="#e6e8eb", second="#ff6b35", third="#3fa7d6", hue=0.6, warmth=0.03,
        headings=_SANS, body=_SANS, weight=700, radius=2, art="tiles",
    ),
}  # fmt: skip


class Tokens(NamedTuple):
    """Names of custom properties -> values."""

    light: dict[str, str]
    dark: dict[str, str]
    shape: dict[str, str]


def tokens_of(theme: str, accent: str = "", *, readable: bool = False) -> Tokens:
    """The tokens of a theme. `accent` is the colour of a brand and taken as it is.

    With `readable` it is made darker (on a dark page lighter) as far as its text needs it.
    """
    look = THEMES[theme]
    brand = (accent or look.accent).lower()
    on_dark = look.accent_dark if not accent else brand
    light = _greys(look, dark=False) | _accents(brand, dark=False)
    dark = _greys(look, dark=True) | _accents(on_dark, dark=True)
    if readable:
        light, dark = _readable(light, darker=True), _readable(dark, darker=False)
    shape = {
        "headings": look.headings,
        "body": look.body,
        "weight": str(look.weight),
        "radius": f"{look.radius}px",
    }
    return Tokens(light, dark, shape)


def faults_of(colours: Mapping[str, str]) -> list[tuple[Pair, float]]:
    """The pairs whose contrast is too small, with the contrast they have. Raises `KeyError` for a missing colour."""
    measured = ((pair, contrast(colours[pair.front], colours[pair.back])) for pair in PAIRS)
    return [(pair, found) for pair, found in measured if found < pair.least]


def contrast(one: str, other: str) -> float:
    """Contrast of two colours `#rrggbb`, 1 to 21 (WCAG 2.2, definition of contrast ratio)."""
    first, second = sorted((luminance(one), luminance(other)), reverse=True)
    return (first + 0.05) / (second + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, 0 to 1 (WCAG 2.2)."""
    red, green, blue = (_linear(channel) for channel in channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def channels(colour: str) -> tuple[float, float, float]:
    """Red, green and blue of `#rrggbb`, each 0 to 1. Raises `ValueError`."""
    if len(colour) != 7 or not colour.startswith("#"):
        raise ValueError(f"{colour[:20]!r} is no colour of the form #rrggbb")
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def colour_of(red: float, green: float, blue: float) -> str:
    """`#rrggbb` of channels of 0 to 1."""
    return "#" + "".join(f"{round(255 * min(1.0, max(0.0, channel))):02x}" for channel in (red, green, blue))


def mixed(one: str, other: str, share: float) -> str:
    """`one` with `share` (0 to 1) of `other` in it."""
    pairs = zip(channels(one), channels(other), strict=True)
    red, green, blue = (a + (b - a) * share for a, b in pairs)
    return colour_of(red, green, blue)


def toned(colour: str, against: str, least: float, *, darker: bool) -> str:
    """`colour` in the nearest shade whose contrast to `against` is at least `least`; its hue stays."""
    hue, light, saturation = colorsys.rgb_to_hls(*channels(colour))
    found = colour
    for _ in range(100):
        if contrast(found, against) >= least:
            break
        light = max(0.0, light - 0.01) if darker else min(1.0, light + 0.01)
        found = colour_of(*colorsys.hls_to_rgb(hue, light, saturation))
    return found


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _grey(look: Theme, lightness: float, more: float = 1.0) -> str:
    return colour_of(*colorsys.hls_to_rgb(look.hue, lightness, min(0.6, look.warmth * more)))


def _greys(look: Theme, *, dark: bool) -> dict[str, str]:
    if dark:
        shades = {"back": 0.075, "card": 0.115, "tint": 0.135, "line": 0.22, "ink": 0.93, "soft": 0.72}
        shades |= {"deep": 0.05, "on-deep": 0.93, "on-deep-soft": 0.74}
    else:
        shades = {"back": 0.985, "card": 1.0, "tint": 0.955, "line": 0.88, "ink": 0.12, "soft": 0.34}
        shades |= {"deep": 0.11, "on-deep": 0.96, "on-deep-soft": 0.76}
    # A pale shade needs more of the hue for the same warmth.
    return {name: _grey(look, shade, 2.5 if shade > 0.9 else 1.0) for name, shade in shades.items()}


def _accents(accent: str, *, dark: bool) -> dict[str, str]:
    on_accent = "#14110d" if dark else "#ffffff"
    return {"accent": accent, "on-accent": on_accent, "link": accent, "focus": accent}


def _readable(colours: dict[str, str], *, darker: bool) -> dict[str, str]:
    """The colours with an accent that can be read on everything it meets."""
    accent = toned(colours["accent"], colours["on-accent"], READABLE, darker=darker)
    link = colours["link"]
    for back in ("back", "card", "tint"):
        link = toned(link, colours[back], READABLE, darker=darker)
    return {**colours, "accent": accent, "link": link, "focus": link}
