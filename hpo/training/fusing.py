"""What of an objective the fused engine can train: nets taken apart into models and numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cloudpickle
import joblib
import numpy as np
import torch
from sklearn.pipeline import Pipeline
from skorch import NeuralNet, NeuralNetClassifier
from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from hpo.callbacks.clipping import GradientClipping
from hpo.callbacks.schedule import LRSchedule
from hpo.fused import (
    UPDATES,
    Criterion,
    Fusible,
    Member,
    NotFusibleError,
    Plan,
    dropout_rates,
    rate_attribute,
)
from hpo.training._adapters import last_step, net_prefix
from hpo.training._fused_data import cast, check_target
from hpo.training._fusible import check_data, check_module, check_net
from hpo.training._indexing import as_numpy, take
from hpo.training._random import RandomStream
from hpo.training.fold import configure
from hpo.training.objective import Objective
from hpo.trial import Trial, derive_seed

__all__ = ["FoldArrays", "FusibleTrial", "Fusing"]


@dataclass(frozen=True)
class FoldArrays:
    """The data of all folds as the module takes them.

    Parameters
    ----------
    X, y : tensors of shape (n_samples, ...)
    train : sequence of int64 tensor
        Rows of each fold's training part.
    X_valid : tensor of shape (n_folds, n_longest, ...)
        Validation parts, the shorter ones filled up.
    y_valid : sequence of array
        Without the filling.
    """

    X: torch.Tensor
    y: torch.Tensor
    train: Sequence[torch.Tensor]
    X_valid: torch.Tensor
    y_valid: Sequence[Any]


@dataclass(frozen=True)
class FusibleTrial:
    """A trial taken apart.

    Parameters
    ----------
    trial : Trial
    key : str
        Trials of one key can be trained in one batch.
    plan : callable
        Makes what the batch has in common.
    member : Member
    net : skorch net
        That of the first fold, as initialized: it says how outputs become predictions.
    n_steps : int
    """

    trial: Trial
    key: str
    plan: Callable[[], Plan]
    member: Member
    net: Any
    n_steps: int


class Fusing:
    """Takes the trials of an objective apart.

    Parameters
    ----------
    objective : Objective
    device : str, default="cpu"
        Where the data go.

    Raises
    ------
    NotFusibleError
        If no trial of it can be fused; names the cause.
    """

    def __init__(self, objective: Objective, device: str = "cpu") -> None:
        self.objective = objective
        self._device = device
        self._prefix = net_prefix(objective.estimator)
        self._check_objective()
        self.arrays = self._arrays()
        self._simple: dict[str, bool] = {}
        self._checked: set[str] = set()

    def _check_objective(self) -> None:
        objective = self.objective
        final = last_step(objective.estimator)
        if not isinstance(final, NeuralNet):
            raise NotFusibleError(f"{type(final).__name__} is no skorch net")
        if final is not objective.estimator and type(objective.estimator) is not Pipeline:
            kind = type(objective.estimator).__name__
            raise NotFusibleError(f"the estimator is a {kind} and no plain Pipeline")
        if objective.eval_every:
            raise NotFusibleError("the study reports by optimizer steps (eval_every)")
        if objective.return_train_score:
            raise NotFusibleError("the training parts are scored too")
        if objective.fit_params or objective.score_params:
            raise NotFusibleError("fit or the scorers are given parameters (sample weights)")
        if not objective.scoring.looks_at_predictions_only:
            raise NotFusibleError("the score is a function of its own that looks at the estimator")
        if objective.y is None:
            raise NotFusibleError("there is no y")

    def _arrays(self) -> FoldArrays:
        """Prepare each fold's data once: the preprocessing is the same for all trials."""
        objective = self.objective
        estimator = objective.estimator
        parts, train, valid, labels, start = [], [], [], [], 0
        pipeline = isinstance(estimator, Pipeline) and len(estimator.steps) > 1
        if not pipeline:
            parts = [self._rows(objective.X)]
        for i, (rows, held_out) in enumerate(objective.splits):
            labels.append(as_numpy(take(objective.y, held_out)))
            if pipeline:
                seed = derive_seed("fused", "fold", i)
                with RandomStream(seed).active():
                    before = configure(estimator, {}, None)[:-1]
                    Xt = before.fit_transform(take(objective.X, rows), take(objective.y, rows))
                    Xv = before.transform(take(objective.X, held_out))
                parts.append(self._rows(Xt))
                train.append(torch.arange(start, start + len(rows)))
                start += len(rows)
                valid.append(self._rows(Xv))
            else:
                train.append(torch.as_tensor(rows))
                valid.append(parts[0][torch.as_tensor(held_out)])
        y = _tensor(objective.y)
        if pipeline:
            y = torch.cat([y[torch.as_tensor(rows)] for rows, _ in objective.splits])
        longest = max(map(len, valid))
        filled = [torch.cat([X, X[:1].expand(longest - len(X), *X.shape[1:])]) for X in valid]
        X, X_valid = torch.cat(parts).to(self._device), torch.stack(filled).to(self._device)
        return FoldArrays(X, y.to(self._device), train, X_valid, labels)

    def _rows(self, data: Any) -> torch.Tensor:
        return cast(last_step(self.objective.estimator), _tensor(data))

    def take_apart(self, trial: Trial) -> FusibleTrial:
        """Return ``trial`` as a model of a batch.

        Raises
        ------
        NotFusibleError
            If it cannot be one.
        Exception
            Whatever its parameters raise where it is trained alone.
        """
        params = self.objective.resolve(trial.params)
        strange = [name for name in params if not name.startswith(self._prefix)]
        if strange:
            raise NotFusibleError(f"the preprocessing is searched ({strange[0]})")
        net = self._net(trial, params, 0)
        self._check(net)
        criterion = Criterion(net.criterion_)
        (group,) = net.optimizer_.param_groups
        numbers = _numbers(net, group, criterion)
        factors, of_clipping = _callbacks(net)
        module, criterion_module = net.module_, net.criterion_
        flags = {name: group[name] for name in UPDATES[type(net.optimizer_)].flags if name in group}
        loader = net.get_params_for("iterator_train")
        penalises = numbers["l1_lambda"] > 0 or numbers["l2_lambda"] > 0

        def plan() -> Plan:
            return Plan(
                fusible=Fusible(module),
                criterion=Criterion(criterion_module),
                optimizer=type(net.optimizer_),
                flags=flags,
                batch_size=_batch_size(net, loader, self.arrays),
                shuffle=bool(loader.get("shuffle", False)),
                drop_last=bool(loader.get("drop_last", False)),
                clips=bool(of_clipping),
                penalises=penalises,
            )

        structure = {
            "module": _structure(module),
            "optimizer": (type(net.optimizer_).__name__, sorted(flags.items())),
            "criterion": type(criterion_module).__name__,
            "loader": sorted((k, v) for k, v in loader.items() if k != "collate_fn"),
            "batch_size": net.batch_size,
            "clips": bool(of_clipping),
            "penalises": penalises,
        }
        key = repr(structure)
        if key not in self._checked:
            check_target(net, self.arrays.X, self.arrays.y)
            self._checked.add(key)
        member = Member(
            states=self._states(key, net, trial, params),
            numbers={**numbers, **of_clipping},
            rates=dropout_rates(module),
            factors=factors,
        )
        n_steps = self.objective.max_steps(trial.params)
        return FusibleTrial(trial, key, plan, member, net, n_steps)

    def _check(self, net: Any) -> None:
        check_net(net)
        check_module(net.module_)
        check_data(net, self.arrays.X, self.arrays.y)

    def _net(self, trial: Trial, params: Mapping[str, Any], i: int) -> Any:
        """Return the net of fold ``i`` with the weights that it starts from when trained alone."""
        with RandomStream(derive_seed(trial.seed, "fold", i)).active():
            # Made on the CPU, as a module is before it is moved: many travel to a GPU together.
            net = last_step(configure(self.objective.estimator, params, "cpu"))
            net.initialize()
        if self.objective.classes is not None and isinstance(net, NeuralNetClassifier):
            net.classes_inferred_ = np.asarray(self.objective.classes)
        return net

    def unfitted(self, trial: Trial, device: str) -> Any:
        """Return the net of a trial, configured as where it is trained alone, and not more."""
        params = self.objective.resolve(trial.params)
        return last_step(configure(self.objective.estimator, params, device))

    def _states(
        self, key: str, net: Any, trial: Trial, params: Mapping[str, Any]
    ) -> list[dict[str, torch.Tensor]]:
        """Return the weights that each fold starts from.

        The module alone is made for a fold, without a net around it, where the first trial of
        its structure shows that this gives the same.
        """
        first, others = _state(net.module_), range(1, self.objective.n_folds)
        if key not in self._simple:
            self._check_folds(net, trial, params)
            self._simple[key] = _equal(first, self._fresh(net, trial, 0))
        if self._simple[key]:
            return [first, *(self._fresh(net, trial, i) for i in others)]
        return [first, *(_state(self._net(trial, params, i).module_) for i in others)]

    def _check_folds(self, net: Any, trial: Trial, params: Mapping[str, Any]) -> None:
        """Raise `NotFusibleError` if the modules of two folds differ in more than their weights."""
        Fusible(net.module_)  # a layer that cannot be fused is the better reason
        first = _structure(net.module_)
        for i in range(1, self.objective.n_folds):
            if _structure(self._net(trial, params, i).module_) != first:
                raise NotFusibleError(
                    "the modules of the folds differ in what they keep beside their weights (an "
                    "attribute is drawn at random or counts the modules: make it a buffer)"
                )

    def _fresh(self, net: Any, trial: Trial, i: int) -> dict[str, torch.Tensor]:
        with RandomStream(derive_seed(trial.seed, "fold", i)).active():
            module = net.initialized_instance(net.module, net.get_params_for("module"))
        return _state(module)


