"""What a winner's out-of-fold predictions say of each class, and of its probabilities."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.analyses.base import BaseAnalysis, Winner

if TYPE_CHECKING:
    from hpo._figure import Figure

__all__ = ["Calibration"]

_N_BINS = 10
_MAX_LISTED = 3
"""Maximal number of classes that the summary lists."""


class Calibration(BaseAnalysis):
    """Recall by class and calibration from the rows that the winner's folds were validated on.

    The held-out test part stays for its one look. Confidence is the largest probability of a row;
    the expected calibration error is the mean distance of confidence and accuracy over ten bins of
    equal width, weighted by their rows (Guo, Pleiss, Sun and Weinberger 2017).
    """

    title = "Calibration, out of fold"

    def compute(self, winner: Winner) -> dict[str, Any]:
        """Return the confusion matrix, recall by class, and accuracy by confidence."""
        from sklearn.metrics import confusion_matrix

        names = winner.labels()
        oof = winner.out_of_fold()
        if oof.y is None:
            raise ValueError("The targets of the validated rows are not kept.")
        matrix = confusion_matrix(oof.y, oof.labels, labels=winner.classes)
        counts = matrix.sum(axis=1)
        data: dict[str, Any] = {
            "labels": names,
            "matrix": matrix.tolist(),
            "n_rows": len(oof.y),
            "majority_share": float(counts.max() / counts.sum()),
            "worst_recall": float(np.nanmin(_recall(matrix))),
        }
        if oof.kind != "predict_proba":
            return data
        confidence, right = _confidence(oof.predictions), oof.labels == oof.y
        bins = np.minimum((confidence * _N_BINS).astype(int), _N_BINS - 1)
        rows = [bins == i for i in range(_N_BINS)]
        filled = [each for each in rows if each.any()]
        data["bins"] = [
            [int(each.sum()), float(confidence[each].mean()), float(right[each].mean())]
            for each in filled
        ]
        data["calibration_error"] = float(
            sum(abs(c - a) * n for n, c, a in data["bins"]) / len(right)
        )
        return data

    def summarize(self, data: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Tell the classes with the smallest recall, and how far confidence is from accuracy."""
        matrix, labels = np.array(data["matrix"]), data["labels"]
        recall, n = _recall(matrix), matrix.sum(axis=1)
        hardest = np.argsort(np.where(np.isnan(recall), 2.0, recall), kind="stable")[:_MAX_LISTED]
        classes = [f"{labels[i]} {recall[i]:.3g} of {n[i]}" for i in hardest if n[i]]
        rows = [("smallest recall", ", ".join(classes))]
        accuracy = np.trace(matrix) / matrix.sum()
        if accuracy <= data["majority_share"]:
            share = data["majority_share"]
            rows.append(("no better than", f"naming the most frequent class ({share:.3g})"))
        if "calibration_error" in data:
            confident = sum(n * c for n, c, _ in data["bins"]) / data["n_rows"]
            side = "over" if confident > accuracy else "under"
            text = f"{data['calibration_error']:.3g}, {side}confident on the whole"
            rows.append(("calibration error", text))
        return rows

    def plot(self, data: Mapping[str, Any]) -> "Figure":
        """Draw accuracy over confidence, and the recall of each class."""
        from hpo._figure import Figure

        matrix, labels = np.array(data["matrix"]), data["labels"]
        figure = Figure(figsize=(7.6, 3.4), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color="#9fb4c8", linewidth=1)
        if "bins" in data:
            n, confidence, accuracy = np.array(data["bins"]).T
            left.plot(confidence, accuracy, color="#12284b", linewidth=1)
            left.scatter(confidence, accuracy, s=10 + 120 * n / n.max(), color="#c26a2d", zorder=3)
        left.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
        recall = np.nan_to_num(_recall(matrix))
        right.barh(range(len(labels)), recall, color="#4878a8")
        right.set(xlabel="recall, out of fold", xlim=(0, 1), ylim=(len(labels) - 0.5, -0.5))
        ticks = range(0, len(labels), max(1, len(labels) // 20))
        right.set_yticks(list(ticks), [labels[i] for i in ticks])
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
        return figure


def _recall(matrix: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        recall: np.ndarray = np.diag(matrix) / matrix.sum(axis=1)
    return recall


def _confidence(proba: np.ndarray) -> np.ndarray:
    if proba.ndim == 1:  # of the second of two classes
        return np.asarray(np.maximum(proba, 1 - proba))
    return np.asarray(proba.max(axis=1))
