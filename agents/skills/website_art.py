"""Styles of drawings: each fills a rectangle by chance, in six colours from pale to dark and two bright ones. Pure."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

Colours = Sequence[str]
"""Sky, far, middle, near, second, third."""


def hills(chance: random.Random, colours: Colours, width: int, height: int) -> str:
    """Ridges in mist below a sun."""
    sky, far, middle, near, second, third = colours
    sun = 0.13 * height + 30
    x, y = width * chance.uniform(0.58, 0.82), height * chance.uniform(0.28, 0.38)
    parts = [_ground(sky, width, height)]
    parts += [_circle(x, y, sun * grow, second, opacity) for grow, opacity in ((2.2, 0.16), (1.55, 0.25), (1, 1))]
    layers = ((0.52, far, 1.0), (0.64, middle, 0.75), (0.76, middle, 1.0), (0.87, near, 1.0))
    for base, colour, opacity in layers:
        if colour == near:
            parts += [_tree(x, height, tall, near) for x, tall in _woods(chance, width, height)]
        parts.append(_ridge(chance, width, height, base, colour, opacity))
    parts += [_bird(chance, width, height, third) for _ in range(3)]
    return "\n".join(parts)


def leaves(chance: random.Random, colours: Colours, width: int, height: int) -> str:
    """Stems with leaves that grow from the lower edge, before a low sun."""
    sky, far, middle, near, second, third = colours
    parts = [_ground(sky, width, height)]
    parts.append(_circle(width * chance.uniform(0.25, 0.75), height * 0.42, height * 0.27, second, 0.85))
    step = 64
    for row, (tone, share, opacity) in enumerate(((far, 0.88, 0.9), (middle, 0.7, 0.95), (near, 0.5, 1.0))):
        for at in range(-step // 2 + row * 21, width + step, step + row * 10):
            tall = height * share * chance.uniform(0.55, 1.05)
            lean = chance.uniform(-0.22, 0.22)
            parts.append(_stem(chance, at + chance.uniform(-18, 18), height, tall, lean, tone, opacity))
    for _ in range(width // 90):
        x, y = chance.uniform(0, width), height * chance.uniform(0.35, 0.85)
        parts.append(_circle(x, y, chance.uniform(4, 9), third, 0.95))
    return "\n".join(parts)


def tiles(chance: random.Random, colours: Colours, width: int, height: int) -> str:
    """Squares with quarter circles, half circles and dots."""
    sky, far, middle, near, second, third = colours
    side = 80 if width < 1000 else 72
    parts = [_ground(sky, width, height)]
    grounds = (sky, sky, far, middle, near, second)
    fronts = (near, middle, second, third, far, sky)
    for y in range(0, height + side - 1, side):
        for x in range(0, width + side - 1, side):
            ground = chance.choice(grounds)
            front = chance.choice([colour for colour in fronts if colour != ground])
            parts.append(f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="{ground}"/>')
            parts.append(_tile(chance, x, y, side, front))
    return "\n".join(parts)


def orbits(chance: random.Random, colours: Colours, width: int, height: int) -> str:
    """Rings around a centre beside the middle, with planets on them."""
    sky, far, middle, near, second, third = colours
    parts = [_ground(sky, width, height)]
    x, y = width * chance.uniform(0.36, 0.62), height * chance.uniform(0.42, 0.6)
    reach = math.hypot(width, height) * 0.62
    rings = 9
    for ring in range(rings, 0, -1):
        radius = reach * ring / rings
        shade = (far, sky)[ring % 2]
        parts.append(_circle(x, y, radius, shade, 0.55))
    for ring in range(1, rings):
        radius = reach * ring / rings
        parts.append(
            f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{radius:.0f}" fill="none" stroke="{middle}" stroke-width="1.5" '
            f'stroke-opacity=".5"/>'
        )
        turn = chance.uniform(0, math.tau)
        planet = chance.choice((near, middle, second, third))
        size = chance.uniform(0.018, 0.05) * height + 4
        parts.append(_circle(x + radius * math.cos(turn), y + radius * math.sin(turn), size, planet, 1))
    parts += [
        _circle(x, y, height * 0.13, near, 1),
        _circle(x - height * 0.03, y - height * 0.03, height * 0.05, second, 1),
    ]
    return "\n".join(parts)


def waves(chance: random.Random, colours: Colours, width: int, height: int) -> str:
    """The sea under a sun, with a sail."""
    sky, far, middle, near, second, third = colours
    x = width * chance.uniform(0.6, 0.78)
    parts = [_ground(sky, width, height), _circle(x, height * 0.4, height * 0.17, second, 1)]
    shades = ((far, 0.7), (far, 1.0), (middle, 0.6), (middle, 1.0), (near, 0.85), (near, 1.0))
    for number, (shade, opacity) in enumerate(shades):
        if number == 2:
            parts.append(_boat(width * chance.uniform(0.22, 0.42), height * 0.585, height * 0.26, third, near))
        parts.append(_wave(chance, width, height, 0.46 + 0.092 * number, shade, opacity))
    return "\n".join(parts)


def _ground(colour: str, width: int, height: int) -> str:
    return f'<rect width="{width}" height="{height}" fill="{colour}"/>'


def _circle(x: float, y: float, radius: float, colour: str, opacity: float) -> str:
    seen = "" if opacity == 1 else f' fill-opacity="{opacity}"'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}"{seen}/>'


def _ridge(chance: random.Random, width: int, height: int, base: float, colour: str, opacity: float) -> str:
    step = width / 6
    points = [(at * step, height * (base + chance.uniform(-0.1, 0.06))) for at in range(-1, 8)]
    return f'<path d="{_smooth(points)} V{height} H{-step:.0f} Z" fill="{colour}" fill-opacity="{opacity}"/>'


def _wave(chance: random.Random, width: int, height: int, base: float, colour: str, opacity: float) -> str:
    long, swing, shift = chance.uniform(110, 190), height * chance.uniform(0.012, 0.03), chance.uniform(0, 9)
    points = [(x, height * base + swing * math.sin(x / long * math.pi + shift)) for x in range(-60, width + 120, 60)]
    return f'<path d="{_smooth(points)} V{height} H-60 Z" fill="{colour}" fill-opacity="{opacity}"/>'


def _smooth(points: Sequence[tuple[float, float]]) -> str:
    """A curve through the middles between the points."""
    (x, y), *rest = points
    drawn = [f"M{x:.0f} {y:.0f}"]
    for (x, y), (next_x, next_y) in itertools.pairwise(rest):
        drawn.append(f"Q{x:.0f} {y:.0f} {(x + next_x) / 2:.0f} {(y + next_y) / 2:.0f}")
    return " ".join(drawn)


def _woods(chance: random.Random, width: int, height: int) -> list[tuple[float, float]]:
    """Place and height of trees that stand together here and there."""
    found: list[tuple[float, float]] = []
    for _ in range(3):
        middle = chance.uniform(0.05, 0.95) * width
        found += [
            (middle + chance.gauss(0, width * 0.035), height * chance.uniform(0.16, 0.29))
            for _ in range(chance.randint(3, 7))
        ]
    return found


def _tree(x: float, foot: float, tall: float, colour: str) -> str:
    half = tall * 0.2
    return f'<path d="M{x:.0f} {foot - tall:.0f} L{x + half:.0f} {foot:.0f} H{x - half:.0f} Z" fill="{colour}"/>'


def _bird(chance: random.Random, width: int, height: int, colour: str) -> str:
    x, y, wing = (
        width * chance.uniform(0.1, 0.5),
        height * chance.uniform(0.12, 0.36),
        height * chance.uniform(0.012, 0.022),
    )
    return (
        f'<path d="M{x - 2 * wing:.1f} {y - wing:.1f}Q{x - wing:.1f} {y - wing:.1f} {x:.1f} {y:.1f}Q{x + wing:.1f} '
        f'{y - wing:.1f} {x + 2 * wing:.1f} {y - wing:.1f}" fill="none" stroke="{colour}" stroke-width="2.5" '
        'stroke-linecap="round"/>'
    )


def _stem(chance: random.Random, x: float, foot: int, tall: float, lean: float, colour: str, opacity: float) -> str:
    top_x, top_y = x + tall * lean, foot - tall
    bend = x + tall * lean * 0.2
    leaves_here = max(3, int(tall / 42))
    drawn = [
        f'<path d="M{x:.0f} {foot} Q{bend:.0f} {foot - tall * 0.5:.0f} {top_x:.0f} {top_y:.0f}" fill="none" '
        f'stroke="{colour}" stroke-width="3"/>'
    ]
    for number in range(leaves_here + 1):
        along = 0.22 + 0.78 * number / leaves_here
        at_x = (1 - along) ** 2 * x + 2 * along * (1 - along) * bend + along**2 * top_x
        at_y = foot - tall * along
        size = (1.15 - 0.6 * along) * min(46, tall * 0.19)
        side = 1 if number % 2 else -1
        turn = side * chance.uniform(38, 62) + math.degrees(math.atan(lean))
        turn = 0 if number == leaves_here else turn
        drawn.append(
            f'<path transform="translate({at_x:.0f} {at_y:.0f}) rotate({turn:.0f}) scale({size / 20:.2f})" '
            f'd="M0 0C8 -6 8 -16 0 -24C-8 -16 -8 -6 0 0Z" fill="{colour}"/>'
        )
    return f'<g opacity="{opacity}">{"".join(drawn)}</g>'


def _tile(chance: random.Random, x: int, y: int, side: int, colour: str) -> str:
    turn = f'transform="translate({x + side // 2} {y + side // 2}) rotate({90 * chance.randrange(4)})"'
    half = side // 2
    shape = chance.randrange(5)
    if shape == 0:
        drawn = f'<path d="M{-half} {-half} H{half} A{side} {side} 0 0 1 {-half} {half} Z"'
    elif shape == 1:
        drawn = f'<path d="M{-half} {-half} A{half} {half} 0 0 0 {half} {-half} Z"'
    elif shape == 2:
        drawn = f'<circle r="{half * 0.42:.0f}"'
    elif shape == 3:
        drawn = f'<path d="M{-half} {-half} L{half} {half} H{-half} Z"'
    else:
        drawn = f'<path d="M{-half} 0 A{half} {half} 0 0 1 {half} 0 V{half} A{half} {half} 0 0 0 {-half} {half} Z"'
    return f'{drawn} fill="{colour}" {turn}/>'


def _boat(x: float, y: float, size: float, sail: str, hull: str) -> str:
    return (
        f'<g transform="translate({x:.0f} {y:.0f}) scale({size / 100:.2f})"><path d="M4 -8V-96L58 -8Z" fill="{sail}"/>'
        f'<path d="M-4 -8V-82L-40 -8Z" fill="{sail}" fill-opacity=".75"/>'
        f'<path d="M-52 0H66L48 22H-36Z" fill="{hull}"/></g>'
    )
