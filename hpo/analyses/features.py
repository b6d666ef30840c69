"""The features of a winner's last hidden layer for the test samples, in two dimensions."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.analyses.base import BaseAnalysis, Winner

if TYPE_CHECKING:
    from hpo._figure import Figure

__all__ = ["Features", "penultimate"]

_MIN_SAMPLES = 8
"""Minimal number of samples."""
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7a7a00", "#000000")
"""Those of Okabe and Ito (2008), which people who see colors differently tell apart."""
_MARKERS = "osD^vP*X<>"
"""With the colors, 40 different looks."""


class Features(BaseAnalysis):
    """The inputs of the last linear layer, embedded by PCA, t-SNE, and UMAP if installed.

    t-SNE and UMAP start from the 50 first principal components. Distances between
    clusters are not meaningful there, but the plots show which classes mix. The summary has the
    share of samples whose nearest neighbour in feature space has the same class.

    Parameters
    ----------
    n_samples : int, default=500
        Number of samples of the held-out test part to show, drawn at random.

    Raises
    ------
    ValueError
        If ``n_samples`` is too small.
    """

    title = "Features"
    needs_test_part = True

    def __init__(self, n_samples: int = 500) -> None:
        if n_samples < _MIN_SAMPLES:
            raise ValueError(
                f"n_samples must be {_MIN_SAMPLES} or more. Got {n_samples!r} instead."
            )
        self.n_samples = n_samples

    def compute(self, winner: Winner) -> dict[str, Any]:
        """Return two coordinates for each sample and method, and the samples' classes."""
        labels = winner.labels()
        X, y = winner.test_part()
        if len(y) < _MIN_SAMPLES:
            raise ValueError(f"The held-out test part has {len(y)} samples: too few to show.")
        rng = np.random.default_rng(winner.seed)
        rows = np.sort(rng.permutation(len(y))[: self.n_samples])
        features = penultimate(winner.estimator, winner.take(X, rows))
        assert winner.classes is not None
        classes = np.searchsorted(winner.classes, y[rows])
        embeddings, explained = _embed(features, winner.seed % 2**32)
        return {
            "labels": labels,
            "classes": classes.tolist(),
            "embeddings": {
                name: [[float(f"{x:.4g}") for x in point] for point in points]
                for name, points in embeddings.items()
            },
            "n_features": features.shape[1],
            "explained_variance": explained,
            "nearest_neighbour_accuracy": _same_class(features, classes),
        }

    def summarize(self, data: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return how well the classes are separated."""
        n = len(data["classes"])
        share = data["nearest_neighbour_accuracy"]
        return [
            (
                "nearest neighbour",
                f"of the same class for {share:.1%} of {n} test samples, "
                f"among {data['n_features']} features",
            ),
            ("first two components", f"{data['explained_variance']:.0%} of the variance"),
        ]

    def plot(self, data: Mapping[str, Any]) -> "Figure":
        """Draw a panel for each method, with a color and a marker for each class."""
        from matplotlib.lines import Line2D

        from hpo._figure import Figure

        embeddings, labels = data["embeddings"], data["labels"]
        figure = Figure(figsize=(4.6 * len(embeddings) + 1.2, 4.6), dpi=110, layout="constrained")
        panels = figure.subplots(1, len(embeddings), squeeze=False)[0]
        classes = np.array(data["classes"])
        n = len(labels)
        looks = [(_COLORS[i % len(_COLORS)], _MARKERS[i % len(_MARKERS)]) for i in range(n)]
        for axes, (name, points) in zip(panels, embeddings.items(), strict=True):
            x, y = np.array(points).T
            for i, (color, marker) in enumerate(looks):
                own = classes == i
                axes.scatter(
                    x[own], y[own], s=15, color=color, marker=marker, alpha=0.8, linewidths=0
                )
            axes.set_title(name, fontsize="medium", loc="left")
            axes.set_xticks([])
            axes.set_yticks([])
        present = [i for i in range(n) if (classes == i).any()][:20]
        handles = [
            Line2D([], [], color=color, marker=marker, linestyle="", markersize=5, label=labels[i])
            for i in present
            for color, marker in [looks[i]]
        ]
        figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
        return figure


def penultimate(estimator: Any, X: Any) -> np.ndarray:
    """Return the inputs of the last linear layer that runs, for each row of ``X``.

    Parameters
    ----------
    estimator : skorch net, or a Pipeline that ends in one
    X : data that it predicts on, n_samples long

    Returns
    -------
    array of shape (n_samples, n_features)

    Raises
    ------
    ValueError
        If it is not a net, or no `torch.nn.Linear` runs.
    """
    from sklearn.pipeline import Pipeline
    from skorch import NeuralNet

    while isinstance(estimator, Pipeline):
        if len(estimator.steps) > 1:
            X = estimator[:-1].transform(X)
        estimator = estimator.steps[-1][1]
    if not isinstance(estimator, NeuralNet):
        raise ValueError(f"{type(estimator).__name__} is no skorch net: it has no layers to see.")
    captured: dict[str, Any] = {}

    def capture(module: Any, inputs: tuple[Any, ...]) -> None:
        captured["last"] = inputs[0].detach()

    linear = _linear_layers(estimator.module_)
    hooks = [layer.register_forward_pre_hook(capture) for layer in linear]
    try:
        parts = []
        for _ in estimator.forward_iter(X, training=False):
            if "last" not in captured:
                raise ValueError("No torch.nn.Linear of the net runs: there is nothing to look at.")
            parts.append(captured.pop("last").flatten(1).float().cpu().numpy())
    finally:
        for hook in hooks:
            hook.remove()
    return np.concatenate(parts)


def _linear_layers(module: Any) -> list[Any]:
    """Return the linear layers of a module, and of the model that it adapts but for its adapter."""
    from torch import nn

    parts = [module, *([module.adapted] if hasattr(module, "adapted") else [])]
    return [
        layer
        for part in parts
        for name, layer in part.named_modules()
        if isinstance(layer, nn.Linear) and "lora_" not in name
    ]


def _embed(features: np.ndarray, seed: int) -> tuple[dict[str, np.ndarray], float]:
    """Return two coordinates by each method, and the share of variance of the first two."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n, d = features.shape
    pca = PCA(min(50, n, d), random_state=seed)
    components = pca.fit_transform(features)
    flat = np.zeros((n, 2))
    flat[:, : min(2, d)] = components[:, :2]
    embeddings = {"PCA": flat}
    # half of the default 1,000 iterations: enough for so few samples
    tsne = TSNE(perplexity=min(30.0, (n - 1) / 3), init="random", max_iter=500, random_state=seed)
    embeddings["t-SNE"] = tsne.fit_transform(components)
    if find_spec("umap"):
        import umap

        embeddings["UMAP"] = umap.UMAP(random_state=seed).fit_transform(components)
    return embeddings, float(pca.explained_variance_ratio_[:2].sum())


def _same_class(features: np.ndarray, classes: np.ndarray) -> float:
    from sklearn.neighbors import NearestNeighbors

    _, nearest = NearestNeighbors(n_neighbors=2).fit(features).kneighbors(features)
    rows = np.arange(len(features))
    other = np.where(nearest[:, 0] == rows, nearest[:, 1], nearest[:, 0])
    return float((classes[other] == classes).mean())
