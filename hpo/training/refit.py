"""The winner, trained on all the data for the number of epochs that did best over the folds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from skorch import NeuralNet

from hpo.training._adapters import last_step as final_step
from hpo.training._adapters import make_stepper, net_prefix
from hpo.training._random import RandomStream
from hpo.training._routing import fit_params_by_step
from hpo.training._slices import cut_epochs
from hpo.training.fold import configure

__all__ = ["recommendation_of", "refit", "save_artifacts"]


def refit(
    estimator: Any,
    params: Mapping[str, Any],
    X: Any,
    y: Any = None,
    *,
    n_steps: int,
    seed: int,
    epochs: int | None = None,
    eval_every: int | None = None,
    fit_params: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> Any:
    """Return a fitted clone of ``estimator``.

    Parameters
    ----------
    params : mapping
        As the estimator takes them.
    n_steps : int
        Steps of a net (epochs, unless ``eval_every`` says otherwise), or calls of
        ``partial_fit``; ignored by an estimator without either.
    seed : int
        Of the random stream that the fit draws from.
    epochs, eval_every : int or None
        What the search was given; see `Objective`.
    """
    fit_params = dict(fit_params or {})
    fitted = configure(estimator, params, device)
    final = final_step(fitted)
    with RandomStream(seed, device).active():
        if isinstance(final, NeuralNet):
            fitted.set_params(**{f"{net_prefix(fitted)}max_epochs": n_steps})
            if eval_every:
                cut_epochs(final, eval_every)
        elif epochs is not None and hasattr(final, "partial_fit"):
            _fit_in_steps(fitted, X, y, fit_params, n_steps)
            return fitted
        if y is None:
            fitted.fit(X, **fit_params)
        else:
            fitted.fit(X, y, **fit_params)
        vars(final).pop("get_iterator", None)  # the next fit of it is its own
    return fitted


def _fit_in_steps(
    estimator: Any, X: Any, y: Any, fit_params: Mapping[str, Any], n_steps: int
) -> None:
    before, final = fit_params_by_step(estimator, fit_params)
    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        X = estimator[:-1].fit_transform(X, y, **before)
    classes = np.unique(np.asarray(y)) if is_classifier(estimator) else None
    stepper = make_stepper(final_step(estimator), X, y, final, classes=classes, epochs=n_steps)
    for step in range(1, n_steps + 1):
        stepper.step(last=step == n_steps)


def recommendation_of(estimator: Any) -> str:
    """Return what a fitted estimator recommends, by its last step's ``recommendation()``."""
    tell = getattr(final_step(estimator), "recommendation", None)
    return str(tell()) if tell else ""


def save_artifacts(estimator: Any, folder: Path) -> list[Path]:
    """Return the files that a fitted estimator writes below ``folder``.

    By its last step's ``save_artifacts(folder)``; one without it writes none.
    """
    save = getattr(final_step(estimator), "save_artifacts", None)
    if save is None:
        return []
    save(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())
