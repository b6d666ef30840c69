"""The optional dependencies: what is missing is said in one sentence, with the command."""

from collections.abc import Iterator
from contextlib import contextmanager

from hpo.exceptions import MissingExtraError

__all__ = ["needs_extra"]


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Import packages of an extra inside the block.

    Parameters
    ----------
    extra : str
        As pyproject.toml names it.
    what : str
        What needs it, in the plural: the start of the message.

    Raises
    ------
    MissingExtraError
        If one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{what} need the package '{error.name}': pip install 'hpo-torch[{extra}]', "
            f"or in a checkout pip install -e '.[{extra}]'."
        ) from error
