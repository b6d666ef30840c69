"""The winner, trained on all the data for a number of epochs."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from skorch import NeuralNet

from hpo.training._stepped_fit import SteppedFit
from hpo.training.adapters import fit, make_stepper, steps_of
from hpo.training.adapters import last_step as final_step
from hpo.training.checks import all_classes
from hpo.training.fold import configure
from hpo.training.random_stream import RandomStream

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
    own_files: bool = True,
    within: Callable[[Any], AbstractContextManager[Any]] = nullcontext,
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
    own_files : bool, default=True
        Whether callbacks write where the user has said, and not to a folder that goes with the
        estimator.
    within : callable
        ``within(clone)`` is a context manager that the clone is fitted in.
    """
    data = X, y, dict(fit_params or {})
    fitted = configure(estimator, params, device, own_files=own_files)
    if isinstance(final_step(fitted), NeuralNet):
        n_most = steps_of(estimator, params, epochs)
        run = partial(_fit_net, data=data, eval_every=eval_every)
        with RandomStream(seed, device).active(), within(fitted):
            by_itself = run(fitted, n_steps, math.inf if n_steps >= n_most else n_steps)
        if by_itself or n_steps >= n_most:
            return fitted
        # It makes more epochs than max_epochs, in a second loop or so: it is fitted as in the
        # trial, and ended where that was at its best.
        fitted = configure(estimator, params, device, own_files=own_files)
        with RandomStream(seed, device).active(), within(fitted):
            run(fitted, n_most, n_steps)
        return fitted
    with RandomStream(seed, device).active(), within(fitted):
        classes = all_classes(fitted, y)
        stepper = make_stepper(fitted, *data, classes=classes, epochs=epochs)
        for step in range(1, n_steps + 1):
            if not stepper.finished:
                stepper.step(last=step == n_steps)
    return fitted


def _fit_net(
    estimator: Any,
    max_epochs: int,
    n_epochs: float,
    *,
    data: tuple[Any, Any, Mapping[str, Any]],
    eval_every: int | None,
) -> bool:
    """Fit, ``n_epochs`` at most; return whether the fit ended by itself."""
    net = final_step(estimator)
    net.set_params(max_epochs=max_epochs)
    with closing(SteppedFit(partial(fit, estimator, *data), net, eval_every=eval_every)) as stepped:
        while stepped.advance():
            if stepped.n_epochs >= n_epochs:
                return False
    return True


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
