"""Tests of a stylesheet: it parses, its colours can be read, nothing in it is wider than a phone. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import tinycss2

from agents.skills.website_findings import Finding
from agents.skills.website_theme import PAIRS, contrast

NARROWEST: Final = 320
"""Width of the narrowest window, in pixels (WCAG 2.2, success criterion 1.4.10)."""

_WIDTHS: Final = frozenset({"width", "min-width"})
_LOADS: Final = re.compile(r"url\(|@import", re.IGNORECASE)
_PIXELS: Final = re.compile(r"^([0-9.]+)px$")


def css_findings(text: str) -> list[Finding]:
    """What is wrong with a stylesheet."""
    rules: list[Any] = tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True)
    found = list(_faults(rules))
    found += [Finding(rule="css", text=f"loads something: {load.group(0)}") for load in _LOADS.finditer(text)]
    looks = list(_looks(rules))
    if len(looks) < 2:
        found.append(Finding(rule="contrast", text="there are no colours for light and dark"))
    for name, colours in looks:
        found += _contrast(name, colours)
    return [*found, *_width(rules, text)]


def _faults(rules: list[Any]) -> Iterator[Finding]:
    for rule in rules:
        if rule.type == "error":
            yield Finding(rule="css", text=rule.message[:200], line=rule.source_line)
        elif rule.type == "qualified-rule":
            for declaration in tinycss2.parse_blocks_contents(rule.content):
                if declaration.type == "error":
                    yield Finding(rule="css", text=declaration.message[:200], line=declaration.source_line)
        elif rule.type == "at-rule" and rule.content is not None:
            yield from _faults(tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True))


def _looks(rules: list[Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """The sets of colours at the root: what they are for, and custom property -> value."""
    for rule in rules:
        if rule.type == "at-rule" and rule.content is not None:
            yield from _looks(tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True))
        elif rule.type == "qualified-rule" and tinycss2.serialize(rule.prelude).strip().startswith(":root"):
            content: Any = rule.content
            values = {
                declaration.name.removeprefix("--"): tinycss2.serialize(declaration.value).strip()
                for declaration in tinycss2.parse_blocks_contents(content)
                if declaration.type == "declaration" and declaration.name.startswith("--")
            }
            if "back" in values:
                yield values.get("scheme", "light"), values


def _contrast(look: str, colours: Mapping[str, str]) -> Iterator[Finding]:
    for pair in PAIRS:
        try:
            found = contrast(colours[pair.front], colours[pair.back])
        except (KeyError, ValueError):
            yield Finding(rule="contrast", text=f"{look}: {pair.front} or {pair.back} is no colour")
            continue
        if found < pair.least:
            yield Finding(
                rule="contrast",
                text=f"{look}: {pair.front} {colours[pair.front]} on {pair.back} {colours[pair.back]} has {found:.1f}, "
                f"needs {pair.least}",
            )


def _width(rules: list[Any], text: str) -> Iterator[Finding]:
    for name, value, line in _declarations(rules):
        pixels = _PIXELS.match(value)
        if name in _WIDTHS and pixels is not None and float(pixels.group(1)) > NARROWEST:
            yield Finding(rule="viewport", text=f"{name}:{value} is wider than a phone", line=line)
        if name == "grid-template-columns" and re.search(r"minmax\(\d{3,}px", value):
            yield Finding(rule="viewport", text=f"columns of {value} are wider than a phone", line=line)
    if not re.search(r"@media\s*\(\s*max-width", text):
        yield Finding(rule="viewport", text="there is nothing for narrow windows")
    if not re.search(r"max-width:\s*100%", text):
        yield Finding(rule="viewport", text="images may be wider than the window")


def _declarations(rules: list[Any]) -> Iterator[tuple[str, str, int]]:
    for rule in rules:
        if rule.type == "qualified-rule":
            for declaration in tinycss2.parse_blocks_contents(rule.content):
                if declaration.type == "declaration":
                    yield declaration.name, tinycss2.serialize(declaration.value).strip(), declaration.source_line
        elif rule.type == "at-rule" and rule.content is not None:
            yield from _declarations(tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True))
