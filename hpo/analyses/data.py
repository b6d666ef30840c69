"""What the data of a study are: samples, features, classes and how even they are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.analyses.base import BaseAnalysis, Winner

if TYPE_CHECKING:
    from hpo._figure import Figure

__all__ = ["Data"]

_MAX_SHOWN = 40
"""Maximal number of classes, or of bins of a numeric target, that the picture has."""


class Data(BaseAnalysis):
    """Samples, shape of one, classes and their shares; of a numeric target, how it is spread."""

    title = "Data"
    needs_classes = False

    def compute(self, winner: Winner) -> dict[str, Any]:
        """Return the sizes, and the counts of the classes or of the target's bins."""
        y = np.asarray(winner.y.detach().cpu() if hasattr(winner.y, "detach") else winner.y)
        shape = _shape(winner.X)
        data: dict[str, Any] = {
            "n_samples": len(y),
            "n_test": 0 if winner.X_test is None else len(winner.test_part()[1]),
            "shape": shape,
        }
        if shape is not None and len(shape) == 3:
            data["n_channels"] = shape[0]
        if winner.classes is not None:
            counts = [int((y == label).sum()) for label in winner.classes]
            data |= {
                "n_classes": len(counts),
                "labels": winner.labels(),
                "counts": counts,
                "majority_share": max(counts) / max(1, sum(counts)),
                "smallest_class": min(counts),
            }
        elif y.dtype.kind in "iuf":
            values = y[np.isfinite(y)].astype(float)
            counts_, edges = np.histogram(values, bins=20)
            data |= {
                "counts": counts_.tolist(),
                "edges": edges.tolist(),
                "target_mean": float(values.mean()),
                "target_std": float(values.std()),
            }
        return data

    def summarize(self, data: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the sizes, and how even the classes are."""
        test = f", {data['n_test']} held out" if data["n_test"] else ""
        lines = [("samples", f"{data['n_samples']}{test}")]
        if data["shape"] is not None:
            of = f" ({data['n_channels']} channels)" if "n_channels" in data else ""
            lines.append(("one sample", " x ".join(map(str, data["shape"])) + of))
        if "n_classes" in data:
            lines.append(
                (
                    "classes",
                    f"{data['n_classes']}, the largest with {data['majority_share']:.1%} of the "
                    f"samples (what a guess scores), the smallest with {data['smallest_class']}",
                )
            )
        elif "target_mean" in data:
            told = f"{data['target_mean']:.4g} ± {data['target_std']:.3g} (mean and deviation)"
            lines.append(("target", told))
        return lines

    def plot(self, data: Mapping[str, Any]) -> "Figure":
        """Draw the samples of each class, or of each bin of a numeric target."""
        from hpo._figure import Figure

        figure = Figure(figsize=(7.6, 3.0), dpi=110, layout="constrained")
        axes = figure.subplots()
        if "edges" in data:
            edges = np.array(data["edges"])
            axes.bar(edges[:-1], data["counts"], np.diff(edges), align="edge", color="#4878a8")
            axes.set_xlabel("target")
        elif "counts" in data:
            counts, labels = data["counts"][:_MAX_SHOWN], data["labels"][:_MAX_SHOWN]
            axes.bar(range(len(counts)), counts, color="#4878a8", width=0.7)
            axes.set_xticks(range(len(counts)), labels, rotation=90 if len(counts) > 12 else 0)
        axes.set_ylabel("samples")
        axes.spines[["top", "right"]].set_visible(False)
        return figure


def _shape(X: Any) -> list[int] | None:
    """Return the shape of one sample; None where samples are no arrays of one shape."""
    shape = getattr(X, "shape", None)
    return None if shape is None or len(shape) < 2 else [int(n) for n in shape[1:]]
