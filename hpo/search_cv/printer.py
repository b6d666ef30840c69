"""What an `HPOSearchCV` prints while it searches: the lines of the command line."""

import sys
from collections.abc import Iterator

from hpo.display.displays import PlainDisplay
from hpo.display.progress import Plan
from hpo.trial import Report, TrialRecord

__all__ = ["Printer"]


class Printer(PlainDisplay):
    """Prints a line for each trial that ended.

    Parameters
    ----------
    plan : Plan
    verbose : int
        2 prints each epoch too, 3 also the scores of each fold.
    """

    def __init__(self, plan: Plan, verbose: int) -> None:
        super().__init__(sys.stdout, epochs=verbose > 1)
        self._folds = verbose > 2
        self.plan(plan)

    def on_trial_end(self, record: TrialRecord) -> None:
        """Print how the trial ended."""
        best = record.best_report or record.last_reported
        if self._folds and best is not None:
            for i, scores in enumerate(_by_fold(best)):
                self._write(f"trial {record.number}, fold {i}: {scores}")
        super().on_trial_end(record)


def _by_fold(report: Report) -> Iterator[str]:
    """Yield the scores of each fold as scikit-learn writes them: ``score=0.900``."""
    scores = {"score": report.fold_values} | {
        name: values for name, values in report.metrics.items() if name not in report.recorded
    }
    for i in range(len(report.fold_values)):
        texts = []
        for name, values in scores.items():
            train = scores.get(f"train_{name}")
            if train is not None:
                texts.append(f"{name}=(train={train[i]:.3f}, test={values[i]:.3f})")
            elif name.removeprefix("train_") not in scores or not name.startswith("train_"):
                texts.append(f"{name}={values[i]:.3f}")
        yield " ".join(texts)
