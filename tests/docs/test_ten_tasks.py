"""Ten tasks are at most three clicks from the README, by links that are there."""

from itertools import pairwise
from urllib.parse import urlsplit


def paths(pages):
    """Return the pages on the way to each task."""
    (table,) = pages["docs/ten_tasks.md"].tables
    return {
        row[0].content: [child.content for child in row[1].children if child.type == "code_inline"]
        for row in table.rows
    }


def targets(page):
    return {(page.path.parent / urlsplit(link).path).resolve() for link in page.links}


def test_ten_tasks_are_three_clicks_away(pages):
    assert len(paths(pages)) == 10
    for task, path in paths(pages).items():
        assert path[0] == "README.md"
        assert 1 <= len(path) - 1 <= 3, task
        for name, following in pairwise(path):
            assert pages[following].path in targets(pages[name]), f"{task}: {name} > {following}"
