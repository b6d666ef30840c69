"""Accept data as they usually come: float64 rows, labels of any kind, targets of any shape."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from skorch.callbacks import BatchScoring, EpochScoring
from skorch.utils import to_numpy

__all__ = ["CastingMixin", "LabelEncodingMixin", "TargetShapeMixin"]


class CastingMixin:
    """Casts float64 data to float32, unless the module has weights in float64.

    Put it before a skorch net in the bases of a class. All other types are
    passed unchanged.
    """

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Return the module's output for a batch."""
        return super().infer(self.cast(x), **fit_params)  # type: ignore[misc]

    def cast(self, x: Any) -> Any:
        """Return a batch, or a dict or tuple of batches, with float64 cast to float32."""
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
    """Lets a classifier learn and predict labels of any kind: strings, booleans, 1 to k.

    Put it before `skorch.NeuralNetClassifier` in the bases of a class. Integers that are
    indices of the module's outputs (0 to k - 1 for k outputs) stay unchanged. For all other labels
    output j stands for ``classes_[j]``, the sorted labels, and ``predict`` returns labels. A
    column of labels is treated as flat labels. The criterion's ``ignore_index`` is not a label.

    The labels are those of the first training. Later ones (``partial_fit``) may not add new
    labels, unless these are indices of outputs. With the parameter ``classes`` those are the
    labels, even if ``y`` lacks some of them.
    """

    encodes_labels = True
    """Says to a search that outputs stand for the sorted labels, which all folds must agree on."""

    def initialize(self) -> Any:
        """Build the net; the labels of an earlier training are forgotten."""
        self.labels_seen_: np.ndarray | None = None
        return super().initialize()  # type: ignore[misc]

    def check_data(self, X: Any, y: Any) -> None:
        """Check the data and learn the labels.

        Raises
        ------
        ValueError
            If there are new labels compared to an earlier call that are not indices of outputs.
        """
        super().check_data(X, np.asarray(y) if isinstance(y, list) else y)  # type: ignore[misc]
        net: Any = self
        inferred = getattr(net, "classes_inferred_", None)
        if net.classes is not None or inferred is None or y is None:
            return
        seen = self.labels_seen_
        if seen is not None and not np.isin(inferred, seen).all():
            if not (_are_non_negative_numbers(inferred) and _are_non_negative_numbers(seen)):
                new = ", ".join(map(repr, np.setdiff1d(inferred, seen).tolist()))
                raise ValueError(
                    f"y has labels that the first training did not see: {new}. Give all of them "
                    "by classes=[...], or call fit, which starts over."
                )
            seen = np.union1d(inferred, seen)
        self.labels_seen_ = net.classes_inferred_ = inferred if seen is None else seen
        self._decode_in_callbacks()

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Return the data as a dataset; non-numeric labels become indices in ``classes_``."""
        if y is not None:
            labels = _as_array(y)
            if labels.dtype.kind not in "iuf":
                y = _label_indices(labels, self.classes_)  # type: ignore[attr-defined]
        return super().get_dataset(X, y)  # type: ignore[misc]

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the loss of a batch, whose labels are numbers or indices in ``classes_``."""
        output = y_pred[0] if isinstance(y_pred, tuple) else y_pred
        loss: torch.Tensor = super().get_loss(  # type: ignore[misc]
            y_pred, self._encode(output, y_true), *args, **kwargs
        )
        return loss

    def predict(self, X: Any) -> Any:
        """Return the label of each sample."""
        probabilities = self.predict_proba(X)  # type: ignore[attr-defined]
        labels = self._output_labels(probabilities.shape[1])
        if labels is None:
            return probabilities.argmax(axis=1)
        return labels[probabilities[:, : len(labels)].argmax(axis=1)]

    def _output_labels(self, n_outputs: int) -> Any:
        """Return the labels of the outputs; None if labels are indices of outputs.

        Raises
        ------
        ValueError
            If y has labels that are neither indices nor in the parameter ``classes``.
        """
        net: Any = self
        classes, inferred = net.classes, getattr(net, "classes_inferred_", None)
        if classes is None and inferred is None:
            return None
        cached: Any = getattr(self, "label_table_", (None, None, 0))  # needed for every batch
        if cached[0] is not classes or cached[1] is not inferred or cached[2] != n_outputs:
            table = _labels_of_outputs(
                self._without_ignored(net.classes_), self._without_ignored(inferred), n_outputs
            )
            cached = self.label_table_ = classes, inferred, n_outputs, table
        return cached[3]

    def _without_ignored(self, labels: Any) -> Any:
        """Return labels without the one that the criterion ignores."""
        ignored = getattr(getattr(self, "criterion_", None), "ignore_index", None)
        if labels is None or ignored is None or labels.dtype.kind not in "iuf":
            return labels
        return labels[labels != ignored]

    def _encode(self, output: Any, y_true: Any) -> Any:
        """Return the labels of a batch in the form that the criterion expects."""
        if not (isinstance(output, torch.Tensor) and isinstance(y_true, torch.Tensor)):
            return y_true
        if output.ndim == 2 and y_true.shape == (len(output), 1) and output.shape[1] > 1:
            y_true = y_true.squeeze(1)
        if output.ndim < 2 or y_true.ndim != output.ndim - 1:
            return y_true  # probabilities of the classes, or an unusual classifier
        labels = self._output_labels(output.shape[1])
        # `get_dataset` has encoded strings already.
        if labels is None or labels.dtype.kind not in "iuf":
            return y_true if y_true.dtype == torch.int64 else y_true.long()
        return self._look_up(y_true, labels)

    def _look_up(self, y_true: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
        order = np.argsort(labels)
        sorted_labels = torch.as_tensor(labels[order], device=y_true.device)
        indices = torch.searchsorted(sorted_labels, y_true.to(sorted_labels.dtype)).clamp_max(
            len(sorted_labels) - 1
        )
        places = torch.as_tensor(order, device=y_true.device)[indices]
        ignored = getattr(self.criterion_, "ignore_index", None)  # type: ignore[attr-defined]
        return places if ignored is None else places.where(y_true != ignored, ignored)

    def _decode_in_callbacks(self) -> None:
        """Let skorch's scoring callbacks compare predicted labels with labels."""
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
    """Converts a regressor's target to the type and the shape of the module's output.

    Put it before `skorch.NeuralNetRegressor` in the bases of a class. A flat target, of
    shape (n_samples,), works with a module that returns a column, of shape (n_samples, 1), and
    vice versa. Predictions have the shape of the target.
    """

    def check_data(self, X: Any, y: Any) -> None:
        """Check the data and learn the target's shape."""
        super().check_data(X, y)  # type: ignore[misc]
        if y is not None:
            self.target_ndim_ = _as_array(y).ndim

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the loss of a batch."""
        output = y_pred[0] if isinstance(y_pred, tuple) else y_pred
        if isinstance(output, torch.Tensor) and isinstance(y_true, torch.Tensor):
            y_true = _match_output(y_true, output)
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
    """Maps indices to labels, for a callback, without a reference to the net."""

    def __init__(self, labels: np.ndarray) -> None:
        self._labels = labels

    def __call__(self, places: Any) -> Any:
        return self._labels[to_numpy(places)]


def _as_array(y: Any) -> np.ndarray:
    return np.asarray(y.detach().cpu() if isinstance(y, torch.Tensor) else y)


def _are_non_negative_numbers(labels: np.ndarray) -> bool:
    return bool(labels.dtype.kind in "iuf" and labels.min(initial=0) >= 0)


def _are_output_indices(labels: np.ndarray, n_outputs: int) -> bool:
    """Return whether labels are indices of outputs."""
    return (
        labels.dtype.kind in "iuf"
        and len(labels) > 0
        and bool(labels.min() >= 0 and labels.max() < n_outputs)
        and bool((labels == np.round(labels)).all())
    )


def _labels_of_outputs(
    classes: np.ndarray, inferred: np.ndarray | None, n_outputs: int
) -> np.ndarray | None:
    if inferred is not None and not np.isin(inferred, classes).all():
        if _are_output_indices(inferred, n_outputs):
            return None  # the classes are names of the indices
        new = ", ".join(map(repr, np.setdiff1d(inferred, classes).tolist()))
        raise ValueError(f"y has labels that are none of the classes {classes.tolist()}: {new}.")
    return None if _are_output_indices(classes, n_outputs) else classes


def _label_indices(y: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the index of each label of ``y`` in ``labels``."""
    order = np.argsort(labels)
    places = order[np.searchsorted(labels[order], y).clip(max=len(labels) - 1)]
    if not (labels[places] == y).all():
        unknown = y[labels[places] != y].tolist()[0]
        raise ValueError(f"The label {unknown!r} is none of the classes: {labels.tolist()}.")
    result: np.ndarray = places.astype(np.int64)
    return result


def _match_output(y_true: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """Return the target of a batch with the type and the shape of the output."""
    if not y_true.is_floating_point() or y_true.dtype == torch.float64:
        y_true = y_true.to(torch.float64 if output.dtype == torch.float64 else torch.float32)
    sizes = [[n for n in data.shape if n != 1] for data in (y_true, output)]
    # Only axes of length 1 may differ, so that the values of a sample stay with it.
    keep = y_true.shape == output.shape or sizes[0] != sizes[1]
    return y_true if keep else y_true.reshape(output.shape)
