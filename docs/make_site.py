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

from public_names import REMARKS, home, public_names

DOCS = Path(__file__).parent
ROOT = DOCS.parent
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE")
FOLDERS = ("docs", "studies", "search_spaces", "tests/docs")
NO_PAGES = shutil.ignore_patterns("*.py", "__pycache__")
API = "docs/reference/api"
SPHINX = (sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q")

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
    "docs/start/README": (
        "docs/start/install",
        "docs/start/quick_start",
        "docs/start/tune_your_module",
    ),
    "docs/howto/README": (
        "docs/howto/from_gridsearchcv",
        "docs/howto/from_optuna",
        "docs/howto/from_ray_tune",
        "docs/data",
        "docs/howto/imbalanced_classes",
        "docs/howto/groups_and_time_series",
        "docs/howto/own_loop_and_metric",
        "docs/extending",
        "docs/techniques",
        "docs/lora",
        "docs/howto/choose_an_executor",
        "docs/howto/many_machines",
        "docs/ray",
        "docs/howto/resume_extend_fork",
        "docs/howto/why_a_trial_failed",
        "docs/howto/keep_it_small_on_disk",
        "docs/howto/what_it_costs",
        "docs/howto/read_the_report",
        "docs/howto/publish_the_model",
        "docs/howto/reproduce_a_study",
    ),
    "docs/understand/README": (
        "docs/concepts",
        "docs/understand/pruning_and_racing",
        "docs/understand/honest_scores",
        "docs/executors",
        "docs/understand/fused_executor",
        "docs/storage_and_tracking",
        "docs/guarantees",
    ),
    "docs/reference/README": (
        "docs/reference/python",
        "docs/python",
        "docs/command_line",
        "docs/reference/cli_options",
        "docs/search_spaces",
        "docs/pruners_and_samplers",
        "docs/reference/mlflow",
        "docs/reference/errors",
    ),
    "docs/measured": ("docs/benchmarks", "docs/search", "studies/README"),
    "docs/project": (
        "docs/README",
        "CONTRIBUTING",
        "docs/design",
        "CHANGELOG",
        "docs/ten_tasks",
        "docs/screens/README",
        "docs/images/README",
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
        packages = write_api(source / API)
        add_contents(source / "docs/reference/python.md", packages)
        done = subprocess.run(
            [*SPHINX, "-c", str(DOCS), str(source), str(out)],
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


def write_api(folder: Path) -> list[str]:
    """Write a page for each public package, which autodoc fills; return their names."""
    folder.mkdir(parents=True)
    pages = []
    for package, names in public_names().items():
        title = f"``{package}``"
        lines = [title, "=" * len(title), "", f".. automodule:: {package}", "   :no-members:", ""]
        for name, kind in names.items():
            lines += [*entry(package, name, kind), ""]
        (folder / f"{package}.rst").write_text("\n".join(lines))
        pages.append(f"{API}/{package}")
    return pages


def entry(package: str, name: str, kind: str) -> list[str]:
    """Return the directive that describes a name, or leads to where it is described."""
    full, told = f"{package}.{name}", home(package, name)
    if told != full:
        return [f"``{name}``", f"   The same as :py:obj:`{told}`."]
    if kind == "data":
        return [f".. py:data:: {name}", "", f"   {REMARKS[full]}"]  # in the module above
    options = ["   :members:", "   :show-inheritance:"] if kind == "class" else []
    return [f".. auto{kind}:: {full}", *options]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "site").resolve()))
