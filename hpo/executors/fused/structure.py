"""Hashes that tell whether two modules have the same structure."""

from typing import Any

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from hpo.executors.fused.loss import hash_of
from hpo.fused import rate_attribute

__all__ = ["module_structure"]


def module_structure(module: nn.Module) -> str:
    """Return a hash of everything in a module but its weights and dropout rates.

    Any other difference, such as in a number that it keeps or a function that it calls, is assumed
    to change what the module computes: such modules are trained in separate batches.
    """
    layers = [
        (name, type_before_parametrizations(layer), _shapes(layer), _attributes(layer))
        for name, layer in module.named_modules()
    ]
    return hash_of("the module", layers)


def _shapes(layer: nn.Module) -> list[tuple[str, tuple[int, ...], str, bool]]:
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
