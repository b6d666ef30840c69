"""Writes studies/README.md and its pictures from a storage in which the studies were run.

python docs/studies_page.py --storage journal:///hpo.journal
python docs/studies_page.py --storage journal:///hpo.journal --keep
python docs/studies_page.py --texts-only

Every figure on the page is read from the storage; a study that was not run is named as such, or
with ``--keep`` keeps what the page has of it. The questions are the first lines of the studies'
docstrings, the answers stand in docs/studies.yaml.
``--texts-only`` needs no storage: texts, contents and summary are written anew, and the figures
that the page has are kept.
"""

import argparse
import ast
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from PIL import Image
from ruamel.yaml import YAML

from hpo._format import number, score, short_names
from hpo.cli._study_file import load_study_file
from hpo.result import StudyResult
from hpo.review.analyses import found_analyses, told
from hpo.review.comparison import Comparison, compare
from hpo.review.comparison_plots import comparison
from hpo.review.plots import learning_curves, pareto_front
from hpo.storage.studies import study_names
from hpo.study import load_result

ROOT = Path(__file__).parents[1]
PLOTS = Path("docs") / "plots"
ANSWERS = Path("docs") / "studies.yaml"
N_ROWS = 16
BENCHMARKS = "../docs/benchmarks.md"
HEAD = """# Studies

Each file answers one question. `hpo run studies/NAME.py` runs its default size, made for two CPU
cores; `--full` the size for a GPU; `--smoke` one trial of one epoch. What follows was measured at
the default size on {machine}, with `--n-jobs 2`, and written by
`docs/studies_page.py` from the storage. The machine had other work, so seconds are upper bounds.
`±` is one standard error over the folds; `s/epoch` are the seconds that one fold trains for one
epoch. Below each comparison stands the test that judged it: over the validated rows where the score
is a mean over them, else over the folds, which tells less apart
([Concepts](../docs/concepts.md#comparisons)); `repeats` is about how many more of the folds would
tell that difference apart.
CIFAR-10 stands here as images that were compressed again as JPEG, and animal faces in the
place of AFHQ: neither is to be compared with published figures.

"""
GROUPS = {
    "cifar10": "CIFAR-10",
    "covertype": "Covertype",
    "digits": "Digits",
    "faces": "Animal faces",
    "lora": "Language models",
    "mnist": "MNIST",
    "own": "Your own table",
    "text": "Text",
}
"""What the studies are on, by how their names begin."""

_MACHINE = re.compile(r"^the default size on (.*), with `--n-jobs 2`", re.MULTILINE)
_FIGURES = re.compile(r"^(?:\*\*[\w@]+\*\*: |`hpo run studies/)", re.MULTILINE)
"""How the figures of a study begin, behind its text."""
_RUN = re.compile(r"^\*\*([\w@]+)\*\*: ", re.MULTILINE)
_WINNER = re.compile(r"^Winner: .* – (\S+ [^;]*?)(?:; held-out test (.*))?\.$", re.MULTILINE)


class Section(NamedTuple):
    """A study, and what the page tells of its runs."""

    file: Path
    figures: str


