"""What a check of a website finds, and how all that was found is summed up. Pure data."""

from __future__ import annotations

from typing import Final, Literal

from colony.contracts import Frozen

Rule = Literal["html", "links", "headings", "alt", "contrast", "size", "viewport", "css", "svg", "script"]

RULES: Final[dict[Rule, str]] = {
    "html": "valid HTML: parses without an error, names its language, has title and description",
    "links": "every link and every file it loads is there; nothing is loaded from elsewhere",
    "headings": "one main heading, no level left out",
    "alt": "images, links and fields say what they are",
    "contrast": "text has a contrast of 4.5 and more, in light and in dark (WCAG AA)",
    "size": "files stay within their budgets",
    "viewport": "phone and desktop: nothing is wider than the window",
    "css": "the stylesheet parses and loads nothing",
    "svg": "drawings are well-formed and hold no script",
    "script": "scripts write no HTML and call nobody",
}
"""Every rule -> what holds when it finds nothing."""


class Finding(Frozen):
    """One thing that is wrong with a file."""

    rule: Rule
    text: str
    line: int = 0
