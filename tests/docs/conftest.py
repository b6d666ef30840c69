"""The pages of the documentation, taken apart: what the tests of this folder are given."""

import re
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
FILES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("**/*.md")),
    ROOT / "studies" / "README.md",
]


def pytest_itemcollected(item):
    # MLflow 3.17 uses what SQLAlchemy 2.1 deprecates; a store is made in this process.
    item.add_marker(pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"))


class Block(NamedTuple):
    """A fenced block: its language and its text."""

    language: str
    text: str


class Table(NamedTuple):
    """A table: the texts of its header, and the inline tokens of each cell of its rows."""

    header: list
    rows: list

    def code(self, column=0):
        """Return the code spans of a column."""
        return [
            child.content
            for row in self.rows
            for child in row[column].children
            if child.type == "code_inline"
        ]


class Page:
    """A Markdown file."""

    def __init__(self, path):
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text()
        self.tokens = MarkdownIt("commonmark").enable("table").parse(self.text)

    @property
    def blocks(self):
        return [Block(t.info.strip(), t.content) for t in self.tokens if t.type == "fence"]

    @property
    def inline(self):
        return [child for t in self.tokens if t.type == "inline" for child in t.children]

    @property
    def code(self):
        return [token.content for token in self.inline if token.type == "code_inline"]

    @property
    def links(self):
        links = [t.attrs["href"] for t in self.inline if t.type == "link_open"]
        return links + self.images

    @property
    def images(self):
        return [t.attrs["src"] for t in self.inline if t.type == "image"]

    @property
    def tables(self):
        tables, cells = [], []
        for token, inside in zip(self.tokens, self.tokens[1:], strict=False):
            if token.type == "table_open":
                tables.append(Table([], []))
            elif token.type == "tr_open":
                cells = []
            elif token.type in {"th_open", "td_open"}:
                cells.append(inside)
            elif token.type == "tr_close" and not tables[-1].header:
                tables[-1].header.extend(cell.content for cell in cells)
            elif token.type == "tr_close":
                tables[-1].rows.append(cells)
        return tables

    @cached_property
    def anchors(self):
        """The anchors of the headings, as GitHub makes them."""
        seen, anchors = Counter(), set()
        for token, inside in zip(self.tokens, self.tokens[1:], strict=False):
            if token.type != "heading_open":
                continue
            told = "".join(c.content for c in inside.children)
            slug = re.sub(r"[^\w\- ]", "", told.lower()).replace(" ", "-")
            anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
        return anchors

    def __repr__(self):
        return self.name


PAGES = {page.name: page for page in map(Page, FILES)}


def pytest_generate_tests(metafunc):
    """Run a test that takes a ``page`` over every page."""
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", PAGES.values(), ids=repr)


@pytest.fixture(scope="session")
def pages():
    """Return all pages by their names."""
    return PAGES
