"""A pretrained model with its trained parameters: an adapter, a head, or all weights."""

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hpo.nets import _lora
from hpo.nets._adapted_parts import (
    TrainedBuffers,
    copy_biases,
    same,
    set_attention,
    stored_buffers,
    without_fast_path,
)
from hpo.nets._base_models import BaseModel, BaseSource, forget_base_model, shared_base
from hpo.nets._lora_settings import LoraSettings

__all__ = ["METHODS", "BaseAdapted"]

METHODS = ("lora", "qlora", "head", "full")


class BaseAdapted(nn.Module, ABC):
    """A pretrained model that is shared by all that adapt it, and what one of them trains.

    The base is loaded once per process (see `shared_base`). This module has its own tree of layers
    over the same weights, into which peft inserts the adapter. So the base never changes, any
    number of modules can be trained one after the other, and none leaves anything behind.

    ``parameters()`` and ``state_dict()`` contain only what is trained. A pickle contains that and
    the source of the base.

    Attributes
    ----------
    adapted : torch module or peft.PeftModel
        The whole model.
    trained : torch.nn.ParameterDict
    """

    adapted: Any

    def _set_up(
        self,
        source: BaseSource,
        settings: LoraSettings,
        method: str,
        head: Sequence[str] | None,
        initial: Any = None,
    ) -> None:
        """Build the module; ``initial`` is what an adapter began with that changed its base."""
        self.source, self.settings, self.method = source, settings, method
        self._base: BaseModel | None = None
        if method == "full":
            forget_base_model()
            whole: Any = replace(source, dtype="float32")  # type: ignore[type-var]
            model: Any = whole.load()
            self.head: tuple[str, ...] = ()
        else:
            self._base = shared_base(source)
            self.head = self._head(self._base.model, head)
            model = self._base.view(own_buffers=True)
        self._frozen_buffers: dict[str, torch.Tensor] = {}
        # Not registered as a submodule: `to`, `requires_grad_` or `load_state_dict` of this
        # module must not reach the shared weights.
        vars(self)["adapted"] = self._with_trained(model, initial)
        self._initial = initial
        if settings.changes_base and method == "lora" and initial is None:
            self._initial = _lora.initial_factors(self.adapted)
        self._collect()

    def _head(self, model: Any, head: Sequence[str] | None) -> tuple[str, ...]:
        """Return the names of the layers that are trained whole."""
        return ()

    def _task_type(self) -> str | None:
        """Return the task of the adapter, in peft's words."""
        return None

    def _with_trained(self, model: Any, initial: Any) -> Any:
        if self.method == "full":
            return model.requires_grad_(True)
        own = dict(model.named_buffers())
        if self.method == "head":
            for name in self.head:
                layer = model.get_submodule(name)
                for part in layer.modules():
                    for key, parameter in list(part.named_parameters(recurse=False)):
                        part.register_parameter(key, nn.Parameter(parameter.detach().clone()))
            in_head = tuple(f"{name}." for name in self.head)
            own = {name: value for name, value in own.items() if not name.startswith(in_head)}
        else:
            model = _lora.attach_adapter(
                model, self.settings, self.head, self._task_type(), initial
            )
        self._frozen_buffers = own
        return model

    def _collect(self) -> None:
        """Find what is trained, and what has to stay as it is in training."""
        named = list(self.adapted.named_parameters())
        for _, parameter in named:
            if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
                parameter.data = parameter.data.float()
        self.trained = nn.ParameterDict(
            {name.replace(".", "/"): p for name, p in named if p.requires_grad}
        )
        frozen = {id(value) for value in self._frozen_buffers.values()}
        self.trained_buffers = TrainedBuffers(
            {n: b for n, b in stored_buffers(self.adapted) if id(b) not in frozen and self._owns(n)}
        )
        self._frozen_norms = [
            layer
            for layer in self.adapted.modules()
            if isinstance(getattr(layer, "running_mean", None), torch.Tensor)
            and id(layer.running_mean) in frozen
        ]
        self._attentions = self._merged_attentions() if self.method == "lora" else []
        self._slow_path = self.method in ("lora", "qlora") and any(
            isinstance(layer, nn.TransformerEncoderLayer | nn.MultiheadAttention)
            for layer in self.adapted.modules()
        )

    def _owns(self, name: str) -> bool:
        return self.method in ("full", "head") or ".modules_to_save." in name

    def _merged_attentions(self) -> list[tuple[Any, nn.Parameter, nn.Parameter]]:
        """Return adapted attentions of torch, each with the two weights that peft replaces."""
        found = []
        for name, layer in self.adapted.named_modules():
            if type(layer).__name__ == "MultiheadAttention" and hasattr(layer, "lora_A"):
                base: Any = self._base
                original = base.model.get_submodule(name.removeprefix("base_model.model."))
                found.append((layer, original.in_proj_weight, original.out_proj.weight))
        return found

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Compute inside the block as this module's settings say."""
        device = torch.device(self.source.device)
        if next(iter(self.trained.values())).device != device:
            raise ValueError(
                f"The module was built on {self.source.device}, and its weights were moved. Set "
                "module__device to the device of the net, or use LoRAMixin, which does."
            )
        if self.adapted.training != self.training:
            self.train(self.training)
        autocast = self.source.dtype != "float32"
        try:
            with (
                torch.autocast(device.type, torch.bfloat16, enabled=autocast),
                without_fast_path() if self._slow_path else nullcontext(),
            ):
                yield
        finally:
            for layer, weight, out_weight in self._attentions:
                set_attention(layer, weight, out_weight)

    def __repr__(self) -> str:
        n = sum(parameter.numel() for parameter in self.parameters())
        return f"{type(self).__name__}(method={self.method!r}, {n:,} trained parameters)"

    def train(self, mode: bool = True) -> "BaseAdapted":
        """Switch dropout on or off; statistics of frozen normalizations always stay as they are."""
        self.adapted.train(mode)
        for layer in self._frozen_norms:
            layer.eval()
        return super().train(mode)

    @contextmanager
    def pretrained(self) -> Iterator[Any]:
        """Provide a module that computes the same as the pretrained model, inside the block."""
        if self._base is None:
            settings = (self.source, self.settings, self.method, None)
            yield _built(type(self), *settings)
            return
        adapted, norms, frozen = self.adapted, self._frozen_norms, self._base.model
        vars(self)["adapted"], self._frozen_norms = frozen, []
        try:
            yield self.eval()
        finally:
            vars(self)["adapted"], self._frozen_norms = adapted, norms

    def lora_config(self) -> Any:
        """Return the `peft.LoraConfig` of the adapter.

        Raises
        ------
        ValueError
            If the method has no adapter.
        """
        if self._base is None or self.method == "head":
            raise ValueError(f"{_NAMES[self.method]} has no adapter. Use method='lora' or 'qlora'.")
        return _lora.lora_config(self._base.model, self.settings, self.head, self._task_type())

    def save_adapter(self, folder: str | Path) -> None:
        """Write the adapter in peft's format, for `peft.PeftModel.from_pretrained`.

        What was written is loaded by peft and compared with what was trained. An adapter that began
        with a part of the base (``init_lora_weights`` "pissa" or "olora") is written as one of
        twice the rank that fits the unchanged base.

        Raises
        ------
        ValueError
            If the method has no adapter, or the adapter alone does not hold what was trained.
        """
        if self._base is None or self.method == "head":
            raise ValueError(
                f"{_NAMES[self.method]} has no adapter. Save the model: "
                f"{self._saving()}.save_pretrained(folder), or torch.save of its state_dict()."
            )
        changed = self._changed_buffers()
        if changed:
            raise ValueError(
                f"The frozen model changed in training ({', '.join(sorted(changed)[:4])}), which "
                "no adapter holds. Keep the pickle of the net instead."
            )
        if self._initial is not None:
            self._converted().save_adapter(folder)
            return
        self.adapted.save_pretrained(str(folder), save_embedding_layers=False)
        self._check_saved(folder)

    def _saving(self) -> str:
        return "adapted"

    def _check_saved(self, folder: str | Path) -> None:
        base: Any = self._base
        view = base.view(own_buffers=True)
        if self.settings.bias != "none":
            copy_biases(view)  # which are overwritten
        loaded = _lora.load_adapter(view, str(folder))
        theirs = {**dict(loaded.named_parameters()), **dict(loaded.named_buffers())}
        ours = {**dict(self.trained.items()), **dict(self.trained_buffers.items())}
        lost = [
            name.replace("/", ".")
            for name, value in ours.items()
            if not same(value, theirs[name.replace("/", ".")])
        ]
        if lost:
            raise ValueError(
                f"peft does not keep {len(lost)} of the trained parameters, such as {lost[0]}. "
                "Keep the pickle of the net instead."
            )

    def _converted(self) -> "BaseAdapted":
        """Return a module with a plain adapter of twice the rank that computes the same."""
        initial: Any = self._initial
        with torch.random.fork_rng(devices=[]):
            new = _built(type(self), self.source, _lora.doubled(self.settings), "lora", self.head)
        with torch.no_grad():
            for name, parameter in self.trained.items():
                value = parameter.detach()
                layer = name.removeprefix("base_model/model/").partition("/lora_")[0]
                first = initial.get(layer.replace("/", "."))
                if "/lora_A/" in name:
                    value = torch.cat([value, first[0].to(value)], dim=0)
                elif "/lora_B/" in name:
                    value = torch.cat([value, -first[1].to(value)], dim=1)
                new.trained[name].copy_(value)
            new.trained_buffers.copy_from(dict(self.trained_buffers.items()))
        return new

    def _changed_buffers(self) -> dict[str, torch.Tensor]:
        """Return the frozen model's buffers that a training has changed."""
        if self._base is None:
            return {}
        before = dict(self._base.model.named_buffers())
        return {
            name: value
            for name, value in self._frozen_buffers.items()
            if name in before and not torch.equal(value, before[name])
        }

    def __reduce__(self) -> tuple[Any, ...]:
        settings = (self.source, self.settings, self.method, self.head, self._initial)
        # Parameters, not copies of their values, as an optimizer in the same pickle refers to them.
        state = (
            dict(self.trained.items()),
            dict(self.trained_buffers.items()),
            self._changed_buffers(),
            self.training,
        )
        return _restored, (type(self), settings, state)

    def _adopt(self, trained: Mapping[str, nn.Parameter]) -> None:
        """Replace this module's trained parameters by ``trained``."""
        new = {id(self.trained[name]): parameter for name, parameter in trained.items()}
        for module in [*self.adapted.modules(), self.trained]:
            parameters_of_module = module.named_parameters(recurse=False, remove_duplicate=False)
            for name, parameter in list(parameters_of_module):
                module.register_parameter(name, new.get(id(parameter), parameter))


_NAMES = {"full": "Full fine-tuning", "head": "Training the head alone"}


def _built(kind: type[BaseAdapted], *settings: Any) -> BaseAdapted:
    module = kind.__new__(kind)
    nn.Module.__init__(module)
    module._set_up(*settings)
    return module


def _restored(
    kind: type[BaseAdapted], settings: tuple[Any, ...], state: tuple[Any, ...]
) -> BaseAdapted:
    source, *others = settings
    trained, buffers, changed, training = state
    device = next(iter(trained.values())).device  # the device that unpickling has chosen
    with torch.random.fork_rng(devices=[]):  # the initial weights of the adapter are replaced
        module = _built(kind, source.moved(device), *others)
    module._adopt(trained)
    with torch.no_grad():
        module.trained_buffers.copy_from(buffers)
        for name, value in changed.items():
            module._frozen_buffers[name].copy_(value)
    return module.train(training)
