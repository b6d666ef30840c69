"""Which of the drivers of a study finishes it: refits the winner and opens the held-out part.

Only one does, the one that ends the study: those that end while others still run trials leave it
to them, and of several that end at once one takes it, without a lock.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from hpo.storage.drivers import host_of, name_of
from hpo.storage.stored_study import HEARTBEAT_SECONDS
from hpo.storage.trial_store import TrialStore

__all__ = ["Elsewhere", "finishing"]

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
    def note(self) -> str:
        """A note for the user: which trials they are, and who finishes the study."""
        numbers = sorted(self._drivers)
        trials = "Trial" if len(numbers) == 1 else "Trials"
        text = (
            f"{trials} {', '.join(map(str, numbers))} still run elsewhere ({self.drivers}). The "
            "process that ends last finishes the study: it refits the winner and scores it on the "
            "held-out part."
        )
        if self._silent:
            minutes = max(self._silent.values()) / 60
            text += (
                f" There has been no sign of {_named(self._silent)} for {minutes:.0f} min. If it "
                "is gone, run the study again later: after an hour without a sign, its trials are "
                "tried again."
            )
        return text


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
