"""Extraction of models and their numbers from the nets of an objective, for the fused engine."""

import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier
from torch import nn

from hpo.executors.fused.arrays import FoldArrays, fold_arrays
from hpo.executors.fused.callbacks import clipping_of, kind_of_callbacks, schedules_of, scorings_of
from hpo.executors.fused.data import check_target
from hpo.executors.fused.loss import criterion_structure, hash_of
from hpo.executors.fused.seat_state import SeatState
from hpo.executors.fused.structure import ModuleStructure, module_structure
from hpo.executors.fused.supported import check_data, check_module, check_net
from hpo.fused import (
    UPDATES,
    BatchableModule,
    Criterion,
    ModelState,
    NotFusibleError,
    Plan,
    dropout_rates,
)
from hpo.nets.casting import TargetShapeMixin
from hpo.training.adapters import last_step, net_prefix
from hpo.training.cross_validation import FoldPast
from hpo.training.fold import configure
from hpo.training.objective import Objective
from hpo.training.random_stream import RandomStream
from hpo.training.scoring import Scoring
from hpo.trial import Trial, derive_seed

__all__ = ["ExtractedTrial", "ModelExtractor"]


@dataclass(frozen=True)
class ExtractedTrial:
    """What a batch needs of a trial.

    Parameters
    ----------
    trial : Trial
    key : str
        Trials with the same key differ in numbers alone.
    family : str
        Trials with the same family may differ in their optimizers, batch sizes and sizes too; a
        proof tells whether one batch can train them. Folds are no part of it.
    structure : ModuleStructure
    folds : sequence of int
        The folds that are trained.
    plan : callable
        Returns the plan of the model alone.
    member : ModelState
    net : skorch net
        The initialized net of the first fold; it defines how outputs become predictions.
    n_steps : int
    scorings : mapping of str to Scoring
        Scorers of the net's own validation part, by their names in its history.
    callbacks : str
        The kind of the net's callbacks; see `kind_of_callbacks`.
    resumed : SeatState or None
        Where it goes on; None if it begins.
    past : sequence of FoldPast
        What its first fold had at each step, if that was trained before the others.
    """

    trial: Trial
    key: str
    family: str
    structure: ModuleStructure
    folds: Sequence[int]
    plan: Callable[[], Plan]
    member: ModelState
    net: Any
    n_steps: int
    scorings: Mapping[str, Scoring] = field(default_factory=dict)
    callbacks: str = ""
    resumed: SeatState | None = None
    past: Sequence[FoldPast] = ()


