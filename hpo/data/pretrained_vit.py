"""Pretrain a small vision transformer, for machines without access to a hub."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpo._extras import needs_extra
from hpo.data.folder import atomic_folder, cache_folder
from hpo.data.mnist import load_mnist

__all__ = ["pretrained_vit"]

SIZE: Mapping[str, int] = {
    "patch_size": 14,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
"""A vision transformer of 114,000 parameters, which trains for some ten seconds on one core."""

LR, BATCH, SECONDS_BETWEEN_LINES = 2e-3, 64, 15.0


def pretrained_vit(
    digits: Sequence[int] = (0, 1, 2, 3, 4),
    *,
    n_images: int | None = 10_000,
    n_epochs: int = 3,
    size: Mapping[str, int] = SIZE,
    seed: int = 0,
    data_dir: str | Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Path:
    """Return the folder of a vision transformer trained on MNIST; it is trained on first use.

    It is a ViT of transformers with random initial weights, which learns to tell the ``digits``
    apart from training images of these, by AdamW with a falling rate. The default tells 98 % of
    the test images of its digits.

    Parameters
    ----------
    digits : sequence of int
        The classes that it learns.
    n_images : int or None, default=10_000
        Number of training images; None means all of these digits.
    n_epochs : int
    size : mapping of str to int
        Arguments of `transformers.ViTConfig`.
    seed : int
    data_dir : path, optional
        See `load_mnist`.
    tell : callable
        Called with a line about the progress every 15 s.

    Raises
    ------
    DataError
        If the images are not found, or the cache folder cannot be written.
    MissingExtraError
        If the ``lora`` extra is not installed.
    """
    with needs_extra("lora", "Vision transformers"):
        import transformers as _  # noqa: F401
    settings = [list(digits), n_images, n_epochs, dict(size), seed]
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    folder = cache_folder() / "models" / f"mnist-vit-{digest}"
    if folder.is_dir():
        return folder
    data = load_mnist(data_dir=data_dir, flat=False)
    rows = np.flatnonzero(np.isin(data.y_refit if data.y_refit is not None else data.y, digits))
    X, y = (data.X, data.y) if data.y_refit is None else (data.X_refit, data.y_refit)
    rows = np.random.default_rng(seed).permutation(rows)[:n_images]
    labels = np.searchsorted(np.sort(digits), y[rows])
    with atomic_folder(folder) as scratch:
        model = _model(size, len(digits), seed)
        _train(model, X[rows], labels, n_epochs=n_epochs, seed=seed, tell=tell)
        _save(model, scratch)
    return folder


def _model(size: Mapping[str, int], n_classes: int, seed: int) -> Any:
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        config = ViTConfig(image_size=28, num_channels=1, num_labels=n_classes, **size)
        return ViTForImageClassification(config)


def _train(
    model: Any,
    X: np.ndarray[Any, Any],
    y: np.ndarray[Any, Any],
    *,
    n_epochs: int,
    seed: int,
    tell: Callable[[str], None],
) -> None:
    import torch

    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.05)
    n_steps = n_epochs * -(-len(X) // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=n_steps, pct_start=0.1)
    rng = np.random.default_rng(seed)
    last_message, start, step = time.monotonic(), time.monotonic(), 0
    for _ in range(n_epochs):
        order = rng.permutation(len(X))
        for first in range(0, len(X), BATCH):
            rows = order[first : first + BATCH]
            images, labels = torch.as_tensor(X[rows]), torch.as_tensor(y[rows])
            loss: Any = torch.nn.functional.cross_entropy(model(images).logits, labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            rate.step()
            step += 1
            if time.monotonic() - last_message > SECONDS_BETWEEN_LINES or step == n_steps:
                last_message = time.monotonic()
                tell(
                    f"pretraining: step {step} of {n_steps}, loss {loss.item():.3f}, "
                    f"{last_message - start:.0f} s"
                )


def _save(model: Any, folder: Path) -> None:
    from safetensors.torch import save_file

    # Not by save_pretrained, which shows a progress bar for a single file.
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
