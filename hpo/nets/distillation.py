"""Train a net on the probabilities of another estimator as well as on the labels."""

import pickle
import random
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cloudpickle
import joblib
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import clone
from skorch import NeuralNet
from skorch.utils import data_from_dataset, to_numpy, to_tensor

from hpo._skorch_parts import predict_nonlinearity

__all__ = ["DistillationMixin"]

_MAX_TEACHERS = 32
_TEACHERS: OrderedDict[str, Any] = OrderedDict()
"""The fitted teachers that this process used last, by their hashes."""


class DistillationMixin:
    """Adds a distillation loss from a teacher to the loss of a net on logits.

    Put it before a skorch net in the bases of a class, but after `PenaltyMixin`, as it would
    scale the penalty otherwise. With ``p_T`` the softmax of logits divided by
    ``T = temperature``, the loss is
    ``alpha * T**2 * KL(teacher's p_T, student's p_T) + (1 - alpha) * criterion`` (Hinton, Vinyals
    and Dean 2015, *Distilling the knowledge in a neural network*, section 2).

    The teacher is fitted on exactly the samples that the net is trained on, since in a
    cross-validation a teacher that has seen a fold's validation part would leak it. It is fitted
    once per process for the same data and parameters, with its own random numbers, and shared by
    trials; the last 32 are cached. It predicts for the same batches as the net, including
    augmented ones.

    Parameters
    ----------
    teacher : estimator, optional
        Unfitted estimator with ``predict_proba``; a skorch net predicts on this net's device.
    temperature : float, default=2.0
        Temperature of the softmax, greater than 0. The higher it is, the more the probabilities
        of the wrong classes matter.
    alpha : float, default=0.5
        Weight of the distillation loss, from 0 (the teacher is not even fitted) to 1.
    unlabelled : array of shape (n_unlabelled, ...), optional
        Further samples, like X but without labels, on which the teacher is fitted by no label. Each
        batch is joined by as many of them, drawn with replacement, and the distillation loss is
        the mean over both. They must be none that a score is computed on.
    *args, **kwargs
        Arguments of the skorch net.
    """

    def __init__(
        self,
        *args: Any,
        teacher: Any = None,
        temperature: float = 2.0,
        alpha: float = 0.5,
        unlabelled: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.teacher = teacher
        self.temperature = temperature
        self.alpha = alpha
        self.unlabelled = unlabelled

    def initialize(self) -> Any:
        """Build the net.

        Raises
        ------
        ValueError
            If a parameter is out of its range, the teacher has no ``predict_proba``, or the
            criterion is not `torch.nn.CrossEntropyLoss`, which takes logits.
        """
        if not self.temperature > 0:
            raise ValueError(f"temperature must be greater than 0. Got {self.temperature!r}.")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1. Got {self.alpha!r} instead.")
        if self.unlabelled is not None and not len(self.unlabelled):
            raise ValueError("unlabelled must hold samples, or be None. It is empty.")
        self.teacher_key_ = ""
        if self.teacher is None:
            if self.unlabelled is not None:
                raise ValueError(
                    "unlabelled samples need a teacher. Set teacher, or leave both out."
                )
            return super().initialize()  # type: ignore[misc]
        if not hasattr(self.teacher, "predict_proba"):
            raise ValueError(
                "The teacher must have predict_proba. "
                f"Got {type(self.teacher).__name__}, which has not."
            )
        super().initialize()  # type: ignore[misc]
        criterion = self.criterion_  # type: ignore[attr-defined]
        if not isinstance(criterion, torch.nn.CrossEntropyLoss):
            raise ValueError(
                "A net with a teacher needs criterion=torch.nn.CrossEntropyLoss. "
                f"Got {type(criterion).__name__} instead."
            )
        return self

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget the teacher of an earlier training."""
        super().on_train_begin(net, **kwargs)  # type: ignore[misc]
        self.teacher_key_ = ""

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return the loader of a dataset; in training, fit a teacher on it unless it is cached."""
        if training and self.teacher is not None and self.alpha > 0:
            self._find_teacher(dataset)
        return super().get_iterator(dataset, training=training)  # type: ignore[misc]

    def get_loss(
        self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False
    ) -> torch.Tensor:
        """Return the loss of a batch; in training, with the distillation loss."""
        hard: torch.Tensor = super().get_loss(  # type: ignore[misc]
            y_pred, y_true, X=X, training=training
        )
        if not (training and self.teacher_key_):
            return hard
        T = self.temperature
        soft = self._divergence(X, y_pred)
        if self.unlabelled is not None:
            more = self._unlabelled_batch(len(y_pred), X)
            output = self.infer(more)  # type: ignore[attr-defined]
            output = output[0] if isinstance(output, tuple) else output
            soft = (soft + self._divergence(more, output)) / 2
        return self.alpha * T**2 * soft + (1 - self.alpha) * hard

    def _divergence(self, X: Any, output: torch.Tensor) -> torch.Tensor:
        """Return the mean divergence from the teacher's probabilities to the student's."""
        teacher = F.log_softmax(self._log_proba(X) / self.temperature, dim=1)
        student = F.log_softmax(output / self.temperature, dim=1)
        return F.kl_div(student, teacher, reduction="batchmean", log_target=True)

    def _unlabelled_batch(self, n: int, X: Any) -> torch.Tensor:
        """Return n unlabelled samples, drawn from the stream of the training.

        Raises
        ------
        ValueError
            If they have another shape or kind than the samples of a batch.
        """
        if not isinstance(X, torch.Tensor):
            raise ValueError(
                f"unlabelled needs batches that are one tensor. Got {type(X).__name__} instead."
            )
        samples = self.unlabelled
        rows = torch.randint(len(samples), (n,))
        chosen = samples[rows] if isinstance(samples, torch.Tensor) else samples[rows.numpy()]
        device = self.device  # type: ignore[attr-defined]
        batch: torch.Tensor = to_tensor(chosen, device=device).to(X.dtype)
        if batch.shape[1:] != X.shape[1:]:
            raise ValueError(
                f"unlabelled must hold samples of shape {tuple(X.shape[1:])}, as X does. "
                f"Got {tuple(batch.shape[1:])} instead."
            )
        return batch

    def _find_teacher(self, dataset: Any) -> None:
        if self.teacher_key_ in _TEACHERS:
            _TEACHERS.move_to_end(self.teacher_key_)
            return
        try:
            X, y = data_from_dataset(dataset)
        except AttributeError as error:
            raise ValueError(
                f"A teacher needs a dataset made of X and y. Got {type(dataset).__name__}."
            ) from error
        X, y = to_numpy(X), to_numpy(y)
        teacher = clone(self.teacher)
        if isinstance(teacher, NeuralNet):
            teacher.set_params(device=self.device)  # type: ignore[attr-defined]
        data_key = str(joblib.hash((X, y)))
        key = f"{data_key} {_hash(teacher)}"
        self.teacher_key_ = key  # pickles of the net contain this key, not the teacher
        if key not in _TEACHERS:
            with _seeded(int(data_key[:8], 16), str(self.device)):  # type: ignore[attr-defined]
                _TEACHERS[key] = teacher.fit(X, y)
        _TEACHERS.move_to_end(key)
        while len(_TEACHERS) > _MAX_TEACHERS:
            _TEACHERS.popitem(last=False)

    def _log_proba(self, X: Any) -> torch.Tensor:
        """Return the teacher's log-probabilities, which equal logits up to a constant."""
        teacher = _TEACHERS[self.teacher_key_]
        device = self.device  # type: ignore[attr-defined]
        nonlinearity = None
        if isinstance(teacher, NeuralNet):
            nonlinearity = predict_nonlinearity(
                teacher, "a teacher is asked by its `predict_proba`"
            )
        if nonlinearity is not None:
            output = teacher.evaluation_step((X, None), training=False)
            output = output[0] if isinstance(output, tuple) else output
            proba = nonlinearity(output)
        else:
            proba = to_tensor(teacher.predict_proba(to_numpy(X)), device=device)
        logs: torch.Tensor = proba.clamp_min(1e-30).log().to(torch.float32)
        return logs


def _hash(teacher: Any) -> str:
    try:
        return str(joblib.hash(teacher))
    except (pickle.PicklingError, AttributeError, TypeError):  # its classes are defined in a script
        return str(joblib.hash(cloudpickle.dumps(teacher)))


@contextmanager
def _seeded(seed: int, device: str) -> Iterator[None]:
    """Seed all generators inside the block, and restore them afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
