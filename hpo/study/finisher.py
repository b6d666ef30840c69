"""Which of the drivers of a study finishes it: refits the winner and opens the held-out part.

Only one does, the one that ends the study: those that end while others still run trials leave it
to them, and of several that end at once one takes it, without a lock. Searches that share a study
(`HPOSearchCV`) each refit the winner, as each needs an estimator; one of them writes it down.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from hpo.storage.drivers import STALE_SECONDS, host_of, name_of
from hpo.storage.stored_study import HEARTBEAT_SECONDS
from hpo.storage.trial_store import TrialStore

__all__ = ["Elsewhere", "Finisher", "finishing"]

_FINISHER = "finisher:"
"""Start of the names of the attributes of the study with what a driver has to do with its end."""

_ASKS, _HOLDS = "asks", "holds"

_SECONDS_BETWEEN_LOOKS = 0.05


class Elsewhere:
    """The trials of a study that other drivers run when this one has nothing left to do.

    Parameters
    ----------
    store : TrialStore
    """

    def __init__(self, store: TrialStore) -> None:
        gone = store.abandoned()
        self._drivers = {n: d for n, d in store.drivers_of_running().items() if n not in gone}
        remote = [d for d in self._drivers.values() if host_of(d) != host_of(store.driver)]
        silent = {driver: time.time() - store.last_sign(driver) for driver in remote if driver}
        self._silent = {d: age for d, age in silent.items() if age > 2 * HEARTBEAT_SECONDS}

    @property
    def drivers(self) -> str:
        """The other drivers, for people: ``process 4711 on node3``."""
        return _named(self._drivers.values())

    @property
    def silent_trials(self) -> tuple[int, ...]:
        """Numbers of the trials whose drivers have not been heard of for longer than usual."""
        return tuple(sorted(n for n, driver in self._drivers.items() if driver in self._silent))

    def __bool__(self) -> bool:
        return bool(self._drivers)

    @property
    def _named_trials(self) -> str:
        numbers = sorted(self._drivers)
        trials = "Trial" if len(numbers) == 1 else "Trials"
        return f"{trials} {', '.join(map(str, numbers))} still run elsewhere ({self.drivers})"

    @property
    def note_of_search(self) -> str:
        """A note for a search, which has an estimator now: of which trials it is the winner."""
        return (
            f"{self._named_trials}. The winner of those that have ended was chosen here; the "
            "process that ends last stores the result of the study."
        )

    @property
    def note(self) -> str:
        """A note for the user: which trials they are, and who finishes the study."""
        text = (
            f"{self._named_trials}. The process that ends last finishes the study: it refits the "
            "winner and scores it on the held-out part."
        )
        if self._silent:
            minutes = max(self._silent.values()) / 60
            text += (
                f" There has been no sign of {_named(self._silent)} for {minutes:.0f} min. If it "
                "is gone, run the study again later: after "
                f"{STALE_SECONDS / 60:.0f} min without a sign, its trials are tried again."
            )
        return text


class Finisher:
    """Who writes down the end of a study, as one of its drivers sees it; made when that begins.

    Parameters
    ----------
    store : TrialStore
    """

    def __init__(self, store: TrialStore) -> None:
        self._store = store
        self._before = self._refit()

    @contextmanager
    def claim(self, number: int) -> Iterator[tuple[str, bool]]:
        """Claim the end of the study, with this trial as its winner, for the block.

        Yields
        ------
        other : str
            The driver that does it instead, or has done it; empty if it is this one.
        is_done : bool
            Whether the other one has done it, since this driver began.
        """
        with finishing(self._store) as holder:
            refit = self._refit()
            is_done = refit != self._before and refit.get("number") == number
            # It is done if another driver's last trial ended with ours.
            yield holder or (refit.get("driver", "") if is_done else ""), is_done

    def _refit(self) -> dict[str, Any]:
        """Return what the storage has of the last refit."""
        return self._store.get_attr("refit") or {}


@contextmanager
def finishing(store: TrialStore) -> Iterator[str]:
    """Have at most one driver at a time in the block; yield which other one is, or an empty string.

    Each driver writes that it asks, and then reads what the others have written. Of those that ask
    at once the one with the smallest name goes on, once the others have taken theirs back. One that
    died in the block holds nothing.
    """
    other = _ask(store)
    try:
        yield other
    finally:
        if not other:
            store.set_attr(f"{_FINISHER}{store.driver}", None)


def _ask(store: TrialStore) -> str:
    mine = f"{_FINISHER}{store.driver}"
    store.set_attr(mine, _ASKS)
    while True:
        others = _others(store)
        ahead = [d for d, what in others.items() if what == _HOLDS]
        ahead += [d for d in sorted(others) if d < store.driver]
        if ahead:
            store.set_attr(mine, None)
            return ahead[0]
        if not others:
            store.set_attr(mine, _HOLDS)
            return ""
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _others(store: TrialStore) -> dict[str, str]:
    found = {
        name.removeprefix(_FINISHER): what
        for name, what in store.attrs.items()
        if name.startswith(_FINISHER) and what
    }
    return {d: what for d, what in found.items() if d != store.driver and store.lives(d)}


def _named(drivers: Iterable[str]) -> str:
    return " and ".join(sorted({name_of(driver) for driver in drivers}))
