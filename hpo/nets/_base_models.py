"""Pretrained models, each loaded once per process, frozen and shared by all its adapters."""

import copy
import gc
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch

from hpo._extras import needs_extra
from hpo.exceptions import DataError

__all__ = [
    "BaseModel",
    "BaseSource",
    "Source",
    "device_of",
    "forget_base_model",
    "four_bits",
    "import_libraries",
    "load",
    "place_of",
    "prepare_quantized",
    "quiet",
    "shared_base",
]


class BaseSource(ABC):
    """Where a pretrained model comes from, and how; equal sources give equal models."""

    device: str
    dtype: str

    @abstractmethod
    def load(self) -> Any:
        """Return a new copy of the model, on its device."""

    @abstractmethod
    def moved(self, device: Any) -> "BaseSource":
        """Return the same source for another device."""


@dataclass(frozen=True, slots=True)
class Source(BaseSource):
    """A causal language model of transformers.

    Parameters
    ----------
    model : str
        A folder, or an id on the hub.
    dtype : {"float32", "bfloat16"}
        Type of the weights; of a quantized model, the type it computes with.
    quantized : bool
        Whether the linear layers are stored in 4 bits: NF4, with quantized constants
        (Dettmers et al. 2023, *QLoRA*, section 3). Embedding, head and normalizations stay in
        float32.
    device : str
    """

    model: str
    dtype: str = "float32"
    quantized: bool = False
    device: str = "cpu"

    @classmethod
    def of(cls, model: str | Path, dtype: str, quantized: bool, device: Any) -> "Source":
        """Return the source of ``model`` in normal form: absolute folder, GPU with its number."""
        return cls(place_of(model), dtype, quantized, device_of(device))

    def load(self) -> Any:
        """Return a new copy of the model, on its device."""
        return load(self)

    def moved(self, device: Any) -> "Source":
        """Return the same source for another device."""
        return replace(self, device=device_of(device))


def place_of(model: str | Path) -> str:
    """Return a folder as an absolute path, and an id on the hub as it is."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else str(model)


def device_of(device: Any) -> str:
    """Return the name of a torch device, that of a GPU with its number."""
    place = torch.device(device)
    if place.type == "cuda" and place.index is None:
        place = torch.device("cuda", torch.cuda.current_device())
    return str(place)


class BaseModel:
    """A frozen pretrained model, whose weights are never changed.

    It is never adapted itself. An adapter is attached to a `view` instead.
    """

    def __init__(self, source: BaseSource) -> None:
        self.source = source
        self.model: Any = source.load().requires_grad_(False).eval()

    def view(self, *, own_buffers: bool = False) -> Any:
        """Return a model with separate modules over the same weights.

        Its modules may be wrapped, replaced and hooked. Its tensors are shared, but with
        ``own_buffers`` not those that are no parameters, which modules may change in training.
        """
        modules = list(self.model.modules())
        shared = [
            *self.model.parameters(),
            *(() if own_buffers else self.model.buffers()),
            # scales of the blocks of quantized layers, which are not buffers
            *(m.quant_state for m in modules if getattr(m, "quant_state", None) is not None),
        ]
        return copy.deepcopy(self.model, {id(item): item for item in shared})


_alive: WeakValueDictionary[BaseSource, BaseModel] = WeakValueDictionary()
_last_used: list[BaseModel] = []
"""The base model used last, which stays alive between two trials.

It is only one, so that the memory of a trial is that of its own model.
"""


def shared_base(source: BaseSource) -> BaseModel:
    """Return the base model of this process for ``source``, loaded if necessary."""
    base = _alive.get(source)
    if base is None:
        forget_base_model()
        base = _alive[source] = BaseModel(source)
    _last_used[:] = [base]
    return base


def forget_base_model() -> None:
    """Free the base model used last, unless it is still in use."""
    if _last_used:
        _last_used.clear()
        gc.collect()  # the weights and modules of bitsandbytes refer to each other


def import_libraries() -> tuple[Any, Any]:
    """Return ``transformers`` and ``peft``.

    Raises
    ------
    MissingExtraError
        If they are not installed; the message says how to install them.
    """
    # It recommends another package for a feature that is switched off in `load`.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    with needs_extra("lora", "Language models"):
        import peft
        import transformers
    return transformers, peft


def load(source: Source) -> Any:
    """Return a causal language model of transformers, on its device.

    Raises
    ------
    DataError
        If it cannot be loaded from ``source.model``.
    MissingExtraError
        If the ``lora`` extra is not installed.
    """
    transformers, _ = import_libraries()
    kwargs: dict[str, Any] = {"dtype": getattr(torch, source.dtype)}
    if source.quantized:
        kwargs["quantization_config"] = four_bits(transformers, kwargs["dtype"])
        kwargs["device_map"] = {"": source.device}
    try:
        with _without_progress_bars(transformers), torch.random.fork_rng(devices=[]):
            # Weights missing in a checkpoint are drawn, with the same values wherever it is loaded.
            torch.default_generator.manual_seed(0)
            model = transformers.AutoModelForCausalLM.from_pretrained(source.model, **kwargs)
    except (OSError, ValueError) as error:
        raise DataError(
            f"The model {source.model!r} cannot be loaded. Give a folder that holds a causal "
            f"language model, or an id on the hub (which takes a network).\n{error}"
        ) from error
    return prepare_quantized(model) if source.quantized else model.to(source.device)


def four_bits(transformers: Any, dtype: torch.dtype, skip: Sequence[str] | None = None) -> Any:
    """Return the config by which transformers quantizes linear layers, but those in ``skip``."""
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(skip) if skip else None,
    )


def prepare_quantized(model: Any) -> Any:
    """Return a quantized model ready for adapters, which passes gradients on any CPU."""
    with needs_extra("lora", "Quantized models"):
        import bitsandbytes
        import peft

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            # On a CPU with AVX-512 BF16 an evaluation would repack the weights in place, with a
            # loss of precision, and packed weights pass no gradient, even in later training.
            module.support_avx512bf16_for_cpu = False
    return peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


@contextmanager
def _without_progress_bars(transformers: Any) -> Iterator[None]:
    """Switch the progress bars of transformers off inside the block."""
    logging_utils = transformers.utils.logging
    was_enabled = logging_utils.is_progress_bar_enabled()
    logging_utils.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging_utils.enable_progress_bar()


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Let transformers print nothing but errors inside the block.

    It reports weights that a new head lacks; what else is lacking is checked by the caller.
    """
    logging_utils = transformers.utils.logging
    before = logging_utils.get_verbosity()
    logging_utils.set_verbosity_error()
    try:
        with _without_progress_bars(transformers):
            yield
    finally:
        logging_utils.set_verbosity(before)
