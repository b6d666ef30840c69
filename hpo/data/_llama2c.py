"""Convert checkpoints of llama2.c to transformers' Llama.

The formats are those of https://github.com/karpathy/llama2.c: ``run.c`` (``memory_map_weights``,
``build_tokenizer``, ``encode``).
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["convert"]

_N_SPECIAL = 3
"""Tokens before the 256 bytes: unknown, begin, end."""
_FIRST_PIECE = _N_SPECIAL + 256


def convert(weights: Path, tokenizer: Path, folder: Path) -> None:
    """Write the model in ``weights`` and its tokenizer to ``folder``, which exists.

    Parameters
    ----------
    weights : path
        A ``.bin`` of llama2.c's first format: seven sizes, then float32.
    tokenizer : path
        The ``.bin`` of its tokenizer: pieces and their scores.
    folder : path
        Receives config, weights in safetensors and tokenizer.

    Raises
    ------
    ValueError
        If the lengths of the files do not match their headers.
    """
    from safetensors.numpy import save
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    sizes, state = _read_weights(weights.read_bytes())
    pieces = _read_pieces(tokenizer.read_bytes(), sizes["vocab_size"])
    LlamaConfig(
        **sizes,
        architectures=["LlamaForCausalLM"],
        dtype="float32",
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=1,
        eos_token_id=2,
    ).save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(save(state, metadata={"format": "pt"}))
    PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(pieces),
        unk_token=pieces[0][0],
        bos_token=pieces[1][0],
        eos_token=pieces[2][0],
        clean_up_tokenization_spaces=False,
        model_max_length=sizes["max_position_embeddings"],
    ).save_pretrained(folder)


def _read_weights(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Return the sizes and the weights, by the names of transformers' Llama."""
    dim, hidden, n_layers, n_heads, n_kv_heads, vocab_size, context = struct.unpack_from(
        "<7i", content
    )
    tied, vocab_size = vocab_size > 0, abs(vocab_size)
    head = dim // n_heads
    shapes = {  # in the order of the file; those with {} exist once for each layer
        "model.embed_tokens": (vocab_size, dim),
        "model.layers.{}.input_layernorm": (dim,),
        "model.layers.{}.self_attn.q_proj": (n_heads * head, dim),
        "model.layers.{}.self_attn.k_proj": (n_kv_heads * head, dim),
        "model.layers.{}.self_attn.v_proj": (n_kv_heads * head, dim),
        "model.layers.{}.self_attn.o_proj": (dim, n_heads * head),
        "model.layers.{}.post_attention_layernorm": (dim,),
        "model.layers.{}.mlp.gate_proj": (hidden, dim),
        "model.layers.{}.mlp.down_proj": (dim, hidden),
        "model.layers.{}.mlp.up_proj": (hidden, dim),
        "model.norm": (dim,),
        "rotary cosines and sines": (2, context, head // 2),
    }
    if not tied:
        shapes["lm_head"] = (vocab_size, dim)
    values = np.frombuffer(content, "<f4", offset=struct.calcsize("<7i")).astype(np.float32)
    state: dict[str, np.ndarray[Any, Any]] = {}
    for name, shape in shapes.items():
        for layer in range(n_layers if "{}" in name else 1):
            part, values = np.split(values, [int(np.prod(shape))])
            weight = part.reshape(shape)
            if name.endswith(("q_proj", "k_proj")):
                weight = _half_rotation(weight, head)
            state[f"{name.format(layer)}.weight"] = np.ascontiguousarray(weight)
    if len(values):
        raise ValueError(f"{len(values)} numbers are left over")
    del state["rotary cosines and sines.weight"]  # transformers computes them
    sizes = {
        "hidden_size": dim,
        "intermediate_size": hidden,
        "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads,
        "num_key_value_heads": n_kv_heads,
        "vocab_size": vocab_size,
        "max_position_embeddings": context,
        "tie_word_embeddings": tied,
    }
    return sizes, state


def _half_rotation(weight: np.ndarray[Any, Any], head: int) -> np.ndarray[Any, Any]:
    """Reorder the rows of a query or key projection.

    llama2.c rotates pairs of neighbouring outputs of a head, transformers pairs of an output of
    the first half with the corresponding one of the second.
    """
    pairs = weight.reshape(-1, head // 2, 2, weight.shape[1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def _read_pieces(content: bytes, n_pieces: int) -> list[tuple[str, float]]:
    """Return text and score of each token, in the order of their ids."""
    pieces, place = [], struct.calcsize("<i")  # after the length of the longest piece
    for _ in range(n_pieces):
        score, length = struct.unpack_from("<fi", content, place)
        place += struct.calcsize("<fi")
        pieces.append((content[place : place + length].decode(), score))
        place += length
    if place != len(content):
        raise ValueError(f"{len(content) - place} bytes are left over")
    return pieces


def _tokenizer(pieces: list[tuple[str, float]]) -> Any:
    """Return a tokenizer that merges like llama2.c: the pair with the best score first.

    Characters that are not pieces are encoded as bytes, and a space is prepended to the text.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers

    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    ranked = sorted(range(_FIRST_PIECE, len(pieces)), key=lambda i: -pieces[i][1])
    merges = [pair for i in ranked for pair in _pairs(pieces[i][0], ids)]
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, byte_fallback=True))
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def _pairs(piece: str, ids: dict[str, int]) -> list[tuple[str, str]]:
    """Return the pairs of pieces whose concatenation is ``piece``."""
    cuts = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
    return [pair for pair in cuts if all(ids.get(part, 0) >= _FIRST_PIECE for part in pair)]
