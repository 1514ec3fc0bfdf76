"""Plots as inline SVG, drawn from a report. Pure functions; colours come from the page's CSS classes."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Final

from agents.skills.report_model import Phase, Point, Theme, shares
from agents.skills.text import one_line

_WIDTH: Final = 640
WIDE: Final = 1000
"""Units across a plot that takes the whole width."""
_LABELS: Final = ("positive", "neutral", "negative")


def escape(text: str) -> str:
    """`text` so that it can stand anywhere in a page."""
    return html.escape(text, quote=True)


def draw_svg(height: float, title: str, body: Sequence[str], *, width: int = _WIDTH) -> str:
    """A drawing of this size, which fills the width there is; `title` is read out where it cannot be seen."""
    return (
        f'<svg viewBox="0 0 {width} {height:g}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(body)}</svg>"
    )


def draw_rect(x: float, y: float, width: float, height: float, kind: str, title: str = "", radius: float = 2) -> str:
    """A bar of the CSS class `kind`; `title` is shown under the pointer."""
    tip = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" '
        f'rx="{radius:g}">{tip}</rect>'
    )


def draw_text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    """A line of text."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def draw_line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def tone(score: float) -> str:
    """The CSS class of a score."""
    if score >= 0.05:
        return "positive"
    return "negative" if score <= -0.05 else "neutral"


def split_bar(labels: dict[str, int]) -> str:
    """One bar: how many reviews are positive, neutral and negative."""
    counts = {label: labels.get(label, 0) for label in _LABELS}
    total = sum(counts.values()) or 1
    whole, exact = shares(counts, 0), shares(counts, 1)
    body: list[str] = []
    x = 0.0
    for label, count in counts.items():
        width = count / total * WIDE
        body.append(
            draw_rect(x, 0, max(width - 2, 0), 40, label, f"{label}: {count:,} ({exact[label]:.1f}%)", radius=5)
        )
        if width > 90:
            body.append(draw_text(x + width / 2 - 1, 25.5, f"{label} {whole[label]:.0f}%", "inside", "middle"))
        x += width
    return draw_svg(40, "Share of positive, neutral and negative reviews", body, width=WIDE)


def histogram(bins: Sequence[int]) -> str:
    """How many reviews have which score, -1 to 1."""
    height, base = 336.0, 300.0
    most = max(bins, default=0) or 1
    step = _WIDTH / max(1, len(bins))
    body = [draw_line(0, base, _WIDTH, base, "axis")]
    for index, count in enumerate(bins):
        middle = -1 + 2 * index / max(1, len(bins) - 1)
        bar = count / most * (base - 22)
        body.append(
            draw_rect(index * step + 1.5, base - bar, step - 3, bar, tone(middle), f"about {middle:+.1f}: {count:,}")
        )
        if count:
            body.append(draw_text((index + 0.5) * step, base - bar - 5, f"{count:,}", "small", "middle"))
    for value in (-1.0, -0.5, 0.0, 0.5, 1.0):
        place = step / 2 + (value + 1) / 2 * (_WIDTH - step)
        body.append(draw_text(place, base + 18, f"{value:+g}" if value else "0", "small", "middle"))
    return draw_svg(height, "Histogram of scores", body)


def scatter(points: Sequence[Point], scale: str) -> str:
    """Human rating (across) against our score (up), a dot for each of a sample of reviews."""
    low, high = _range(points, scale)
    left, right, top, bottom = 44.0, _WIDTH - 10.0, 10.0, 290.0

    def across(rating: float) -> float:
        return left + (min(max(rating, low), high) - low) / (high - low) * (right - left)

    def up(score: float) -> float:
        return bottom - (score + 1) / 2 * (bottom - top)

    body: list[str] = []
    for score in (-1.0, -0.5, 0.0, 0.5, 1.0):
        body += [
            draw_line(left, up(score), right, up(score)),
            draw_text(left - 8, up(score) + 4, f"{score:+g}" if score else "0", "small", "end"),
        ]
    for tick in range(5):
        rating = low + (high - low) * tick / 4
        body += [
            draw_line(across(rating), top, across(rating), bottom),
            draw_text(across(rating), bottom + 18, f"{rating:g}", "small", "end" if tick == 4 else "middle"),
        ]
    for point in points:
        kind = tone(point.compound)
        body.append(
            f'<circle class="{kind} dot" cx="{across(point.rating):.1f}" cy="{up(point.compound):.1f}" r="3.4"/>'
        )
    body.append(draw_text((left + right) / 2, bottom + 38, "human rating", "small", "middle"))
    return draw_svg(336, "Human rating against score", body)


def _range(points: Sequence[Point], scale: str) -> tuple[float, float]:
    fixed = {"five": (1.0, 5.0), "signed": (-4.0, 4.0)}.get(scale)
    low = min((point.rating for point in points), default=0.0)
    high = max((point.rating for point in points), default=1.0)
    if fixed is not None and fixed[0] <= low and high <= fixed[1]:
        return fixed
    return (low, high) if high > low else (low - 1, low + 1)


def theme_bars(themes: Sequence[Theme]) -> str:
    """A bar for each theme: its length is the number of reviews, its colours are their labels."""
    row, left, right = 27.0, 150.0, 74.0
    most = max((theme.count for theme in themes), default=1) or 1
    body: list[str] = []
    for index, theme in enumerate(themes):
        y = index * row
        width = theme.count / most * (WIDE - left - right)
        unit = width / theme.count if theme.count else 0
        neutral = max(0, theme.count - theme.positive - theme.negative)
        body.append(draw_text(left - 10, y + 17, one_line(theme.name, 22), "", "end"))
        x = left
        for label, count in (("positive", theme.positive), ("neutral", neutral), ("negative", theme.negative)):
            if count:
                body.append(draw_rect(x, y + 4, unit * count - 1, row - 9, label, f"{theme.name}: {count:,} {label}"))
            x += unit * count
        body.append(draw_text(left + width + 7, y + 17, f"{theme.count:,}  {theme.mean:+.2f}", "small"))
    return draw_svg(max(row, row * len(themes)), "Themes by number of reviews and label", body, width=WIDE)


def phase_bars(phases: Sequence[Phase]) -> str:
    """A bar for each phase of the run, one after another in time."""
    row, left, right = 27.0, 110.0, 120.0
    total = sum(phase.seconds for phase in phases) or 1.0
    body: list[str] = []
    at = 0.0
    for index, phase in enumerate(phases):
        y = index * row
        x = left + at / total * (WIDE - left - right)
        width = max(1.5, phase.seconds / total * (WIDE - left - right))
        note = f"{phase.seconds:.2f} s" + (f", {phase.tasks:,} tasks" if phase.tasks else "")
        body += [
            draw_text(left - 10, y + 17, one_line(phase.name, 16), "", "end"),
            draw_rect(x, y + 4, width, row - 9, "time", f"{phase.name}: {note}"),
            draw_text(x + width + 7, y + 17, note, "small"),
        ]
        at += phase.seconds
    return draw_svg(max(row, row * len(phases)), "Where the time went", body, width=WIDE)
