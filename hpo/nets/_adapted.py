"""A causal language model with full fine-tuning, or with an adapter on a frozen base."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hpo._discovery import did_you_mean
from hpo.nets import _lora
from hpo.nets._base_models import BaseModel, Source, forget_base_model, load, shared_base

__all__ = ["AdaptedCausalLM"]

METHODS = ("full", "lora", "qlora")
DTYPES = ("float32", "bfloat16")


class AdaptedCausalLM(nn.Module):
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
        module then has its own copy. The next five parameters are ignored with ``"full"``.
    r : int, default=8
        Rank of the adapter, at least 1.
    scale : float, default=2.0
        ``lora_alpha / r``, the factor of the adapter's output; greater than 0.
    lora_dropout : float, default=0.0
        Probability of zeroing an input of the adapter during training, from 0 to below 1.
    use_rslora : bool, default=False
        Whether to multiply by ``lora_alpha / sqrt(r)`` instead (Kalajdzievski 2023, *rsLoRA*).
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

    lm: Any

    def __init__(
        self,
        model: str | Path,
        *,
        method: str = "lora",
        r: int = 8,
        scale: float = 2.0,
        lora_dropout: float = 0.0,
        use_rslora: bool = False,
        target_modules: str | Sequence[str] = "all-linear",
        dtype: str = "float32",
        device: Any = "cpu",
    ) -> None:
        super().__init__()
        _check_choice("method", method, METHODS)
        _check_choice("dtype", dtype, DTYPES)
        if r < 1:
            raise ValueError(f"r must be at least 1. Got {r!r} instead.")
        if not scale > 0:
            raise ValueError(f"scale must be greater than 0. Got {scale!r} instead.")
        if not 0 <= lora_dropout < 1:
            raise ValueError(f"lora_dropout must be from 0 to below 1. Got {lora_dropout!r}.")
        self.method = method
        self.source = Source.of(model, dtype, method == "qlora", device)
        self._adapter: dict[str, Any] = {
            "r": r,
            "scale": scale,
            "lora_dropout": lora_dropout,
            "use_rslora": use_rslora,
            "target_modules": target_modules,
        }
        self._base: BaseModel | None = None
        # Not registered as a submodule: `to`, `requires_grad_` or `load_state_dict` of this
        # module must not reach the shared weights.
        vars(self)["lm"] = self._load_full_model() if method == "full" else self._attach_adapter()
        self.trained = nn.ParameterDict(
            {
                name.replace(".", "/"): parameter
                for name, parameter in self.lm.named_parameters()
                if parameter.requires_grad
            }
        )

    def _load_full_model(self) -> Any:
        forget_base_model()
        return load(Source(self.source.model, device=self.source.device))

    def _attach_adapter(self) -> Any:
        self._base = shared_base(self.source)
        return _lora.attach_adapter(self._base.view(), self.lora_config())

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the logits of the token after each token.

        Parameters
        ----------
        X : int64 tensor of shape (n_blocks, context_length)

        Returns
        -------
        tensor of shape (n_blocks, context_length, n_tokens)
        """
        autocast = self.source.dtype != "float32"
        with torch.autocast(X.device.type, torch.bfloat16, enabled=autocast):
            logits: torch.Tensor = self.lm(input_ids=X, use_cache=False).logits
        return logits

    def __repr__(self) -> str:
        n = sum(parameter.numel() for parameter in self.parameters())
        what = f"{self.source.model!r}, method={self.method!r}"
        return f"{type(self).__name__}({what}, {n:,} trained parameters)"

    def train(self, mode: bool = True) -> "AdaptedCausalLM":
        """Switch dropout on or off."""
        self.lm.train(mode)
        return super().train(mode)

    @contextmanager
    def pretrained(self) -> Iterator["AdaptedCausalLM"]:
        """Provide a module that computes the same as the pretrained model, inside the block."""
        if self.method == "full":
            yield AdaptedCausalLM(
                self.source.model,
                method="full",
                dtype=self.source.dtype,
                device=self.source.device,
            )
        else:
            with self.lm.disable_adapter():
                yield self

    def lora_config(self) -> Any:
        """Return the `peft.LoraConfig` of the adapter.

        Raises
        ------
        ValueError
            If the method is ``"full"``, which has no adapter.
        """
        if self._base is None:
            raise ValueError("Full fine-tuning has no adapter. Use method='lora' or 'qlora'.")
        return _lora.lora_config(self._base.model, **self._adapter)

    def save_adapter(self, folder: str | Path) -> None:
        """Write the adapter in peft's format, for `peft.PeftModel.from_pretrained`.

        Raises
        ------
        ValueError
            If the method is ``"full"``; save ``lm`` by its own ``save_pretrained``.
        """
        if self.method == "full":
            raise ValueError(
                "Full fine-tuning has no adapter. Save the model: lm.save_pretrained(folder)."
            )
        self.lm.save_pretrained(str(folder), save_embedding_layers=False)

    def __reduce__(self) -> tuple[Any, ...]:
        params = {
            "model": self.source.model,
            "method": self.method,
            "dtype": self.source.dtype,
            **self._adapter,
        }
        # Parameters, not copies of their values, as an optimizer in the same pickle refers to them.
        return _restored, (params, dict(self.trained.items()), self.training)

    def _adopt(self, trained: Mapping[str, nn.Parameter]) -> None:
        """Replace this module's trained parameters by ``trained``."""
        new = {id(self.trained[name]): parameter for name, parameter in trained.items()}
        for module in [*self.lm.modules(), self.trained]:
            parameters_of_module = module.named_parameters(recurse=False, remove_duplicate=False)
            for name, parameter in list(parameters_of_module):
                module.register_parameter(name, new.get(id(parameter), parameter))


def _restored(
    params: dict[str, Any], trained: Mapping[str, nn.Parameter], training: bool
) -> AdaptedCausalLM:
    device = next(iter(trained.values())).device  # the device that unpickling has chosen
    with torch.random.fork_rng(devices=[]):  # the initial weights of the adapter are replaced
        module = AdaptedCausalLM(**params, device=device)
    module._adopt(trained)
    return module.train(training)


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        hint = did_you_mean(str(value), choices) or "."
        raise ValueError(f"{name} must be one of: {', '.join(choices)}. Got {value!r}{hint}")
