"""The report of a study: one HTML file, its plots as PNG files, its trials as CSV."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter

from hpo._format import printable, score, score_with_interval
from hpo._trained_by import format_trained_by
from hpo.result import StudyResult
from hpo.review import _html, plots
from hpo.review.analyses import found_analyses, told
from hpo.review.comparison import compare
from hpo.review.comparison_plots import comparison, comparison_curves
from hpo.review.gap import gap_to_held_out
from hpo.trial import TrialRecord

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
        The study's settings (backend, sampler, pruner, seed, ...), shown at the end.
    log_names : collection of str, optional
        Parameters plotted on a logarithmic axis; None chooses them by their values.

    Returns
    -------
    dict of str to Path
        File name to file: ``report.html``, which embeds the plots and needs no other file,
        ``learning_curves.png``, ``history.png``, ``parameters.png``, ``pareto_front.png`` (of a
        study with costs), ``comparison.png`` and ``comparison_curves.png`` (of one that
        compares values), one PNG for each analysis of the winner, and ``trials.csv``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    figures: dict[str, Figure | None] = {
        "learning_curves.png": plots.learning_curves(result),
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
    files["report.html"].write_text(_document(result, images, settings or {}), encoding="utf-8")
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


def _document(result: StudyResult, images: Mapping[str, bytes], settings: Mapping[str, Any]) -> str:
    ended = result.n_complete + result.n_pruned + result.n_failed
    running = result.n_trials - ended
    lead = f"{result.n_trials} trials" + (f", {running} of them still running" if running else "")
    lead += f" (and {result.n_interrupted} interrupted)" if result.n_interrupted else ""
    return _html.page(
        result.name,
        lead,
        [
            _html.section("Winner", _winner(result)),
            _html.section("Search", _html.definitions(_search(result))),
            _html.section(
                "Learning curves", _html.image(images["learning_curves.png"], "scores by epoch")
            ),
            _html.section("Progress", _html.image(images["history.png"], "best score so far")),
            _html.section(
                "Parameters", _html.image(images["parameters.png"], "score by parameter")
            ),
            _html.section("Pareto front", _front(result, images.get("pareto_front.png"))),
            _html.section("Enqueued points", _enqueued(result)),
            _html.section("Comparison", _comparison(result, images)),
            *_analyses(result, images),
            _html.section("Top ten", _top(result)),
            _html.section("Failures", _html.paragraph(result.failure_summary())),
            _html.section("Settings", _html.definitions({k: str(v) for k, v in settings.items()})),
        ],
    )


def _winner(result: StudyResult) -> str:
    if result.winner is None:
        return _html.paragraph("No trial is complete with a finite score yet.")
    spread = "" if math.isnan(result.best_score_se) else f" ± {_text(result.best_score_se)} (s.e.)"
    facts = {
        "trial": str(result.best_record.number),
        f"cross-validated {result.scoring}": f"{_text(result.best_score)}{spread}",
        f"{result.select} epoch": str(result.best_step),
    }
    facts |= _honest_scores(result)
    if result.refit_seconds is not None:
        epochs = f", {result.refit_epochs} epochs" if result.refit_epochs else ""
        facts["refit"] = f"{_seconds(result.refit_seconds)}{epochs}"
    if result.recommendation:
        facts["recommended"] = result.recommendation
    params = {name: _text(value) for name, value in result.best_params.items()}
    return f"{_html.definitions(facts)}\n<br>\n{_html.definitions(params)}"


def _honest_scores(result: StudyResult) -> dict[str, str]:
    """Return the corrected score and the one on the held-out part, with their intervals."""
    facts = {}
    if result.corrected is not None:
        value = score_with_interval(result.corrected.value, result.corrected.interval)
        facts["corrected for the choice"] = value
    elif result.uncorrected:
        facts["corrected for the choice"] = f"cannot be told: {result.uncorrected}"
    if result.nested:
        name = f"nested cross-validation, {len(result.nested)} outer folds"
        facts[name] = score(result.nested_score, result.nested_score_se)
    if result.test_score is not None:
        value = score_with_interval(result.test_score, result.test_interval)
        told = (text.rstrip(".") for text in gap_to_held_out(result) if text)
        facts[f"held-out test {result.scoring}"] = f"{value}, {'. '.join(told)}"
    return facts


def _search(result: StudyResult) -> dict[str, str]:
    facts = {
        "complete": str(result.n_complete),
        "pruned": str(result.n_pruned),
        "failed": str(result.n_failed),
        "interrupted": str(result.n_interrupted),
        "epochs trained": str(result.epochs_run),
        "epochs saved by pruning": f"{result.epochs_saved_fraction:.0%}",
    }
    if result.seconds is not None:
        facts["search time"] = _seconds(result.seconds)
    if result.trained_by:
        facts["trained by"] = format_trained_by(result.trained_by)
    if result.stopped:
        facts["stopped"] = result.stopped
    return facts


def _front(result: StudyResult, image: bytes | None) -> str:
    if image is None:
        return ""
    rows = [
        [str(r.number), _text(r.value), *(_amount(r.cost(name)) for name in result.costs)]
        for r in result.pareto_front()
    ]
    table = _html.table(["trial", result.scoring, *result.costs], rows)
    return f"{_html.image(image, 'score against cost')}\n{table}"


def _enqueued(result: StudyResult) -> str:
    trials = result.enqueued_trials()
    names = list(dict.fromkeys(name for _, record in trials for name in record.trial.params))
    rows = [
        [f"{rank} of {result.n_complete}" if rank else str(r.state), *_top_row(r, names)]
        for rank, r in trials
    ]
    return _html.table(["rank", "trial", result.scoring, "epoch", *names], rows)


def _analyses(result: StudyResult, images: Mapping[str, bytes]) -> list[str]:
    sections = []
    for name, analysis, data in found_analyses(result):
        title = analysis.title if analysis else name
        content = _html.definitions(dict(told(analysis, data)))
        if f"{name}.png" in images:
            content += "\n" + _html.image(images[f"{name}.png"], title)
        sections.append(_html.section(title, content))
    return sections


def _comparison(result: StudyResult, images: Mapping[str, bytes]) -> str:
    comparison_result = compare(result)
    if comparison_result is None:
        return ""
    parts = [
        _html.table(comparison_result.header, comparison_result.rows()),
        _html.paragraph(comparison_result.note),
        _html.image(images["comparison.png"], "score by compared value"),
    ]
    if "comparison_curves.png" in images:
        curves = _html.image(images["comparison_curves.png"], "curves of the compared values")
        parts.append(curves)
    return "\n".join(parts)


def _top(result: StudyResult) -> str:
    best = result.top(10)
    names = list(dict.fromkeys(name for record in best for name in record.trial.params))
    return _html.table(
        ["trial", result.scoring, "epoch", *names], [_top_row(record, names) for record in best]
    )


def _top_row(record: TrialRecord, names: list[str]) -> list[str]:
    params = record.trial.params
    step = record.best_report.step if record.best_report else 0
    values = [_text(params[name]) if name in params else "" for name in names]
    return [str(record.number), _text(record.value), str(step), *values]


def _amount(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else _text(value)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
