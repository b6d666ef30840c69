"""The cross-validated score of a trial, as a generator of reports."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import is_classifier
from sklearn.model_selection import (
    BaseCrossValidator,
    KFold,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    StratifiedKFold,
    check_cv,
)

from hpo.exceptions import DataError
from hpo.training import checks
from hpo.training.adapters import changeable, last_step, steps_of
from hpo.training.base import BaseObjective
from hpo.training.callbacks import portable
from hpo.training.cross_validation import CrossValidation
from hpo.training.files import TrialFiles, check_files
from hpo.training.fold import Fold, FoldData
from hpo.training.indexing import as_numpy, n_samples, split_input
from hpo.training.row_formulas import row_formula
from hpo.training.row_scores import RowRecorder
from hpo.training.scoring import Scoring
from hpo.trial import Trial, derive_seed

__all__ = ["Objective", "make_splits", "shuffled_folds"]


def _unchanged(params: Mapping[str, Any]) -> dict[str, Any]:
    return dict(params)


class Objective(BaseObjective):
    """Cross-validation of one estimator, all folds advanced in lock-step.

    The splits are made once, on construction. Each trial sets its parameters on a clone of the
    estimator for each fold and fits the preprocessing on the fold's training part. Each step (an
    epoch of a skorch net) trains every fold with its own random stream, scores every validation
    part and yields the mean.

    Parameters
    ----------
    estimator : estimator
        A skorch net, a Pipeline that ends in one, or any scikit-learn estimator.
    X, y : array, frame, tensor, or dict of them; y may be None
    cv : int, splitter or iterable, default=5
        As in scikit-learn: an int is the number of (stratified) folds.
    scoring : str, callable, list, tuple, dict or None
        As in scikit-learn; greater is better. None is the estimator's own ``score``.
    metric : str or None
        Which of several scorers is the trial's score; by default the first.
    groups : array of shape (n_samples,) or None
        For splitters such as GroupKFold.
    epochs : int or None
        Number of steps of a trial. If None, it is a net's ``max_epochs``, and any other estimator
        is trained by one ``fit``. With a number, a scikit-learn estimator that has
        ``partial_fit`` is trained by it, once per step.
    eval_every : int or None
        For a net: a step is this number of optimizer steps instead of an epoch.
    fit_params, score_params, split_params : mapping or None
        Passed to ``fit``, to the scorers and to the splitter; arrays with one entry per row
        are cut to the fold.
    return_train_score : bool, default=False
        Whether to score the training parts too, after every step.
    resolve : callable or None
        Turns stored parameters into those of the estimator (`SearchSpace.resolve`).

    Raises
    ------
    DataError
        If data, folds, scorers and estimator do not fit together.
    StudyError
        If a callback writes to files that cannot be separate for each fold.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        cv: Any = 5,
        scoring: Any = None,
        metric: str | None = None,
        groups: Any = None,
        epochs: int | None = None,
        eval_every: int | None = None,
        fit_params: Mapping[str, Any] | None = None,
        score_params: Mapping[str, Any] | None = None,
        split_params: Mapping[str, Any] | None = None,
        return_train_score: bool = False,
        resolve: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        checks.check_estimator_kind(estimator)
        checks.check_data(X, y)
        checks.check_nan(estimator, X)
        checks.check_kernel(estimator, X)
        self._files_read = check_files(estimator, Path.cwd())
        self.estimator = estimator = portable(estimator)
        self.X, self.y = X, y
        checks.check_eval_every(estimator, eval_every)
        self.epochs = epochs
        self.eval_every = eval_every
        self.scoring = Scoring(estimator, scoring, metric)
        self.fit_params = dict(fit_params or {})
        self.score_params = dict(score_params or {})
        self.return_train_score = return_train_score
        self.resolve = resolve or _unchanged
        self._base = Path.cwd()
        splitting = dict(split_params or {})
        if groups is not None:
            splitting["groups"] = groups
        self.groups = splitting.get("groups")
        self.splits = make_splits(estimator, X, y, cv, splitting)
        self.classes = checks.check_folds(estimator, y, self.splits)
        self._n_validated = sum(len(valid) for _, valid in self.splits)
        self._all_classes = checks.all_classes(estimator, y)

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return len(self.splits)

    def max_steps(self, params: Mapping[str, Any]) -> int:
        """Return the maximum number of steps of a trial with the stored ``params``."""
        return steps_of(self.estimator, self.resolve(params), self.epochs)

    def run(self, trial: Trial, device: str | None = None) -> CrossValidation:
        """Train ``trial`` on every fold and yield one report per step."""
        params = self.resolve(trial.params)
        n_steps = steps_of(self.estimator, params, self.epochs)
        files = TrialFiles(
            trial.number,
            self.home,
            keeps_all=self.keeps_all,
            base=self._base,
            expected=self._files_read,
        )
        return CrossValidation(
            trial.number,
            [partial(self._fold, trial, params, i, device, files) for i in range(self.n_folds)],
            self.scoring,
            n_steps,
            files,
            recorder=self.recorder(),
            races=self.races and self.n_folds > 1,
        )

    def recorder(self) -> RowRecorder | None:
        """Return what makes the rows of a trial's reports; None if they are not kept."""
        return RowRecorder(self._n_validated) if self.keeps_rows else None

    def resume(
        self,
        trial: Trial,
        state: bytes,
        device: str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> CrossValidation:
        """Continue from the ``state`` of a run, with ``changes`` of the stored parameters.

        Raises
        ------
        ValueError
            If one of the changes is not `changeable`.
        """
        fixed = [name for name in changes or {} if not self.changeable(name)]
        if fixed:
            raise ValueError(f"{', '.join(fixed)} cannot change while the model trains.")
        run = self.run(trial, device)
        run.load_state(state, self.resolve(changes or {}))
        return run

    def changeable(self, name: str) -> bool:
        """Return whether `resume` can change the parameter ``name``."""
        return changeable(self.estimator, name, self.epochs)

    def _fold(
        self,
        trial: Trial,
        params: Mapping[str, Any],
        i: int,
        device: str | None,
        files: TrialFiles,
    ) -> Fold:
        train, valid = self.splits[i]
        data = FoldData(
            self.X, self.y, train, valid, self._all_classes, self.fit_params, self.score_params
        )
        return Fold(
            self.estimator,
            params,
            data,
            self.scoring,
            derive_seed(trial.seed, "fold", i),
            device=device,
            epochs=self.epochs,
            eval_every=self.eval_every,
            return_train_score=self.return_train_score,
            files=files.fold(i),
            row_formula=row_formula(self.scoring, last_step(self.estimator)),
            keeps_rows=self.keeps_rows,
        )


def make_splits(
    estimator: Any, X: Any, y: Any, cv: Any, params: Mapping[str, Any]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the folds as pairs of arrays of row numbers.

    Raises
    ------
    DataError
        If the splitter does not accept the data.
    """
    n = n_samples(X)
    labels = as_numpy(y)
    try:
        splitter = check_cv(cv, labels, classifier=is_classifier(estimator))
    except (TypeError, ValueError) as error:
        raise DataError(f"cv: {error}") from error
    if isinstance(splitter, KFold | StratifiedKFold) and splitter.n_splits > n:
        raise DataError(
            f"Cannot have number of splits n_splits={splitter.n_splits} greater than the number "
            f"of samples: n_samples={n}. Use fewer folds."
        )
    rows = split_input(X, n)
    try:
        expected = splitter.get_n_splits(rows, labels, **params)
        folds = list(splitter.split(rows, labels, **params))
    except (TypeError, ValueError) as error:
        raise DataError(f"The folds cannot be made by {splitter!r}: {error}") from error
    if not folds:
        raise DataError(
            f"No fits were performed. Was the CV iterator empty? Were there no candidates? "
            f"{splitter!r} makes no folds."
        )
    if len(folds) != expected:
        raise DataError(
            f"cv.split and cv.get_n_splits return inconsistent results. Expected {expected} "
            f"splits, got {len(folds)} of {splitter!r}."
        )
    return [(np.asarray(train), np.asarray(valid)) for train, valid in folds]


def shuffled_folds(
    n_folds: int, seed: int, y: Any, *, classifier: bool, repeats: int = 1
) -> BaseCrossValidator:
    """Return ``n_folds`` folds shuffled by ``seed``, stratified as scikit-learn would.

    With ``repeats`` there are so many sets of them, each shuffled anew.
    """
    kind = type(check_cv(n_folds, as_numpy(y), classifier=classifier))
    random_state = derive_seed(seed, "folds") % 2**32
    if repeats == 1:
        return kind(n_folds, shuffle=True, random_state=random_state)
    repeated = RepeatedStratifiedKFold if kind is StratifiedKFold else RepeatedKFold
    return repeated(n_splits=n_folds, n_repeats=repeats, random_state=random_state)


def _on_cpu(y: Any) -> Any:
    return y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else y
