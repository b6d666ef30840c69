"""Helpers for the options of the commands: help panels, texts and defaults."""

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

import typer

from hpo._discovery import names
from hpo.exceptions import HpoError

__all__ = [
    "STORES",
    "STUDYS_STORAGE",
    "STUDYS_TRACKING",
    "TRACKING_STORES",
    "AsJson",
    "Quiet",
    "Storage",
    "TrackingUri",
    "Verbose",
    "budget",
    "either",
    "examples",
    "execution",
    "on_ray",
    "option",
    "plugins",
    "search",
    "source",
    "storage_option",
    "study_names",
]


def option(
    metavar: str | None, text: str, default: str | bool = False, *flags: str, **more: Any
) -> Any:
    """Return an option; ``default`` is the displayed origin of its value, if any."""
    return typer.Option(*flags, metavar=metavar, help=text, show_default=default, **more)


budget = partial(option, rich_help_panel="Budget")
search = partial(option, rich_help_panel="Search")
execution = partial(option, rich_help_panel="Execution")
on_ray = partial(option, rich_help_panel="Execution with --backend ray")
source = partial(option, rich_help_panel="Data")
storage_option = partial(option, rich_help_panel="Storage and tracking")


def either(package: str) -> str:
    """Return the names of the plugins of ``package``, as ``a, b or c``."""
    *rest, last = names(package)
    return f"{', '.join(rest)} or {last}" if rest else last


def plugins(package: str) -> dict[str, Any]:
    """Return what completes an option that names a plugin of ``package``."""
    return {"autocompletion": lambda incomplete: _beginning(names(package), incomplete)}


def study_names(incomplete: str) -> list[str]:
    """Return the studies of the default storage whose names begin so, for completion."""
    from hpo.cli._storage import readable_storage
    from hpo.storage.reader import StorageReader

    try:
        return _beginning(StorageReader(readable_storage(None)).names, incomplete)
    except HpoError:  # there is none, or none that can be read
        return []


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def examples(*lines: str) -> str:
    """Return example commands for the end of a help text."""
    title = "Example" if len(lines) == 1 else "Examples"
    return "\n".join([f"[bold]{title}[/bold]", *lines])


STORES = "sqlite:///FILE, journal:///FILE or postgresql://..."
TRACKING_STORES = "MLflow's store: sqlite:///FILE or http://HOST:PORT."
_STORAGE = "$HPO_STORAGE, else journal:///hpo.journal"
_TRACKING = "$MLFLOW_TRACKING_URI, else sqlite:///mlflow.db"
STUDYS_STORAGE, STUDYS_TRACKING = (
    f"the study's, else {default}" for default in (_STORAGE, _TRACKING)
)

Storage = Annotated[str | None, option("URL", f"Where studies are kept: {STORES}", _STORAGE)]
TrackingUri = Annotated[str | None, option("URI", TRACKING_STORES, _TRACKING)]

AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON instead: all figures, none rounded.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only what matters most.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print more, and errors with their tracebacks.")
]
