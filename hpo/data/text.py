"""Texts as blocks of tokens, for causal language models."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpo._extras import needs_extra
from hpo.data._base import StudyData
from hpo.data._corpora import read_corpus
from hpo.exceptions import DataError

__all__ = ["ContiguousHoldout", "last_share_from", "load_text"]


def load_text(
    text: str | Path | Sequence[str | Path],
    model: str | Path,
    *,
    context_length: int = 256,
    test_size: float = 0.1,
) -> StudyData:
    """Return a text as blocks of tokens of a model, with the last blocks as the test part.

    The blocks are contiguous and do not overlap; an incomplete last block is dropped. No token is
    added at their borders, and special tokens in the text (``<s>``) are read as ordinary
    characters.

    Parameters
    ----------
    text : str, path or sequence of them
        A text file in UTF-8, several files, or the name of a corpus: ``"tinyshakespeare"``,
        ``"war_and_peace"`` or ``"wikitext2"``, searched in ``$HPO_DATA`` and in the cache folder
        (``$HPO_CACHE``, else ``~/.cache/hpo``).
    model : str or path
        The model whose tokenizer is used: a folder, or an id on the hub.
    context_length : int, default=256
        Number of tokens of a block, at least 2.
    test_size : float, default=0.1
        Share of held-out blocks, from 0 (none) to below 1. A corpus with its own test part
        (``"wikitext2"``) uses that instead.

    Returns
    -------
    StudyData
        ``X`` is int64 of shape (n_blocks, context_length). ``y`` is the same array, since the
        label of a token is the next token.

    Raises
    ------
    DataError
        If a text or the tokenizer cannot be read, an argument is out of range, or the text
        is too short.
    MissingExtraError
        If the ``lora`` extra is not installed.
    """
    if context_length < 2:
        raise DataError(f"context_length must be at least 2. Got {context_length!r} instead.")
    if not 0 <= test_size < 1:
        raise DataError(f"test_size must be from 0 to below 1. Got {test_size!r} instead.")
    texts, test_texts = read_corpus(text)
    tokenizer = _load_tokenizer(model)
    if context_length > tokenizer.model_max_length:
        raise DataError(
            f"context_length={context_length} is more than the {tokenizer.model_max_length} "
            f"tokens that the model {str(model)!r} reads at once."
        )
    blocks = _blocks(texts, tokenizer, context_length)
    if test_texts:
        X, X_test = blocks, _blocks(test_texts, tokenizer, context_length)
    else:
        X, X_test = np.split(blocks, [last_share_from(len(blocks), test_size)])
    if len(X) < 2 or (test_size and not len(X_test)):
        raise DataError(
            f"The text is too short: it has {len(blocks)} blocks of {context_length} tokens, "
            f"{len(X_test)} of them for the test. Give more text or make context_length smaller."
        )
    if not len(X_test):
        return StudyData(X=X, y=X)
    return StudyData(X=X, y=X, X_test=X_test, y_test=X_test)


class ContiguousHoldout:
    """A splitter with one fold: the last rows for validation, all rows before them for training.

    Use it for texts and other sequences, whose neighbouring rows are too similar for a random
    split.

    Parameters
    ----------
    size : float, default=0.1
        Share of validation rows, between 0 and 1 exclusive.
    """

    def __init__(self, size: float = 0.1) -> None:
        if not 0 < size < 1:
            raise DataError(f"The size of a hold-out must be between 0 and 1. Got {size!r}.")
        self.size = size

    def __repr__(self) -> str:
        return f"ContiguousHoldout(size={self.size!r})"

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return 1."""
        return 1

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """Yield the row numbers of the training part and of the validation part."""
        train, valid = np.split(np.arange(len(X)), [last_share_from(len(X), self.size)])
        yield train, valid


def last_share_from(n: int, share: float) -> int:
    """Return the index where the last ``share`` of ``n`` rows begins; at least one row unless 0."""
    return n - max(round(n * share), 1) if share else n


def _load_tokenizer(model: str | Path) -> Any:
    with needs_extra("lora", "Texts"):
        from transformers import AutoTokenizer
    try:
        return AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise DataError(
            f"The tokenizer of the model {str(model)!r} cannot be loaded. Give a folder that "
            f"holds one, or an id on the hub (which takes a network).\n{error}"
        ) from error


def _blocks(texts: list[str], tokenizer: Any, length: int) -> np.ndarray[Any, Any]:
    tokens = [
        # The text is data: "<s>" in it must not end the document. `verbose` would warn of a
        # text longer than the context, although it is split into blocks here.
        tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)
        for text in texts
    ]
    ids = np.concatenate([np.asarray(part["input_ids"], dtype=np.int64) for part in tokens])
    n_blocks = len(ids) // length
    return ids[: n_blocks * length].reshape(n_blocks, length)
