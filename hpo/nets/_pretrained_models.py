"""Pretrained models of any kind: from a folder, a hub, a function, or given as they are."""

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hpo._extras import needs_extra
from hpo.exceptions import DataError
from hpo.identity import Describer
from hpo.nets._base_models import (
    BaseSource,
    device_of,
    four_bits,
    import_libraries,
    place_of,
    prepare_quantized,
    quiet,
)
from hpo.nets._lora_settings import check_choice
from hpo.nets._lora_targets import head_of

__all__ = ["TASKS", "ObjectSource", "TransformersSource", "source_of"]

TASKS = {
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
    "causal-lm": "AutoModelForCausalLM",
    "image-classification": "AutoModelForImageClassification",
    "features": "AutoModel",
}
"""What a model of transformers is loaded for, and by which class."""


def source_of(
    model: Any,
    *,
    task: str | None = None,
    n_outputs: int | None = None,
    dtype: str = "float32",
    quantized: bool = False,
    head: Sequence[str] | None = None,
    device: Any = "cpu",
) -> BaseSource:
    """Return where a model comes from.

    Parameters
    ----------
    model : str, path, torch module or callable
    task, n_outputs
        Of a model of transformers; see `hpo.nets.AdaptedNet`.
    dtype, quantized, device
        See `hpo.nets._base_models.Source`.
    head : sequence of str, optional
        Names of layers that are not quantized.

    Raises
    ------
    ValueError
        If the model is none of these, or the other arguments do not fit it.
    """
    kept = None if head is None else tuple(head)
    if isinstance(model, str | os.PathLike):
        if task is not None:
            check_choice("task", task, tuple(TASKS))
        if n_outputs is not None and n_outputs < 1:
            raise ValueError(f"n_outputs must be at least 1. Got {n_outputs!r} instead.")
        name = place_of(os.fspath(model))
        return TransformersSource(name, task, n_outputs, dtype, quantized, kept, device_of(device))
    if not isinstance(model, nn.Module) and not callable(model):
        raise ValueError(
            "model must be a torch module, a function that returns one, a folder, or an id on the "
            f"hub. Got {model!r} ({type(model).__name__}) instead."
        )
    if task is not None or n_outputs is not None:
        raise ValueError(
            "task and n_outputs are for a model that is loaded by transformers from a folder or a "
            "hub. Give a torch module with the outputs that you need."
        )
    if isinstance(model, nn.Module):
        _check_plain(model)
    mark = Describer().describe(model).mark
    kept = kept if quantized else None
    return ObjectSource(mark, dtype, quantized, kept, device_of(device), model)


@dataclass(frozen=True, slots=True)
class TransformersSource(BaseSource):
    """A model of transformers in a folder or on a hub."""

    model: str
    task: str | None
    n_outputs: int | None
    dtype: str
    quantized: bool
    head: tuple[str, ...] | None
    device: str

    def load(self) -> Any:
        """Return a new copy of the model, on its device.

        Raises
        ------
        DataError
            If there is no such model, or it lacks weights of the body for this task.
        MissingExtraError
            If the ``lora`` extra is not installed.
        """
        transformers, _ = import_libraries()
        with _told(self.model):
            config = transformers.AutoConfig.from_pretrained(self.model)
        name = TASKS[self.task] if self.task else _architecture(self.model, config)
        kwargs: dict[str, Any] = {"dtype": getattr(torch, self.dtype)}
        if self.n_outputs is not None:
            kwargs |= {"num_labels": self.n_outputs, "ignore_mismatched_sizes": True}
        if self.quantized:
            skip = self.head or head_of(_without_weights(transformers, name, config))
            kwargs["quantization_config"] = four_bits(transformers, kwargs["dtype"], skip)
            kwargs["device_map"] = {"": self.device}
        with (
            _told(self.model),
            quiet(transformers),
            torch.random.fork_rng(devices=[]),
        ):
            # A new head is drawn, with the same values wherever the model is loaded.
            torch.default_generator.manual_seed(0)
            model, info = getattr(transformers, name).from_pretrained(
                self.model, output_loading_info=True, **kwargs
            )
        self._check_complete(model, info)
        return prepare_quantized(model) if self.quantized else model.to(self.device)

    def moved(self, device: Any) -> "TransformersSource":
        """Return the same source for another device."""
        return replace(self, device=device_of(device))

    def _check_complete(self, model: Any, info: Any) -> None:
        """Raise DataError if weights outside the head were drawn at random."""
        head = self.head if self.head is not None else head_of(model)
        drawn = [*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])]
        lacking = [n for n in drawn if not any(n == top or n.startswith(f"{top}.") for top in head)]
        if lacking:
            shown = ", ".join(sorted(lacking)[:4]) + (", ..." if len(lacking) > 4 else "")
            raise DataError(
                f"The model {self.model!r} has no weights for {len(lacking)} of the frozen parts "
                f"of {type(model).__name__}: {shown}. Give the task for which it was trained "
                f"({', '.join(TASKS)}), or train these parts whole beside the others: head="
                f"{[*head, *sorted({name.rpartition('.')[0] for name in lacking})]}."
            )


