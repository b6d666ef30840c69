"""Which layers of a model an adapter is put on, and which are trained whole beside it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from hpo._discovery import did_you_mean
from hpo._stages import stages_of
from hpo.nets._lora_settings import LoraSettings

__all__ = ["WORDS", "head_of", "shortest_names", "target_layers"]

WORDS = ("all-linear", "all-conv", "all", "attention")
"""What `target_modules` may be besides names and regular expressions."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def head_of(model: nn.Module) -> list[str]:
    """Return the names of the layers behind the pretrained body: those of a new task.

    Of a model of transformers they are what stands beside its body (its ``base_model``), or nothing
    if it predicts tokens of its vocabulary; of any other, the last part that has parameters.
    """
    if _is_of_transformers(model):
        body: Any = getattr(model, "base_model", None)
        if body is model or _output_embeddings(model) is not None:
            return []
        return [name for name, child in stages_of(model) if child is not body]
    prefix: list[str] = []
    inner, stages = model, stages_of(model)
    while len(stages) == 1:
        prefix.append(stages[0][0])
        inner = stages[0][1]
        stages = stages_of(inner)
    return [".".join([*prefix, stages[-1][0]])] if len(stages) > 1 else []


def target_layers(model: nn.Module, settings: LoraSettings, head: Sequence[str]) -> list[str]:
    """Return the names of the layers that get an adapter.

    Raises
    ------
    ValueError
        If a name matches nothing, or an adapter is impossible on one of the layers, or would
        not be used.
    """
    layers = {name: layer for name, layer in model.named_modules() if name}
    in_head = {name for name in layers if any(_is_below(name, top) for top in head)}
    words = settings.target_modules
    if isinstance(words, str) and words.lower() in WORDS:
        body = {name: layer for name, layer in layers.items() if name not in in_head}
        found = _by_word(words.lower(), model, body)
    else:
        found = _by_name(words, layers, in_head, type(model).__name__)
    for name in found:
        reason = _refused(name, layers, settings)
        if reason:
            raise ValueError(f"The layer {name!r} cannot have an adapter: {reason}")
    return found


def _by_word(word: str, model: nn.Module, layers: Mapping[str, nn.Module]) -> list[str]:
    output = _output_embeddings(model)
    attentions = [n for n, layer in layers.items() if isinstance(layer, nn.MultiheadAttention)]
    usual = {
        name: layer
        for name, layer in layers.items()
        # torch's attention never calls the layers inside it; it gets an adapter as a whole
        if layer is not output and not any(_is_below(name, top, proper=True) for top in attentions)
    }
    linear = [n for n, m in usual.items() if _is_linear(m) or isinstance(m, nn.MultiheadAttention)]
    convolutions = [name for name, layer in usual.items() if _is_plain_convolution(layer)]
    chosen = {
        "all-linear": linear,
        "all-conv": convolutions,
        "all": [name for name in usual if name in {*linear, *convolutions}],
        "attention": [n for n in linear if n in attentions or _in_attention(n)],
    }
    if not chosen[word]:
        others = {key: len(names) for key, names in chosen.items() if names}
        cure = (
            f"Try {' or '.join(f'{key!r} ({n} layers)' for key, n in others.items())}."
            if others
            else "It has no layers that can have an adapter."
        )
        raise ValueError(
            f"target_modules={word!r} matches no layer of {type(model).__name__} outside its head. "
            f"{cure}"
        )
    return chosen[word]


def _by_name(
    words: str | Sequence[str], layers: Mapping[str, nn.Module], in_head: set[str], model: str
) -> list[str]:
    patterns = [words] if isinstance(words, str) else list(words)
    found: set[str] = set()
    for word in patterns:
        if isinstance(words, str):
            try:
                matching = {name for name in layers if re.fullmatch(word, name)}
            except re.error as error:
                raise ValueError(
                    f"target_modules={word!r} is neither one of {', '.join(WORDS)} nor a regular "
                    f"expression ({error})."
                ) from error
        else:
            matching = {n for n in layers if n == word or n.endswith(f".{word}")}
        if matching and matching <= in_head:
            raise ValueError(
                f"Target modules {word!r} are in the head of {model}, which is trained whole. "
                "Leave them out, or set head to other layers."
            )
        if not matching:
            raise ValueError(_not_found(word, layers, model, whole=isinstance(words, str)))
        found |= matching
    return [name for name in layers if name in found - in_head]


