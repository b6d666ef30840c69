"""Texts by name or by file, as plain strings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo._discovery import did_you_mean
from hpo.data.folder import find_data
from hpo.exceptions import DataError

__all__ = ["CORPORA", "Corpus", "read_corpus"]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Files of a text below a data folder, and those of its own test part if it has one."""

    files: tuple[str, ...]
    test_files: tuple[str, ...] = ()


CORPORA = {
    "tinyshakespeare": Corpus(("tinyshakespeare/input.txt",)),
    "war_and_peace": Corpus(("war_and_peace/2600-0.txt",)),
    "wikitext2": Corpus(("wikitext2/train.txt",), ("wikitext2/test.txt",)),
}

_GUTENBERG = re.compile(r"\*\*\* START OF [^\n]*\*\*\*\n(.*)\*\*\* END OF ", re.DOTALL)
"""Matches the text between the licence notes of Project Gutenberg."""


def read_corpus(text: str | Path | Sequence[str | Path]) -> tuple[list[str], list[str]]:
    """Return the texts of a corpus, one per file, and those of its own test part.

    Parameters
    ----------
    text : str, path or sequence of them
        A file, several files, or the name of a corpus, whose files are searched in ``$HPO_DATA``
        and the cache folder.

    Raises
    ------
    DataError
        If a file does not exist, cannot be read or is not UTF-8.
    """
    if isinstance(text, str) and text in CORPORA:
        corpus = CORPORA[text]
        return (
            [_read(_find(text, name)) for name in corpus.files],
            [_read(_find(text, name)) for name in corpus.test_files],
        )
    files = [text] if isinstance(text, str | Path) else list(text)
    if not files:
        raise DataError("There is no text: give at least one file.")
    return [_read(_check_exists(Path(file).expanduser())) for file in files], []


def _check_exists(file: Path) -> Path:
    if not file.is_file():
        hint = did_you_mean(str(file), CORPORA) or "."
        raise DataError(
            f"There is no file {str(file)!r}{hint} Give a text file, or one of: "
            f"{', '.join(CORPORA)}."
        )
    return file


def _find(corpus: str, name: str) -> Path:
    return find_data(f"The text '{corpus}'", name, hint="give a file of your own")


def _read(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not a text in UTF-8 ({error}). Convert it.") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    inner = _GUTENBERG.search(text)
    return inner[1] if inner else text
