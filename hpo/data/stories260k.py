"""A pretrained causal language model of 260,032 parameters."""

import hashlib
import shutil
import struct
import tempfile
from pathlib import Path

from hpo.data._folder import cache_folder, data_folder
from hpo.data._llama2c import convert
from hpo.exceptions import DataError

__all__ = ["find_stories260k"]

FILES = ("stories260K.bin", "tok512.bin")
FORMAT = 1
"""Raised when the conversion changes, so that a cache of an older one is not used."""


def find_stories260k() -> Path:
    """Return the folder of stories260K as a transformers Llama; it is converted on first use.

    The smallest of Karpathy's tinyllamas (https://github.com/karpathy/llama2.c,
    ``doc/stories260K.md``): five layers of width 64, 512 tokens, a context of 512, trained on
    short stories for children. Adapting it to another text takes seconds on a CPU.

    Its files are looked for as ``models/stories260k/stories260K.bin`` and ``tok512.bin`` in
    ``$HPO_DATA`` and the cache folder (``$HPO_CACHE``, else ``~/.cache/hpo``).

    Raises
    ------
    DataError
        If the files are nowhere, one is damaged, or the cache folder cannot be written.
    ImportError
        If the ``lora`` extra is not installed.
    """
    weights, tokenizer = (_find(name) for name in FILES)
    digest = hashlib.sha256(weights.read_bytes() + tokenizer.read_bytes() + bytes([FORMAT]))
    folder = cache_folder() / "models" / f"stories260k-{digest.hexdigest()[:12]}"
    if not folder.is_dir():
        _convert_into(folder, weights, tokenizer)
    return folder


def _find(name: str) -> Path:
    folders = [folder for folder in (data_folder(), cache_folder()) if folder]
    files = [folder / "models" / "stories260k" / name for folder in folders]
    for file in files:
        if file.is_file():
            return file
    raise DataError(
        f"The model stories260K is not on this machine. Looked for "
        f"{' and '.join(map(str, files))}. Set HPO_DATA to a folder that holds it."
    )


def _convert_into(folder: Path, weights: Path, tokenizer: Path) -> None:
    """Convert to a folder that appears only when it is whole."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix="converting-"))
    except OSError as error:
        raise DataError(
            f"The cache folder {cache_folder()} cannot be written ({error}). "
            "Set HPO_CACHE to a folder that can."
        ) from error
    try:
        convert(weights, tokenizer, scratch)
        scratch.chmod(0o755)  # mkdtemp's is its owner's alone
        scratch.rename(folder)
    except ImportError as error:
        raise ImportError("Language models need transformers: pip install 'hpo[lora]'.") from error
    except (ValueError, struct.error) as error:
        raise DataError(
            f"{weights} or {tokenizer} is damaged ({error}). Replace them by whole copies."
        ) from error
    except OSError:
        if not folder.is_dir():  # another process was faster
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
