"""Which complete trials would vote best together, from predictions that are there already."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.analyses.base import BaseAnalysis, Winner
from hpo.out_of_fold import OutOfFold
from hpo.statistics.selection_bias import FEWEST_ROWS, Bags

if TYPE_CHECKING:
    from hpo._figure import Figure

__all__ = ["EnsembleSelection"]

_N_BAGS = 60


class EnsembleSelection(BaseAnalysis):
    """Greedy selection of an ensemble over out-of-fold probabilities; nothing is trained.

    Caruana, Niculescu-Mizil, Crew and Ksikes (2004): one trial after another is added, also again,
    whichever makes the accuracy of the averaged probabilities the greatest. The accuracy of the
    selection is optimistic, so it is repeated in bootstrap samples of the rows, and scored on the
    rows that these leave out; so is the choice of the best trial alone.

    Parameters
    ----------
    k : int, default=10
        Members, repeated ones among them.
    n_trials : int, default=25
        The best complete trials among which they are selected.

    Raises
    ------
    ValueError
        If one of them is less than 1.
    """

    title = "Ensemble selection, out of fold"

    def __init__(self, k: int = 10, n_trials: int = 25) -> None:
        if k < 1 or n_trials < 1:
            raise ValueError(f"k and n_trials must be 1 or more. Got {k!r} and {n_trials!r}.")
        self.k = k
        self.n_trials = n_trials

    def compute(self, winner: Winner) -> dict[str, Any]:
        """Return the members, and the corrected accuracy of the ensemble and of the best trial."""
        if winner.classes is None:
            raise ValueError("The study's y holds no classes.")
        numbers, oofs = _predictions(winner, self.n_trials)
        first = oofs[0]
        if first.y is None:
            raise ValueError("The targets of the validated rows are not kept.")
        proba = np.stack([oof.predictions for oof in oofs]).astype(np.float32)
        column = np.searchsorted(winner.classes, first.y)
        bags = Bags(first.folds, first.rows, n=_N_BAGS, seed=winner.seed)
        if bags.n_units < FEWEST_ROWS:
            raise ValueError(f"There are fewer than {FEWEST_ROWS} rows.")
        inside, outside = bags.weights
        alone = proba.argmax(axis=2) == column
        together, best = [], []
        for bag in range(_N_BAGS):
            members = _selected(proba, column, inside[:, bag], self.k)
            votes = proba[members].mean(axis=0).argmax(axis=1) == column
            together.append(votes @ outside[:, bag])
            best.append(alone[(alone @ inside[:, bag]).argmax()] @ outside[:, bag])
        every = np.full(len(column), 1 / len(column), dtype=np.float32)
        members = _selected(proba, column, every, self.k)
        gain = np.array(together) - best
        return {
            "n_rows": bags.n_units,
            "members": [[numbers[i], n] for i, n in Counter(members).most_common()],
            "accuracy": float(np.mean(together)),
            "accuracy_se": float(bags.shrink * np.std(together, ddof=1)),
            "best_alone": float(np.mean(best)),
            "gain": float(gain.mean()),
            "gain_se": float(bags.shrink * gain.std(ddof=1)),
        }

    def summarize(self, data: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Tell who votes, and what the votes gain on the best trial alone."""
        members = [f"trial {number}" + (f" x{n}" if n > 1 else "") for number, n in data["members"]]
        gain, error = data["gain"], data["gain_se"]
        apart = abs(gain) > 1.96 * error
        verdict = ("better" if gain > 0 else "worse") if apart else "not told apart"
        return [
            ("members", ", ".join(members)),
            ("corrected accuracy", f"{data['accuracy']:.4f} ± {data['accuracy_se']:.4f}"),
            ("gain on the best trial", f"{gain:+.4f} ± {error:.4f} ({verdict})"),
        ]

    def plot(self, data: Mapping[str, Any]) -> "Figure":
        """Draw the corrected accuracy of the best trial and of the ensemble."""
        from hpo._figure import Figure

        figure = Figure(figsize=(7.6, 2.2), dpi=110, layout="constrained")
        axes = figure.subplots()
        axes.plot(data["best_alone"], 0, "o", color="#12284b")
        axes.errorbar(
            data["accuracy"], 1, xerr=1.96 * data["gain_se"], fmt="D", color="#c26a2d", capsize=4
        )
        axes.set_yticks([0, 1], ["best trial alone", "ensemble, ± 1.96 s.e. of the gain"])
        axes.set(xlabel=f"corrected accuracy on {data['n_rows']} rows", ylim=(-0.6, 1.6))
        axes.spines[["top", "right"]].set_visible(False)
        return figure


def _predictions(winner: Winner, n: int) -> tuple[list[int], list[OutOfFold]]:
    """Return the trials whose probabilities are kept, best first, and these."""
    found: list[tuple[int, OutOfFold]] = []
    for record in winner.ranked[:n]:
        try:
            oof = winner.out_of_fold(record)
        except ValueError:
            if not found:
                raise
            continue
        if oof.kind == "predict_proba" and oof.predictions.ndim == 2:
            found.append((record.number, oof))
    if not found:
        raise ValueError(
            "The trials have kept no probabilities: the study's scorer asks for other predictions."
        )
    numbers, oofs = zip(*found, strict=True)
    return list(numbers), list(oofs)


def _selected(proba: np.ndarray, column: np.ndarray, weights: np.ndarray, k: int) -> Sequence[int]:
    """Return the members that greedy selection adds, in their order; the first in a tie."""
    total = np.zeros_like(proba[0])
    members = []
    for _ in range(k):
        right = (total + proba).argmax(axis=2) == column
        members.append(int((right @ weights).argmax()))
        total += proba[members[-1]]
    return members
