"""A net that learns from another estimator's probabilities as well as from the labels."""

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

_KEPT = 32
_TEACHERS: OrderedDict[str, Any] = OrderedDict()
"""The fitted teachers that this process used last: what they are hashed by, and they."""


class DistillationMixin:
    """Adds what a teacher says of a sample to the loss of a net on logits.

    Stands before a skorch net among the bases of a class, after `PenaltyMixin`, whose penalty
    it would scale. With ``p_T`` the softmax of logits divided by ``T = temperature``, the loss is
    ``alpha * T**2 * KL(teacher's p_T, student's p_T) + (1 - alpha) * criterion`` (Hinton, Vinyals
    and Dean 2015, *Distilling the knowledge in a neural network*, section 2).

    The teacher is fitted on exactly the samples that the net is trained on: inside a
    cross-validation, one that has seen a fold's validation part would tell it. It is fitted
    once a process for the same data and parameters, with random numbers of its own, and trials
    share it; 32 are kept. It sees the batches that the net sees, augmented ones included.

    Parameters
    ----------
    teacher : estimator, optional
        Unfitted, with ``predict_proba``; a skorch net is asked on this net's device.
    temperature : float, default=2.0
        Greater than 0. At high ones the teacher also tells how wrong the wrong classes are.
    alpha : float, default=0.5
        Weight of the teacher, from 0 (the teacher is not even fitted) to 1.
    *args, **kwargs
        Those of the skorch net.
    """

    def __init__(
        self,
        *args: Any,
        teacher: Any = None,
        temperature: float = 2.0,
        alpha: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.teacher = teacher
        self.temperature = temperature
        self.alpha = alpha

    def initialize(self) -> Any:
        """Build the net.

        Raises
        ------
        ValueError
            If a parameter is out of its range, the teacher has no ``predict_proba``, or the
            criterion is not `torch.nn.CrossEntropyLoss`, which means logits.
        """
        if not self.temperature > 0:
            raise ValueError(f"temperature must be greater than 0. Got {self.temperature!r}.")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1. Got {self.alpha!r} instead.")
        self.teacher_key_ = ""
        if self.teacher is None:
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
        """Return the loader of a dataset; in training, fit a teacher on it if none is known."""
        if training and self.teacher is not None and self.alpha > 0:
            self._find_teacher(dataset)
        return super().get_iterator(dataset, training=training)  # type: ignore[misc]

    def get_loss(
        self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False
    ) -> torch.Tensor:
        """Return the loss of a batch; in training, with the teacher's part."""
        hard: torch.Tensor = super().get_loss(  # type: ignore[misc]
            y_pred, y_true, X=X, training=training
        )
        if not (training and self.teacher_key_):
            return hard
        T = self.temperature
        teacher = F.log_softmax(self._log_proba(X) / T, dim=1)
        student = F.log_softmax(y_pred / T, dim=1)
        soft = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        return self.alpha * T**2 * soft + (1 - self.alpha) * hard

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
        self.teacher_key_ = key  # the net's pickles hold its name, not the teacher
        if key not in _TEACHERS:
            with _own_random_numbers(int(data_key[:8], 16), str(self.device)):  # type: ignore[attr-defined]
                _TEACHERS[key] = teacher.fit(X, y)
        _TEACHERS.move_to_end(key)
        while len(_TEACHERS) > _KEPT:
            _TEACHERS.popitem(last=False)

    def _log_proba(self, X: Any) -> torch.Tensor:
        """Return the teacher's log-probabilities: logits, but for a constant that softmax drops."""
        teacher = _TEACHERS[self.teacher_key_]
        device = self.device  # type: ignore[attr-defined]
        shown = None
        if isinstance(teacher, NeuralNet):
            shown = predict_nonlinearity(teacher, "a teacher is asked by its `predict_proba`")
        if shown is not None:
            output = teacher.evaluation_step((X, None), training=False)
            output = output[0] if isinstance(output, tuple) else output
            proba = shown(output)
        else:
            proba = to_tensor(teacher.predict_proba(to_numpy(X)), device=device)
        logs: torch.Tensor = proba.clamp_min(1e-30).log().to(torch.float32)
        return logs


def _hash(teacher: Any) -> str:
    try:
        return str(joblib.hash(teacher))
    except (pickle.PicklingError, AttributeError, TypeError):  # it is made of a script's classes
        return str(joblib.hash(cloudpickle.dumps(teacher)))


@contextmanager
def _own_random_numbers(seed: int, device: str) -> Iterator[None]:
    """Seed all generators inside the block; outside, nothing has changed."""
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
