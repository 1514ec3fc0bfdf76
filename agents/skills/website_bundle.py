"""What can only be made once all parts of a website are there: site map, feed, archive, a page on its own. Pure."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from agents.skills.text import one_line
from agents.skills.website_plan import FEED, HOME, SCRIPT, STYLE, Site
from colony.errors import BadInput

MAX_SITE: Final = 8 * 1024 * 1024
"""Most bytes of all files of a site."""

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The oldest date of the format: equal sites make equal archives."""
_PATH: Final = re.compile(r"(?:[a-z0-9][a-z0-9-]*/)*[a-z0-9][a-z0-9.-]*\.(?:html|css|js|svg|xml|txt)")
_SUMMARY: Final = 300


def last_files(site: Site) -> dict[str, str]:
    """Path -> text of `robots.txt`, and of site map and feed where the brief says the address of the site."""
    made: dict[str, str] = {}
    base = site.url.rstrip("/")
    if base:
        made["sitemap.xml"] = _sitemap(site, base)
    if base and site.posts:
        made[FEED] = _feed(site, base)
    made["robots.txt"] = "User-agent: *\nAllow: /\n" + (f"Sitemap: {base}/sitemap.xml\n" if base else "")
    return made


def pack(files: Iterable[tuple[str, str]]) -> bytes:
    """All files as one archive, the same for the same files. Raises `BadInput` for a path that is not of a site."""
    packed = io.BytesIO()
    size = 0
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in sorted(files):
            if _PATH.fullmatch(path) is None:
                raise BadInput(f"A site has no file {path[:80]!r}.")
            content = text.encode()
            size += len(content)
            if size > MAX_SITE:
                raise BadInput(f"The site has more than {MAX_SITE:,} bytes.", remedy="Split the brief.")
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return packed.getvalue()


def standalone(files: Mapping[str, str]) -> str:
    """The home page with its style, script and drawings inside, for looking at it without unpacking anything."""
    page = files[HOME]
    page = page.replace(f'<link rel="stylesheet" href="{STYLE}">', f"<style>\n{files[STYLE]}</style>")
    page = page.replace(f'<script src="{SCRIPT}" defer></script>', "")
    page = page.replace("</body>", f"<script>\n{files[SCRIPT]}</script>\n</body>")
    return re.sub(r'(src|href)="([a-z0-9/-]+\.svg)"', lambda found: _inside(found, files), page)


def _inside(found: re.Match[str], files: Mapping[str, str]) -> str:
    drawing = files.get(found.group(2))
    if drawing is None:
        return found.group(0)
    return f'{found.group(1)}="data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}"'


def _sitemap(site: Site, base: str) -> str:
    dates = {post.path: post.date for post in site.posts}
    entries = "\n".join(
        f"<url><loc>{escape(_address(base, place.path))}</loc>"
        + (f"<lastmod>{dates[place.path]}</lastmod>" if place.path in dates else "")
        + "</url>"
        for place in (*site.places, *site.posts)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{entries}\n</urlset>\n'
    )


def _feed(site: Site, base: str) -> str:
    entries = "\n".join(
        f"<entry><title>{escape(post.title)}</title><id>{escape(_address(base, post.path))}</id>"
        f"<link href={quoteattr(_address(base, post.path))}/><updated>{post.date}T00:00:00Z</updated>"
        f"<summary>{escape(one_line(post.summary, _SUMMARY))}</summary></entry>"
        for post in site.posts
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">\n'
        f"<title>{escape(site.name)}</title><id>{escape(base)}/</id><link href={quoteattr(base + '/')}/>"
        f'<link rel="self" href={quoteattr(f"{base}/{FEED}")}/><author><name>{escape(site.name)}</name></author>'
        f"<updated>{site.posts[0].date}T00:00:00Z</updated>\n{entries}\n</feed>\n"
    )


def _address(base: str, path: str) -> str:
    return f"{base}/{'' if path == HOME else path}"
