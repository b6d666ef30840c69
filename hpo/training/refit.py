"""Train the best trial again, on all the data, for a number of epochs."""

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
        Parameters of the estimator.
    n_steps : int
        Number of steps of a net (epochs, unless ``eval_every`` says otherwise), or of calls of
        ``partial_fit``. It is ignored for other estimators.
    seed : int
        Seed of the random stream that the fit draws from.
    epochs, eval_every : int or None
        As in the search; see `Objective`.
    own_files : bool, default=True
        Whether callbacks write to the user's own paths instead of a temporary folder that is
        removed with the estimator.
    within : callable
        ``within(clone)`` returns a context manager in which the clone is fitted.
    """
    data = X, y, dict(fit_params or {})
    fitted = configure(estimator, params, device, own_files=own_files)
    if isinstance(final_step(fitted), NeuralNet):
        max_steps = steps_of(estimator, params, epochs)
        run = partial(_fit_net, data=data, eval_every=eval_every)
        with RandomStream(seed, device).active(), within(fitted):
            ended = run(fitted, n_steps, math.inf if n_steps >= max_steps else n_steps)
        if ended or n_steps >= max_steps:
            return fitted
        # The net trains more epochs than max_epochs, for example in a second loop. It is fitted as
        # in the trial, and ended after the best step of that.
        fitted = configure(estimator, params, device, own_files=own_files)
        with RandomStream(seed, device).active(), within(fitted):
            run(fitted, max_steps, n_steps)
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
    """Fit at most ``n_epochs``; return whether the fit ended by itself."""
    net = final_step(estimator)
    net.set_params(max_epochs=max_epochs)
    with closing(SteppedFit(partial(fit, estimator, *data), net, eval_every=eval_every)) as stepped:
        while stepped.advance():
            if stepped.n_epochs >= n_epochs:
                return False
    return True


def recommendation_of(estimator: Any) -> str:
    """Return the ``recommendation()`` of a fitted estimator's last step; empty if it has none."""
    recommend = getattr(final_step(estimator), "recommendation", None)
    return str(recommend()) if recommend else ""


def save_artifacts(estimator: Any, folder: Path) -> list[Path]:
    """Save the files of a fitted estimator below ``folder``, and return their paths.

    They are written by ``save_artifacts(folder)`` of its last step, if it has that method.
    """
    save = getattr(final_step(estimator), "save_artifacts", None)
    if save is None:
        return []
    save(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())
