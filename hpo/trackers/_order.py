"""What a follower is told: which study of which storage it follows, and with which tracker.

Everything lies in one folder for each study and target, under the cache folder::

    <cache>/tracking/<study>-<hash of study key>/<hash of target>/
        lock            held by the follower at work
        outcome.json    how far it has come
        refused.log     what the target has rejected for good
        follower.log    what the tracker and its libraries had to say
        order-<id>      one for each driver whose study is not completely in the target yet

None of it tells what is in the target: this is read there.
"""

import hashlib
import json
import os
import pickle
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from hpo._own_files import is_own, make_folder
from hpo.data.folder import cache_folder
from hpo.exceptions import PluginError
from hpo.storage.urls import file_of, is_there
from hpo.trackers.base import BaseTracker

__all__ = [
    "Order",
    "Outcome",
    "all_orders",
    "pages_of",
    "place_of",
    "read_outcome",
    "unreadable_orders",
    "write_outcome",
]

_NAME = "order-"


@dataclass(frozen=True, slots=True)
class Order:
    """An order to follow a study.

    Parameters
    ----------
    name, key : str
        Name and key of the study.
    url : str
        Its storage.
    tracker : bytes
        The tracker, pickled.
    target : str
        The tracker's target.
    driver : str
        Name of the driver that runs the study; empty if the study is only to be read.
    temporary : bool
        Whether the storage is to be removed once everything is in the target.
    folders : tuple of str
        Folders where Python finds the modules of the tracker.
    """

    name: str
    key: str
    url: str
    tracker: bytes
    target: str
    driver: str = ""
    temporary: bool = False
    folders: tuple[str, ...] = ()

    @classmethod
    def make(cls, tracker: BaseTracker, name: str, key: str, url: str, **options: Any) -> "Order":
        """Return an order; raise `PluginError` if the tracker cannot be pickled."""
        try:
            content = cloudpickle.dumps(tracker)
        except Exception as error:
            raise PluginError(
                f"The tracker {type(tracker).__name__} cannot be carried to its process: {error}. "
                "It must open files and connections in `open`."
            ) from error
        folders = tuple(str(Path(entry).absolute()) for entry in sys.path)
        target = tracker.target
        return cls(name, key, _absolute(url), content, target, folders=folders, **options)

    @property
    def place(self) -> Path:
        """The folder of the study and the target."""
        return place_of(self.name, self.key, self.target)

    def load_tracker(self) -> BaseTracker:
        """Return the tracker; raise what its module raises."""
        sys.path += [folder for folder in self.folders if folder not in sys.path]
        tracker: BaseTracker = pickle.loads(self.tracker)
        return tracker

    @property
    def path(self) -> Path:
        """The file of the order, one for each driver."""
        return self.place / f"{_NAME}{_digest(self.driver)}"

    def write(self) -> Path:
        """Write the order to its file, and return the path; raise `OSError` if that fails."""
        path = self.path
        make_folder(path.parent)
        path.parent.chmod(0o700)  # an older version made it with the user's mask
        # The order may hold the password of a server.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            pickle.dump(asdict(self), file)
        return path

    @classmethod
    def read(cls, path: Path) -> "Order":
        """Return the order in a file; raise `PermissionError` if another user can write it.

        An order is a pickle, so that who writes one runs code as the user who reads it.
        """
        if not is_own(path):
            raise PermissionError(f"{path} is not this user's alone, so it is not read.")
        return cls(**pickle.loads(path.read_bytes()))

    def withdraw(self, drivers: Collection[str]) -> None:
        """Remove this order and all that are fulfilled with it.

        Parameters
        ----------
        drivers : collection of str
            The study's living drivers, whose orders are not fulfilled yet.
        """
        for path, order in _orders_in(self.place):
            if order.driver not in drivers:
                path.unlink(missing_ok=True)


@dataclass(slots=True)
class Outcome:
    """How far a follower has come.

    Parameters
    ----------
    trials, reports : int
        Number of trials and reports written by this follower.
    total : int
        Number of trials in the storage.
    left : int
        Number of trials that differ in the target.
    study_left : bool
        Whether the study's own record differs in the target, or its trials are not known yet.
    cause : str
        Why the last attempt has failed; empty if it has not.
    refused : int
        Number of records that the target has rejected for good.
    read_at : float
        When the storage was last read, in seconds since the epoch.
    page : str
        The web address of the study's trials in the target; empty if there is none.
    """

    trials: int = 0
    reports: int = 0
    total: int = 0
    left: int = 0
    study_left: bool = True
    cause: str = ""
    refused: int = 0
    read_at: float = 0.0
    page: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything is in the target."""
        return not (self.left or self.study_left or self.cause)


def place_of(name: str, key: str, target: str) -> Path:
    """Return the folder of a study and a target."""
    readable = re.sub(r"[^\w.-]+", "_", name)[:40].strip(".")
    study = f"{readable}-{_digest(key)}"
    return (cache_folder() / "tracking" / study / _digest(target)).absolute()


def all_orders() -> Iterator[Order]:
    """Return the orders that are not fulfilled, one for each study and target.

    Those of studies whose storage has been removed are removed too.
    """
    places = sorted((cache_folder() / "tracking").glob(f"*/*/{_NAME}*"))
    for place in dict.fromkeys(path.parent for path in places):
        for path, order in reversed(_orders_in(place)):
            if is_there(order.url):
                yield order
                break
            path.unlink(missing_ok=True)


def unreadable_orders() -> Iterator[Path]:
    """Return the files of orders that are damaged, or not the user's alone."""
    for path in sorted((cache_folder() / "tracking").glob(f"*/*/{_NAME}*")):
        try:
            Order.read(path)
        except FileNotFoundError:
            continue
        except Exception:  # a damaged pickle may raise anything
            yield path


def read_outcome(place: Path) -> Outcome | None:
    """Return how far the follower in a folder has come, or None if that is not known."""
    try:
        return Outcome(**json.loads((place / "outcome.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def pages_of(name: str, key: str) -> list[str]:
    """Return the web addresses of a study's trials in the targets that it was written to."""
    places = sorted(place_of(name, key, "").parent.glob("*/outcome.json"))
    outcomes = (read_outcome(path.parent) for path in places)
    return [outcome.page for outcome in outcomes if outcome is not None and outcome.page]


def write_outcome(place: Path, outcome: Outcome) -> None:
    """Store how far the follower has come; a full disk stops nobody."""
    with suppress(OSError):
        path = place / "outcome.new"
        path.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
        path.replace(place / "outcome.json")


def _orders_in(place: Path) -> list[tuple[Path, Order]]:
    """Return the orders in a folder, the oldest first."""
    found = []
    for path in place.glob(f"{_NAME}*"):
        with suppress(Exception):  # of another version, or just removed
            found.append((path.stat().st_mtime, path, Order.read(path)))
    return [(path, order) for _, path, order in sorted(found, key=lambda item: item[:2])]


def _absolute(url: str) -> str:
    """Return a storage's URL independent of the current folder, which a tracker may change."""
    path = file_of(url)
    if path is None:
        return url
    scheme, _, rest = url.partition(":///")
    _, mark, query = rest.partition("?")
    return f"{scheme}:///{path.absolute()}{mark}{query}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
