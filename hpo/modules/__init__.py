"""The networks that the studies use; each is imported, with torch, on first use."""

from typing import TYPE_CHECKING

from hpo._lazy import lazy

if TYPE_CHECKING:
    from hpo.modules.cnn import CNN
    from hpo.modules.conv_encoder import ConvEncoder
    from hpo.modules.mlp import MLP
    from hpo.modules.recurrent_lm import RecurrentLM
    from hpo.modules.residual_mlp import ResidualMLP
    from hpo.modules.resnet_cifar import ResNetCIFAR
    from hpo.modules.tabular import TabularNet, table_sizes
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "CNN": ".cnn",
            "ConvEncoder": ".conv_encoder",
            "MLP": ".mlp",
            "RecurrentLM": ".recurrent_lm",
            "ResNetCIFAR": ".resnet_cifar",
            "ResidualMLP": ".residual_mlp",
            "TabularNet": ".tabular",
            "table_sizes": ".tabular",
        },
    )

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