@dataclass(frozen=True, slots=True)
class ObjectSource(BaseSource):
    """A torch module, or a function that returns one; equal by what it is, not by its place."""

    mark: str
    dtype: str
    quantized: bool
    head: tuple[str, ...] | None
    device: str
    model: Any = field(compare=False, repr=False)

    def load(self) -> Any:
        """Return a new copy of the model, on its device.

        Raises
        ------
        DataError
            If the function raises an exception, or returns anything but a module.
        ValueError
            If there is nothing to quantize.
        """
        model = copy.deepcopy(self.model) if isinstance(self.model, nn.Module) else self._made()
        if self.quantized:
            _quantize(model, self.head, getattr(torch, self.dtype), self.device)
            return model.to(self.device)
        return model.to(self.device, getattr(torch, self.dtype))

    def moved(self, device: Any) -> "ObjectSource":
        """Return the same source for another device."""
        return replace(self, device=device_of(device))

    def _made(self) -> nn.Module:
        maker: Callable[[], Any] = self.model
        name = getattr(maker, "__name__", repr(maker))
        try:
            with torch.random.fork_rng(devices=[]):
                # What it draws is the same in each process.
                torch.default_generator.manual_seed(0)
                model = maker()
        except Exception as error:
            raise DataError(
                f"The model cannot be made: {name}() raised {type(error).__name__}: {error}. Give "
                "a function without arguments that returns a pretrained torch module, such as a "
                "functools.partial."
            ) from error
        if not isinstance(model, nn.Module):
            raise DataError(
                f"The model must be a torch module. {name}() returned a {type(model).__name__}."
            )
        _check_plain(model)
        return model


def _check_plain(model: nn.Module) -> None:
    if next(model.parameters(), None) is None:
        raise ValueError(f"The model {type(model).__name__} has no weights that could be adapted.")
    if any(hasattr(layer, "lora_A") for layer in model.modules()):
        raise ValueError(
            f"The model {type(model).__name__} has an adapter already. Give its base, or merge it "
            "first: model.merge_and_unload()."
        )


@contextmanager
def _told(model: str) -> Iterator[None]:
    """Turn what transformers raises for a wrong place into a DataError that says what is there."""
    problem = _problem_of(model)
    if problem:
        raise DataError(f"The model {model!r} cannot be loaded: {problem}")
    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"The model {model!r} cannot be loaded. Give a torch module, a function that returns "
            "one, a folder of a model of transformers, or an id on the hub (which takes a "
            f"network).\n{error}"
        ) from error


def _problem_of(model: str) -> str:
    place = Path(model).expanduser()
    if place.is_file():
        return (
            "it is a file. Load it by torch.load, or load_state_dict of your module, and give the "
            "module."
        )
    if place.is_dir():
        if (place / "config.json").is_file():
            return ""
        if (place / "adapter_config.json").is_file():
            return "the folder holds an adapter of peft. Give the model that it belongs to."
        return "the folder has no config.json, so it holds no model of transformers."
    if place.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        return "there is no such folder."
    return ""


def _architecture(model: str, config: Any) -> str:
    names = getattr(config, "architectures", None)
    if not names:
        raise DataError(
            f"The model {model!r} does not say what it was trained for. Give the task, one of: "
            f"{', '.join(TASKS)}."
        )
    return str(names[0])


def _without_weights(transformers: Any, name: str, config: Any) -> Any:
    with torch.device("meta"):
        kind = getattr(transformers, name)
        return kind.from_config(config) if name.startswith("Auto") else kind(config)


def _quantize(
    model: nn.Module, head: Sequence[str] | None, dtype: torch.dtype, device: str
) -> None:
    """Store the linear layers of ``model`` in 4 bits, but those of its head and of attentions."""
    with needs_extra("lora", "Quantized models"):
        import bitsandbytes
    kept = head_of(model) if head is None else list(head)
    kept += [n for n, layer in model.named_modules() if isinstance(layer, nn.MultiheadAttention)]
    linear = [
        name
        for name, layer in model.named_modules()
        if type(layer) is nn.Linear and not any(f"{name}.".startswith(f"{top}.") for top in kept)
    ]
    if not linear:
        raise ValueError(
            f"method='qlora' stores linear layers in 4 bits, and {type(model).__name__} has none "
            "outside its head. Use method='lora'."
        )
    for name in linear:
        layer: Any = model.get_submodule(name)
        weight = bitsandbytes.nn.Params4bit(
            layer.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True
        )
        new = bitsandbytes.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=dtype,
            compress_statistics=True,
            quant_type="nf4",
            device="meta",
        )
        new.weight, new.bias = weight, layer.bias
        new.support_avx512bf16_for_cpu = False  # see `prepare_quantized`
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, new)
    model.is_loaded_in_4bit = True  # type: ignore[assignment]  # read by peft
    model.to(device)  # which quantizes
