"""Texts as blocks of characters, for small language models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpo.data._base import StudyData
from hpo.data._corpora import read_corpus
from hpo.data.text import last_share_from
from hpo.exceptions import DataError

__all__ = ["find_alphabet", "load_characters"]


def find_alphabet(text: str | Path | Sequence[str | Path]) -> str:
    """Return the distinct characters of a text and of its own test part, sorted by code point.

    Parameters
    ----------
    text : str, path or sequence of them
        As in `load_characters`.

    Raises
    ------
    DataError
        If a text cannot be read.
    """
    texts, test_texts = read_corpus(text)
    return _alphabet(texts + test_texts)


def load_characters(
    text: str | Path | Sequence[str | Path] = "tinyshakespeare",
    context_length: int = 64,
    n_train: int | None = None,
    *,
    test_size: float = 0.1,
    refit_on_all: bool = True,
) -> StudyData:
    """Return a text as blocks of characters, each with the next character of each position.

    The blocks are contiguous; an incomplete last block is dropped. Neighbouring blocks are
    similar, so cross-validate with `ContiguousHoldout`.

    Parameters
    ----------
    text : str, path or sequence of them
        A text file in UTF-8, several files, or the name of a corpus: ``"tinyshakespeare"``,
        ``"war_and_peace"`` or ``"wikitext2"``, searched in ``$HPO_DATA`` and in the cache folder
        (``$HPO_CACHE``, else ``~/.cache/hpo``).
    context_length : int, default=64
        Number of characters of a block, at least 1.
    n_train : int, optional
        Number of blocks to search on, the first ones. If None, all are used.
    test_size : float, default=0.1
        Share of held-out blocks, the last ones, between 0 and 1 exclusive. A corpus with its own
        test part (``"wikitext2"``) uses that instead.
    refit_on_all : bool, default=True
        Whether to refit the winner on all blocks, or only on those of the search.

    Returns
    -------
    StudyData
        ``X`` and ``y`` are int64 of shape (n_blocks, context_length): indices in the alphabet of
        `find_alphabet`, which is ``class_names``.

    Raises
    ------
    DataError
        If a text cannot be read or is too short, or an argument is out of range.
    """
    if context_length < 1:
        raise DataError(f"context_length must be at least 1. Got {context_length!r} instead.")
    if not 0 < test_size < 1:
        raise DataError(f"test_size must be between 0 and 1. Got {test_size!r} instead.")
    texts, test_texts = read_corpus(text)
    alphabet = _alphabet(texts + test_texts)
    X, y = _blocks("".join(texts), alphabet, context_length)
    if test_texts:
        X_test, y_test = _blocks("".join(test_texts), alphabet, context_length)
    else:
        X, X_test = np.split(X, [last_share_from(len(X), test_size)])
        y, y_test = np.split(y, [len(X)])
    n = len(X) if n_train is None else n_train
    if not (2 <= n <= len(X) and len(X_test)):
        raise DataError(
            f"There are {len(X)} blocks of {context_length} characters to train on and "
            f"{len(X_test)} to test: too few, or not enough for n_train={n_train}. Give more text, "
            "or make context_length or n_train smaller."
        )
    part = n < len(X) and refit_on_all
    return StudyData(
        X=X[:n],
        y=y[:n],
        X_test=X_test,
        y_test=y_test,
        X_refit=X if part else None,
        y_refit=y if part else None,
        class_names=tuple(alphabet),
    )


def _alphabet(texts: list[str]) -> str:
    return "".join(sorted(set().union(*texts)))


def _blocks(
    text: str, alphabet: str, length: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return blocks of the characters as indices in ``alphabet``, and of the next characters."""
    letters, codes = (
        np.frombuffer(string.encode("utf-32-le"), dtype=np.uint32) for string in (alphabet, text)
    )
    places = np.searchsorted(letters, codes).astype(np.int64)
    n_blocks = max(0, (len(places) - 1) // length)
    end = n_blocks * length
    return places[:end].reshape(n_blocks, length), places[1 : end + 1].reshape(n_blocks, length)
