"""Make and attach LoRA adapters of peft."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from hpo.nets._base_models import import_libraries
from hpo.nets._lora_settings import LoraSettings
from hpo.nets._lora_targets import shortest_names, target_layers

__all__ = [
    "attach_adapter",
    "config_code",
    "doubled",
    "initial_factors",
    "load_adapter",
    "lora_config",
]

Factors = Mapping[str, tuple[torch.Tensor, torch.Tensor]]
"""The matrices A and B of adapted layers, by the layers' names."""


def lora_config(
    model: Any, settings: LoraSettings, head: Sequence[str] = (), task_type: str | None = None
) -> Any:
    """Return the `peft.LoraConfig` that adapts ``model``.

    Parameters
    ----------
    model : torch module
    settings : LoraSettings
    head : sequence of str
        Names of layers that are trained whole beside the adapter.
    task_type : str, optional
        As in peft.
    """
    _, peft = import_libraries()
    targets: Any = target_layers(model, settings, head)
    if task_type == "CAUSAL_LM" and settings.target_modules == "all-linear":
        targets = "all-linear"  # peft means the same by it
    else:
        targets = shortest_names(targets, [name for name, _ in model.named_modules() if name])
    return peft.LoraConfig(
        task_type=task_type,
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        bias=settings.bias,
        init_lora_weights=_INITS.get(settings.init_lora_weights, settings.init_lora_weights),
        modules_to_save=list(head) or None,
        target_modules=targets,
    )


_INITS: Mapping[str, Any] = {"default": True}


def attach_adapter(
    model: Any,
    settings: LoraSettings,
    head: Sequence[str] = (),
    task_type: str | None = None,
    initial: Factors | None = None,
) -> Any:
    """Return ``model`` as a `peft.PeftModel` with a new adapter; its modules are replaced.

    No tensor of ``model`` is changed: what is trained, and what an initialization changes, is
    copied before.

    Parameters
    ----------
    model : torch module
        A `BaseModel.view`.
    settings, head, task_type
        See `lora_config`.
    initial : mapping of str to two tensors, optional
        The matrices that an adapter began with, if its initialization changed the base.

    Raises
    ------
    ValueError
        If there are no such layers, or an adapter is impossible on them.
    """
    _, peft = import_libraries()
    known = initial is not None
    config = lora_config(
        model,
        replace(settings, init_lora_weights="default") if known else settings,
        head,
        task_type,
    )
    shared = {id(parameter) for parameter in model.parameters()}
    if settings.changes_base:
        for name in target_layers(model, settings, head):
            layer = model.get_submodule(name)
            layer.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
    with _expected_warnings():
        adapted = peft.get_peft_model(model, config)
    _check_head(adapted, head)
    _copy_trained(adapted, shared)
    if initial is not None:
        _subtract(adapted, initial)
    return adapted


def _check_head(adapted: Any, head: Sequence[str]) -> None:
    """Raise ValueError unless exactly ``head`` is trained whole; peft looks at ends of names."""
    whole = [
        name.removeprefix("base_model.model.")
        for name, layer in adapted.named_modules()
        if hasattr(layer, "modules_to_save") and hasattr(layer, "original_module")
    ]
    if set(whole) != set(head):
        raise ValueError(
            f"peft finds the head {', '.join(head) or 'that is none'} by the end of its name, and "
            f"would train {', '.join(whole) or 'nothing'} whole. Set head to names that no other "
            "layer's name ends with."
        )


def _copy_trained(adapted: Any, shared: set[int]) -> None:
    """Replace trained parameters of the shared base, which are biases, by copies."""
    copies: dict[int, nn.Parameter] = {}
    for module in adapted.modules():
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if id(parameter) in copies:
                module.register_parameter(name, copies[id(parameter)])
            elif parameter.requires_grad and id(parameter) in shared:
                copies[id(parameter)] = nn.Parameter(parameter.detach().clone())
                parameter.requires_grad_(False)
                module.register_parameter(name, copies[id(parameter)])


def _layers(adapted: Any) -> dict[str, Any]:
    """Return the adapted layers by their names in the base."""
    prefix = "base_model.model."
    return {
        name.removeprefix(prefix): layer
        for name, layer in adapted.named_modules()
        if hasattr(layer, "lora_A") and hasattr(layer, "get_base_layer")
    }


def initial_factors(adapted: Any) -> Factors:
    """Return copies of the matrices A and B of a new adapter."""
    return {
        name: (
            layer.lora_A["default"].weight.detach().clone(),
            layer.lora_B["default"].weight.detach().clone(),
        )
        for name, layer in _layers(adapted).items()
    }


def _subtract(adapted: Any, initial: Factors) -> None:
    """Take what an adapter began with out of its own copy of the base, as peft does."""
    for name, layer in _layers(adapted).items():
        weight_a, weight_b = (factor.to(layer.weight.device) for factor in initial[name])
        base = layer.get_base_layer()
        left = base.weight.data.float() - layer.scaling["default"] * weight_b @ weight_a
        base.weight.data = left.to(base.weight.dtype)


def doubled(settings: LoraSettings) -> LoraSettings:
    """Return the settings of a plain adapter on the unchanged base: twice the rank."""
    factor = 2**0.5 if settings.use_rslora else 2
    return replace(
        settings,
        r=2 * settings.r,
        lora_alpha=settings.lora_alpha * factor,
        init_lora_weights="default",
    )


def load_adapter(model: Any, folder: str) -> Any:
    """Return ``model`` with the adapter in ``folder``, as anybody would load it by peft."""
    _, peft = import_libraries()
    with _expected_warnings(), torch.random.fork_rng(devices=[]):
        return peft.PeftModel.from_pretrained(model, folder)


@contextmanager
def _expected_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # caused by peft calling transformers
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")
        # GPT-2 stores its weights transposed; peft detects that and sets the flag
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False")
        yield


def config_code(config: Any) -> str:
    """Return Python code for a `peft.LoraConfig`, with the arguments that `lora_config` sets."""
    targets = config.target_modules
    arguments = {
        **({"task_type": config.task_type} if config.task_type else {}),
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "use_rslora": config.use_rslora,
        "target_modules": sorted(targets) if isinstance(targets, set) else targets,
    }
    rare = {
        "use_dora": (config.use_dora, False),
        "bias": (config.bias, "none"),
        "init_lora_weights": (config.init_lora_weights, True),
        "modules_to_save": (config.modules_to_save, None),
    }
    arguments |= {name: value for name, (value, usual) in rare.items() if value != usual}
    return f"LoraConfig({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