def _tensor(data: Any) -> torch.Tensor:
    if isinstance(data, Mapping | tuple):
        raise NotFusibleError(
            f"X is a {type(data).__name__} of several arrays, and a batch of models is given one"
        )
    if not isinstance(data, np.ndarray | torch.Tensor):
        raise NotFusibleError(f"the module is given a {type(data).__name__} and no array")
    if isinstance(data, np.ndarray) and data.dtype.kind not in "fiub":
        raise NotFusibleError(f"the data are of type {data.dtype}")
    return torch.as_tensor(data)


def _numbers(net: Any, group: Mapping[str, Any], criterion: Criterion) -> dict[str, float]:
    update = UPDATES[type(net.optimizer_)]
    given = dict(group)
    if "betas" in given:
        given["beta1"], given["beta2"] = given["betas"]
    names = [*update.numbers, *([update.starts_at] if update.starts_at else [])]
    return {
        **{name: float(given[name]) for name in names if name in given},
        "l1_lambda": float(getattr(net, "l1_lambda", 0.0)),
        "l2_lambda": float(getattr(net, "l2_lambda", 0.0)),
        "label_smoothing": criterion.label_smoothing,
    }


def _callbacks(net: Any) -> tuple[Callable[[int], float], dict[str, float]]:
    """Return the factor of the learning rate by epoch, and the limits of the gradients."""
    factors: Callable[[int], float] = lambda epoch: 1.0  # noqa: E731
    clipping: dict[str, float] = {}
    for _, callback in net.callbacks_:
        if isinstance(callback, LRSchedule):
            factors = _factors(callback)
        elif isinstance(callback, GradientClipping):
            if callback.kind == "norm":
                clipping["max_norm"] = float(callback.max_norm)
            elif callback.kind == "value":
                clipping["max_value"] = float(callback.max_value)
    return factors, clipping


