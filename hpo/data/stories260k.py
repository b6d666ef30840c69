"""A pretrained causal language model of 260,032 parameters."""

import hashlib
import struct
from pathlib import Path

from hpo._extras import needs_extra
from hpo.data._llama2c import convert
from hpo.data.folder import atomic_folder, cache_folder, find_data
from hpo.exceptions import DataError

__all__ = ["find_stories260k"]

FILES = ("stories260K.bin", "tok512.bin")
FORMAT = 1
"""Incremented when the conversion changes, so that older cached results are not used."""


def find_stories260k() -> Path:
    """Return the folder of stories260K as a transformers Llama; it is converted on first use.

    It is the smallest of Karpathy's tinyllamas (https://github.com/karpathy/llama2.c,
    ``doc/stories260K.md``): five layers of width 64, 512 tokens, a context of 512, trained on
    short stories for children. Adapting it to another text takes seconds on a CPU.

    It searches for ``models/stories260k/stories260K.bin`` and ``tok512.bin`` in ``$HPO_DATA``
    and the cache folder (``$HPO_CACHE``, else ``~/.cache/hpo``).

    Raises
    ------
    DataError
        If the files are not found, one is damaged, or the cache folder cannot be written.
    MissingExtraError
        If the ``lora`` extra is not installed.
    """
    weights, tokenizer = (
        find_data("The model stories260K", f"models/stories260k/{name}") for name in FILES
    )
    digest = hashlib.sha256(weights.read_bytes() + tokenizer.read_bytes() + bytes([FORMAT]))
    folder = cache_folder() / "models" / f"stories260k-{digest.hexdigest()[:12]}"
    if not folder.is_dir():
        _convert_into(folder, weights, tokenizer)
    return folder


def _convert_into(folder: Path, weights: Path, tokenizer: Path) -> None:
    try:
        with needs_extra("lora", "Language models"), atomic_folder(folder) as scratch:
            convert(weights, tokenizer, scratch)
    except (ValueError, struct.error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{weights} or {tokenizer} is damaged ({error}). Replace them by whole copies."
        ) from error