def _not_found(word: str, layers: Mapping[str, nn.Module], model: str, *, whole: bool) -> str:
    last = {name.rpartition(".")[2] for name, layer in layers.items() if _may_be_adapted(layer)}
    names = sorted(name for name in last if not name.isdigit()) or sorted(
        name for name, layer in layers.items() if _may_be_adapted(layer)
    )
    hint = did_you_mean(word, [*WORDS, *names]) or "."
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    more = (
        " A string is a word or a regular expression for full names; give names as a list."
        if whole and word in last
        else ""
    )
    return (
        f"Target modules {word!r} not found in {model}{hint} It has {listed}. "
        f"Words for many layers: {', '.join(WORDS)}.{more}"
    )


def _refused(name: str, layers: Mapping[str, nn.Module], settings: LoraSettings) -> str:
    """Return why a layer cannot have the adapter, or nothing."""
    layer = layers[name]
    if not _may_be_adapted(layer):
        return (
            f"it is a {type(layer).__name__}. Linear, convolutional and embedding layers and "
            "nn.MultiheadAttention can."
        )
    parts = name.split(".")
    above = [".".join(parts[:i]) for i in range(1, len(parts))]
    attention = next((n for n in above if isinstance(layers[n], nn.MultiheadAttention)), None)
    if attention:
        return f"torch's attention uses its weights without calling it. Give {attention!r} instead."
    reason = ""
    if isinstance(layer, nn.MultiheadAttention):
        reason = _refused_attention(layer, settings)
    if isinstance(layer, _CONVOLUTIONS):
        reason = _refused_convolution(layer)
    return reason or (_refused_change(layer, settings) if settings.changes_base else "")


def _refused_change(layer: Any, settings: LoraSettings) -> str:
    init = f"init_lora_weights={settings.init_lora_weights!r}"
    if not isinstance(layer, nn.Linear):
        return f"{init} takes linear layers alone."
    if hasattr(layer.weight, "quant_state"):
        return f"{init} needs weights of full precision, and method='qlora' has 4 bits."
    smaller = min(layer.in_features, layer.out_features)
    if settings.r > smaller:
        return f"{init} needs an r of at most its smaller side, {smaller}. Got {settings.r}."
    return ""


def _refused_attention(layer: nn.MultiheadAttention, settings: LoraSettings) -> str:
    if not layer._qkv_same_embed_dim:
        return "its queries, keys and values have different widths."
    if settings.use_dora:
        return "use_dora is not defined for nn.MultiheadAttention. Use LoRA, or other targets."
    if settings.lora_dropout:
        return "lora_dropout does not act in nn.MultiheadAttention. Set it to 0."
    if settings.bias == "lora_only":
        return "bias='lora_only' does not reach nn.MultiheadAttention. Use 'none' or 'all'."
    return ""


def _refused_convolution(layer: Any) -> str:
    if any(d != 1 for d in layer.dilation):
        return "it is dilated, which the adapter would not be."
    if layer.padding_mode != "zeros":
        return f"it pads by {layer.padding_mode!r}, which the adapter would not do."
    if layer.groups > 1:
        return "it is a grouped convolution, in which an adapter cannot be merged."
    return ""


def _is_of_transformers(model: nn.Module) -> bool:
    return hasattr(model, "base_model_prefix") and hasattr(model, "config")


def _output_embeddings(model: nn.Module) -> Any:
    getter = getattr(model, "get_output_embeddings", None)
    return getter() if getter is not None and _is_of_transformers(model) else None


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"


def _is_plain_convolution(layer: nn.Module) -> bool:
    return (
        isinstance(layer, _CONVOLUTIONS)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and all(d == 1 for d in layer.dilation)
    )


def _may_be_adapted(layer: nn.Module) -> bool:
    kinds = (nn.Embedding, nn.MultiheadAttention, *_CONVOLUTIONS)
    return _is_linear(layer) or isinstance(layer, kinds)


def _is_below(name: str, top: str, *, proper: bool = False) -> bool:
    return name.startswith(f"{top}.") or (name == top and not proper)


def _in_attention(name: str) -> bool:
    return any("attn" in part or "attention" in part for part in name.lower().split(".")[:-1])


def shortest_names(targets: Sequence[str], names: Iterable[str]) -> list[str] | str:
    """Return the shortest suffixes by which peft finds exactly ``targets`` among ``names``.

    Where no suffixes do, a regular expression is returned.
    """
    wanted = set(targets)
    others = {suffix for name in names if name not in wanted for suffix in _suffixes(name)}
    found = []
    for name in targets:
        suffix = next((suffix for suffix in _telling(name) if suffix not in others), None)
        if suffix is None:
            return "|".join(map(re.escape, targets))
        found.append(suffix)
    return list(dict.fromkeys(found))


def _suffixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[i:]) for i in reversed(range(len(parts)))]


def _telling(name: str) -> list[str]:
    """Return the suffixes of a name that begin with more than a number, or the name."""
    return [s for s in _suffixes(name) if not s.partition(".")[0].isdigit()] or [name]
