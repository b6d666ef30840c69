"""The best trials once more, on fresh folds: luck on the folds of the search counts less."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from hpo._stop_signal import StopSignal
from hpo._winner import N_FINALISTS
from hpo.result import StudyResult
from hpo.storage.trial_store import TrialStore
from hpo.study.load import FINALISTS, read_finalists
from hpo.study.prepared import PreparedStudy
from hpo.training.objective import Objective
from hpo.training.threads import devices, limit_threads
from hpo.trial import Trial, TrialRecord, derive_seed

__all__ = ["with_finalists"]


def with_finalists(
    result: StudyResult, prepared: PreparedStudy, store: TrialStore, interrupt: StopSignal
) -> StudyResult:
    """Return ``result`` with the scores of the finalists, which are trained if they are not known.

    Each is trained in this process for as many steps as a refit would make, on folds that are
    shuffled by another seed. One that raises is no finalist.

    Parameters
    ----------
    result : StudyResult
    prepared : PreparedStudy
    store : TrialStore
        Keeps the scores, so that a study that goes on trains new finalists only.
    interrupt : StopSignal
        Ends this between two steps; the scores known until then count.
    """
    if prepared.study.choose != "finalists" or interrupt.reason:
        return result
    known = read_finalists(store)
    objective = prepared.objective(seed=derive_seed(prepared.study.seed, FINALISTS) % 2**31)
    with limit_threads(prepared.search.n_threads):
        for record in result.top(N_FINALISTS):
            if record.number in known or interrupt.reason:
                continue
            values = _scores(objective, record, prepared, interrupt)
            if values:
                known[record.number] = values
                store.set_attr(FINALISTS, {str(n): list(v) for n, v in known.items()})
    numbers = {record.number for record in result.top(N_FINALISTS)}
    return replace(result, finalists={n: known[n] for n in known if n in numbers})


def _scores(
    objective: Objective, record: TrialRecord, prepared: PreparedStudy, interrupt: StopSignal
) -> Sequence[float]:
    """Return a trial's scores on the objective's folds, at the step that represents it."""
    seed = derive_seed(record.trial.seed, FINALISTS)
    trial = Trial(record.number, record.trial.params, seed)
    step = record.best_report.step if record.best_report else 0
    with closing(objective.run(trial, devices(prepared.search.device)[0])) as reports:
        try:
            for report in reports:
                if interrupt.reason:
                    return ()
                if report.step == step:
                    return report.fold_values
        except Exception:  # the user's code; it has been trained before, on other folds
            return ()
    return ()