def _factors(schedule: LRSchedule) -> Callable[[int], float]:
    """Return what the schedule multiplies a rate by, told by itself on a net of one weight."""
    if schedule.policy in {"plateau", "one_cycle"}:
        raise NotFusibleError(f"the schedule '{schedule.policy}' goes by losses or batches")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    known: list[float] = []
    own = (
        LRSchedule(**schedule.get_params(deep=False))
        if hasattr(schedule, "get_params")
        else schedule
    )
    own.initialize()
    net = _OneWeight(optimizer)

    def factor(epoch: int) -> float:
        while len(known) < epoch:
            own.on_epoch_begin(net)
            own.on_batch_end(net, training=True)
            known.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            own.on_epoch_end(net)
        return known[epoch - 1]

    return factor


class _OneWeight:
    """As much of a net as a schedule by epochs looks at."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer_ = optimizer
        self.history = _NoHistory()


class _NoHistory:
    def record(self, name: str, value: float) -> None:
        """Forget it."""


def _batch_size(net: Any, loader: Mapping[str, Any], arrays: FoldArrays) -> int:
    size = int(loader.get("batch_size", net.batch_size))
    longest = max(map(len, arrays.train))
    return longest if size == -1 else size


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _equal(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name].cpu(), b[name].cpu()) for name in a)


def _structure(module: nn.Module) -> str:
    """Return a hash of all of a module but its weights and the rates of its dropout layers.

    Whatever else it is made of, a number that it keeps or a function that it calls, is taken to
    change what it computes: such modules are trained apart.
    """
    told = [
        (name, type_before_parametrizations(layer), _shapes(layer), _kept(layer))
        for name, layer in module.named_modules()
    ]
    try:
        return str(joblib.hash(cloudpickle.dumps(told)))
    except TypeError as error:
        raise NotFusibleError(f"the module keeps what cannot be pickled ({error})") from error


def _shapes(layer: nn.Module) -> list[tuple[str, tuple[int, ...], str, bool]]:
    tensors = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    return [(name, tuple(t.shape), str(t.dtype), t.requires_grad) for name, t in tensors]


def _kept(layer: nn.Module) -> list[tuple[str, Any]]:
    """Return the attributes of a layer that are no weights, layers, rates or empty tables."""
    without = {"_parameters", "_buffers", "_modules", "_flat_weight_refs", rate_attribute(layer)}
    without.add("training")  # which skorch sets before each step
    without |= {name for name in vars(layer) if name.startswith("_load_state_dict")}
    if isinstance(layer, nn.RNNBase):
        # Its weights again, and their names, which are pickled by whether they are one string.
        without |= {"_flat_weights", "_flat_weights_names", "_all_weights"}
    return [
        (name, value)
        for name, value in vars(layer).items()
        if name not in without and not (name.startswith("_") and not value)
    ]
