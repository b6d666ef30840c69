"""Whether several models together are better than the winner, on the held-out test part."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.analyses.base import BaseAnalysis, Winner

if TYPE_CHECKING:
    from hpo._figure import Figure

__all__ = ["Ensemble"]


class Ensemble(BaseAnalysis):
    """Averages of predicted probabilities against the winner, who is their best member.

    Two averages: of the ``k`` best trials, each refitted (its own parameters and epochs), and
    of ``k`` refits of the winner on bootstrap samples of the training data (bagging: Breiman
    1996). Members are chosen by cross-validation alone. Differences in accuracy are paired over
    the test samples, as in McNemar's test: only those count that one of the two gets right.

    Parameters
    ----------
    k : int, default=5
        Models of each average, at least 2; fewer of the first where fewer trials are complete.

    Raises
    ------
    ValueError
        If ``k`` is less than 2.
    """

    title = "Ensembles"
    needs_test_part = True

    def __init__(self, k: int = 5) -> None:
        if k < 2:
            raise ValueError(f"k must be 2 or more models. Got {k!r} instead.")
        self.k = k

    def compute(self, winner: Winner) -> dict[str, Any]:
        """Return the accuracy of each member and each average, and what these gain."""
        labels = winner.classes
        if labels is None:
            raise ValueError("The study's y holds no classes.")
        X, y = winner.test_part()
        others = [winner.refit(record) for record in winner.ranked[1 : self.k]]
        top = [np.asarray(each.predict_proba(X)) for each in [winner.estimator, *others]]
        n = len(winner.y)
        rng = np.random.default_rng(winner.seed)
        bags = [
            np.asarray(winner.refit(rows=rows).predict_proba(X))
            for rows in (_bootstrap(winner.y, rng, n) for _ in range(self.k))
        ]
        best = labels[top[0].argmax(axis=1)] == y
        data: dict[str, Any] = {
            "n_test": len(y),
            "winner_accuracy": float(best.mean()),
            "trials": [record.number for record in winner.ranked[: self.k]],
        }
        for name, members in (("average", top), ("bagging", bags)):
            correct = labels[np.mean(members, axis=0).argmax(axis=1)] == y
            gain = correct.astype(float) - best
            data |= {
                f"{name}_accuracy": float(correct.mean()),
                f"{name}_gain": float(gain.mean()),
                f"{name}_gain_se": float(gain.std(ddof=1) / math.sqrt(len(y))),
                f"{name}_members": [float((labels[m.argmax(axis=1)] == y).mean()) for m in members],
            }
        return data

    def summarize(self, data: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Tell what each average gains on its best member."""
        rows = [("winner alone", f"{data['winner_accuracy']:.4f} of {data['n_test']} test samples")]
        for name, what in (("average", "best trials"), ("bagging", "bootstrap refits of it")):
            gain, error = data[f"{name}_gain"], data[f"{name}_gain_se"]
            members = data[f"{name}_members"]
            verdict = _verdict(gain, error)
            told = (
                f"{data[f'{name}_accuracy']:.4f}, {gain:+.4f} ± {error:.4f} ({verdict}); "
                f"members {min(members):.4f} to {max(members):.4f}"
            )
            rows.append((f"{len(members)} {what}", told))
        return rows

    def plot(self, data: Mapping[str, Any]) -> "Figure":
        """Draw members as points and averages as bars of two standard errors of the gain."""
        from hpo._figure import Figure

        figure = Figure(figsize=(7.6, 3.0), dpi=110, layout="constrained")
        axes = figure.subplots()
        base = data["winner_accuracy"]
        axes.axvline(base, color="#12284b", linewidth=1.5, label="winner alone")
        names = {"average": "average of the best trials", "bagging": "bagging of the winner"}
        for y, name in enumerate(("bagging", "average")):
            members = data[f"{name}_members"]
            label = "members" if y == 0 else None
            axes.plot(members, [y] * len(members), "o", color="#9fb4c8", markersize=5, label=label)
            axes.errorbar(
                data[f"{name}_accuracy"],
                y,
                xerr=2 * data[f"{name}_gain_se"],
                fmt="D",
                color="#c26a2d",
                capsize=4,
                label="together, ± 2 s.e. of the difference" if y == 0 else None,
            )
        axes.set_yticks([0, 1], [names["bagging"], names["average"]])
        axes.set_ylim(-0.6, 1.6)
        axes.set_xlabel(f"accuracy on {data['n_test']} held-out test samples")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, axis="x", color="#e6e6e6")
        figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)
        return figure


def _bootstrap(y: Any, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return rows drawn with replacement that hold every class."""
    labels = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
    n_classes = len(np.unique(labels))
    rows = rng.integers(n, size=n)
    while len(np.unique(labels[rows])) < n_classes:
        rows = rng.integers(n, size=n)
    return rows


def _verdict(gain: float, error: float) -> str:
    if abs(gain) <= 2 * error or gain == 0:
        return "not told apart"
    return "better" if gain > 0 else "worse"
