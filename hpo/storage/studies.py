"""Create, open, list and delete Optuna studies by name."""

import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from hpo.exceptions import StorageError
from hpo.space import SearchSpace
from hpo.storage.open import open_storage, storage_errors

__all__ = [
    "FIRST_STEP",
    "delete_study",
    "names_in",
    "newest_of",
    "next_of",
    "open_study",
    "quiet",
    "set_study_attr",
    "study_attr",
    "study_attrs",
    "study_names",
    "versioned_name",
]

_PREFIX = "hpo:"
"""Start of the names of the attributes of studies that were made by hpo."""

_MAKING_SECONDS = 3.0

FIRST_STEP = "first_step"
"""Attribute of a study with the number of a trial's first step among Optuna's intermediate values.

Studies without it are of version 0.3 or before, or another program's: they count from 0.
"""


def study_names(storage: str) -> list[str]:
    """Return the names of the studies in ``storage``, sorted.

    Raises
    ------
    StorageError
        If it cannot be read.
    """
    return names_in(open_storage(storage), storage)


def names_in(backend: BaseStorage, url: str) -> list[str]:
    """Return the names of the studies in an opened storage, sorted."""
    with storage_errors(url):
        return sorted(optuna.get_all_study_names(backend))


def versioned_name(name: str, storage: str | None, *, fresh: bool) -> str:
    """Return the stored name of a study: ``name``, or ``name@2`` etc. after a fresh start."""
    if storage is None:
        return name
    names = study_names(storage)
    return next_of(name, names) if fresh else newest_of(name, names)


def newest_of(name: str, names: Collection[str]) -> str:
    """Return which of the stored names is that of the newest study of a name."""
    last = _n_starts(name, names)
    return name if last < 2 else f"{name}@{last}"


def next_of(name: str, names: Collection[str]) -> str:
    """Return the stored name of a study that is started afresh beside those that are there."""
    last = _n_starts(name, names)
    return name if last == 0 else f"{name}@{last + 1}"


def _n_starts(name: str, names: Collection[str]) -> int:
    if name not in names:
        return 0
    last = 1
    while f"{name}@{last + 1}" in names:
        last += 1
    return last


def delete_study(storage: str, name: str) -> None:
    """Delete a study with all its trials, if it exists."""
    backend = open_storage(storage)
    with storage_errors(storage), quiet(), suppress(KeyError):
        optuna.delete_study(study_name=name, storage=backend)


def open_study(
    backend: BaseStorage,
    name: str,
    sampler: optuna.samplers.BaseSampler | None,
    space: SearchSpace | None,
    n_costs: int,
) -> tuple[optuna.Study, bool]:
    """Load or create a study; of several drivers that try, one creates it and sets the key.

    Returns
    -------
    tuple of optuna.Study and bool
        The study, and whether it was created by this call.
    """
    created = True
    directions = [StudyDirection.MAXIMIZE, *[StudyDirection.MINIMIZE] * n_costs]
    try:
        study = optuna.create_study(
            storage=backend, study_name=name, directions=directions, sampler=sampler
        )
    except optuna.exceptions.DuplicatedStudyError:
        created = False
        study = optuna.load_study(storage=backend, study_name=name, sampler=sampler)
        if study.directions != directions:
            existing, wanted = (
                ", ".join(direction.name.lower() for direction in those)
                for those in (study.directions, directions)
            )
            raise StorageError(
                f"The study '{name}' there has the objectives {existing}, and this one "
                f"{wanted} (hpo's scores are greater when better): it has other "
                "costs, or was made by another program. Choose another name."
            ) from None
        study_id = backend.get_study_id_from_name(name)
        deadline = time.monotonic() + _MAKING_SECONDS
        while study_attr(backend, study_id, "key") is None and time.monotonic() < deadline:
            time.sleep(0.1)  # the driver that created the study is about to set it
    study_id = backend.get_study_id_from_name(name)
    if created:
        set_study_attr(backend, study_id, FIRST_STEP, 1)
    if created or study_attr(backend, study_id, "key") is None:
        if space is not None:
            set_study_attr(backend, study_id, "space", space.to_yaml())
        set_study_attr(backend, study_id, "key", uuid.uuid4().hex)
    return study, created


def study_attr(backend: BaseStorage, study_id: int, name: str) -> Any:
    """Return an attribute of a study, which the caller must not change, or None."""
    return study_attrs(backend, study_id).get(name)


def study_attrs(backend: BaseStorage, study_id: int) -> dict[str, Any]:
    """Return the attributes of a study by their names, without those of other programs.

    Version 0.2 and before stored them as user attributes.
    """
    attributes = backend.get_study_user_attrs(study_id) | backend.get_study_system_attrs(study_id)
    return {
        key.removeprefix(_PREFIX): value
        for key, value in attributes.items()
        if key.startswith(_PREFIX)
    }


def set_study_attr(backend: BaseStorage, study_id: int, name: str, value: Any) -> None:
    """Set an attribute of a study: a system attribute, which other tools do not display."""
    backend.set_study_system_attr(study_id, f"{_PREFIX}{name}", value)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Optuna's log messages about creating or finding a study."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
