"""How the winner's accuracy grows with the number of training samples."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.analyses.base import BaseAnalysis, Winner

if TYPE_CHECKING:
    from hpo._figure import Figure

__all__ = ["LearningCurve"]


class LearningCurve(BaseAnalysis):
    """The winner's parameters, fitted anew on parts of the training data of growing size.

    Each size is fitted ``repeats`` times, on samples drawn without replacement that hold every
    class. The band is two standard errors of the mean over these repeats; the test samples are
    the same for all, so it does not have the chance in which samples are held out.

    Parameters
    ----------
    n_sizes : int, default=4
        Number of sizes, each twice the one before, up to all samples; at least 2.
    repeats : int, default=3
        Fits of each size, at least 2.

    Raises
    ------
    ValueError
        If one of them is too small.
    """

    title = "Learning curve over samples"
    needs_test_part = True

    def __init__(self, n_sizes: int = 4, repeats: int = 3) -> None:
        if n_sizes < 2 or repeats < 2:
            raise ValueError(
                f"n_sizes and repeats must be 2 or more. Got {n_sizes!r} and {repeats!r} instead."
            )
        self.n_sizes = n_sizes
        self.repeats = repeats

    def compute(self, winner: Winner) -> dict[str, Any]:
        """Return the accuracy of each fit on the held-out test part, by the number of samples."""
        if winner.classes is None:
            raise ValueError("The study's y holds no classes.")
        X, y = winner.test_part()
        labels = np.asarray(winner.y.detach().cpu() if hasattr(winner.y, "detach") else winner.y)
        n, n_classes = len(labels), len(np.unique(labels))
        sizes = sorted({n >> i for i in range(self.n_sizes)})
        if sizes[0] < 2 * n_classes:
            raise ValueError(
                f"An eighth or less of {n} samples is too little for {n_classes} classes: "
                "ask for fewer sizes (learning_curve:n_sizes=2)."
            )
        rng = np.random.default_rng(winner.seed)
        accuracy = []
        for size in sizes:
            fits = (winner.refit(rows=_rows(labels, size, rng)) for _ in range(self.repeats))
            accuracy.append([float((np.asarray(fit.predict(X)) == y).mean()) for fit in fits])
        means = np.mean(accuracy, axis=1)
        return {
            "sizes": sizes,
            "accuracy": accuracy,
            "n_test": len(y),
            "gain_of_last_doubling": float(means[-1] - means[-2]),
            "gain_se": float(
                math.sqrt(sum(np.var(a, ddof=1) / self.repeats for a in accuracy[-2:]))
            ),
        }

    def summarize(self, data: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Tell what the last doubling of the samples gained."""
        curve = ", ".join(
            f"{np.mean(values):.4f} with {size}"
            for size, values in zip(data["sizes"], data["accuracy"], strict=True)
        )
        gain, error = data["gain_of_last_doubling"], data["gain_se"]
        verdict = "more samples help" if gain > 2 * error else "not told apart from none"
        return [
            ("accuracy", f"{curve} samples"),
            ("the last doubling", f"{gain:+.4f} ± {error:.4f} ({verdict})"),
        ]

    def plot(self, data: Mapping[str, Any]) -> "Figure":
        """Draw the fits as points, and their means with a band of two standard errors."""
        from hpo._figure import Figure

        figure = Figure(figsize=(7.6, 3.4), dpi=110, layout="constrained")
        axes = figure.subplots()
        sizes, values = np.array(data["sizes"]), np.array(data["accuracy"])
        mean = values.mean(axis=1)
        band = 2 * values.std(axis=1, ddof=1) / math.sqrt(values.shape[1])
        axes.fill_between(sizes, mean - band, mean + band, color="#9fb4c8", alpha=0.5, linewidth=0)
        axes.plot(sizes, mean, "-o", color="#12284b", markersize=4)
        for column in values.T:
            axes.plot(sizes, column, ".", color="#c26a2d")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(n) for n in sizes])
        axes.minorticks_off()
        axes.set_xlabel("training samples")
        axes.set_ylabel(f"accuracy on {data['n_test']} held-out samples")
        axes.spines[["top", "right"]].set_visible(False)
        return figure


def _rows(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return rows, drawn without replacement, that hold every class."""
    first = [rng.choice(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    others = np.setdiff1d(np.arange(len(labels)), first)
    more = rng.choice(others, size - len(first), replace=False)
    return np.sort(np.concatenate([first, more]))
