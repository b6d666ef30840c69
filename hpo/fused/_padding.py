"""Encoders of torch that make nested tensors of padded sequences in evaluation, without these.

`torch.nn.TransformerEncoder` does so if the padding of all rows of a minibatch is at their ends,
and then returns 0 where they are padded. Nothing that follows may look at these places.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["PaddedEncoders"]


class PaddedEncoders:
    """The encoders of a module that would make nested tensors, which `torch.func.vmap` cannot.

    Parameters
    ----------
    module : torch.nn.Module
        Changed: its encoders make none.
    """

    def __init__(self, module: nn.Module) -> None:
        self._filled = False
        self.names: list[str] = []
        for name, layer in module.named_modules():
            if isinstance(layer, nn.TransformerEncoder) and layer.use_nested_tensor:
                layer.use_nested_tensor = False
                layer.layers[-1].register_forward_hook(self._fill, with_kwargs=True)
                self.names.append(name)

    def _fill(self, layer: nn.Module, args: Any, kwargs: Any, out: torch.Tensor) -> Any:
        mask = kwargs.get("src_key_padding_mask")
        if mask is None or layer.training or not self._filled:
            return None
        return out.masked_fill((mask == -math.inf)[..., None], 0.0)

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Have 0 where sequences are padded, as a nested tensor would."""
        self._filled = True
        try:
            yield
        finally:
            self._filled = False
