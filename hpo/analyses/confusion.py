"""The confusion matrix of a winner on the held-out test part."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.analyses.base import BaseAnalysis, Winner

if TYPE_CHECKING:
    from hpo._figure import Figure

__all__ = ["Confusion"]

_MAX_LISTED = 3
"""Maximal number of classes, and of confusions, that the summary lists."""
_MAX_LABELLED = 15
"""Maximal number of classes with which the cells show their counts."""


class Confusion(BaseAnalysis):
    """The refitted winner's confusion matrix on the held-out test part, and recall by class."""

    title = "Confusion matrix"
    needs_test_part = True

    def compute(self, winner: Winner) -> dict[str, Any]:
        """Return the matrix of counts (rows: true classes, columns: predicted classes)."""
        from sklearn.metrics import confusion_matrix

        labels = winner.labels()
        X, y = winner.test_part()
        matrix = confusion_matrix(y, winner.estimator.predict(X), labels=winner.classes)
        recall = _recall(matrix)
        return {
            "labels": labels,
            "matrix": matrix.tolist(),
            "accuracy": float(np.trace(matrix) / max(1, matrix.sum())),
            "worst_recall": float(np.nanmin(recall)),
            "balanced_accuracy": float(np.nanmean(recall)),
        }

    def summarize(self, data: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the hardest classes and the most frequent confusions."""
        matrix, labels = np.array(data["matrix"]), data["labels"]
        recall = _recall(matrix)
        hardest = [i for i in np.argsort(recall, kind="stable") if recall[i] < 1][:_MAX_LISTED]
        wrong = matrix - np.diag(np.diag(matrix))
        pairs = np.argsort(-wrong, axis=None, kind="stable")[:_MAX_LISTED]
        confusions = [divmod(int(pair), len(labels)) for pair in pairs]
        confused = [
            f"{labels[i]} taken for {labels[j]} ({wrong[i, j]} of {matrix[i].sum()})"
            for i, j in confusions
            if wrong[i, j]
        ]
        if not hardest:
            return [("hardest classes", "none: no test sample is mistaken")]
        classes = [f"{labels[i]} (recall {recall[i]:.3g})" for i in hardest]
        return [("hardest classes", ", ".join(classes)), ("most confused", ", ".join(confused))]

    def plot(self, data: Mapping[str, Any]) -> "Figure":
        """Draw the matrix, shaded by the share of each row, beside the recall of each class."""
        from hpo._figure import Figure

        matrix, labels = np.array(data["matrix"]), data["labels"]
        n = len(labels)
        size = min(9.0, max(4.2, 2.2 + 0.42 * n))
        figure = Figure(figsize=(size + 2.4, size), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[size, 2.0])
        share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
        # the square root makes small numbers of mistakes visible
        left.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        if n <= _MAX_LABELLED:
            for i, j in np.argwhere(matrix):
                color = "white" if share[i, j] > 0.4 else "#1c2430"
                left.text(
                    j, i, str(matrix[i, j]), ha="center", va="center", color=color, fontsize=8
                )
        ticks = range(0, n, max(1, n // 25))
        names = [labels[i] for i in ticks]
        left.set_xticks(ticks, names, rotation=0 if max(map(len, names)) < 4 else 90)
        left.set_yticks(ticks, names)
        left.set_xlabel("taken for")
        left.set_ylabel("is")
        left.set_title(f"held-out test part: accuracy {data['accuracy']:.4g}", fontsize="medium")
        right.barh(range(n), np.nan_to_num(_recall(matrix)), color="#4878a8", height=0.7)
        right.set_ylim(n - 0.5, -0.5)
        right.set_xlim(left=max(0.0, 0.95 * float(data["worst_recall"]) - 0.05), right=1.0)
        right.set_yticks([])
        right.set_title("recall", fontsize="medium")
        right.spines[["top", "right"]].set_visible(False)
        return figure


def _recall(matrix: np.ndarray) -> np.ndarray:
    """Return the recall of each class, nan for a class that is not in the test part."""
    with np.errstate(invalid="ignore"):
        recall: np.ndarray = np.diag(matrix) / matrix.sum(axis=1)
    return recall
