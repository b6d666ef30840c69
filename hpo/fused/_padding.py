"""Encoders of torch without the nested tensors that they make of padded sequences in evaluation.

`torch.nn.TransformerEncoder` makes them if the padding of all rows of a minibatch is at the end,
and then returns 0 at padded positions. Later layers must not depend on these positions.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["PaddedEncoders"]


class PaddedEncoders:
    """The encoders of a module that would make nested tensors, which `torch.func.vmap` refuses.

    Parameters
    ----------
    module : torch.nn.Module
        Changed so that its encoders make no nested tensors.
    """

    def __init__(self, module: nn.Module) -> None:
        self._zeros_at_padding = False
        self.names: list[str] = []
        for name, layer in module.named_modules():
            if isinstance(layer, nn.TransformerEncoder) and layer.use_nested_tensor:
                layer.use_nested_tensor = False
                layer.layers[-1].register_forward_hook(self._fill, with_kwargs=True)
                self.names.append(name)

    def _fill(self, layer: nn.Module, args: Any, kwargs: Any, out: torch.Tensor) -> Any:
        mask = kwargs.get("src_key_padding_mask")
        if mask is None or layer.training or not self._zeros_at_padding:
            return None
        return out.masked_fill((mask == -math.inf)[..., None], 0.0)

    @contextmanager
    def zeros_at_padding(self) -> Iterator[None]:
        """Return 0 at padded positions inside the block, as a nested tensor would."""
        self._zeros_at_padding = True
        try:
            yield
        finally:
            self._zeros_at_padding = False
