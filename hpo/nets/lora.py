"""LoRA adapters on any pretrained module: what a skorch net trains of it."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hpo.nets import _lora
from hpo.nets._adapted_base import METHODS, BaseAdapted
from hpo.nets._lora_settings import check_choice, lora_settings
from hpo.nets._lora_targets import head_of
from hpo.nets._pretrained_models import source_of

__all__ = ["AdaptedNet", "LoRAMixin", "TokenLoss"]

DTYPES = ("float32", "bfloat16")


class AdaptedNet(BaseAdapted):
    """Any pretrained torch module, of which an adapter, the head, or all weights are trained.

    Use it as the module of a skorch net; with `LoRAMixin` in the net's bases the adapter is kept in
    peft's format, and LoRA+ can be searched. Its arguments are searched as ``module__r``,
    ``module__lora_alpha`` and so on.

    The frozen base is loaded once per process and shared by all trials and folds that adapt it.
    In training its dropout is active, as in peft; its batch normalizations use their stored
    statistics and do not update them, or an adapter would not hold what was learned.

    Parameters
    ----------
    model : str, path, torch module or callable
        A folder of a model of transformers or an id on the hub; a torch module; or a function
        without arguments that returns one, such as ``partial(resnet18, weights="DEFAULT")``. A
        module is compared by its weights to be shared, and travels whole with every net: a
        function or a folder is lighter. It is never changed.
    method : {"lora", "qlora", "head", "full"}, default="lora"
        What to train: an adapter on the frozen model (Hu et al. 2021, *LoRA*), and its head; an
        adapter on the model with linear layers stored in 4 bits (Dettmers et al. 2023, *QLoRA*);
        the head alone; or all weights, of which each module then has its own copy.
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
    use_dora : bool, default=False
        Whether to train the lengths of the weights' rows apart from their directions (Liu et al.
        2024, *DoRA*).
    bias : {"none", "all", "lora_only"}, default="none"
        Which biases of the model are trained too: none, all, or those of the adapted layers.
    init_lora_weights : {"default", "gaussian", "pissa", "olora"}, default="default"
        How the adapter begins: as nothing, with random A, uniform or normal; with the greatest
        singular values of the weights (Meng et al. 2024, *PiSSA*); or with an orthonormal part of
        them (Büyükakyüz 2024, *OLoRA*). The last two take linear layers, of which each module has
        its own copy.
    target_modules : str or sequence of str, default="all-linear"
        Which layers get an adapter: ``"all-linear"``, ``"all-conv"``, ``"all"`` (both) or
        ``"attention"``, each without the head; or names, as in peft: a list of suffixes of names,
        or a regular expression for full names. `torch.nn.MultiheadAttention` counts as one
        linear layer.
    head : sequence of str, optional
        Names of the layers that are trained whole (peft's ``modules_to_save``); ``[]`` is none. By
        default those behind the body of a model of transformers, unless it predicts tokens, and
        the last part with parameters of any other.
    task : str, optional
        What transformers loads a folder or id for: ``sequence-classification``,
        ``token-classification``, ``seq2seq-lm``, ``causal-lm``, ``image-classification`` or
        ``features``; by default what it was trained for.
    n_outputs : int, optional
        Number of classes of a model that transformers loads, which gets a new head if it had
        another number.
    dtype : {"float32", "bfloat16"}, default="float32"
        Type of a frozen base and of the computation. What is trained stays in float32.
    device : str, default="cpu"
        Torch device; `LoRAMixin` passes that of the net.

    Attributes
    ----------
    adapted : torch module or peft.PeftModel
        The whole model.
    head : tuple of str
        Names of the layers that are trained whole; empty with ``"full"``.

    Raises
    ------
    ValueError
        If an argument is out of its range, or an adapter is impossible on one of the layers.
    DataError
        If the model cannot be loaded.
    MissingExtraError
        If the ``lora`` extra is not installed.
    """

    def __init__(
        self,
        model: Any,
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
        head: Sequence[str] | None = None,
        task: str | None = None,
        n_outputs: int | None = None,
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
        if isinstance(head, str):
            raise ValueError(f"head must be a list of names. Got {head!r}; give [{head!r}].")
        source = source_of(
            model,
            task=task,
            n_outputs=n_outputs,
            dtype=dtype,
            quantized=method == "qlora",
            head=head,
            device=device,
        )
        self._set_up(source, settings, method, head)

    def _head(self, model: nn.Module, head: Sequence[str] | None) -> tuple[str, ...]:
        names = tuple(head_of(model)) if head is None else tuple(head)
        layers = dict(model.named_modules())
        unknown = [name for name in names if not name or name not in layers]
        if unknown:
            tops = ", ".join(name for name, _ in model.named_children())
            raise ValueError(
                f"head names {unknown[0]!r}, which {type(model).__name__} does not have. Give full "
                f"names; its parts are {tops}."
            )
        if self.method == "head" and not names:
            raise ValueError(
                f"method='head' trains the head alone, and {type(model).__name__} has none that is "
                "told from its body. Set head to the names of its layers."
            )
        return names

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model returns; of a model of transformers, its logits.

        skorch passes the batch: a tensor, or the parts of a dict by their names, such as
        ``input_ids`` and ``attention_mask``.
        """
        with self._computing():
            output = self.adapted(*args, **kwargs)
        if not hasattr(output, "to_tuple"):  # no ModelOutput of transformers
            return output
        if getattr(output, "logits", None) is None:
            raise ValueError(
                "The model returns features and no logits. Give the task, or a torch module that "
                "makes predictions of them."
            )
        return output.logits


class LoRAMixin:
    """Trains an `AdaptedNet` in any skorch net: learning rates, kept files, costs.

    Put it before a skorch net in the bases of a class, whose module is then an `AdaptedNet` by
    default. Biases and other vectors have no weight decay.

    Parameters
    ----------
    module : class, default=AdaptedNet
    loraplus_lr_ratio : float, default=1.0
        Learning rate of the matrices B of an adapter divided by that of all else, which is ``lr``
        (Hayou et al. 2024, *LoRA+*); greater than 0.
    *args, **kwargs
        Arguments of the skorch net. With ``optimizer__param_groups`` only those are used.
    """

    def __init__(
        self, module: Any = AdaptedNet, *args: Any, loraplus_lr_ratio: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(module, *args, **kwargs)  # type: ignore[call-arg]
        self.loraplus_lr_ratio = loraplus_lr_ratio

    def initialize(self) -> Any:
        """Build the net; the frozen base is loaded unless this process has it already.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or the module is none that is adapted.
        DataError
            If the model cannot be loaded.
        MissingExtraError
            If the ``lora`` extra is not installed.
        """
        ratio = self.loraplus_lr_ratio
        if not (ratio > 0 and math.isfinite(ratio)):
            raise ValueError(f"loraplus_lr_ratio must be greater than 0. Got {ratio!r}.")
        return super().initialize()  # type: ignore[misc]

    def initialize_module(self) -> Any:
        """Build the module on this net's device."""
        net: Any = self
        kind = net.module
        if not (isinstance(kind, BaseAdapted) or _is_adapted(kind)):
            raise ValueError(
                "The module of a net with LoRAMixin must be AdaptedNet, whose module__model is "
                f"the module to adapt. Got {getattr(kind, '__name__', repr(kind))}."
            )
        kwargs = net.get_params_for("module")
        if isinstance(kind, type):
            kwargs = {"device": net.device, **kwargs}
        net.module_ = net.initialized_instance(kind, kwargs)
        return self

    def get_params_for_optimizer(
        self, prefix: str, named_parameters: Iterable[tuple[str, nn.Parameter]]
    ) -> tuple[Any, dict[str, Any]]:
        """Return the groups of parameters and the other arguments of the optimizer.

        The matrices B have their own learning rate, and vectors have no weight decay.
        """
        net: Any = self
        named = list(named_parameters)
        args, kwargs = super().get_params_for_optimizer(prefix, named)  # type: ignore[misc]
        if net.get_params_for(prefix).get("param_groups"):
            return args, kwargs
        matrices = [p for name, p in named if p.ndim > 1 and "lora_B" not in name]
        matrices_b = [p for name, p in named if p.ndim > 1 and "lora_B" in name]
        vectors = [p for _, p in named if p.ndim <= 1]
        groups = [
            {"params": matrices},
            {"params": matrices_b, "lr": kwargs["lr"] * self.loraplus_lr_ratio},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return ([group for group in groups if group["params"]],), kwargs

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record the number of trained parameters, a metric that may be one of a study's costs."""
        super().on_epoch_end(net, **kwargs)  # type: ignore[misc]
        net.history.record("trainable_parameters", self.n_trained())

    def n_trained(self) -> int:
        """Return the number of trained parameters."""
        return sum(p.numel() for p in self._module().parameters())

    def lora_config(self) -> Any:
        """Return the `peft.LoraConfig` of the adapter; see `AdaptedNet.lora_config`."""
        return self._module().lora_config()

    def recommendation(self) -> str:
        """Return the `lora_config` as a line of Python; empty if there is no adapter."""
        return _lora.config_code(self.lora_config()) if self._has_adapter() else ""

    def save_adapter(self, folder: str | Path) -> None:
        """Write the adapter in peft's format; see `AdaptedNet.save_adapter`."""
        self._module().save_adapter(folder)

    def save_artifacts(self, folder: Path) -> None:
        """Write the files that a study keeps of its winner: the adapter, below ``folder``."""
        if self._has_adapter():
            self.save_adapter(folder / "adapter")

    def _has_adapter(self) -> bool:
        return self._module().method in ("lora", "qlora")

    def _module(self) -> Any:
        net: Any = self
        return net.module_


def _is_adapted(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseAdapted)


class TokenLoss(nn.Module):
    """Mean cross-entropy of the labels of tokens, in nats; the criterion of models of sequences.

    Parameters
    ----------
    ignore_index : int, default=-100
        The label of tokens that do not count, such as padding.
    """

    def __init__(self, ignore_index: int = -100) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss.

        Parameters
        ----------
        logits : tensor of shape (n_sequences, length, n_labels)
        labels : integer tensor of shape (n_sequences, length)

        Raises
        ------
        ValueError
            If the shapes are others.
        """
        if logits.ndim != 3 or labels.shape != logits.shape[:2]:
            raise ValueError(
                "TokenLoss needs logits of shape (n_sequences, length, n_labels) and labels of "
                f"shape (n_sequences, length). Got {tuple(logits.shape)} and {tuple(labels.shape)}."
            )
        return nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten().long(), ignore_index=self.ignore_index
        )
