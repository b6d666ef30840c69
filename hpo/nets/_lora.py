"""Make and attach LoRA adapters of peft."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hpo.nets._base_models import import_libraries

__all__ = ["attach_adapter", "attention_layers", "config_code", "lora_config"]


def lora_config(
    model: Any,
    *,
    r: int,
    scale: float,
    lora_dropout: float,
    use_rslora: bool,
    target_modules: str | Sequence[str],
) -> Any:
    """Return the `peft.LoraConfig` that adapts ``model``.

    Parameters
    ----------
    model : transformers model
    r, lora_dropout, use_rslora
        As in peft.
    scale : float
        ``lora_alpha / r``.
    target_modules : str or sequence of str
        ``"attention"`` for the linear layers of the attention; anything else as in peft.
    """
    _, peft = import_libraries()
    if target_modules == "attention":
        target_modules = attention_layers(model)
    alpha = scale * r
    return peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=r,
        lora_alpha=int(alpha) if float(alpha).is_integer() else alpha,
        lora_dropout=lora_dropout,
        use_rslora=use_rslora,
        target_modules=target_modules if isinstance(target_modules, str) else list(target_modules),
    )


def attention_layers(model: Any) -> list[str]:
    """Return names that select exactly the linear layers of the attention, as in peft.

    Raises
    ------
    ValueError
        If no layer is in a module whose name contains "attn" or "attention".
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    linear = [
        name for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)
    ]
    in_attention = [name for name in linear if _in_attention(name)]
    other_names = {name.rpartition(".")[2] for name in linear if not _in_attention(name)}
    if not in_attention:
        raise ValueError(
            f"{type(model).__name__} has no modules with 'attn' or 'attention' in their names. "
            f"Give target_modules some of: {', '.join(sorted(other_names))}."
        )
    names = []
    for name in in_attention:
        *_, parent, last = name.split(".")
        names.append(f"{parent}.{last}" if last in other_names else last)
    return list(dict.fromkeys(names))


def _in_attention(name: str) -> bool:
    return any("attn" in part or "attention" in part for part in name.lower().split(".")[:-1])


def attach_adapter(model: Any, config: Any) -> Any:
    """Return ``model`` as a `peft.PeftModel` with a new adapter; its modules are replaced.

    peft writes the names of the adapted layers into the config.
    """
    _, peft = import_libraries()
    with _expected_warnings():
        return peft.get_peft_model(model, config)


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
        "task_type": config.task_type,
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "use_rslora": config.use_rslora,
        "target_modules": sorted(targets) if isinstance(targets, set) else targets,
    }
    return f"LoraConfig({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
