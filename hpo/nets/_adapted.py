"""A causal language model that is fine-tuned whole, or by an adapter on a frozen base."""

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
    """A pretrained causal language model of transformers, and what is trained of it.

    The frozen base of an adapter is loaded once a process and shared by all who adapt it
    (see `shared_base`): this module has its own tree of layers over the same weights, into which
    peft puts the adapter. So the base never changes, any number of modules can be trained in
    turn, and what one of them leaves behind is nothing.

    ``parameters()`` and ``state_dict()`` hold what is trained and nothing else, always in
    float32; a pickle holds that and where the base comes from. Unpickled, it takes the base
    of its new process.

    Parameters
    ----------
    model : str or path
        A folder, or an id on the hub: whatever `transformers.AutoModelForCausalLM` takes.
    method : {"lora", "qlora", "full"}, default="lora"
        An adapter on the frozen model (Hu et al. 2021, *LoRA*), on the model quantized to 4
        bits (Dettmers et al. 2023, *QLoRA*), or all weights, of which each module then has its
        own. The five parameters below mean nothing to ``"full"``.
    r : int, default=8
        Rank of the adapter, at least 1.
    scale : float, default=2.0
        ``lora_alpha / r``, greater than 0: what the adapter's output is multiplied by.
    lora_dropout : float, default=0.0
        Probability of zeroing an input of the adapter in training, from 0 to below 1.
    use_rslora : bool, default=False
        Multiply by ``lora_alpha / sqrt(r)`` instead (Kalajdzievski 2023, *rsLoRA*).
    target_modules : str or sequence of str, default="all-linear"
        Which layers get an adapter: ``"all-linear"`` (all but the head), ``"attention"``, or
        names, as in peft: a list of ends of names, or a regular expression for whole ones.
    dtype : {"float32", "bfloat16"}, default="float32"
        Of a frozen base and of the computation. What is trained stays in float32, and where
        this is bfloat16 runs under ``torch.autocast``.
    device : str, default="cpu"
        `CausalLMNet` gives its own.

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
        # Past nn.Module's own attribute: `to`, `requires_grad_` or `load_state_dict` of this
        # module must not reach the weights that others share.
        vars(self)["lm"] = self._full() if method == "full" else self._adapted()
        self.trained = nn.ParameterDict(
            {
                name.replace(".", "/"): parameter
                for name, parameter in self.lm.named_parameters()
                if parameter.requires_grad
            }
        )

    def _full(self) -> Any:
        forget_base_model()
        return load(Source(self.source.model, device=self.source.device))

    def _adapted(self) -> Any:
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
        half = self.source.dtype != "float32"
        with torch.autocast(X.device.type, torch.bfloat16, enabled=half):
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
    def as_it_came(self) -> Iterator["AdaptedCausalLM"]:
        """Give a module that computes what the pretrained model does, inside the block."""
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
            If the method is ``"full"``, which has none.
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
        made_of = {
            "model": self.source.model,
            "method": self.method,
            "dtype": self.source.dtype,
            **self._adapter,
        }
        # Parameters, not copies of their values: an optimizer in the same pickle has the same.
        return _restored, (made_of, dict(self.trained.items()), self.training)

    def _adopt(self, trained: Mapping[str, nn.Parameter]) -> None:
        """Put ``trained`` in the place of this module's own parameters."""
        new = {id(self.trained[name]): parameter for name, parameter in trained.items()}
        for module in [*self.lm.modules(), self.trained]:
            own = module.named_parameters(recurse=False, remove_duplicate=False)
            for name, parameter in list(own):
                module.register_parameter(name, new.get(id(parameter), parameter))


def _restored(
    made_of: dict[str, Any], trained: Mapping[str, nn.Parameter], training: bool
) -> AdaptedCausalLM:
    device = next(iter(trained.values())).device  # where unpickling has put them
    with torch.random.fork_rng(devices=[]):  # first weights of the adapter: drawn for nothing
        module = AdaptedCausalLM(**made_of, device=device)
    module._adopt(trained)
    return module.train(training)


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        hint = did_you_mean(str(value), choices) or "."
        raise ValueError(f"{name} must be one of: {', '.join(choices)}. Got {value!r}{hint}")
