"""Allow-list of the callbacks, and their settings, that the fused loop supports."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skorch.callbacks import (
    BatchScoring,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
    WarmRestartLR,
)
from skorch.utils import to_numpy
from torch.optim import lr_scheduler

from hpo.callbacks.clipping import GradientClipping
from hpo.callbacks.schedule import LRSchedule
from hpo.exceptions import DataError
from hpo.executors.fused.replayed_callbacks import ReplayedCallbacks, shared_by_folds
from hpo.fused import NotFusibleError, Schedule
from hpo.training.callbacks import params_of
from hpo.training.scoring import Scoring

__all__ = ["check_callback", "clipping_of", "kind_of_callbacks", "schedules_of", "scorings_of"]

_SILENT = (EpochTimer, PrintLog, ProgressBar)
"""Callbacks that change nothing and write nothing that a study reports."""

_DEFAULT = [(PassthroughScoring, "train_loss"), (PassthroughScoring, "valid_loss")]
"""Callbacks by which every net records its losses; without others, `TrialBatch` does so."""

_CLIPPING = (GradientClipping, GradientNormClipping)

_BY_COUNT = (
    lr_scheduler.ConstantLR,
    lr_scheduler.CosineAnnealingLR,
    lr_scheduler.CosineAnnealingWarmRestarts,
    lr_scheduler.CyclicLR,
    lr_scheduler.ExponentialLR,
    lr_scheduler.LambdaLR,
    lr_scheduler.LinearLR,
    lr_scheduler.MultiStepLR,
    lr_scheduler.MultiplicativeLR,
    lr_scheduler.OneCycleLR,
    lr_scheduler.PolynomialLR,
    lr_scheduler.StepLR,
    WarmRestartLR,
)
"""Learning rate schedulers that depend only on how often they have stepped."""

_SETTINGS: Mapping[str, set[object]] = {
    "step_every": {"epoch", "batch"},
    "event_name": {None, "event_lr", "lr"},
}
"""Settings of an `LRScheduler` that are supported."""

_CYCLE_MOMENTUM = (lr_scheduler.CyclicLR, lr_scheduler.OneCycleLR)


def check_callback(net: Any, name: str, callback: Any) -> None:
    """Raise `NotFusibleError` if the loop does not support a callback of an initialized net."""
    kind = type(callback)
    if kind in {*_SILENT, LRSchedule}:
        return
    if kind not in _CHECKS:
        raise NotFusibleError(
            f"the net has the callback '{name}' ({kind.__name__}), which the fused loop does not "
            "call"
        )
    why = _CHECKS[kind](net, callback)
    if why:
        raise NotFusibleError(f"the net has the callback '{name}' ({kind.__name__}), {why}")


def _unsupported_clipping(net: Any, callback: Any) -> str:
    """Return why a callback is not supported, like the functions below; empty if it is."""
    if sum(type(other) in _CLIPPING for _, other in net.callbacks_) > 1:
        return "beside another one that clips gradients"
    if type(callback) is GradientClipping:
        return ""
    value, norm = callback.gradient_clip_value, callback.gradient_clip_norm_type
    if value is not None and not (isinstance(value, int | float) and value > 0):
        return f"which has gradient_clip_value={value!r}"
    if value is not None and norm != 2:
        return f"which has gradient_clip_norm_type={norm!r} (the fused loop has the norm 2)"
    return ""


def _unsupported_schedule(net: Any, callback: LRScheduler) -> str:
    policy = callback.policy_
    if sum(isinstance(other, LRScheduler | LRSchedule) for _, other in net.callbacks_) > 1:
        return "beside another schedule"
    if policy not in {*_BY_COUNT, lr_scheduler.ReduceLROnPlateau}:
        return f"whose policy ({getattr(policy, '__name__', policy)}) it does not know"
    for name, supported in _SETTINGS.items():
        if getattr(callback, name) not in supported:
            return f"which has {name}={getattr(callback, name)!r}"
    if policy is lr_scheduler.ReduceLROnPlateau:
        return _unsupported_plateau(callback)
    if policy in _CYCLE_MOMENTUM and vars(callback).get("cycle_momentum", True) is not False:
        return "which cycles the momentum (pass cycle_momentum=False)"
    return ""


def _unsupported_plateau(callback: LRScheduler) -> str:
    if callback.step_every == "batch":
        return "which looks for a plateau by minibatches (step_every='batch')"
    return "" if isinstance(callback.monitor, str) else "whose monitor is a function"


def _unsupported_stopping(net: Any, callback: EarlyStopping) -> str:
    return "" if isinstance(callback.monitor, str) else "whose monitor is no name"


def _unsupported_passthrough(net: Any, callback: PassthroughScoring) -> str:
    supported = {("train_loss", True), ("valid_loss", False)}
    if (callback.name, bool(callback.on_train)) in supported:
        return ""
    return f"which takes the mean of '{callback.name}'"


def _unsupported_scoring(net: Any, callback: Any) -> str:
    """Return why a scoring is not supported; without a validation part, nothing is scored."""
    if callback.on_train:
        return "which scores the training part (on_train=True)"
    return _unsupported_validation(net, callback) if net.train_split else ""


def _unsupported_validation(net: Any, callback: Any) -> str:
    if type(callback) is BatchScoring:
        return "which scores minibatches"
    names = [c.name_ for _, c in net.callbacks_ if isinstance(c, EpochScoring)]
    if names.count(callback.name_) > 1 or callback.name_ in {"train_loss", "valid_loss"}:
        return f"which has a name that another one has ({callback.name_})"
    if callback.target_extractor is not to_numpy:
        return "which has a target_extractor of its own"
    try:
        scoring = Scoring(net, callback.scoring_)
    except DataError as error:
        return f"whose scoring is not known ({error})"
    return "" if scoring.looks_at_predictions_only else "whose scoring is a function of its own"


_CHECKS: Mapping[type, Callable[[Any, Any], str]] = {
    GradientClipping: _unsupported_clipping,
    GradientNormClipping: _unsupported_clipping,
    LRScheduler: _unsupported_schedule,
    EarlyStopping: _unsupported_stopping,
    EpochScoring: _unsupported_scoring,
    BatchScoring: _unsupported_scoring,
    PassthroughScoring: _unsupported_passthrough,
}


def clipping_of(net: Any) -> dict[str, float]:
    """Return the limits of gradient clipping: ``max_norm`` or ``max_value``."""
    clipping: dict[str, float] = {}
    for _, callback in net.callbacks_:
        if isinstance(callback, GradientNormClipping) and callback.gradient_clip_value is not None:
            clipping["max_norm"] = float(callback.gradient_clip_value)
        elif isinstance(callback, GradientClipping) and callback.kind == "norm":
            clipping["max_norm"] = float(callback.max_norm)
        elif isinstance(callback, GradientClipping) and callback.kind == "value":
            clipping["max_value"] = float(callback.max_value)
    return clipping


def scorings_of(net: Any) -> dict[str, Scoring]:
    """Return the scorers of the net's own validation part, by their names in the history."""
    if not net.train_split:
        return {}
    scorings = (c for _, c in net.callbacks_ if isinstance(c, EpochScoring))
    return {callback.name_: Scoring(net, callback.scoring_) for callback in scorings}


