"""What two modules have in common: whether they differ in nothing, or in their sizes alone."""

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from hpo.executors.fused.loss import hash_of
from hpo.fused import rate_attribute

__all__ = ["ModuleStructure", "module_structure"]

_SIZES = frozenset(
    ["embedding_dim", "in_channels", "in_features", "num_features", "out_channels", "out_features"]
)
"""Attributes of torch's layers that follow from the shapes of their weights.

Not ``num_embeddings``: a smaller table raises an error for codes that a larger one has.
"""

_BY_MINIBATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Layers whose outputs depend on the other rows of a minibatch."""


@dataclass(frozen=True)
class ModuleStructure:
    """The structure of a module.

    Parameters
    ----------
    whole : str
        A hash of everything in it but its weights and dropout rates.
    family : str
        The same without its sizes.
    sizes : tuple
        Shapes of its weights and buffers, and the numbers that parts of the user's own classes
        keep and that are among these shapes, so that they may be sizes.
    n_weights : int
    depends_on_minibatch : bool
        Whether it has batch normalization.
    """

    whole: str
    family: str
    sizes: tuple[tuple[str, tuple[int, ...]], ...]
    n_weights: int
    depends_on_minibatch: bool

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes and own numbers by name."""
        return dict(self.sizes)


def module_structure(module: nn.Module) -> ModuleStructure:
    """Return the structure of a module.

    Any difference but in sizes, such as in a number that a layer keeps or a function that it calls,
    is assumed to change what the module computes: such modules are trained in separate batches.
    Whether one with other sizes can be trained in the same batch is left to a proof.
    """
    whole: list[Any] = []
    family: list[Any] = []
    sizes: list[tuple[str, tuple[int, ...]]] = []
    lengths = {n for parameter in module.parameters() for n in parameter.shape}
    for name, layer in module.named_modules():
        kind, tensors = type_before_parametrizations(layer), _tensors(layer)
        attributes = _attributes(layer)
        whole.append((name, kind, tensors, attributes))
        of_own, numbers = _split(kind, attributes, lengths)
        family.append((name, kind, [(n, len(shape), *rest) for n, shape, *rest in tensors], of_own))
        sizes += [(f"{name}.{n}".lstrip("."), shape) for n, shape, *_ in tensors]
        sizes += [(f"{name}.{n}()".lstrip("."), value) for n, value in numbers]
    return ModuleStructure(
        hash_of("the module", whole),
        hash_of("the module", family),
        tuple(sizes),
        sum(parameter.numel() for parameter in module.parameters()),
        any(isinstance(layer, _BY_MINIBATCH) for layer in module.modules()),
    )


def _split(
    kind: type, attributes: list[tuple[str, Any]], lengths: set[int]
) -> tuple[list[tuple[str, Any]], list[tuple[str, tuple[int, ...]]]]:
    """Return the attributes that are no sizes, and numbers of a user's class, which may be."""
    if kind.__module__.split(".")[0] == "torch":
        return [(name, value) for name, value in attributes if name not in _SIZES], []
    numbers = {name: _whole_numbers(value, lengths) for name, value in attributes}
    others = [(name, value) for name, value in attributes if numbers[name] is None]
    return others, [(name, value) for name, value in numbers.items() if value is not None]


def _whole_numbers(value: Any, lengths: set[int]) -> tuple[int, ...] | None:
    """Return numbers that may be sizes: each is the length of some weight's axis."""
    values = value if isinstance(value, list | tuple) else (value,)
    are_sizes = bool(values) and all(type(n) is int and n in lengths for n in values)
    return tuple(values) if are_sizes else None


def _tensors(layer: nn.Module) -> list[tuple[str, tuple[int, ...], str, bool]]:
    tensors = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    return [(name, tuple(t.shape), str(t.dtype), t.requires_grad) for name, t in tensors]


def _attributes(layer: nn.Module) -> list[tuple[str, Any]]:
    """Return the attributes of a layer that are not weights, layers, rates or empty tables."""
    ignored = {"_parameters", "_buffers", "_modules", "_flat_weight_refs", rate_attribute(layer)}
    ignored.add("training")  # which skorch sets before each step
    ignored |= {name for name in vars(layer) if name.startswith("_load_state_dict")}
    if isinstance(layer, nn.RNNBase):
        # Its weights once more, and their names, whose pickle depends on whether they are shared
        # string objects.
        ignored |= {"_flat_weights", "_flat_weights_names", "_all_weights"}
    return [
        (name, value)
        for name, value in vars(layer).items()
        if name not in ignored and not (name.startswith("_") and not value)
    ]
