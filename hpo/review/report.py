"""The report of a study: one HTML file, its plots as PNG files, its trials as CSV."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter

from hpo._format import printable
from hpo.result import StudyResult
from hpo.review import plots
from hpo.review._axes import has_epochs
from hpo.review._document import document
from hpo.review.analyses import found_analyses
from hpo.review.comparison_plots import comparison, comparison_curves

__all__ = ["write_report"]

_FORMULA = ("=", "+", "-", "@", "\t")
"""What a spreadsheet takes for the beginning of a formula."""


def write_report(
    result: StudyResult,
    folder: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    log_names: Collection[str] | None = None,
) -> dict[str, Path]:
    """Write the report of a finished or running study.

    Parameters
    ----------
    result : StudyResult
    folder : path
        Created if it does not exist; files of an earlier report in it are replaced.
    settings : mapping of str to object, optional
        The study's settings (backend, sampler, pruner, seed, ...), shown at the end; None takes
        those of the result.
    log_names : collection of str, optional
        Parameters on a logarithmic axis in ``parameters.png``; None leaves it to the space.

    Returns
    -------
    dict of str to Path
        File name to file: ``report.html``, whose figures are interactive and which needs no other
        file, ``learning_curves.png`` (of trials that report more than once), ``history.png``,
        ``parameters.png``, ``pareto_front.png`` (of a study with costs), ``comparison.png`` and
        ``comparison_curves.png`` (of one that compares values), one PNG for each analysis of the
        winner, and ``trials.csv``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    figures: dict[str, Figure | None] = {
        "learning_curves.png": plots.learning_curves(result) if has_epochs(result) else None,
        "history.png": plots.history(result),
        "parameters.png": plots.parameters(result, log_names),
    }
    if result.costs:
        figures["pareto_front.png"] = plots.pareto_front(result)
    figures["comparison.png"] = comparison(result)
    figures["comparison_curves.png"] = comparison_curves(result)
    for name, analysis, data in found_analyses(result):
        if analysis is not None and "error" not in data:
            figures[f"{name}.png"] = analysis.plot(data)
    for name, figure in figures.items():
        if figure is None:
            continue
        files[name] = folder / name
        _show_literally(figure)
        figure.savefig(files[name])
    images = {name: path.read_bytes() for name, path in files.items()}
    files["trials.csv"] = folder / "trials.csv"
    _literal(result.to_frame()).to_csv(files["trials.csv"], index=False)
    files["report.html"] = folder / "report.html"
    files["report.html"].write_text(
        document(result, images, result.settings if settings is None else settings),
        encoding="utf-8",
    )
    return files


def _show_literally(figure: Figure) -> None:
    """Show names and values as they are; matplotlib would typeset what is between two ``$``."""
    of_axes: set[Text] = set()  # numbers, some of which are typeset as powers of ten
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, FixedFormatter | FuncFormatter):
            axis.set_major_formatter(FuncFormatter(_Literal(formatter)))
        of_axes |= {*axis.get_ticklabels(which="both"), axis.get_offset_text()}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in of_axes:
            text.set_parse_math(False)
            text.set_text(printable(text.get_text()))


class _Literal:
    """A function for the labels of an axis: those of a formatter, each as it is."""

    def __init__(self, formatter: Formatter) -> None:
        self._formatter = formatter

    def __call__(self, value: float, position: int | None = None) -> str:
        return printable(self._formatter(value, position)).replace("$", r"\$")


def _literal(frame: Any) -> Any:
    """Return a table whose texts no spreadsheet takes for formulas."""
    frame = frame.map(_cell)
    return frame.rename(columns=_cell)


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
