"""Data as people have them: float64 rows, labels of any kind, targets of either shape."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from skorch.callbacks import BatchScoring, EpochScoring
from skorch.utils import to_numpy

__all__ = ["CastingMixin", "LabelEncodingMixin", "TargetShapeMixin"]


class CastingMixin:
    """Gives a module float32 where the data are float64, unless it has weights in float64.

    Stands before a skorch net among the bases of a class. All other types reach the module as
    they are.
    """

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Return the module's output for a batch."""
        return super().infer(self.cast(x), **fit_params)  # type: ignore[misc]

    def cast(self, x: Any) -> Any:
        """Return a batch, or a dict or tuple of such, with float32 in the place of float64."""
        if isinstance(x, Mapping):
            return {key: self.cast(value) for key, value in x.items()}
        if isinstance(x, list | tuple):
            parts = [self.cast(value) for value in x]
            return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
        if isinstance(x, np.ndarray) and x.dtype == np.float64:
            x = torch.as_tensor(x)
        if not isinstance(x, torch.Tensor) or x.dtype != torch.float64:
            return x
        weights = self.module_.parameters()  # type: ignore[attr-defined]
        return x if any(w.dtype == torch.float64 for w in weights) else x.float()


class LabelEncodingMixin(CastingMixin):
    """Lets a classifier learn labels of any kind and predict them: text, truth values, 1 to k.

    Stands before `skorch.NeuralNetClassifier` among the bases of a class. Whole numbers that are
    places of the module's outputs (0 to k - 1 for k outputs) stay what they are. For all others
    output j stands for ``classes_[j]``, the labels in their order, and ``predict`` returns labels.
    A column of labels is taken for the labels. The criterion's ``ignore_index`` is no label.

    The labels are those of the first training; later ones (``partial_fit``) may not bring
    others, unless they are places of outputs. With the parameter ``classes`` those are the
    labels, whatever ``y`` has of them.
    """

    def initialize(self) -> Any:
        """Build the net; the labels of an earlier training are forgotten."""
        self.labels_seen_: np.ndarray | None = None
        return super().initialize()  # type: ignore[misc]

    def check_data(self, X: Any, y: Any) -> None:
        """Learn the labels.

        Raises
        ------
        ValueError
            If they are others than those of an earlier call, and no places of outputs.
        """
        super().check_data(X, np.asarray(y) if isinstance(y, list) else y)  # type: ignore[misc]
        net: Any = self
        found = getattr(net, "classes_inferred_", None)
        if net.classes is not None or found is None or y is None:
            return
        known = self.labels_seen_
        if known is not None and not np.isin(found, known).all():
            if not (_countable(found) and _countable(known)):
                new = ", ".join(map(repr, np.setdiff1d(found, known).tolist()))
                raise ValueError(
                    f"y has labels that the first training did not see: {new}. Give all of them "
                    "by classes=[...], or call fit, which begins anew."
                )
            known = np.union1d(found, known)
        self.labels_seen_ = net.classes_inferred_ = found if known is None else known
        self._decode_in_callbacks()

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Return the data as a dataset; labels that are no numbers as places in ``classes_``."""
        if y is not None:
            labels = _as_array(y)
            if labels.dtype.kind not in "iuf":
                y = _places(labels, self.classes_)  # type: ignore[attr-defined]
        return super().get_dataset(X, y)  # type: ignore[misc]

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the loss of a batch, whose labels are numbers or places in ``classes_``."""
        output = y_pred[0] if isinstance(y_pred, tuple) else y_pred
        loss: torch.Tensor = super().get_loss(  # type: ignore[misc]
            y_pred, self._encoded(output, y_true), *args, **kwargs
        )
        return loss

    def predict(self, X: Any) -> Any:
        """Return the label of each sample."""
        probabilities = self.predict_proba(X)  # type: ignore[attr-defined]
        labels = self._table(probabilities.shape[1])
        if labels is None:
            return probabilities.argmax(axis=1)
        return labels[probabilities[:, : len(labels)].argmax(axis=1)]

    def _table(self, n_outputs: int) -> Any:
        """Return the labels that outputs stand for; None where labels are places of outputs.

        Raises
        ------
        ValueError
            If y has labels that are neither places nor among the parameter ``classes``.
        """
        net: Any = self
        classes, found = net.classes, getattr(net, "classes_inferred_", None)
        if classes is None and found is None:
            return None
        known: Any = getattr(self, "label_table_", (None, None, 0))  # asked for at each batch
        if known[0] is not classes or known[1] is not found or known[2] != n_outputs:
            table = _table(self._counted(net.classes_), self._counted(found), n_outputs)
            known = self.label_table_ = classes, found, n_outputs, table
        return known[3]

    def _counted(self, labels: Any) -> Any:
        """Return labels without the one that the criterion ignores."""
        ignored = getattr(getattr(self, "criterion_", None), "ignore_index", None)
        if labels is None or ignored is None or labels.dtype.kind not in "iuf":
            return labels
        return labels[labels != ignored]

    def _encoded(self, output: Any, y_true: Any) -> Any:
        """Return the labels of a batch as the criterion takes them."""
        if not (isinstance(output, torch.Tensor) and isinstance(y_true, torch.Tensor)):
            return y_true
        if output.ndim == 2 and y_true.shape == (len(output), 1) and output.shape[1] > 1:
            y_true = y_true.squeeze(1)
        if output.ndim < 2 or y_true.ndim != output.ndim - 1:
            return y_true  # probabilities of the classes, or a net that is no usual classifier
        labels = self._table(output.shape[1])
        if labels is None or labels.dtype.kind not in "iuf":  # it is text no longer
            return y_true if y_true.dtype == torch.int64 else y_true.long()
        return self._searched(y_true, labels)

    def _searched(self, y_true: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
        order = np.argsort(labels)
        known = torch.as_tensor(labels[order], device=y_true.device)
        found = torch.searchsorted(known, y_true.to(known.dtype)).clamp_max(len(known) - 1)
        places = torch.as_tensor(order, device=y_true.device)[found]
        ignored = getattr(self.criterion_, "ignore_index", None)  # type: ignore[attr-defined]
        return places if ignored is None else places.where(y_true != ignored, ignored)

    def _decode_in_callbacks(self) -> None:
        """Let skorch's scores in the course of a training compare labels with labels."""
        net: Any = self
        text = net.classes_.dtype.kind not in "iuf"
        extractor = _Decoder(net.classes_) if text else to_numpy
        for _, callback in net.callbacks_:
            if isinstance(callback, EpochScoring | BatchScoring) and (
                callback.target_extractor is to_numpy
                or isinstance(callback.target_extractor, _Decoder)
            ):
                callback.target_extractor = extractor


class TargetShapeMixin(CastingMixin):
    """Gives a regressor's target the type and the shape of the module's output.

    Stands before `skorch.NeuralNetRegressor` among the bases of a class. A flat target, of shape
    (n_samples,), is learned by a module that returns a column, of shape (n_samples, 1), and the
    other way round; ``predict`` returns what has the shape of the target.
    """

    def check_data(self, X: Any, y: Any) -> None:
        """Learn the target's shape."""
        super().check_data(X, y)  # type: ignore[misc]
        if y is not None:
            self.target_ndim_ = _as_array(y).ndim

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the loss of a batch."""
        output = y_pred[0] if isinstance(y_pred, tuple) else y_pred
        if isinstance(output, torch.Tensor) and isinstance(y_true, torch.Tensor):
            y_true = _shaped(y_true, output)
        loss: torch.Tensor = super().get_loss(  # type: ignore[misc]
            y_pred, y_true, *args, **kwargs
        )
        return loss

    def predict(self, X: Any) -> Any:
        """Return the predictions, in the shape of the target."""
        values = super().predict(X)  # type: ignore[misc]
        ndim = getattr(self, "target_ndim_", values.ndim)
        if ndim == 1 and values.ndim == 2 and values.shape[1] == 1:
            return values[:, 0]
        return values[:, None] if ndim == 2 and values.ndim == 1 else values


class _Decoder:
    """Makes labels of places; of a callback's, so that it holds nothing of the net."""

    def __init__(self, labels: np.ndarray) -> None:
        self._labels = labels

    def __call__(self, places: Any) -> Any:
        return self._labels[to_numpy(places)]


def _as_array(y: Any) -> np.ndarray:
    return np.asarray(y.detach().cpu() if isinstance(y, torch.Tensor) else y)


def _countable(labels: np.ndarray) -> bool:
    return bool(labels.dtype.kind in "iuf" and labels.min(initial=0) >= 0)


def _hold(labels: np.ndarray, n_outputs: int) -> bool:
    """Return whether labels are places of outputs."""
    return (
        labels.dtype.kind in "iuf"
        and len(labels) > 0
        and bool(labels.min() >= 0 and labels.max() < n_outputs)
        and bool((labels == np.round(labels)).all())
    )


def _table(classes: np.ndarray, found: np.ndarray | None, n_outputs: int) -> np.ndarray | None:
    if found is not None and not np.isin(found, classes).all():
        if _hold(found, n_outputs):
            return None  # the classes are names of the places
        new = ", ".join(map(repr, np.setdiff1d(found, classes).tolist()))
        raise ValueError(f"y has labels that are none of the classes {classes.tolist()}: {new}.")
    return None if _hold(classes, n_outputs) else classes


def _places(y: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the place of each label of ``y``."""
    order = np.argsort(labels)
    places = order[np.searchsorted(labels[order], y).clip(max=len(labels) - 1)]
    if not (labels[places] == y).all():
        unknown = y[labels[places] != y].tolist()[0]
        raise ValueError(f"The label {unknown!r} is none of the classes: {labels.tolist()}.")
    found: np.ndarray = places.astype(np.int64)
    return found


def _shaped(y_true: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """Return the target of a batch in the type and the shape of the output."""
    if not y_true.is_floating_point() or y_true.dtype == torch.float64:
        y_true = y_true.to(torch.float64 if output.dtype == torch.float64 else torch.float32)
    longer = [[n for n in data.shape if n != 1] for data in (y_true, output)]
    # They may differ by axes of length 1 alone, so that the values of a sample stay with it.
    same = y_true.shape == output.shape or longer[0] != longer[1]
    return y_true if same else y_true.reshape(output.shape)
