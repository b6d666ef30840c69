"""The pictures are what a terminal showed, and small."""

import importlib.util
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
SCREENS = ROOT / "docs" / "screens"
BYTES = 150_000
UP = "\r\x1b[2K\x1b[1A\x1b[2K"
"""How the live display goes back over a picture of two lines."""


@pytest.fixture(scope="module")
def make_images():
    spec = importlib.util.spec_from_file_location("make_images", ROOT / "docs" / "make_images.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture(done, epoch):
    return f"\x1b[1mstudy\x1b[0m {done} of 10 trials\r\nrunning  epoch {epoch}/20"


def text_of(path):
    return " ".join(ElementTree.parse(path).getroot().itertext()).replace("\xa0", " ")


@pytest.mark.parametrize(
    "path",
    [*sorted(IMAGES.glob("*.*g")), *sorted(SCREENS.glob("*.png"))],
    ids=lambda path: path.name,
)
def test_a_picture_is_small_and_used(path, pages):
    assert path.stat().st_size < BYTES
    assert any(image.endswith(path.name) for page in pages.values() for image in page.images)


@pytest.mark.parametrize(("name", "shows"), [("live", "pruned"), ("winner", "Winner: trial")])
def test_a_picture_of_the_terminal_is_whole(name, shows):
    text = text_of(IMAGES / f"{name}.svg")
    assert "digits_mlp" in text
    assert shows in text
    assert "@font-face" not in text  # nothing is fetched to show it


def test_pictures_drawn_over_one_another_are_told_apart(make_images):
    shown = [picture(1, 20), picture(8, 2), picture(8, 9), "the winner"]
    pictures = make_images.drawn_over("\x1b[?25l" + UP.join(shown) + "\x1b[?25h\r\n")
    assert pictures == [text.replace("\r\n", "\n") for text in shown]
    assert make_images.late(pictures) == pictures[2]


def test_a_search_without_a_late_picture_is_told(make_images):
    with pytest.raises(ValueError, match="None of 1 pictures is late"):
        make_images.late([picture(1, 20)])


def test_a_picture_is_drawn_with_its_title(make_images, tmp_path):
    (shown,) = make_images.drawn_over(picture(8, 9))
    make_images.draw(shown, "hpo run", tmp_path / "shown.svg")
    text = text_of(tmp_path / "shown.svg")
    assert "hpo run" in text
    assert "8 of 10 trials" in text


def test_what_a_terminal_shows_is_kept(make_images, tmp_path):
    command = ["sh", "-c", f"tput cols; echo {tmp_path}/hpo.journal"]
    assert make_images.printed(command, tmp_path).split() == [
        str(make_images.COLUMNS),
        "hpo.journal",
    ]


def test_a_cell_of_a_notebook_shows_what_it_prints_and_its_value(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    parts = importlib.import_module("screen_parts")
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "What `x` is."]},
        {"cell_type": "code", "source": ["from pathlib import Path\n", "print(Path.cwd().name)"]},
        {"cell_type": "code", "source": ["x = 2\n", "x < 3"]},
    ]
    notebook = tmp_path / "cells.ipynb"
    notebook.write_text(json.dumps({"cells": cells}))
    page = parts.notebook_page(notebook, tmp_path)
    assert "<h1>Title</h1>" in page
    assert "What <code>x</code> is." in page
    assert f'<div class="out"><pre>{tmp_path.name}\n</pre></div>' in page
    assert '<pre class="in">x = 2\nx &lt; 3</pre><div class="out"><pre>True</pre></div>' in page


def test_a_screen_is_drawn_in_its_size(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    parts = importlib.import_module("screen_parts")
    page, (width, height) = parts.drawn("\x1b[1m$ hpo\x1b[0m\n" * 24, tmp_path / "screen.svg")
    assert 0.5 < height / width < 1
    assert 'src="screen.svg"' in page.read_text()
