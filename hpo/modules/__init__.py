"""The networks that the studies use; each is loaded, with torch, when it is first asked for."""

from importlib import import_module
from typing import Any

__all__ = [
    "CNN",
    "MLP",
    "ConvEncoder",
    "RecurrentLM",
    "ResNetCIFAR",
    "ResidualMLP",
    "TabularNet",
    "table_sizes",
]

_HOMES = {
    "CNN": "cnn",
    "ConvEncoder": "conv_encoder",
    "MLP": "mlp",
    "RecurrentLM": "recurrent_lm",
    "ResNetCIFAR": "resnet_cifar",
    "ResidualMLP": "residual_mlp",
    "TabularNet": "tabular",
    "table_sizes": "tabular",
}
"""Name of each network and the module that it stands in."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"hpo.modules.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
