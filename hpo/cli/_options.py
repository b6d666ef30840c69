"""The options of the commands: in which panel each stands, and what it may name."""

from functools import partial
from typing import Annotated, Any

import typer

from hpo._discovery import names

__all__ = [
    "STORES",
    "STUDYS_STORAGE",
    "STUDYS_TRACKING",
    "TRACKING_STORES",
    "Storage",
    "TrackingUri",
    "budget",
    "either",
    "examples",
    "execution",
    "kept",
    "on_ray",
    "option",
    "search",
    "source",
]


def option(
    metavar: str | None, text: str, default: str | bool = False, *flags: str, **more: Any
) -> Any:
    """Return an option; ``default`` says where its value comes from, where that is worth a line."""
    return typer.Option(*flags, metavar=metavar, help=text, show_default=default, **more)


budget = partial(option, rich_help_panel="Budget")
search = partial(option, rich_help_panel="Search")
execution = partial(option, rich_help_panel="Execution")
on_ray = partial(option, rich_help_panel="Execution with --backend ray")
source = partial(option, rich_help_panel="Data")
kept = partial(option, rich_help_panel="Storage and tracking")


def either(package: str) -> str:
    """Return the names of the plugins that ``package`` has, as ``a, b or c``."""
    *others, last = names(package)
    return f"{', '.join(others)} or {last}" if others else last


def examples(*lines: str) -> str:
    """Return the end of a help text: commands to type."""
    title = "Example" if len(lines) == 1 else "Examples"
    return "\n".join([f"[bold]{title}[/bold]", *lines])


STORES = "sqlite:///FILE, journal:///FILE or postgresql://..."
TRACKING_STORES = "MLflow's store: sqlite:///FILE or http://HOST:PORT."
_STORAGE = "$HPO_STORAGE, else sqlite:///hpo.db"
_TRACKING = "$MLFLOW_TRACKING_URI, else sqlite:///mlflow.db"
STUDYS_STORAGE, STUDYS_TRACKING = (
    f"the study's, else {default}" for default in (_STORAGE, _TRACKING)
)

Storage = Annotated[str | None, option("URL", f"Where studies are kept: {STORES}", _STORAGE)]
TrackingUri = Annotated[str | None, option("URI", TRACKING_STORES, _TRACKING)]
