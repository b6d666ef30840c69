"""A causal language model with full fine-tuning, or with an adapter on a frozen base."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hpo.nets._adapted_base import BaseAdapted
from hpo.nets._base_models import Source
from hpo.nets._lora_settings import check_choice, lora_settings

__all__ = ["AdaptedCausalLM"]

METHODS = ("full", "lora", "qlora")
DTYPES = ("float32", "bfloat16")


class AdaptedCausalLM(BaseAdapted):
    """A pretrained causal language model of transformers, with its trained parameters.

    The frozen base of an adapter is loaded once per process and shared by all modules that adapt
    it (see `shared_base`). This module has its own tree of layers over the same weights, into
    which peft inserts the adapter. So the base never changes, any number of modules can be
    trained one after the other, and none of them leaves anything behind.

    ``parameters()`` and ``state_dict()`` contain only the trained parameters, always in float32.
    A pickle contains these and the source of the base. An unpickled module uses the base of its
    new process.

    Parameters
    ----------
    model : str or path
        A folder, or an id on the hub, as for `transformers.AutoModelForCausalLM`.
    method : {"lora", "qlora", "full"}, default="lora"
        What to train: an adapter on the frozen model (Hu et al. 2021, *LoRA*), an adapter on the
        model quantized to 4 bits (Dettmers et al. 2023, *QLoRA*), or all weights, of which each
        module then has its own copy. All parameters but the last two are ignored with ``"full"``.
    r : int, default=8
        Rank of the adapter, at least 1; ``lora_r`` is another name of it.
    scale : float, default=2.0
        ``lora_alpha / r``, the factor of the adapter's output; greater than 0.
    lora_alpha : float, optional
        Given instead of ``scale``; greater than 0.
    lora_dropout : float, default=0.0
        Probability of zeroing an input of the adapter during training, from 0 to below 1.
    use_rslora : bool, default=False
        Whether to multiply by ``lora_alpha / sqrt(r)`` instead (Kalajdzievski 2023, *rsLoRA*).
    use_dora, bias, init_lora_weights
        See `AdaptedNet`.
    target_modules : str or sequence of str, default="all-linear"
        Which layers get an adapter: ``"all-linear"`` (all but the head), ``"attention"``, or
        names, as in peft: a list of suffixes of names, or a regular expression for full names.
    dtype : {"float32", "bfloat16"}, default="float32"
        Type of a frozen base and of the computation. Trained parameters stay in float32; with
        ``"bfloat16"`` they are used under ``torch.autocast``.
    device : str, default="cpu"
        Torch device; `CausalLMNet` passes its own device.

    Attributes
    ----------
    lm : transformers.PreTrainedModel or peft.PeftModel
        The adapted model.

    Raises
    ------
    ValueError
        If an argument is out of its range, or the model has no such target modules.
    DataError
        If the model cannot be loaded.
    MissingExtraError
        If the ``lora`` extra is not installed.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        method: str = "lora",
        r: int | None = None,
        scale: float | None = None,
        lora_r: int | None = None,
        lora_alpha: float | None = None,
        lora_dropout: float = 0.0,
        use_rslora: bool = False,
        use_dora: bool = False,
        bias: str = "none",
        init_lora_weights: str | bool = "default",
        target_modules: str | Sequence[str] = "all-linear",
        dtype: str = "float32",
        device: Any = "cpu",
    ) -> None:
        super().__init__()
        check_choice("method", method, METHODS)
        check_choice("dtype", dtype, DTYPES)
        settings = lora_settings(
            r=r,
            lora_r=lora_r,
            scale=scale,
            lora_alpha=lora_alpha,
            lora_dropout=lora_dropout,
            use_rslora=use_rslora,
            use_dora=use_dora,
            bias=bias,
            init_lora_weights=init_lora_weights,
            target_modules=target_modules,
        )
        if not isinstance(model, str | Path):
            raise ValueError(
                "model must be a folder of a causal language model, or an id on the hub. Got a "
                f"{type(model).__name__}; AdaptedNet adapts a torch module."
            )
        source = Source.of(model, dtype, method == "qlora", device)
        self._set_up(source, settings, method, None)

    @property
    def lm(self) -> Any:
        """The adapted model: a `transformers.PreTrainedModel` or `peft.PeftModel`."""
        return self.adapted

    def _task_type(self) -> str:
        return "CAUSAL_LM"

    def _saving(self) -> str:
        return "lm"

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the logits of the token after each token.

        Parameters
        ----------
        X : int64 tensor of shape (n_blocks, context_length)

        Returns
        -------
        tensor of shape (n_blocks, context_length, n_tokens)
        """
        with self._computing():
            logits: torch.Tensor = self.adapted(input_ids=X, use_cache=False).logits
        return logits

    def __repr__(self) -> str:
        n = sum(parameter.numel() for parameter in self.parameters())
        source: Any = self.source
        what = f"{source.model!r}, method={self.method!r}"
        return f"{type(self).__name__}({what}, {n:,} trained parameters)"