class ModelExtractor:
    """Extracts models for the fused engine from the trials of an objective.

    Parameters
    ----------
    objective : Objective
    device : str, default="cpu"
        The torch device that the data are moved to.

    Attributes
    ----------
    folds : sequence of int
        Numbers of the folds that are trained.

    Raises
    ------
    NotFusibleError
        If none of its trials can be fused; the message names the cause.
    """

    def __init__(self, objective: Objective, device: str = "cpu") -> None:
        self.objective = objective
        self._prefix = net_prefix(objective.estimator)
        self._check_objective()
        self.arrays = fold_arrays(objective, device)
        self.folds: Sequence[int] = range(objective.n_folds)
        self._module_suffices: dict[str, bool] = {}
        self._checked: set[str] = set()
        self.proved: set[str] = set()
        """Kinds of callbacks that were shown to do the same in a batch; see `prove_callbacks`."""

    def of_folds(self, folds: Sequence[int]) -> "ModelExtractor":
        """Return an extractor of models for some of the folds, in the same order."""
        part = copy.copy(self)
        part.objective = copy.copy(self.objective)
        part.objective.splits = [self.objective.splits[i] for i in folds]
        part.objective.races = False
        part.arrays = self.arrays.of_folds(folds)
        part.folds = folds
        part._module_suffices, part._checked, part.proved = {}, set(), set()
        return part

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

    def extract_model(self, trial: Trial) -> ExtractedTrial:
        """Extract a model for a batch from ``trial``.

        Raises
        ------
        NotFusibleError
            If it cannot be trained in a batch.
        Exception
            Whatever its parameters would raise if it were trained alone.
        """
        params = self.objective.resolve(trial.params)
        unsupported = [name for name in params if not name.startswith(self._prefix)]
        if unsupported:
            raise NotFusibleError(
                f"{unsupported[0]} is searched, and a batch has one preprocessing (fix it)"
            )
        if f"{self._prefix}train_split" in params:
            raise NotFusibleError("the net's own validation part is searched (train_split)")
        net = self._make_net(trial, params, 0)
        self._check(net)
        of_probabilities = isinstance(net, NeuralNetClassifier)
        criterion = Criterion(net.criterion_, of_probabilities=of_probabilities)
        (group,) = net.optimizer_.param_groups
        numbers = _numbers(net, group, criterion)
        clipping, scorings = clipping_of(net), scorings_of(net)
        module = net.module_
        flags = {name: group[name] for name in UPDATES[type(net.optimizer_)].flags if name in group}
        loader = net.get_params_for("iterator_train")
        penalises = numbers["l1_lambda"] > 0 or numbers["l2_lambda"] > 0

        batch_size = _batch_size(net, loader, self.arrays)

        def plan() -> Plan:
            return Plan(
                batchable=BatchableModule(module),
                criterion=criterion,
                optimizer=type(net.optimizer_),
                flags=flags,
                batch_size=batch_size,
                shuffle=bool(loader.get("shuffle", False)),
                drop_last=bool(loader.get("drop_last", False)),
                clips=bool(clipping),
                penalises=penalises,
                flattens=isinstance(net, NeuralNetBinaryClassifier),
                shapes_target=isinstance(net, TargetShapeMixin),
                valid_batch_size=_valid_batch_size(net),
            )

        structure = module_structure(module)
        folds = {"folds": tuple(self.folds)}
        common = {
            "criterion": criterion_structure(net.criterion_, criterion),
            "predicts": hash_of("the net", net.predict_nonlinearity),
            "loader": sorted(
                (k, v) for k, v in loader.items() if k not in {"collate_fn", "batch_size"}
            ),
            "scorings": [(name, repr(scoring.scorers())) for name, scoring in scorings.items()],
        }
        sizes = {"batch_size": batch_size, "valid_batch_size": _valid_batch_size(net)}
        own = {
            "module": structure.whole,
            "optimizer": (type(net.optimizer_).__name__, sorted(flags.items())),
            "clips": bool(clipping),
            "penalises": penalises,
            **sizes,
        }
        by_minibatch = (
            structure.depends_on_minibatch
            or not criterion.adds_up
            or bool(loader.get("drop_last", False))
            or self.arrays.held_out is not None  # whose loss is a mean over minibatches
        )
        key = repr(folds | common | own)
        family = repr(common | {"module": structure.family} | (sizes if by_minibatch else {}))
        if key not in self._checked:
            check_target(net, self.arrays.X, self.arrays.y)
            self._checked.add(key)
        weights = f"{structure.whole} {common['criterion']}"
        member = ModelState(
            states=self._states(weights, net, trial, params),
            numbers={**numbers, **clipping},
            rates=dropout_rates(module),
            schedules=schedules_of(net),
            optimizer=type(net.optimizer_),
            flags=flags,
            batch_size=batch_size,
        )
        return ExtractedTrial(
            trial=trial,
            key=key,
            family=family,
            structure=structure,
            folds=self.folds,
            plan=plan,
            member=member,
            net=net,
            n_steps=self.objective.max_steps(trial.params),
            scorings=scorings,
            callbacks=kind_of_callbacks(net),
        )

    def _check(self, net: Any) -> None:
        check_net(net)
        check_module(net.module_)
        check_data(net, self.arrays.X, self.arrays.y)

    def _make_net(self, trial: Trial, params: Mapping[str, Any], i: int) -> Any:
        """Return the net of the i-th fold, with the weights with which it would begin alone."""
        with RandomStream(derive_seed(trial.seed, "fold", self.folds[i])).active():
            # Made on the CPU, as a module is before it is moved; many are moved to a GPU together.
            net = last_step(configure(self.objective.estimator, params, "cpu"))
            net.initialize()
        if self.objective.classes is not None and isinstance(net, NeuralNetClassifier):
            net.classes_inferred_ = np.asarray(self.objective.classes)
        return net

    def unfitted(self, trial: Trial, device: str) -> Any:
        """Return the net of a trial, configured as for training alone, and not initialized."""
        params = self.objective.resolve(trial.params)
        return last_step(configure(self.objective.estimator, params, device))

    def _states(
        self, key: str, net: Any, trial: Trial, params: Mapping[str, Any]
    ) -> list[dict[str, torch.Tensor]]:
        """Return the weights that each fold starts from; nets with the same ``key`` are alike.

        For a fold only the module is made, without a net around it, if the first trial of its
        structure shows that this gives the same weights.
        """
        first, folds = _state(net.module_), range(1, self.objective.n_folds)
        if key not in self._module_suffices:
            self._check_folds(net, trial, params)
            self._module_suffices[key] = _equal(first, self._fresh_state(net, trial, 0))
        if self._module_suffices[key]:
            return [first, *(self._fresh_state(net, trial, i) for i in folds)]
        return [first, *(_state(self._make_net(trial, params, i).module_) for i in folds)]

    def _check_folds(self, net: Any, trial: Trial, params: Mapping[str, Any]) -> None:
        """Raise `NotFusibleError` if the nets of two folds differ in more than their weights."""
        BatchableModule(net.module_)  # a layer that cannot be fused is the more helpful reason
        first = module_structure(net.module_).whole
        loss = criterion_structure(net.criterion_, Criterion(net.criterion_))
        for i in range(1, self.objective.n_folds):
            other = self._make_net(trial, params, i)
            if criterion_structure(other.criterion_, Criterion(other.criterion_)) != loss:
                raise NotFusibleError("the criteria of the folds differ (one draws what it keeps)")
            if module_structure(other.module_).whole != first:
                raise NotFusibleError(
                    "the modules of the folds differ in what they keep beside their weights (an "
                    "attribute is drawn at random or counts the modules: make it a buffer)"
                )

    def _fresh_state(self, net: Any, trial: Trial, i: int) -> dict[str, torch.Tensor]:
        with RandomStream(derive_seed(trial.seed, "fold", self.folds[i])).active():
            module = net.initialized_instance(net.module, net.get_params_for("module"))
        return _state(module)


def _numbers(net: Any, group: Mapping[str, Any], criterion: Criterion) -> dict[str, float]:
    update = UPDATES[type(net.optimizer_)]
    options = dict(group)
    if "betas" in options:
        options["beta1"], options["beta2"] = options["betas"]
    names = [*update.numbers, *([update.starts_at] if update.starts_at else [])]
    return {
        **{name: float(options[name]) for name in names if name in options},
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
