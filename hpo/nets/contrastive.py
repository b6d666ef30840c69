"""Contrastive pre-training without labels, evaluated by a linear probe with a few labels."""

import math
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.dataset import unpack_data
from skorch.utils import to_numpy, to_tensor
from torch import nn
from torch.utils.data import Subset

from hpo._skorch_parts import set_training
from hpo.nets._views import random_views
from hpo.nets.casting import LabelEncodingMixin

__all__ = ["ContrastiveClassifier", "nt_xent"]

METHODS = ("simclr", "supervised")


def nt_xent(projections: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the normalized temperature-scaled cross-entropy of pairs of views.

    For each view, its partner has to be identified among all others of the batch by their cosine
    (Chen et al. 2020, *A simple framework for contrastive learning of visual representations*,
    equation 1).

    Parameters
    ----------
    projections : tensor of shape (2 * n_images, projection_width)
        Rows i and n_images + i are two views of one image.
    temperature : float
        Cosines are divided by it; greater than 0.

    Returns
    -------
    tensor of shape ()
        Mean over all views, in nats; ``log(2 * n_images - 1)`` if all are identical.
    """
    directions = nn.functional.normalize(projections, dim=1)
    similarities = directions @ directions.T / temperature
    is_self = torch.eye(len(projections), dtype=torch.bool, device=projections.device)
    partners = torch.arange(len(projections), device=projections.device)
    partners = partners.roll(len(projections) // 2)
    return nn.functional.cross_entropy(similarities.masked_fill(is_self, -math.inf), partners)


class ContrastiveClassifier(LabelEncodingMixin, NeuralNetClassifier):  # type: ignore[misc]
    """An encoder trained on all images without labels, and a linear probe trained on a few labels.

    ``fit`` uses only the labels of ``n_labels`` images, with both methods. Both train on random
    views (see ``least_area`` and ``color_strength``) and make the same number of optimizer steps
    per epoch.

    * ``simclr``: two views of each of *all* images are pulled together and pushed away from
      those of the others (`nt_xent`), after a projection of two layers that is only used in
      training. After each epoch a logistic regression is fitted to the features of the
      unchanged labelled images, and makes the predictions.
    * ``supervised``, the baseline: the same encoder and a linear head are trained on the
      labelled images, repeated until an epoch has as many samples as there are images.

    Parameters
    ----------
    module : torch module (class or instance)
        The encoder: returns features of shape (n_samples, n_features) and has an attribute
        ``n_features``; see `hpo.modules.ConvEncoder`.
    *args, **kwargs
        Arguments of `skorch.NeuralNetClassifier`.
    n_classes : int, default=10
        Number of different labels, of any kind; see `LabelEncodingMixin`.
    method : {"simclr", "supervised"}, default="simclr"
    n_labels : int, default=1000
        Number of images whose labels are used, at least ``n_classes``; a stratified sample.
    label_seed : int, default=0
        Seed of the choice of these images: the same for every trial, so that trials can be
        compared.
    temperature : float, default=0.5
        Temperature of `nt_xent`, greater than 0.
    projection_width : int, default=64
        Dimension of the projections of the views, at least 1.
    least_area : float, default=0.2
        Smallest share of an image that a view shows, above 0 to 1.
    color_strength : float, default=0.5
        Strength of the changes of colour, 0 or greater; the paper's s.
    probe_C : float, default=0.1
        Inverse of the probe's L2 penalty, greater than 0, on standardized features.
    criterion, optimizer, lr, batch_size, train_split
        As in skorch, with other defaults. ``train_split`` must be None, as a held-out loss would
        not be that of a classifier.

    Attributes
    ----------
    projection_ : torch module
        The layers after the encoder in training: the projection, or the supervised head.
    probe_ : scikit-learn pipeline
        The probe, after an epoch of ``simclr``.
    """

    def __init__(
        self,
        module: Any,
        *args: Any,
        n_classes: int = 10,
        method: str = "simclr",
        n_labels: int = 1000,
        label_seed: int = 0,
        temperature: float = 0.5,
        projection_width: int = 64,
        least_area: float = 0.2,
        color_strength: float = 0.5,
        probe_C: float = 0.1,
        criterion: Any = nn.CrossEntropyLoss,
        optimizer: Any = torch.optim.Adam,
        lr: float = 1e-3,
        batch_size: int = 256,
        train_split: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            module,
            *args,
            criterion=criterion,
            optimizer=optimizer,
            lr=lr,
            batch_size=batch_size,
            train_split=train_split,
            **kwargs,
        )
        self.n_classes = n_classes
        self.method = method
        self.n_labels = n_labels
        self.label_seed = label_seed
        self.temperature = temperature
        self.projection_width = projection_width
        self.least_area = least_area
        self.color_strength = color_strength
        self.probe_C = probe_C

    def initialize(self) -> "ContrastiveClassifier":
        """Build the net.

        Raises
        ------
        ValueError
            If a parameter is out of its range.
        """
        if self.method not in METHODS:
            raise ValueError(f"method must be one of: {', '.join(METHODS)}. Got {self.method!r}.")
        if self.train_split is not None:
            raise ValueError("train_split must be None: a contrastive net has no held-out loss.")
        for name in ("temperature", "probe_C", "projection_width", "least_area"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be greater than 0. Got {getattr(self, name)!r}.")
        if self.least_area > 1:
            raise ValueError(f"least_area must be at most 1. Got {self.least_area!r}.")
        if not self.color_strength >= 0:
            raise ValueError(f"color_strength must be 0 or greater. Got {self.color_strength!r}.")
        super().initialize()
        return self

    def initialize_module(self) -> "ContrastiveClassifier":
        """Build the encoder, and the layers after it in training."""
        super().initialize_module()
        n_features = self.module_.n_features
        self.projection_ = (
            nn.Linear(n_features, self.n_classes)
            if self.method == "supervised"
            else nn.Sequential(
                nn.Linear(n_features, n_features),
                nn.ReLU(),
                nn.Linear(n_features, self.projection_width),
            )
        )
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Choose the images whose labels are used.

        Raises
        ------
        ValueError
            If there are fewer images than ``n_labels``, or fewer labels than classes.
        """
        super().on_train_begin(net, X=X, y=y, **kwargs)
        labels = to_numpy(y)
        if not self.n_classes <= self.n_labels <= len(labels):
            raise ValueError(
                f"n_labels must be from {self.n_classes}, one a class, to {len(labels)}, the "
                f"number of training images. Got {self.n_labels!r} instead."
            )
        rows = np.arange(len(labels))
        if self.n_labels < len(labels):
            rows, _ = train_test_split(
                rows, train_size=self.n_labels, stratify=labels, random_state=self.label_seed
            )
        self._rows_ = rows
        self._labelled_ = X[rows], labels[rows]

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> tuple[Any, Any]:
        """Return the dataset of an epoch, and None."""
        dataset, _ = super().get_split_datasets(X, y, **fit_params)
        if self.method == "supervised":
            return Subset(dataset, np.resize(self._rows_, len(dataset)).tolist()), None
        return dataset, None

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Compute the loss of a batch's views and its gradients."""
        set_training(self, True)
        Xi, yi = unpack_data(batch)
        images = self.cast(to_tensor(Xi, device=self.device))
        if self.method == "simclr":
            outputs = self._project(torch.cat([self._views(images), self._views(images)]))
            loss = nt_xent(outputs, self.temperature)
        else:
            outputs = self._project(self._views(images))
            loss = self.get_loss(outputs, yi, X=Xi, training=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return {"loss": loss, "y_pred": outputs}

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Fit the probe to the current features."""
        super().on_epoch_end(net, **kwargs)
        if self.method == "simclr":
            images, labels = self._labelled_
            probe = LogisticRegression(C=self.probe_C, max_iter=1000)
            self.probe_ = make_pipeline(StandardScaler(), probe).fit(self.transform(images), labels)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Free the labelled images."""
        super().on_train_end(net, **kwargs)
        del self._labelled_

    def transform(self, X: Any) -> np.ndarray[Any, Any]:
        """Return the encoder's features, of shape (n_samples, n_features)."""
        # Features of a diverged encoder are meaningless; its loss shows that, not an error here.
        features: np.ndarray[Any, Any] = np.nan_to_num(to_numpy(self.forward(X, training=False)))
        return features

    def predict_proba(self, X: Any) -> np.ndarray[Any, Any]:
        """Return the probability of each class, of shape (n_samples, n_classes)."""
        features = self.transform(X)
        if self.method == "simclr":
            probabilities: np.ndarray[Any, Any] = self.probe_.predict_proba(features)
            return probabilities
        with torch.inference_mode():
            logits = self.projection_(to_tensor(features, device=self.device))
        return to_numpy(logits.softmax(dim=1))  # type: ignore[no-any-return]

    def _views(self, images: torch.Tensor) -> torch.Tensor:
        return random_views(images, self.least_area, self.color_strength)

    def _project(self, views: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.projection_(self.module_(views))
        return outputs
