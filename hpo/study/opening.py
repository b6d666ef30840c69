"""Open a study's storage; raise with the differences if it holds a different study."""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hpo.exceptions import SpaceError, StudyError
from hpo.identity import Description
from hpo.space import SearchSpace
from hpo.storage.drivers import driver_lives
from hpo.storage.studies import delete_study, versioned_name
from hpo.storage.trial_store import TrialStore
from hpo.storage.urls import shown
from hpo.study._differences import CODE, SPACE, UNKNOWN, VALUE, Difference, differences
from hpo.study._fingerprint import FORMAT

__all__ = [
    "EXTENDS",
    "FOR_SEARCHES",
    "FOR_STUDIES",
    "Allowed",
    "Ways",
    "opened",
    "remember",
]

EXTENDS = "extends"
"""Attribute of a study that trials are being copied into, until it has a fingerprint."""

_EXTENSION_TIMEOUT = 60.0
_MAX_LINES = 12


@dataclass(frozen=True, slots=True)
class Ways:
    """How to continue, in the syntax of the API in use (`run_study` or `HPOSearchCV`)."""

    fresh: str
    extend: str
    accept_code: str


FOR_STUDIES = Ways(
    fresh="Start anew under the same name with --fresh (run_study(study, fresh=True)), which keeps "
    "the old trials, or give this study another name.",
    extend="--extend (run_study(study, extend=True))",
    accept_code="--accept-code (run_study(study, accept_code=True))",
)
FOR_SEARCHES = Ways(
    fresh="Give this search another study_name, or none.",
    extend="HPOSearchCV(..., extend=True)",
    accept_code="HPOSearchCV(..., accept_code=True)",
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may differ from the stored study that is resumed.

    Parameters
    ----------
    extend : bool
        Whether the search space may differ: the trials that fit the new one are copied.
    accept_code : bool
        Whether the user's own code, and what cannot be compared, may differ.
    ways : Ways
        How error messages tell the user to continue.
    """

    extend: bool = False
    accept_code: bool = False
    ways: Ways = FOR_STUDIES

    def __contains__(self, difference: Difference) -> bool:
        kinds = {SPACE: self.extend, CODE: self.accept_code, UNKNOWN: self.accept_code}
        return kinds.get(difference.kind, False)


class _Search(Protocol):
    """The part of `SearchConfig` that is used here."""

    space: SearchSpace
    select: str

    @property
    def fingerprint(self) -> dict[str, Any]: ...

    def open(self, name: str, storage: str | None) -> TrialStore: ...


def opened(
    search: _Search, name: str, storage: str, allowed: Allowed, *, fresh: bool = False
) -> tuple[TrialStore, list[Difference]]:
    """Return the trial store of the study ``name``, and its allowed differences.

    Raises
    ------
    StudyError
        If there is a difference that is not allowed.
    """
    store = _open_complete(search, name, storage, fresh=fresh)
    old, new = store.get_attr("fingerprint"), search.fingerprint
    if old is None:
        _check_is_new(store)
        _warn_of_unknown(store, new)
        remember(store, search)
        return store, []
    found_differences = _find_differences(store, search, old, new)
    refused = [difference for difference in found_differences if difference not in allowed]
    if refused:
        raise StudyError(_refusal(store, refused, allowed.ways))
    return store, found_differences


def remember(store: TrialStore, search: _Search) -> None:
    """Store the study's space and fingerprint, which the next run is compared with."""
    store.set_attr("space", search.space.to_yaml())
    store.set_attr("select", search.select)
    store.set_attr("fingerprint", search.fingerprint)


def _open_complete(search: _Search, name: str, storage: str, *, fresh: bool) -> TrialStore:
    """Open the newest completely created study of a name.

    While another process is extending a study, wait for it; an incomplete study that a dead
    process has left is deleted.
    """
    deadline = time.monotonic() + _EXTENSION_TIMEOUT
    while True:
        store = search.open(versioned_name(name, storage, fresh=fresh), storage)
        extension = store.get_attr(EXTENDS)
        if extension is None or store.get_attr("fingerprint") is not None:
            return store
        if not driver_lives(extension["driver"], extension["time"]) or time.monotonic() > deadline:
            delete_study(storage, store.name)
        time.sleep(0.2)


def _check_is_new(store: TrialStore) -> None:
    n_trials = len(store.records(running=True))
    if n_trials:
        raise StudyError(
            f"The study '{store.name}' in {shown(store.url)} has {n_trials} trials and nothing "
            "that tells what they were made with: another program made it. Give this study "
            "another name."
        )


def _find_differences(
    store: TrialStore, search: _Search, old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[Difference]:
    if old.get("format") == FORMAT:
        return differences(old, new)
    if "format" in old:
        raise StudyError(
            f"The study '{store.name}' in {shown(store.url)} was made by a newer hpo: go on with "
            "it by that one, or give this study another name."
        )
    text = "everything: it was made by hpo 0.1.0, which kept too little to be compared"
    unknown = [Difference(UNKNOWN, text)]
    try:
        same = SearchSpace.loads(store.get_attr("space") or "{}") == search.space
    except SpaceError:
        same = False
    return unknown if same else [*unknown, Difference(VALUE, "search space: another one")]


def _refusal(store: TrialStore, refused: Sequence[Difference], ways: Ways) -> str:
    lines = [f"  {difference.text}" for difference in refused[:_MAX_LINES]]
    if len(refused) > _MAX_LINES:
        lines.append(f"  and {len(refused) - _MAX_LINES} more")
    if any(difference.text.endswith(" weights") for difference in refused):
        lines.append(
            "A module that is given as an instance starts from its weights: give its class, or "
            "call torch.manual_seed before it is made."
        )
    return "\n".join(
        [
            f"The study '{store.name}' in {shown(store.url)} was made with something else, so "
            "its trials cannot be compared with new ones:",
            *lines,
            *_remedies({difference.kind for difference in refused}, ways),
        ]
    )


def _remedies(kinds: set[str], ways: Ways) -> list[str]:
    """Return how to continue, depending on the kinds of differences."""
    if VALUE in kinds:
        return [ways.fresh]
    steps = [f"{ways.extend}: the trials that fit the new search space count"] * (SPACE in kinds)
    if kinds & {CODE, UNKNOWN}:
        steps.append(f"{ways.accept_code}, if what has changed bears on no score")
    return [f"Go on with {'; and with '.join(steps)}.", ways.fresh]


def _warn_of_unknown(store: TrialStore, stored: Mapping[str, Any]) -> None:
    parts = map(Description.from_json, stored["parts"].values())
    texts = [text for part in parts for text in _unknown_parts(part)]
    if texts:
        warnings.warn(
            f"The study '{store.name}' will not be recognised when it is to be gone on with: it "
            f"depends on {'; '.join(texts)}.",
            UserWarning,
            stacklevel=2,
        )


def _unknown_parts(part: Description) -> list[str]:
    """Return the descriptions within a part that cannot be compared."""
    if not part.is_unknown:
        return []
    inner = [text for item in part.parts.values() for text in _unknown_parts(item)]
    return inner or [part.text]
