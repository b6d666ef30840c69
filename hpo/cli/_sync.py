"""``hpo sync``: make the targets of trackers agree with the storages of studies."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from hpo._discovery import build
from hpo._redaction import redact
from hpo.cli._console import echo
from hpo.cli._json import print_json
from hpo.cli._storage import readable_storage, stored_name
from hpo.storage.stored_study import StoredStudy
from hpo.storage.studies import study_names
from hpo.trackers import BaseTracker, Order, all_orders, catch_up, left_message, unreadable_orders

__all__ = ["send"]


def send(
    name: str | None,
    storage: str | None,
    tracker: str | None,
    tracking_uri: str | None,
    *,
    as_json: bool = False,
    quiet: bool = False,
) -> int:
    """Send a study, or all that waits, and print what was sent.

    Parameters
    ----------
    name : str or None
        The study; None means what earlier runs could not send and, with ``storage``, all studies
        there.
    storage : str or None
        See `named_storage`.
    tracker, tracking_uri : str or None
        As for `Study`; if both are None, a study is sent where it was tracked, if that is known.

    as_json : bool
        Print JSON instead.
    quiet : bool
        Print only what could not be sent.

    Returns
    -------
    int
        Exit code: 1 if something could not be sent.

    Raises
    ------
    HpoError
        If there is no such study, storage or tracker.
    """
    exit_code = 0
    tell = _nothing if as_json or quiet else echo
    done: list[dict[str, object]] = []
    orders = list(_orders(name, storage, tracker, tracking_uri))
    for order in orders:
        outcome = catch_up(order)
        if outcome.trials or not outcome.complete:
            sent = f"{outcome.trials} trials and {outcome.reports} reports sent"
        else:
            sent = f"all {outcome.total} trials are there"
        tell(f"{order.name}: {sent} ({redact(order.target)}).")
        done.append({"study": order.name, "target": redact(order.target), **_data(outcome)})
        if not outcome.complete:
            exit_code = 1
            echo(left_message(order, outcome), err=True)
    unreadable = list(unreadable_orders()) if name is None else []
    for path in unreadable:
        exit_code = 1
        echo(
            f"{path} is damaged or not your own, so it is not known what waits there: remove it, "
            "and send its study with `hpo sync NAME`.",
            err=True,
        )
    if not (orders or unreadable):
        tell("Nothing waits to be sent.")
    if as_json:
        print_json({"sent": done, "unreadable": unreadable})
    return exit_code


def _nothing(text: str) -> None:
    """Print nothing."""


def _data(outcome: Any) -> dict[str, object]:
    return {**asdict(outcome), "complete": outcome.complete}


def _orders(
    name: str | None, storage: str | None, tracker: str | None, tracking_uri: str | None
) -> Iterable[Order]:
    as_run = tracker is None and tracking_uri is None
    waiting = list(all_orders()) if as_run else []
    names = [name] if name else []
    if name is None and (storage is not None or not as_run):
        names = study_names(readable_storage(storage))
    if name is None:
        yield from waiting
    for each in names:
        url = readable_storage(storage)
        exact = stored_name(each, url) if name else each
        store = StoredStudy(exact, url)
        same = [order for order in waiting if order.key == store.key]
        if same:
            yield from same if name else ()
            continue
        built: BaseTracker = build(
            "hpo.trackers", tracker or "mlflow", BaseTracker, tracking_uri=tracking_uri
        )
        yield Order.make(built, store.name, store.key, url)
