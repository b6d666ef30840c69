"""The files that are kept with a study: report, plots, refitted model, what callbacks wrote."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hpo._failures import traceback_of
from hpo._stop_signal import is_signal
from hpo.observer import StudyInfo
from hpo.result import StudyResult
from hpo.study.model_files import N_ROWS, write_model
from hpo.training.indexing import n_samples, take
from hpo.training.random_stream import RandomStream

__all__ = ["artifacts"]


@contextmanager
def artifacts(
    result: StudyResult, info: StudyInfo, X: Any = None, *, report: bool, model: bool
) -> Iterator[tuple[Mapping[str, Path], str]]:
    """Yield the files to keep with a study, and a note if they cannot be written.

    Parameters
    ----------
    result : StudyResult
    info : StudyInfo
    X : array-like or None
        Rows that the winner was fitted on; the first few are the example of its model.
    report, model : bool
        Whether anybody keeps the report with its plots and all other files, and the model.
    """
    files: dict[str, Path] = {}
    note = ""
    with ExitStack() as stack:
        model = model and result.refit_trial is not None
        if report or model:
            what = "The report, the plots and the model" if report else "The refitted model"
            try:
                place = tempfile.TemporaryDirectory(prefix="hpo-", ignore_cleanup_errors=True)
                folder = Path(stack.enter_context(place))
                if report:
                    files |= _report_files(result, folder, info)
                if model:
                    write = partial(_write_model, result, folder, X)
                    files |= _write_or_report("model", folder, write)
            except OSError as error:
                note = f"{what} could not be written: {error}."
        yield files, note


def _report_files(result: StudyResult, folder: Path, info: StudyInfo) -> dict[str, Path]:
    """Write the report and the plots; return them with what callbacks wrote."""
    files = _callback_files(result)
    if result.records:
        files |= _write_or_report("report", folder, lambda: _report(result, folder, info))
    if result.refit_error:
        path = folder / "refit_error.txt"
        path.write_text(result.refit_error)
        files[path.name] = path
    return files


def _callback_files(result: StudyResult) -> dict[str, Path]:
    """Return the stored files that callbacks of the trials have written."""
    return {
        f"files/trial_{number}/{path.relative_to(folder).as_posix()}": path
        for number, folder in result.files.items()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _report(result: StudyResult, folder: Path, info: StudyInfo) -> dict[str, Path]:
    from hpo.review import write_report

    return write_report(replace(result, settings={**info.params, **info.tags}), folder)


def _write_model(result: StudyResult, folder: Path, X: Any) -> dict[str, Path]:
    rows = None if X is None else take(X, np.arange(min(N_ROWS, n_samples(X))))
    with RandomStream(0).active():  # predicting draws from the global generators
        return write_model(result.estimator, rows, result.refit_trial, folder)


def _write_or_report(
    what: str, folder: Path, make: Callable[[], dict[str, Path]]
) -> dict[str, Path]:
    """Return the files that ``make`` writes; if it fails, a file with the traceback instead."""
    try:
        return make()
    except BaseException as error:
        if is_signal(error):
            raise
        path = folder / f"{what}_error.txt"
        path.write_text(traceback_of(error))
        return {path.name: path}
