"""Allow-list of the nets that the fused loop trains as skorch would, checked part by part.

The loop replaces skorch's own: whatever else a net does between two steps would not be called. So a
part is accepted only if everything about it is listed here; all others are refused, with the
reason.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from skorch import (
    NeuralNet,
    NeuralNetBinaryClassifier,
    NeuralNetClassifier,
    NeuralNetRegressor,
)
from skorch.dataset import Dataset
from torch import nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.data import DataLoader

from hpo._private_parts import note_missing
from hpo._skorch_parts import parts_of
from hpo.executors.fused.callbacks import check_callback
from hpo.fused import OF_CLASSES, OF_NUMBERS, UPDATES, WEIGHT_NORM, NotFusibleError
from hpo.nets.casting import CastingMixin, LabelEncodingMixin, TargetShapeMixin
from hpo.nets.penalty import PenaltyMixin, RegularizedClassifier, RegularizedRegressor

__all__ = [
    "CARRIED",
    "OPTIMIZER_OPTIONS",
    "check_data",
    "check_hooks",
    "check_module",
    "check_net",
    "check_net_class",
    "check_optimizer",
]

_NETS = (
    NeuralNet,
    NeuralNetBinaryClassifier,
    NeuralNetClassifier,
    NeuralNetRegressor,
    PenaltyMixin,
    CastingMixin,
    LabelEncodingMixin,
    TargetShapeMixin,
    RegularizedClassifier,
    RegularizedRegressor,
)
"""Classes all of whose methods the loop replaces."""

CARRIED = frozenset({"__init__", "initialize_module", "initialize_criterion"})
"""Methods of skorch that a user's class may override: they are called for each fold, as usual."""

_SCORING = frozenset(
    [
        "classes_",
        "evaluation_step",
        "forward",
        "forward_iter",
        "infer",
        "predict",
        "predict_proba",
        "score",
        "validation_step",
        "_get_predict_nonlinearity",
        "_merge_x_and_fit_params",
    ]
)
_METADATA = frozenset(
    ["__doc__", "__module__", "__annotations__", "__qualname__", "__repr__", "__str__"]
)
"""Attributes that every class has, or that only describe it."""

_COPIED_ATTRIBUTES = frozenset(
    [
        "_criteria",
        "_modules",
        "_optimizers",
        "cuda_dependent_attributes_",
        "init_context_",
        "prefixes_",
    ]
)
"""Attributes of which every net has its own copy beside that of its class."""

_PARTS = {"module": "modules", "criterion": "criteria", "optimizer": "optimizers"}

_OPTIONS: Mapping[str, tuple[type, str]] = {
    "dataset": (Dataset, "the net has a dataset class of its own (leave `dataset` as it is)"),
    "iterator_train": (
        DataLoader,
        "the net has a training loader of its own (leave `iterator_train` as it is)",
    ),
    "iterator_valid": (
        DataLoader,
        "the net has a validation loader of its own (leave `iterator_valid` as it is)",
    ),
}
_LOADER_TRAIN = {"shuffle", "batch_size", "drop_last"}
_LOADER_VALID = {"batch_size"}

_LOADING = {"_version", "_load_from_state_dict"}
"""Attributes for loading weights, which training does not use."""

_MODULE_OVERRIDES = (
    frozenset(["__init__", "forward", "extra_repr", "reset_parameters"]) | _METADATA | _LOADING
)
"""Attributes of `torch.nn.Module` that a user's module may override."""

_SILENT_OPTIONS: Mapping[str, set[object]] = {
    "foreach": {None, True, False},
    "fused": {None, True, False},
    "capturable": {False},
    "differentiable": {False},
}
"""Options of an optimizer that change how it computes, but not its results."""

OPTIMIZER_OPTIONS: Mapping[type[torch.optim.Optimizer], frozenset[str]] = {
    cls: frozenset({"params", "betas", "initial_lr", *_SILENT_OPTIONS})
    | set(update.numbers)
    | set(update.flags)
    | ({update.starts_at} if update.starts_at else set())
    for cls, update in UPDATES.items()
}
"""Supported options of each optimizer; a test fails if a version of torch adds others."""

_WEIGHT_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def check_net_class(net: Any) -> None:
    """Raise `NotFusibleError` if the net's class, or the net, overrides what the loop replaces."""
    base: Any = next(cls for cls in type(net).__mro__ if cls.__module__.startswith("skorch."))
    inherited = set(dir(base))
    for cls in type(net).__mro__:
        if cls in _NETS or cls.__module__.split(".")[0] in {"skorch", "sklearn", "builtins"}:
            continue
        overridden = sorted(
            inherited.intersection(vars(cls)) - CARRIED - _METADATA - _bookkeeping(cls)
        )
        if overridden:
            raise NotFusibleError(_override_reason(overridden[0]))
    overridden = sorted(inherited.intersection(vars(net)) - _COPIED_ATTRIBUTES)
    if overridden:
        raise NotFusibleError(_override_reason(overridden[0]))
    if type(net) not in _NETS and base not in _NETS:
        raise NotFusibleError(f"the net is a {base.__name__}")


