"""The little HTML that the report is made of; every text is escaped here."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape as escape_markup

from hpo._format import printable

__all__ = [
    "code",
    "definitions",
    "escape",
    "image",
    "note",
    "page",
    "paragraph",
    "section",
    "table",
]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; margin: 2.5rem auto; max-width: 62rem;
       padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #dde3ea; }
p.lead { color: #55606e; margin: 0 0 1.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #eef1f4;
         vertical-align: top; }
th { font-weight: 600; color: #55606e; }
div.wide { overflow-x: auto; font-size: .85rem; }
code { font-size: .92em; }
pre { background: #f4f6f8; padding: .5rem .8rem; overflow-x: auto; margin: .3rem 0 1rem; }
p.note { color: #55606e; font-size: .88rem; margin: .2rem 0 .4rem; }
div.plot { width: 100%; }
#all-trials input { font: inherit; padding: .25rem .5rem; width: 24rem; max-width: 100%;
                    margin: 0 .8rem .5rem 0; border: 1px solid #aab4c0; border-radius: 4px; }
#all-trials th { cursor: pointer; white-space: nowrap; }
#all-trials th[aria-sort=ascending]::after { content: " ▲"; }
#all-trials th[aria-sort=descending]::after { content: " ▼"; }
#all-trials td { white-space: nowrap; }
#all-trials td.reason { max-width: 28rem; overflow: hidden; text-overflow: ellipsis; }
#all-trials td.number { text-align: right; }
#all-trials td.state { font-weight: 600; }
#all-trials td.complete { color: #005a8c; }
#all-trials td.pruned { color: #8a5f00; }
#all-trials td.failed { color: #a84a00; }
#all-trials td.running { color: #00684c; }
#count { color: #55606e; }
img { max-width: 100%; height: auto; margin-top: .4rem; }
"""

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""Whatever is in the page: a browser loads nothing else for it, and sends nothing."""


def escape(text: str) -> str:
    """Return a text that is shown as it is: no markup, and control characters as escapes."""
    return escape_markup(printable(text))


def page(title: str, lead: str, sections: Iterable[str]) -> str:
    """Return a whole document that needs no other file."""
    body = "\n".join(part for part in sections if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n{body}\n</body>\n</html>\n'
    )


def section(heading: str, content: str) -> str:
    """Return ``content``, which is HTML, under a heading; nothing if there is no content."""
    return f"<h2>{escape(heading)}</h2>\n{content}" if content else ""


def paragraph(text: str) -> str:
    """Return ``text`` as a paragraph; nothing if it is empty."""
    return f"<p>{escape(text)}</p>" if text else ""


def note(text: str) -> str:
    """Return ``text`` as a paragraph in small print, under a heading."""
    return f'<p class="note">{escape(text)}</p>'


def code(text: str) -> str:
    """Return ``text`` as lines to paste."""
    return f"<pre><code>{escape(text)}</code></pre>"


def definitions(rows: Mapping[str, str]) -> str:
    """Return names and their values as a table of two columns."""
    cells = "\n".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items()
    )
    return f"<table>\n{cells}\n</table>" if cells else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with a header row; nothing if there are no rows."""
    lines = [_row("td", row) for row in rows]
    if not lines:
        return ""
    return (
        f'<div class="wide"><table>\n{_row("th", header)}\n' + "\n".join(lines) + "\n</table></div>"
    )


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def image(png: bytes, alt: str) -> str:
    """Return a PNG that is part of the document."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
