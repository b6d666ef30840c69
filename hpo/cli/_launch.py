"""The heavy half of ``hpo run``: what needs torch and the study itself."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo._discovery import parse_spec
from hpo._stop_signal import StopSignal
from hpo.cli._backend import with_options
from hpo.cli._closing import Closing
from hpo.cli._display import BaseDisplay
from hpo.cli._progress import Plan
from hpo.cli._storage import exists, storage_of
from hpo.cli._study_file import StudyFile, load_study_file
from hpo.exceptions import HpoError, RefitError
from hpo.storage.finite_points import MOST_POINTS
from hpo.study import Study, load_result, run_study
from hpo.study.prepared import load_space
from hpo.trial import TrialState

__all__ = ["launch"]


def launch(
    path: Path,
    changes: Mapping[str, Any],
    *,
    study_options: Mapping[str, Any],
    backend_options: Mapping[str, Any],
    fresh: bool,
    extend: bool = False,
    accept_code: bool = False,
    retry_failed: bool = False,
    smoke: bool,
    display: BaseDisplay,
    interrupt: StopSignal,
) -> Closing:
    """Load the study at ``path``, run it, and return what there is to say of it.

    Parameters
    ----------
    path : Path
    changes : mapping of str to object
        Fields of `Study` that were given on the command line.
    study_options : mapping of str to object
        Options of the study file's own that were given there.
    backend_options : mapping of str to object
        Options of the study's backend that were given there.
    fresh, extend, accept_code, retry_failed : bool
        See `run_study`.
    smoke : bool
        Run the study's smallest form; what was given on the command line still holds.
    display : BaseDisplay
    interrupt : StopSignal

    Raises
    ------
    HpoError
        If something about the study is wrong, or no trial is complete at its end.
    """
    file = load_study_file(path, study_options)
    given = changes.get("storage")
    storage = given if smoke else storage_of(file.study, given)
    backend = with_options(changes.get("backend", file.study.backend), backend_options)
    study = file.study.smoke() if smoke else file.study
    if "scoring" in changes:
        study = study.replace(metric=None)  # the name of one of several
    study = study.replace(**{**_one_at_a_time(changes), "storage": storage, "backend": backend})
    display.plan(_plan(study, file.folder, fresh=fresh, retry_failed=retry_failed))
    try:
        result = run_study(
            study,
            folder=file.folder,
            fresh=fresh,
            extend=extend,
            accept_code=accept_code,
            observers=[display],
            interrupt=interrupt,
            artifacts=_artifacts(file),
            reuse_refit=True,
            retry_failed=retry_failed,
        )
    except RefitError as failure:
        return Closing(study, failure.result, display.progress, failure)
    return Closing(study, result, display.progress)


def _one_at_a_time(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the changes, in which ``--executor serial`` alone overrides the study's ``n_jobs``."""
    serial = parse_spec(changes.get("executor", ""))[0] == "serial"
    return {"n_jobs": None, **changes} if serial else changes


def _artifacts(file: StudyFile) -> dict[str, str]:
    """Return what belongs to the record of the study: its file, and what the file was given."""
    told = {file.path.name: file.text}
    if file.options:
        told["options.json"] = json.dumps(dict(file.options), default=str, indent=2)
    return told


def _n_points(study: Study, folder: Path) -> int | None:
    """Return how many points a grid or a small finite space has, each of which is tried once."""
    space = load_space(study, folder)
    if str(study.sampler).startswith("grid"):
        return len(space.grid())
    return space.size(MOST_POINTS)


def _plan(study: Study, folder: Path, *, fresh: bool, retry_failed: bool) -> Plan:
    """Return what is to be done and what has been done; trouble is told of by the run itself."""
    plan = Plan(study.n_trials, study.timeout, study.max_total_epochs, (), study.refit)
    n_points = _n_points(study, folder)
    if n_points is not None:
        plan = replace(plan, n_trials=min(n_points, plan.n_trials or n_points))
    if fresh or study.storage is None or not exists(study.storage):
        return plan
    try:
        result, _ = load_result(study.name, study.storage)
    except HpoError:
        return plan
    again = {TrialState.RUNNING, TrialState.FAILED} if retry_failed else {TrialState.RUNNING}
    ended = [record for record in result.records if record.state not in again]
    return replace(plan, earlier=tuple(ended))