def _bookkeeping(cls: type) -> set[str]:
    """Return the attributes that Python adds to every class, and scikit-learn to estimators."""
    plain = vars(type("", (), {}))
    return {n for n in vars(cls) if n in plain or n.endswith("_request")} | {"__slots__"}


def _override_reason(name: str) -> str:
    part = "scoring" if name in _SCORING else "training"
    return f"the net overrides `{name}` (fused {part} would not call it)"


def check_net(net: Any) -> None:
    """Raise `NotFusibleError` unless the loop supports all settings of an initialized net."""
    check_net_class(net)
    for name, (expected, reason) in _OPTIONS.items():
        if getattr(net, name) is not expected:
            raise NotFusibleError(reason)
    for prefix, allowed in (
        ("dataset", set[str]()),
        ("iterator_train", _LOADER_TRAIN),
        ("iterator_valid", _LOADER_VALID),
    ):
        unsupported = sorted(set(net.get_params_for(prefix)) - allowed)
        if unsupported:
            raise NotFusibleError(
                f"the net sets `{prefix}__{unsupported[0]}` (a batch takes "
                f"{', '.join(sorted(allowed)) or 'no options'} of it: leave the others out)"
            )
    if net.compile:
        raise NotFusibleError("the net compiles its module (pass compile=False: the batch is)")
    _check_parts(net)
    _check_criterion(net.criterion_)
    for name, callback in net.callbacks_:
        check_callback(net, name, callback)
    check_optimizer(net)


def _check_criterion(criterion: Any) -> None:
    """Raise `NotFusibleError` if a criterion has weights to train or does more than its forward."""
    if not isinstance(criterion, nn.Module):
        raise NotFusibleError(f"the criterion is a {type(criterion).__name__} and no torch module")
    if list(criterion.parameters()):
        raise NotFusibleError("the criterion has weights of its own to train")
    for path, layer in criterion.named_modules():
        _check_layer(f"the criterion's part '{path}'" if path else "the criterion", layer)


def _check_parts(net: Any) -> None:
    for kind, many in _PARTS.items():
        names = parts_of(net, many)
        if names is None:
            raise _missing_part("skorch", f"NeuralNet._{many}", f"which {many} a net has")
        if names != [kind]:
            raise NotFusibleError(f"the net has more than one {kind} ({', '.join(names)})")
    if not hasattr(net, "_get_predict_nonlinearity"):
        part = "NeuralNet._get_predict_nonlinearity"
        raise _missing_part("skorch", part, "what a net predicts from its module's output")


def check_optimizer(net: Any) -> None:
    """Raise `NotFusibleError` unless the optimizer's rule, options and weights are supported."""
    optimizer = net.optimizer_
    kind = type(optimizer)
    if kind not in UPDATES:
        rules = ", ".join(sorted(cls.__name__ for cls in UPDATES))
        raise NotFusibleError(
            f"the optimizer is {kind.__name__}, whose rule the loop has not (it has {rules})"
        )
    if any(value for name, value in vars(optimizer).items() if name.endswith("_hooks")):
        raise NotFusibleError("the optimizer has hooks, which a batch would not call")
    if "step" in vars(optimizer) and not hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        raise NotFusibleError("the optimizer has a `step` of its own")
    if len(optimizer.param_groups) != 1:
        raise NotFusibleError(
            "the optimizer has several groups of parameters (leave `optimizer__param_groups` out)"
        )
    (group,) = optimizer.param_groups
    if [id(p) for p in group["params"]] != [id(p) for p in net.module_.parameters()]:
        raise NotFusibleError("the optimizer trains other weights than those of the module")
    for name, value in group.items():
        supported = UPDATES[kind].flags.get(name, _SILENT_OPTIONS.get(name))
        if supported is not None and value not in supported:
            raise NotFusibleError(
                f"the optimizer {kind.__name__} has {name}={value!r} (a batch takes "
                f"{' or '.join(sorted(map(str, supported)))})"
            )
        if name not in OPTIMIZER_OPTIONS[kind]:
            raise NotFusibleError(f"the optimizer {kind.__name__} has the unknown option {name}")


