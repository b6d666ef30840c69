"""Builds the documentation as a site: ``python docs/make_site.py [FOLDER]``, by default ``site``.

The pages are those that GitHub shows. They are copied to a folder of their own, where each section
gets its table of contents (`SECTIONS`), and each public package a page made of its docstrings.
Sphinx builds them, and a warning is an error. Needs the extra ``docs``.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from public_names import public_names

DOCS = Path(__file__).parent
ROOT = DOCS.parent
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE")
FOLDERS = ("docs", "studies", "search_spaces")
NO_PAGES = shutil.ignore_patterns("*.py", "__pycache__")
API = "docs/reference/api"

SECTIONS = {
    "README": (
        "docs/start/README",
        "docs/howto/README",
        "docs/understand/README",
        "docs/reference/README",
        "docs/measured",
        "docs/compare",
        "docs/project",
    ),
}
"""The pages that stand under a page, in their order, by their paths without a suffix."""


def main(out: Path) -> int:
    """Build the site in a folder; return Sphinx's exit code."""
    with TemporaryDirectory() as folder:
        source = Path(folder)
        copy_pages(source)
        for name, pages in SECTIONS.items():
            add_contents(source / f"{name}.md", pages)
        write_api(source / API)
        done = subprocess.run(
            [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"]
            + ["-c", str(DOCS), str(source), str(out)],
            check=False,
        )
    if done.returncode == 0:
        shutil.copy(out / "README.html", out / "index.html")
        print(f"The site is in {out}: open {out / 'index.html'}")
    return done.returncode


def copy_pages(source: Path) -> None:
    """Copy the pages, and the files that they link to."""
    for name in TOP:
        shutil.copy(ROOT / name, source / name)
    for name in FOLDERS:
        skipped = NO_PAGES if name == "docs" else None
        shutil.copytree(ROOT / name, source / name, ignore=skipped)


def add_contents(page: Path, pages: Iterable[str]) -> None:
    """Put a table of contents, which the page itself does not show, at the end of a page."""
    lines = ["", "```{toctree}", ":hidden:", "", *(f"/{name}" for name in pages), "```", ""]
    page.write_text(page.read_text() + "\n".join(lines))


def write_api(folder: Path) -> None:
    """Write a page for each public package, which autodoc fills."""
    folder.mkdir(parents=True)
    for package, names in public_names().items():
        title = f"``{package}``"
        lines = [title, "=" * len(title), "", f".. automodule:: {package}", "   :no-members:", ""]
        for name, kind in names.items():
            lines += [f".. auto{kind}:: {package}.{name}"]
            lines += ["   :members:", "   :show-inheritance:"] if kind == "class" else []
            lines += [""]
        (folder / f"{package}.rst").write_text("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "site").resolve()))
