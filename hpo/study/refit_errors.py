"""Turn the errors of a refit into `RefitError`, which carries the search's result."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from hpo._failures import message_of, traceback_of
from hpo._stop_signal import is_signal
from hpo.exceptions import RefitError
from hpo.result import StudyResult

__all__ = ["refit_errors"]


@contextmanager
def refit_errors(what: str, result: StudyResult, trials_note: str) -> Iterator[None]:
    """Turn whatever the estimator's code raises inside the block into a `RefitError`.

    Parameters
    ----------
    what : str
        What the block does: ``"The refit of trial 3 on all the data"``.
    result : StudyResult
        The result of the search so far.
    trials_note : str
        Where the trials are, and how to continue.
    """
    try:
        yield
    except BaseException as error:
        if is_signal(error):
            raise
        result = replace(result, refit_error=traceback_of(error))
        raise RefitError(f"{what} failed: {message_of(error)}. {trials_note}", result) from error
