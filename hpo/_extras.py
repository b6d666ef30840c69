"""Optional dependencies: a missing one raises an error with the command to install it."""

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
        Name of the extra in pyproject.toml.
    what : str
        What needs it, in the plural; the message starts with it.

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