def check_module(module: nn.Module) -> None:
    """Raise `NotFusibleError` if a part of the module does more than its own ``forward``."""
    if any(_global_hooks()):
        raise NotFusibleError(
            "hooks are registered for all modules, which a batch would not call (remove them)"
        )
    for path, layer in module.named_modules():
        label = f"the module's part '{path}'" if path else "the module"
        _check_layer(label, layer)
    for name, parameter in module.named_parameters():
        for table in _WEIGHT_HOOKS:
            if not hasattr(parameter, table):
                raise _missing_part("torch", f"Tensor.{table}", "whether a weight has hooks")
            if getattr(parameter, table):
                raise NotFusibleError(f"the weight '{name}' has a hook")
        if type(parameter) is not nn.Parameter:
            raise NotFusibleError(f"the weight '{name}' is a {type(parameter).__name__}")


def _check_layer(label: str, layer: nn.Module) -> None:
    if isinstance(layer, torch.jit.ScriptModule):
        raise NotFusibleError(f"{label} is scripted")
    if hasattr(layer, "_orig_mod") or type(layer).__module__.startswith("torch._dynamo"):
        raise NotFusibleError(
            f"{label} is compiled by torch.compile (leave that out: the batch is compiled)"
        )
    if isinstance(layer, nn.modules.lazy.LazyModuleMixin):
        raise NotFusibleError(
            f"{label} is lazy: its weights have no shape before the first batch (name its sizes)"
        )
    if is_parametrized(layer):
        _check_parametrized(label, layer)
    check_hooks(label, layer)
    for cls in type(layer).__mro__:
        if cls.__module__.split(".")[0] in {"torch", "builtins"}:
            continue
        overridden = (
            set(dir(nn.Module)).intersection(vars(cls)) - _MODULE_OVERRIDES - _bookkeeping(cls)
        )
        if overridden:
            raise NotFusibleError(f"{label} overrides `{min(overridden)}`")
    overridden = {
        name for name in vars(layer) if name in dir(type(layer)) and callable(vars(layer)[name])
    }
    if overridden:
        raise NotFusibleError(f"{label} has a `{min(overridden)}` of its own")


def _check_parametrized(label: str, layer: Any) -> None:
    for name, chain in layer.parametrizations.items():
        for parametrization in chain:
            if type(parametrization) is not WEIGHT_NORM:
                kind = type(parametrization).__name__.strip("_")
                raise NotFusibleError(
                    f"{label} has its '{name}' parametrized by {kind} (of these "
                    "weight_norm alone is carried)"
                )


def check_hooks(label: str, layer: nn.Module) -> None:
    """Raise `NotFusibleError` if a layer has hooks other than those for loading weights."""
    tables = {name: value for name, value in vars(layer).items() if name.endswith("_hooks")}
    if not tables:
        raise _missing_part("torch", "Module._forward_hooks", "whether a module has hooks")
    for name, value in tables.items():
        if value and not name.startswith("_load_state_dict"):
            raise NotFusibleError(f"{label} has hooks ({name.strip('_').replace('_', ' ')})")


def _global_hooks() -> Iterable[Any]:
    tables = [
        table
        for name, table in vars(nn.modules.module).items()
        if name.startswith("_global_") and name.endswith("_hooks")
    ]
    if not tables:
        raise _missing_part(
            "torch", "nn.modules.module._global_forward_hooks", "whether there are hooks"
        )
    return tables


def _missing_part(library: str, part: str, what: str) -> NotFusibleError:
    """Return the error that a private part of another library, which a check needs, is missing."""
    reason = f"{library} does not tell {what}: it has no {part}"
    note_missing(library, part, "no net is fused, and trials go to worker processes")
    return NotFusibleError(reason)


def check_data(net: Any, X: torch.Tensor, y: torch.Tensor) -> None:
    """Raise `NotFusibleError` if skorch would give the module other types than the loop does."""
    weights = {p.dtype for p in net.module_.parameters()}
    if weights != {torch.float32}:
        raise NotFusibleError(f"the weights are of type {', '.join(map(_short, weights))}")
    if X.is_floating_point() and X.dtype != torch.float32:
        raise NotFusibleError(f"X is of type {_short(X.dtype)} (make it float32)")
    criterion = type(net.criterion_)
    if criterion not in OF_CLASSES | OF_NUMBERS:  # a custom criterion checks its targets itself
        if y.dtype not in {torch.float32, torch.int64}:
            raise NotFusibleError(f"y is of type {_short(y.dtype)} (make it float32 or int64)")
    elif criterion in OF_NUMBERS and y.dtype != torch.float32:
        raise NotFusibleError(f"y is of type {_short(y.dtype)} (make it float32)")
    elif criterion in OF_CLASSES and y.dtype != torch.int64:
        raise NotFusibleError(f"the classes in y are of type {_short(y.dtype)} (make them int64)")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
