"""What of an objective the fused engine can train: nets taken apart into models and numbers."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cloudpickle
import joblib
import numpy as np
import torch
from sklearn.pipeline import Pipeline
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier
from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from hpo.executors.fused.callbacks import clipping_of, kind_of_callbacks, schedules_of, scorings_of
from hpo.executors.fused.data import cast, cast_target, check_target
from hpo.executors.fused.loss import criterion_structure, hash_of
from hpo.executors.fused.splits import HeldOut, held_out_of, predefined, split_rows
from hpo.executors.fused.supported import check_data, check_module, check_net
from hpo.fused import (
    UPDATES,
    BatchableModule,
    Criterion,
    ModelState,
    NotFusibleError,
    Plan,
    dropout_rates,
    rate_attribute,
)
from hpo.nets.casting import TargetShapeMixin
from hpo.training.adapters import last_step, net_prefix
from hpo.training.callbacks import copy_of
from hpo.training.fold import configure
from hpo.training.indexing import as_numpy, take
from hpo.training.objective import Objective
from hpo.training.random_stream import RandomStream
from hpo.training.scoring import Scoring
from hpo.trial import Trial, derive_seed

__all__ = ["ExtractedTrial", "FoldArrays", "ModelExtractor"]


@dataclass(frozen=True)
class FoldArrays:
    """The data of all folds as the module takes them.

    Parameters
    ----------
    X, y : tensors of shape (n_samples, ...)
    train : sequence of int64 tensor
        Rows that each fold is trained on.
    fitted : sequence of int64 tensor
        Rows that each fold's ``fit`` is given: those, and what the net sets aside of them.
    X_valid : tensor of shape (n_folds, n_longest, ...)
        Validation parts, the shorter ones filled up.
    y_valid : sequence of array
        Without the filling.
    held_out : HeldOut or None
        The nets' own validation parts (``train_split``), if they have some.
    """

    X: torch.Tensor
    y: torch.Tensor
    train: Sequence[torch.Tensor]
    fitted: Sequence[torch.Tensor]
    X_valid: torch.Tensor
    y_valid: Sequence[Any]
    held_out: HeldOut | None = None


@dataclass(frozen=True)
class ExtractedTrial:
    """A trial taken apart.

    Parameters
    ----------
    trial : Trial
    key : str
        Trials of one key can be trained in one batch.
    plan : callable
        Makes what the batch has in common.
    member : ModelState
    net : skorch net
        That of the first fold, as initialized: it says how outputs become predictions.
    n_steps : int
    scorings : mapping of str to Scoring
        Of the net's own validation part, by their names in its history.
    callbacks : str
        The kind of its callbacks; see `kind_of_callbacks`.
    """

    trial: Trial
    key: str
    plan: Callable[[], Plan]
    member: ModelState
    net: Any
    n_steps: int
    scorings: Mapping[str, Scoring] = field(default_factory=dict)
    callbacks: str = ""


class ModelExtractor:
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
        self.proved: set[str] = set()
        """Kinds of callbacks that were seen to do the same in a batch; see `prove_callbacks`."""

    def _check_objective(self) -> None:
        objective = self.objective
        final = last_step(objective.estimator)
        if not isinstance(final, NeuralNet):
            raise NotFusibleError(
                f"{type(final).__name__} is no skorch net, and others have no batches"
            )
        if final is not objective.estimator and type(objective.estimator) is not Pipeline:
            kind = type(objective.estimator).__name__
            raise NotFusibleError(
                f"the estimator is a {kind} and no net or Pipeline that ends in one"
            )
        if objective.eval_every:
            raise NotFusibleError(
                "the study reports by optimizer steps (leave eval_every out to report by epochs)"
            )
        if objective.return_train_score:
            raise NotFusibleError(
                "the training parts are scored too (pass return_train_score=False)"
            )
        if objective.fit_params or objective.score_params:
            raise NotFusibleError(
                "fit or the scorers are given parameters (such as sample weights), which a batch "
                "has no place for"
            )
        if not objective.scoring.looks_at_predictions_only:
            raise NotFusibleError(
                "the score is a function of its own that looks at the estimator (make it one of "
                "predictions: sklearn.metrics.make_scorer)"
            )
        if objective.y is None:
            raise NotFusibleError("there is no y to train the net for")

    def _arrays(self) -> FoldArrays:
        """Prepare each fold's data once: the preprocessing is the same for all trials."""
        objective = self.objective
        estimator = objective.estimator
        split = copy_of(last_step(estimator).train_split)
        given = predefined(split) if split else None
        parts, train, valid, labels, start = [], [], [], [], 0
        kept, set_aside = list[torch.Tensor](), list[torch.Tensor]()
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
                Xt = take(objective.X, rows)
            if split and given is None:
                parts_of_fold = split_rows(split, Xt, take(objective.y, rows))
                for chosen, some in zip((kept, set_aside), parts_of_fold, strict=True):
                    chosen.append(train[-1][torch.as_tensor(some)])
        y = cast_target(last_step(estimator), _tensor(objective.y))
        if pipeline:
            y = torch.cat([y[torch.as_tensor(rows)] for rows, _ in objective.splits])
        if given is not None:
            X_given, y_given = self._rows(given[0]), _tensor(given[1])
            set_aside = [torch.arange(len(X_given)) + sum(map(len, parts))] * len(train)
            parts.append(_like(parts[0], X_given, "X"))
            y = torch.cat([y, _like(y, y_given, "y")])
        longest = max(map(len, valid))
        filled = [torch.cat([X, X[:1].expand(longest - len(X), *X.shape[1:])]) for X in valid]
        X, X_valid = torch.cat(parts).to(self._device), torch.stack(filled).to(self._device)
        y = y.to(self._device)
        aside = held_out_of(X, y, set_aside) if set_aside else None
        return FoldArrays(X, y, kept or train, train, X_valid, labels, aside)

    def _rows(self, data: Any) -> torch.Tensor:
        return cast(last_step(self.objective.estimator), _tensor(data))

    def extract_model(self, trial: Trial) -> ExtractedTrial:
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
            raise NotFusibleError(
                f"{strange[0]} is searched, and a batch has one preprocessing (fix it)"
            )
        if f"{self._prefix}train_split" in params:
            raise NotFusibleError("the net's own validation part is searched (train_split)")
        net = self._net(trial, params, 0)
        self._check(net)
        of_probabilities = isinstance(net, NeuralNetClassifier)
        criterion = Criterion(net.criterion_, of_probabilities=of_probabilities)
        (group,) = net.optimizer_.param_groups
        numbers = _numbers(net, group, criterion)
        of_clipping, scorings = clipping_of(net), scorings_of(net)
        module = net.module_
        flags = {name: group[name] for name in UPDATES[type(net.optimizer_)].flags if name in group}
        loader = net.get_params_for("iterator_train")
        penalises = numbers["l1_lambda"] > 0 or numbers["l2_lambda"] > 0

        def plan() -> Plan:
            return Plan(
                batchable=BatchableModule(module),
                criterion=criterion,
                optimizer=type(net.optimizer_),
                flags=flags,
                batch_size=_batch_size(net, loader, self.arrays),
                shuffle=bool(loader.get("shuffle", False)),
                drop_last=bool(loader.get("drop_last", False)),
                clips=bool(of_clipping),
                penalises=penalises,
                flattens=isinstance(net, NeuralNetBinaryClassifier),
                shapes_target=isinstance(net, TargetShapeMixin),
                valid_batch_size=_valid_batch_size(net),
            )

        structure = {
            "module": _structure(module),
            "optimizer": (type(net.optimizer_).__name__, sorted(flags.items())),
            "criterion": criterion_structure(net.criterion_, criterion),
            "predicts": hash_of("the net", net.predict_nonlinearity),
            "loader": sorted((k, v) for k, v in loader.items() if k != "collate_fn"),
            "batch_size": net.batch_size,
            "valid_batch_size": _valid_batch_size(net),
            "clips": bool(of_clipping),
            "penalises": penalises,
            "scorings": [(name, repr(scoring.scorers())) for name, scoring in scorings.items()],
        }
        key = repr(structure)
        if key not in self._checked:
            check_target(net, self.arrays.X, self.arrays.y)
            self._checked.add(key)
        member = ModelState(
            states=self._states(key, net, trial, params),
            numbers={**numbers, **of_clipping},
            rates=dropout_rates(module),
            schedules=schedules_of(net),
        )
        n_steps = self.objective.max_steps(trial.params)
        kind = kind_of_callbacks(net)
        return ExtractedTrial(trial, key, plan, member, net, n_steps, scorings, kind)

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
        """Raise `NotFusibleError` if the nets of two folds differ in more than their weights."""
        BatchableModule(net.module_)  # a layer that cannot be fused is the better reason
        first = _structure(net.module_)
        loss = criterion_structure(net.criterion_, Criterion(net.criterion_))
        for i in range(1, self.objective.n_folds):
            other = self._net(trial, params, i)
            if criterion_structure(other.criterion_, Criterion(other.criterion_)) != loss:
                raise NotFusibleError("the criteria of the folds differ (one draws what it keeps)")
            if _structure(other.module_) != first:
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
        raise NotFusibleError(
            f"the module is given a {type(data).__name__} (give X and y as arrays or tensors)"
        )
    if isinstance(data, np.ndarray) and data.dtype.kind not in "fiub":
        raise NotFusibleError(f"the data are of type {data.dtype} (make them numbers)")
    return torch.as_tensor(data)


def _like(known: torch.Tensor, data: torch.Tensor, name: str) -> torch.Tensor:
    """Return data of a predefined split, which must be of one kind with those of the folds."""
    if data.dtype != known.dtype or data.shape[1:] != known.shape[1:]:
        raise NotFusibleError(f"{name} of the net's predefined_split is of another type or shape")
    return data


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


def _batch_size(net: Any, loader: Mapping[str, Any], arrays: FoldArrays) -> int:
    size = int(loader.get("batch_size", net.batch_size))
    longest = max(map(len, arrays.train))
    return longest if size == -1 else size


def _valid_batch_size(net: Any) -> int:
    size = int(net.get_params_for("iterator_valid").get("batch_size", net.batch_size))
    return sys.maxsize if size == -1 else size


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
