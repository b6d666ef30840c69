"""The page of a report: what is said of a study, in order, and where its figures stand."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpo._format import score, score_with_interval
from hpo._redaction import redact
from hpo._trained_by import format_trained_by
from hpo.result import StudyResult
from hpo.review import _html
from hpo.review._axes import has_epochs
from hpo.review.advice import Advice, advice
from hpo.review.analyses import found_analyses, told
from hpo.review.comparison import Comparison, compare
from hpo.review.gap import gap_to_held_out
from hpo.review.importance import FEWEST_TRIALS, Importance, importances
from hpo.review.interactive import figures_of, interactive_parts
from hpo.trial import TrialRecord

__all__ = ["document"]


def document(result: StudyResult, images: Mapping[str, bytes], settings: Mapping[str, Any]) -> str:
    """Return the report of a study as one HTML page that needs no other file.

    Parameters
    ----------
    result : StudyResult
    images : mapping of str to bytes
        PNG files by name: those of a comparison and of analyses are shown in the page.
    settings : mapping of str to object
    """
    found, compared = importances(result), compare(result)
    figures = figures_of(result, found, compared)
    place, all_trials, scripts = interactive_parts(result, figures)
    epochs = has_epochs(result)
    sections: list[tuple[str, str]] = [
        ("Winner", _winner(result, epochs)),
        ("What to do next", _advice(advice(result, found))),
        ("Search", _html.definitions(_search(result, epochs))),
        ("Best score so far", place("history")),
        ("Learning curves", _with_note(place("curves"), _CURVES)),
        ("Importance of the parameters", _importance(place("importance"), found, result)),
        ("Score by parameter", _with_note(place("slices"), _BELOW)),
        ("Parallel coordinates", _with_note(place("parallel"), _PARALLEL)),
        ("Two most important numbers", _with_note(place("contour"), _CONTOUR)),
        ("Pareto front", _front(result, place("pareto_front"))),
        ("Enqueued points", _enqueued(result, epochs)),
        ("Comparison", _comparison(result, compared, place("comparison"), images)),
        ("Confusion, out of fold", _with_note(place("confusion"), _OUT_OF_FOLD)),
        ("Confidence, out of fold", _with_note(place("calibration"), _OUT_OF_FOLD)),
        ("Predictions, out of fold", _with_note(place("predicted"), _OUT_OF_FOLD)),
        *_analyses(result, images),
        ("Epochs saved by pruning", place("saved")),
        ("Timeline", _with_note(place("timeline"), _TIMELINE)),
        ("Top ten", _top(result, epochs)),
        ("All trials", _with_note(all_trials, _TABLE)),
        ("Failures", _html.paragraph(result.failure_summary())),
        ("Settings", _html.definitions({k: redact(str(v)) for k, v in settings.items()})),
    ]
    shown = [_html.section(heading, content) for heading, content in sections]
    return _html.page(result.name, _lead(result), [*shown, scripts])


_CURVES = (
    "Pruned trials are faded. The pointer tells a trial's parameters, and the reason of its end "
    "at the last point of its curve. A double click shows everything."
)
_BELOW = "The axis leaves out the lowest tenth of the scores; a double click shows everything."
_PARALLEL = "Complete trials. Drag along an axis to select a range, drag a name to move an axis."
_CONTOUR = (
    "Mean score around each point, weighted by distance; empty where no trial is near. Other "
    "parameters differ too."
)
_OUT_OF_FOLD = (
    "Rows that the winner's folds were validated on, each by an estimator that was not trained on "
    "it."
)
_TIMELINE = (
    "A row is a worker; one that trained several trials at a time has several rows. Where no "
    "worker is known (older studies), it is the first place that was free."
)
_TABLE = (
    "A click on a heading sorts. The filter takes words, and comparisons such as lr<0.01 or "
    "state=pruned."
)


def _with_note(content: str, note: str) -> str:
    return f"{_html.note(note)}\n{content}" if content else ""


def _lead(result: StudyResult) -> str:
    ended = result.n_complete + result.n_pruned + result.n_failed
    running = result.n_trials - ended
    lead = f"{result.n_trials} trials" + (f", {running} of them still running" if running else "")
    return lead + (f" (and {result.n_interrupted} interrupted)" if result.n_interrupted else "")


def _advice(given: Sequence[Advice]) -> str:
    parts = []
    for each in given:
        parts.append(_html.paragraph(f"{each.what} {each.evidence}"))
        parts += [_html.code(each.line)] if each.line else []
    return "\n".join(parts)


def _importance(figure: str, found: Sequence[Importance], result: StudyResult) -> str:
    if not figure:
        n = result.n_complete + result.n_pruned
        few = 0 < n < FEWEST_TRIALS
        return _html.paragraph(
            f"{n} trials say nothing of importance: it takes {FEWEST_TRIALS}." if few else ""
        )
    return _with_note(
        figure,
        "For being among the best tenth of the complete and pruned trials. A bar that does not "
        "pass its mark, in grey, is no more than shuffled scores give.",
    )


def _winner(result: StudyResult, epochs: bool) -> str:
    if result.winner is None:
        return _html.paragraph("No trial is complete with a finite score yet.")
    spread = "" if math.isnan(result.best_score_se) else " s.e."
    facts = {
        "trial": str(result.best_record.number),
        f"cross-validated {result.scoring}": (
            f"{score(result.best_score, result.best_score_se)}{spread}"
        ),
    }
    if epochs:
        facts[f"{result.select} epoch"] = str(result.best_step)
    facts |= _honest_scores(result)
    if result.refit_seconds is not None:
        n = result.refit_epochs if epochs else None
        facts["refit"] = f"{_seconds(result.refit_seconds)}{f', {n} epochs' if n else ''}"
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


def _search(result: StudyResult, epochs: bool) -> dict[str, str]:
    facts = {
        "complete": str(result.n_complete),
        "pruned": str(result.n_pruned),
        "failed": str(result.n_failed),
        "interrupted": str(result.n_interrupted),
    }
    if epochs:
        facts["epochs trained"] = f"{result.epochs_run:.6g}"
        facts["epochs saved by pruning"] = f"{result.epochs_saved_fraction:.0%}"
    if result.seconds is not None:
        facts["search time"] = _seconds(result.seconds)
    if result.trained_by:
        facts["trained by"] = format_trained_by(result.trained_by)
    if result.stopped:
        facts["stopped"] = result.stopped
    return facts


def _front(result: StudyResult, figure: str) -> str:
    if not figure:
        return ""
    rows = [
        [str(r.number), _text(r.value), *(_amount(r.cost(name)) for name in result.costs)]
        for r in result.pareto_front()
    ]
    table = _html.table(["trial", result.scoring, *result.costs], rows)
    return f"{figure}\n{table}"


def _enqueued(result: StudyResult, epochs: bool) -> str:
    trials = result.enqueued_trials()
    names = list(dict.fromkeys(name for _, record in trials for name in record.trial.params))
    rows = [
        [f"{rank} of {result.n_complete}" if rank else str(r.state), *_top_row(r, names, epochs)]
        for rank, r in trials
    ]
    return _html.table(["rank", *_top_header(result, epochs), *names], rows)


def _analyses(result: StudyResult, images: Mapping[str, bytes]) -> list[tuple[str, str]]:
    sections = []
    for name, analysis, data in found_analyses(result):
        title = analysis.title if analysis else name
        content = _html.definitions(dict(told(analysis, data)))
        if f"{name}.png" in images:
            content += "\n" + _html.image(images[f"{name}.png"], title)
        sections.append((title, content))
    return sections


def _comparison(
    result: StudyResult, compared: Comparison | None, figure: str, images: Mapping[str, bytes]
) -> str:
    if compared is None:
        return ""
    parts = [
        _html.table(compared.header, compared.rows()),
        _html.paragraph(compared.note),
        figure,
        _html.image(images["comparison.png"], "score by compared value"),
    ]
    if "comparison_curves.png" in images:
        curves = _html.image(images["comparison_curves.png"], "curves of the compared values")
        parts.append(curves)
    return "\n".join(parts)


def _top(result: StudyResult, epochs: bool) -> str:
    best = result.top(10)
    names = list(dict.fromkeys(name for record in best for name in record.trial.params))
    return _html.table(
        [*_top_header(result, epochs), *names], [_top_row(record, names, epochs) for record in best]
    )


def _top_header(result: StudyResult, epochs: bool) -> list[str]:
    return ["trial", result.scoring, *(["epoch"] if epochs else [])]


def _top_row(record: TrialRecord, names: list[str], epochs: bool) -> list[str]:
    params = record.trial.params
    step = [str(record.best_report.step if record.best_report else 0)] if epochs else []
    values = [_text(params[name]) if name in params else "" for name in names]
    return [str(record.number), _text(record.value), *step, *values]


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
