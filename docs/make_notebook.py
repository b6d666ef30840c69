"""Makes the notebook of the page "Tune your own module": ``python docs/make_notebook.py``."""

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "start" / "tune_your_module.md"
NOTEBOOK = PAGE.with_suffix(".ipynb")


def notebook(page: str) -> dict[str, Any]:
    """Return a notebook with the texts and the code of a page; commands run as ``!command``."""
    cells = []
    for n, part in enumerate(re.split(r"(```(?:python|bash)\n.*?```)", page, flags=re.DOTALL)):
        fence = re.match(r"```(python|bash)\n(.*?)\n?```$", part, re.DOTALL)
        source = part.strip()
        if fence and fence[1] == "bash":
            source = "\n".join(f"!{line}" for line in fence[2].splitlines())
        elif fence:
            source = fence[2]
        if not source:
            continue
        cell = {"cell_type": "code" if fence else "markdown", "id": f"cell-{n}", "metadata": {}}
        cell |= {"execution_count": None, "outputs": []} if fence else {}
        cells.append(cell | {"source": source.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def text_of(page: str) -> str:
    """Return the notebook of a page as the text of its file."""
    return json.dumps(notebook(page), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(text_of(PAGE.read_text()))
