"""What a display counts against: the budget of a study, and the trials that it has."""

from dataclasses import replace
from pathlib import Path

from hpo._winner import N_FINALISTS
from hpo.display.progress import Plan
from hpo.exceptions import HpoError
from hpo.storage.finite_points import MOST_POINTS
from hpo.storage.urls import is_there
from hpo.study.definition import Study
from hpo.study.load import load_result
from hpo.study.prepared import load_space
from hpo.trial import TrialState

__all__ = ["plan_of"]


def plan_of(study: Study, folder: Path, *, fresh: bool, retry_failed: bool) -> Plan:
    """Return the budget and the trials of earlier runs.

    Parameters
    ----------
    study : Study
    folder : Path
        Where relative paths start.
    fresh, retry_failed : bool
        See `run_study`.

    Raises
    ------
    SpaceError
        If the search space is wrong; other errors are left to the run itself.
    """
    plan = Plan(
        study.n_trials,
        study.timeout,
        study.max_total_epochs,
        refit=study.refit,
        n_finalists=N_FINALISTS if study.choose == "finalists" else 0,
        n_outer=study.nested,
    )
    n_points = _n_points(study, folder)
    if n_points is not None:
        plan = replace(plan, n_trials=min(n_points, plan.n_trials or n_points))
    if fresh or study.storage is None or not is_there(study.storage):
        return plan
    try:
        records = load_result(study.name, study.storage).records
    except HpoError:
        return plan
    to_run = {TrialState.RUNNING, TrialState.FAILED} if retry_failed else {TrialState.RUNNING}
    return replace(plan, earlier=tuple(r for r in records if r.state not in to_run))


def _n_points(study: Study, folder: Path) -> int | None:
    """Return how many points a grid or a small finite space has, each of which is tried once."""
    space = load_space(study, folder)
    if str(study.sampler).startswith("grid"):
        return len(space.grid())
    return space.size(MOST_POINTS)
