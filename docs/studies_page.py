"""Writes studies/README.md and its pictures from a storage in which the studies were run.

python docs/studies_page.py --storage sqlite:///hpo.db

Every figure on the page is read from there; a study that was not run is named as such.
"""

import argparse
import ast
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from hpo._words import number, score, short_names
from hpo.backends._studies import study_names
from hpo.cli._study_file import load_study_file
from hpo.result import StudyResult
from hpo.review.analyses import found_analyses, told
from hpo.review.comparison import Comparison, compare
from hpo.review.comparison_plots import comparison
from hpo.review.plots import learning_curves, pareto_front
from hpo.study import load_result

ROOT = Path(__file__).parents[1]
PLOTS = Path("docs") / "plots"
N_ROWS = 16
HEAD = """# Studies

Each file answers one question. `hpo run studies/NAME.py` runs its default size, made for two CPU
cores; `--full` the size for a GPU; `--smoke` one trial of one epoch. What follows was measured at
the default size on {machine}, with `--n-jobs 2`, and written by
`docs/studies_page.py` from the storage. The machine had other work, so seconds are upper bounds.
`±` is one standard error over the folds; `s/epoch` are the seconds that one fold trains for one
epoch. CIFAR-10 stands here as images that were compressed again as JPEG, and animal faces in the
place of AFHQ: neither is to be compared with published figures.

"""


def main() -> None:
    """Read the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", default="sqlite:///hpo.db")
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--machine", default=f"{os.cpu_count()} cores of a shared virtual machine")
    given = parser.parse_args()
    page = write_page(given.storage, given.root, given.machine)
    print(page)


def write_page(storage: str, root: Path, machine: str) -> Path:
    """Write the page and its pictures below ``root``; return the page."""
    known = study_names(storage)
    files = sorted((root / "studies").glob("*.py"))
    (root / PLOTS).mkdir(parents=True, exist_ok=True)
    parts = [HEAD.format(machine=machine)]
    for file in files:
        parts += section(file, known, storage, root)
    page = root / "studies" / "README.md"
    page.write_text("\n".join(part.rstrip() + "\n" for part in parts))
    return page


def section(file: Path, known: list[str], storage: str, root: Path) -> Iterator[str]:
    """Yield what the page says of one study."""
    yield f"## {file.stem}\n"
    yield prose(ast.get_docstring(ast.parse(file.read_text())) or "")
    made = latest(load_study_file(file).study.name, known)
    if not made:
        yield f"`hpo run studies/{file.name}`: not run for this page (see the README).\n"
    for name in made:
        result, _ = load_result(name, storage)
        yield from told_of(result, file, root)


def latest(name: str, known: list[str]) -> list[str]:
    """Return the last run of a study, and of its other sizes where its name ends in a number."""
    stem, size = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]
    same = re.compile(re.escape(stem) + (r"(\d+)" if size else "") + r"(@\d+)?")
    found: dict[str, list[str]] = {}
    for other in known:
        if same.fullmatch(other):
            found.setdefault(other.partition("@")[0], []).append(other)
    numbered = sorted(found, key=lambda base: (len(base), base))
    return [max(found[base], key=generation) for base in numbered]


def generation(name: str) -> int:
    """Return the number behind ``@``: 1 without one."""
    return int(name.partition("@")[2] or 1)


def told_of(result: StudyResult, file: Path, root: Path) -> Iterator[str]:
    """Yield the figures of one study."""
    minutes = f"{(result.seconds or 0) / 60:.1f} min"
    refit = f", refit {result.refit_seconds:.0f} s" if result.refit_seconds else ""
    states = f"{result.n_complete} complete, {result.n_pruned} pruned, {result.n_failed} failed"
    yield f"**{result.name}**: {result.n_trials} trials ({states}), search {minutes}{refit}.\n"
    if not result.top(1):
        yield "No trial is complete.\n"
        return
    best = result.best_record
    params = ", ".join(f"{k} {number(v)}" for k, v in shortened(best.best_params).items())
    test = f"; sealed test {score(result.test_score)}" if result.test_score is not None else ""
    yield (
        f"Winner: {params}, epoch {result.best_step} – {result.scoring} "
        f"{score(best.value, result.best_score_se)}{test}.\n"
    )
    yield from given(result)
    compared = compare(result)
    figure = comparison(result)
    if compared is not None:
        yield from table(compared)
    if figure is None:
        figure = pareto_front(result) if result.costs else learning_curves(result)
    path = PLOTS / f"{result.name.partition('@')[0]}.png"
    save(figure, root / path)
    yield f"![{result.name}](../{path.as_posix()})\n"
    for name, analysis, data in found_analyses(result):
        lines = [f"{key} {value}" for key, value in told(analysis, data)]
        yield f"*{name}*: {'; '.join(lines)}.\n"


def given(result: StudyResult) -> Iterator[str]:
    """Yield where the points stand that a study gives itself."""
    for rank, record in result.given():
        place = f"rank {rank} of {result.n_complete}" if rank else str(record.state)
        yield f"Given point, trial {record.number}: {score(record.value)}, {place}.\n"


def table(compared: Comparison) -> Iterator[str]:
    """Yield a comparison's table, at most its best rows, and how to read it."""
    order = {id(group): place for place, group in enumerate(compared.ranked)}
    shown = [
        row
        for group, row in zip(compared.groups, compared.rows(), strict=True)
        if order.get(id(group), N_ROWS) < N_ROWS or group.record is None
    ]
    rule = ["---"] * len(compared.header)
    yield "\n".join("| " + " | ".join(row) + " |" for row in [compared.header, rule, *shown])
    left = len(compared.groups) - len(shown)
    more = f" {left} further combinations, all worse, are left out." if left else ""
    yield f"\n{compared.note}{more}\n"


def shortened(params: dict[str, object]) -> dict[str, object]:
    """Return parameters under their short names, dotted paths as their last part."""
    names = short_names(params)
    return {
        names[name]: value.rpartition(".")[2] if isinstance(value, str) else value
        for name, value in params.items()
    }


def prose(docstring: str) -> str:
    """Return a docstring as Markdown."""
    return re.sub(r"``([^`]+)``", r"`\1`", docstring) + "\n"


def save(figure: Figure, path: Path) -> None:
    """Write a picture small: the page has many."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=75)
    Image.open(buffer).convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main()