def main() -> None:
    """Read the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", default="journal:///hpo.journal")
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--machine", default=f"{os.cpu_count()} cores of a shared virtual machine")
    parser.add_argument("--texts-only", action="store_true")
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    if given.texts_only:
        print(rewrite_texts(given.root))
    else:
        print(write_page(given.storage, given.root, given.machine, keep=given.keep))


def write_page(storage: str, root: Path, machine: str, *, keep: bool = False) -> Path:
    """Write the page and its pictures below ``root``; return the page.

    With ``keep``, studies that are not in the storage keep the figures that the page has.
    """
    known = study_names(storage)
    (root / PLOTS).mkdir(parents=True, exist_ok=True)
    answers = read_answers(root)
    before = (root / "studies" / "README.md").read_text() if keep else ""
    sections = []
    for file in study_files(root):
        if keep and not latest(load_study_file(file).study.name, known):
            sections.append(Section(file, figures_on(before, file.stem)))
            continue
        told = joined(figures(file, known, storage, root, answers.get(file.stem, {})))
        sections.append(Section(file, told))
    return write(sections, root, machine)


def rewrite_texts(root: Path) -> Path:
    """Write the page anew with the figures that it has; return the page."""
    page = root / "studies" / "README.md"
    text = page.read_text()
    sections = [Section(file, figures_on(text, file.stem)) for file in study_files(root)]
    return write(sections, root, _MACHINE.findall(text)[0])


def study_files(root: Path) -> list[Path]:
    """Return the studies, by name."""
    return sorted((root / "studies").glob("*.py"))


def read_answers(root: Path) -> dict[str, dict[str, str]]:
    """Return what a person wrote of each study; nothing where there is no such file."""
    file = root / ANSWERS
    return YAML(typ="safe").load(file) if file.exists() else {}


def figures_on(page: str, name: str) -> str:
    """Return what a page tells of a study's runs.

    Raises
    ------
    ValueError
        If the study is not on the page: its figures have to come from a storage.
    """
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    begins = _FIGURES.search(section[1]) if section else None
    if section is None or begins is None:
        raise ValueError(f"The page has no figures of {name}: write it from a storage.")
    return section[1][begins.start() :]


def write(sections: Sequence[Section], root: Path, machine: str) -> Path:
    """Write the page; return it."""
    page = root / "studies" / "README.md"
    page.write_text(rendered(sections, machine, read_answers(root)))
    return page


def rendered(
    sections: Sequence[Section], machine: str, answers: Mapping[str, Mapping[str, str]]
) -> str:
    """Return the page: how to read it, contents, summary, and a section for each study."""
    front = [
        HEAD.format(machine=machine),
        "## Contents\n",
        contents([section.file.stem for section in sections]),
        "## Summary\n",
        summary(sections, answers),
    ]
    bodies = [
        part
        for file, figures in sections
        for part in (f"## {file.stem}\n", prose(docstring(file)), figures)
    ]
    return joined([*front, *bodies])


def joined(parts: Iterable[str]) -> str:
    """Return texts as paragraphs."""
    return "\n".join(part.rstrip() + "\n" for part in parts)


def contents(names: Sequence[str]) -> str:
    """Return links to the studies, those on the same data in one line."""
    lines = []
    for start, group in groupby(names, key=lambda name: name.partition("_")[0]):
        links = " · ".join(f"[{name}](#{name})" for name in group)
        lines.append(f"- {GROUPS.get(start, start)}: {links}")
    return "\n".join(lines) + "\n"


def summary(sections: Sequence[Section], answers: Mapping[str, Mapping[str, str]]) -> str:
    """Return a table of questions, answers and figures, a row a study."""
    rows = [
        "Figures are the winner's scores: over the folds, and on the held-out test set.\n",
        "| study | question | answer | figure |",
        "|---|---|---|---|",
    ]
    for file, figures_ in sections:
        answer = answers.get(file.stem, {})
        cells = [
            f"[{file.stem}](#{file.stem})",
            question(docstring(file)),
            answer.get("answer", "no answer yet"),
            " ".join(winners(figures_)) or measured(answer),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def question(text: str) -> str:
    """Return the question that the first paragraph of a docstring asks."""
    asked = " ".join(prose(text).partition("\n\n")[0].split()).removeprefix("Asks ")
    return asked[:1].upper() + asked[1:].removesuffix(".")


def winners(runs: str) -> Iterator[str]:
    """Yield the scores of the winner of each run; of several runs, with their size."""
    split = _RUN.split(runs)[1:]
    for name, text in zip(split[::2], split[1::2], strict=True):
        size = re.search(r"_(\d+)(?:@\d+)?$", name)
        for score_, test in _WINNER.findall(text):
            held_out = f"; held-out {test}" if test else ""
            label = f"{size[1]}: " if size and len(split) > 2 else ""
            yield f"{label}{score_}{held_out}."


def measured(answer: Mapping[str, str]) -> str:
    """Return the figure of a study that is not run for this page, with where it is from."""
    if "measured" not in answer:
        return "not run"
    return f"{answer['figure']}. [Benchmarks]({BENCHMARKS}#{answer['measured']})"


def docstring(file: Path) -> str:
    """Return the text of a study."""
    return ast.get_docstring(ast.parse(file.read_text())) or ""


def figures(
    file: Path, known: list[str], storage: str, root: Path, answer: Mapping[str, str]
) -> Iterator[str]:
    """Yield what the page tells of a study's runs."""
    made = latest(load_study_file(file).study.name, known)
    if not made:
        yield f"`hpo run studies/{file.name}`: not run for this page{elsewhere(answer)}.\n"
    for name in made:
        result = load_result(name, storage)
        yield from told_of(result, file, root)


def elsewhere(answer: Mapping[str, str]) -> str:
    """Return where a study is told of that is not run for the page."""
    if "measured" not in answer:
        return ""
    return f"; its figures are in [the benchmarks]({BENCHMARKS}#{answer['measured']})"


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
    test = f"; held-out test {score(result.test_score)}" if result.test_score is not None else ""
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
    for rank, record in result.enqueued_trials():
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
