"""Pretrain a small causal language model, for machines without access to a hub."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpo._extras import needs_extra
from hpo.data._corpora import read_corpus
from hpo.data.folder import atomic_folder, cache_folder

__all__ = ["pretrained_base"]

SIZE: Mapping[str, int] = {
    "vocab_size": 2048,
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "max_position_embeddings": 256,
}
"""A Llama of 3.0 million parameters, which trains for minutes on two cores."""

LR, WARMUP, SECONDS_BETWEEN_LINES = 2e-3, 0.05, 15.0


def pretrained_base(
    corpus: str = "wikitext2",
    *,
    n_steps: int = 600,
    batch_size: int = 16,
    context_length: int = 128,
    size: Mapping[str, int] = SIZE,
    seed: int = 0,
    device: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Path:
    """Return the folder of a model trained on ``corpus``; it is trained on first use.

    It is a Llama of transformers with random initial weights and its own byte-level BPE
    tokenizer, both trained on the corpus. The model is trained on blocks in random order by
    AdamW, with a warm-up over a twentieth of the steps and a cosine schedule.

    Parameters
    ----------
    corpus : str or path
        See `load_text`.
    n_steps, batch_size, context_length : int
        Number of optimizer steps, of blocks per step, and of tokens per block.
    size : mapping of str to int
        Arguments of `transformers.LlamaConfig`.
    seed : int
    device : str or None
        Torch device. None means the first GPU, with bfloat16, or the CPU if there is none.
    tell : callable
        Called with a line about the progress every 15 s.

    Raises
    ------
    DataError
        If the corpus cannot be read, or the cache folder cannot be written.
    MissingExtraError
        If the ``lora`` extra is not installed.
    """
    with needs_extra("lora", "Language models"):
        import transformers as _  # noqa: F401
    texts, _test = read_corpus(corpus)
    settings = [n_steps, batch_size, context_length, dict(size), seed, *texts]
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    folder = cache_folder() / "models" / f"{Path(corpus).stem}-{digest}"
    if folder.is_dir():
        return folder
    from safetensors.torch import save_file

    with atomic_folder(folder) as scratch:
        tokenizer = _tokenizer(texts, size)
        model = _model(size, seed)
        blocks = _blocks(texts, tokenizer, context_length)
        _train(
            model,
            blocks,
            n_steps=n_steps,
            batch_size=batch_size,
            seed=seed,
            device=device,
            tell=tell,
        )
        tokenizer.save_pretrained(scratch)
        # Not by save_pretrained, which shows a progress bar for a single file.
        model.config.save_pretrained(scratch)
        weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
        weights.pop("lm_head.weight", None)  # same as the embedding
        save_file(weights, scratch / "model.safetensors", metadata={"format": "pt"})
    return folder


def _tokenizer(texts: list[str], size: Mapping[str, int]) -> Any:
    from tokenizers import ByteLevelBPETokenizer, Tokenizer
    from transformers import PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    special = ["<unk>", "<s>", "</s>"]
    bpe.train_from_iterator(
        texts, vocab_size=size["vocab_size"], special_tokens=special, show_progress=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(bpe.to_str()),
        unk_token=special[0],
        bos_token=special[1],
        eos_token=special[2],
        clean_up_tokenization_spaces=False,
        model_max_length=size["max_position_embeddings"],
    )


def _model(size: Mapping[str, int], seed: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        config = LlamaConfig(**size, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2)
        return LlamaForCausalLM(config)


def _blocks(texts: list[str], tokenizer: Any, length: int) -> np.ndarray[Any, Any]:
    ids = [
        # As in `load_text`: "<unk>" in a text is read as five characters.
        np.asarray(
            tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)[
                "input_ids"
            ]
        )
        for text in texts
    ]
    joined = np.concatenate(ids)
    n_blocks = len(joined) // length
    return joined[: n_blocks * length].reshape(n_blocks, length)


def _train(
    model: Any,
    blocks: np.ndarray[Any, Any],
    *,
    n_steps: int,
    batch_size: int,
    seed: int,
    device: str | None,
    tell: Callable[[str], None],
) -> None:
    import torch

    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model.to(place).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.95), weight_decay=0.1)
    factor = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step, n_steps))
    rows = np.random.default_rng(seed)
    last_message, start = time.monotonic(), time.monotonic()
    for step in range(1, n_steps + 1):
        batch = torch.as_tensor(blocks[rows.integers(len(blocks), size=batch_size)], device=place)
        with torch.autocast(place.type, torch.bfloat16, enabled=place.type == "cuda"):
            loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        factor.step()
        if time.monotonic() - last_message > SECONDS_BETWEEN_LINES or step == n_steps:
            last_message = time.monotonic()
            tell(
                f"pretraining: step {step} of {n_steps}, loss {loss.item():.2f} nats a token, "
                f"{last_message - start:.0f} s"
            )


def _factor(step: int, n_steps: int) -> float:
    rise = max(1, round(WARMUP * n_steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, n_steps - rise)))
