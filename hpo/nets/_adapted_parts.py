"""Parts of adapted models: their buffers and biases, and the attention layers of torch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = [
    "TrainedBuffers",
    "copy_biases",
    "same",
    "set_attention",
    "stored_buffers",
    "without_fast_path",
]


class TrainedBuffers(nn.Module):
    """Buffers of other modules, by their names, as a part of a state dict."""

    def __init__(self, buffers: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        for name, buffer in buffers.items():
            self.register_buffer(name.replace(".", "/"), buffer)

    def items(self) -> list[tuple[str, torch.Tensor]]:
        """Return the names, with slashes, and the buffers."""
        return list(self.named_buffers())

    def copy_from(self, values: Mapping[str, torch.Tensor]) -> None:
        """Overwrite the buffers by the values of these names."""
        for name, buffer in self.items():
            buffer.copy_(values[name])


def same(value: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors are equal in the type of the second."""
    return torch.equal(value.detach().to(other), other.detach())


def stored_buffers(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the names and the buffers that belong to the state of ``model``."""
    for name, module in model.named_modules():
        for key, buffer in module.named_buffers(recurse=False):
            if key not in module._non_persistent_buffers_set:
                yield f"{name}.{key}" if name else key, buffer


def copy_biases(model: nn.Module) -> None:
    """Give the layers of ``model`` biases of their own."""
    for layer in model.modules():
        bias = layer._parameters.get("bias")
        if bias is not None:
            layer.register_parameter("bias", nn.Parameter(bias.detach().clone(), False))


def set_attention(layer: Any, weight: nn.Parameter, out_weight: nn.Parameter) -> None:
    """Give an attention its frozen weights back: peft adds the adapter and subtracts it again."""
    base = layer.base_layer
    inner = base.out_proj.base_layer
    for owner, name, value in ((base, "in_proj_weight", weight), (inner, "weight", out_weight)):
        delattr(owner, name)
        owner.register_parameter(name, value)


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Let torch's transformer layers call their parts, which have adapters, in evaluation too."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