def schedules_of(net: Any) -> Callable[[float, int], Sequence[Schedule]] | None:
    """Return a function that makes the callbacks of some folds; None if there is nothing to do."""
    idle = (EpochScoring, BatchScoring) if not net.train_split else ()
    active = [
        (name, callback)
        for name, callback in net.callbacks_
        if not isinstance(callback, (*_SILENT, *_CLIPPING, *idle))
    ]
    if not net.train_split and [(type(c), getattr(c, "name", "")) for _, c in active] == _DEFAULT:
        return None
    if not net.train_split and not any(_looks_at_losses(callback) for _, callback in active):
        return lambda lr, n_folds: shared_by_folds(active, lr, n_folds)
    return lambda lr, n_folds: [ReplayedCallbacks(active, lr) for _ in range(n_folds)]


def kind_of_callbacks(net: Any) -> str:
    """Return the kind of a net's callbacks: their classes and settings, but not their numbers."""
    return repr([(type(c), _settings(c)) for _, c in net.callbacks_])


def _settings(callback: Any) -> list[tuple[str, Any]]:
    return sorted(
        (name, "a number" if type(value) in {int, float} else repr(value))
        for name, value in params_of(callback).items()
    )


def _looks_at_losses(callback: Any) -> bool:
    """Return whether a callback depends on losses or scores, so that folds may differ."""
    if isinstance(callback, LRScheduler):
        return callback.policy_ is lr_scheduler.ReduceLROnPlateau
    if isinstance(callback, LRSchedule):
        return bool(callback.policy == "plateau")
    return not isinstance(callback, PassthroughScoring)
