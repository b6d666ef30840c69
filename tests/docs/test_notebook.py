"""The notebook runs from top to bottom, and what it shows is what a notebook can show."""

import ast
import importlib
import json
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "quick_start.ipynb"


def cells(kind):
    document = json.loads(NOTEBOOK.read_text())
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == kind]


def test_it_is_a_notebook_without_outputs():
    document = json.loads(NOTEBOOK.read_text())
    assert document["nbformat"] == 4
    assert document["metadata"]["kernelspec"]["name"] == "python3"
    for cell in document["cells"]:
        assert cell["cell_type"] in {"markdown", "code"}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])


def test_its_cells_run_and_show_something(tmp_path, monkeypatch):
    """Cells are executed as IPython does: the value of a last expression is shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPO_STORAGE", raising=False)
    monkeypatch.setitem(sys.modules, "IPython", None)
    names = {"__name__": "__main__"}
    shown = []
    for source in cells("code"):
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "cell", "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
    kinds = {type(value).__name__ for value in shown}
    assert {"Study", "StudyResult", "Figure", "DataFrame"} <= kinds
    for value in shown:
        if type(value).__name__ in {"Study", "StudyResult"}:
            assert value._repr_html_().startswith("<div>")
            assert len(repr(value)) < 1500
        if type(value).__name__ == "Figure":
            assert value._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("source", cells("markdown"))
def test_its_texts_are_short(source):
    assert len(source) < 700


def test_the_notebook_of_a_page_is_that_page(monkeypatch):
    """If this fails: ``python docs/make_notebook.py``."""
    monkeypatch.syspath_prepend(NOTEBOOK.parent)
    make_notebook = importlib.import_module("make_notebook")
    page = make_notebook.PAGE.read_text()
    assert make_notebook.NOTEBOOK.read_text() == make_notebook.text_of(page)
    code = [cell for cell in make_notebook.notebook(page)["cells"] if cell["cell_type"] == "code"]
    assert len(code) == page.count("```python") + page.count("```bash")
