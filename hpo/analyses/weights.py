"""How the weights of a winner are spread, layer by layer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.analyses.base import BaseAnalysis, Winner

if TYPE_CHECKING:
    from hpo._figure import Figure

__all__ = ["Weights"]

_N_BINS = 41
_SMALL = 1e-3
"""Largest absolute value of a weight that counts as zero, as in `hpo.callbacks.WeightStats`."""


class Weights(BaseAnalysis):
    """Histograms of a net's weights: what a penalty, pruning or a constraint does to them.

    The weights are all parameters of two or more dimensions. All histograms have the same bins,
    up to the largest absolute value.
    """

    title = "Weights"
    needs_classes = False

    def compute(self, winner: Winner) -> dict[str, Any]:
        """Return a histogram for each layer, and the share of weights near zero."""
        from sklearn.pipeline import Pipeline

        net = winner.estimator
        while isinstance(net, Pipeline):
            net = net.steps[-1][1]
        module = getattr(net, "module_", None)
        if module is None:
            raise ValueError(f"{type(net).__name__} is no skorch net: it has no weights to see.")
        weights = {
            name: parameter.detach().float().cpu().numpy().ravel()
            for name, parameter in module.named_parameters()
            if parameter.ndim > 1
        }
        if not weights:
            raise ValueError("The net has no weights of two or more dimensions.")
        every = np.concatenate(list(weights.values()))
        if not np.isfinite(every).all():
            raise ValueError("The net has weights that are not finite.")
        largest = float(np.abs(every).max()) or 1.0
        edges = np.linspace(-largest, largest, _N_BINS + 1)
        return {
            "edges": edges.tolist(),
            "layers": {
                name: {
                    "counts": np.histogram(values, bins=edges)[0].tolist(),
                    "std": float(values.std()),
                    "near_zero": float((np.abs(values) <= _SMALL).mean()),
                }
                for name, values in weights.items()
            },
            "n_weights": len(every),
            "near_zero": float((np.abs(every) <= _SMALL).mean()),
            "norm": float(np.sqrt((every.astype(float) ** 2).sum())),
            "largest": largest,
        }

    def summarize(self, data: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the size of the weights, and how many are near zero."""
        widest = max(data["layers"], key=lambda name: data["layers"][name]["std"])
        return [
            (
                "weights",
                f"{data['n_weights']}, norm {data['norm']:.4g}, largest {data['largest']:.3g}, "
                f"{data['near_zero']:.1%} within {_SMALL:g} of zero",
            ),
            ("widest layer", f"{widest} (deviation {data['layers'][widest]['std']:.3g})"),
        ]

    def plot(self, data: Mapping[str, Any]) -> "Figure":
        """Draw the histogram of each layer, on logarithmic counts."""
        from hpo._figure import Figure

        layers = list(data["layers"].items())[:12]
        rows = -(-len(layers) // 3)
        figure = Figure(figsize=(9.0, 0.4 + 1.9 * rows), dpi=110, layout="constrained")
        panels = figure.subplots(rows, min(3, len(layers)), squeeze=False).ravel()
        edges = np.array(data["edges"])
        for axes in panels[len(layers) :]:
            axes.set_visible(False)
        for axes, (name, layer) in zip(panels, layers, strict=False):
            axes.stairs(layer["counts"], edges, fill=True, color="#4878a8")
            axes.set_yscale("log")
            axes.set_title(f"{name}: ± {layer['std']:.2g}", fontsize="small", loc="left")
            axes.spines[["top", "right"]].set_visible(False)
        return figure
