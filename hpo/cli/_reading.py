"""The commands that read studies: list, show, audit. What they do is imported when they run."""

from pathlib import Path
from typing import Annotated

import typer

from hpo.cli._options import AsJson, Quiet, Storage, Verbose, either, option, study_names

__all__ = ["audit", "list_", "show"]


def list_(
    storage: Storage = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List the studies in a storage: how their trials stand and the best score."""
    from hpo.cli._show import list_studies
    from hpo.storage.many_objects import many_objects

    with many_objects():
        list_studies(storage, as_json=as_json, quiet=quiet)


def show(  # noqa: PLR0917 - each parameter is an option, given by name
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Study. After --fresh it means the newest; NAME@1 is the first.",
            show_default=False,
            autocompletion=study_names,
        ),
    ],
    storage: Storage = None,
    trial: Annotated[
        int | None,
        option("N", "One trial: its parameters, its end, its curve, its folds.", min=0),
    ] = None,
    all_trials: Annotated[
        bool, typer.Option("--all", help="Every trial, with all its parameters.")
    ] = False,
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write report.html, the plots and trials.csv to this folder."
        ),
    ] = None,
    as_csv: Annotated[
        bool,
        typer.Option("--csv", help="Print the trials as CSV, with the scores of their folds."),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show a study: the ten best trials, what pruning saved, what failed, and its winner."""
    from hpo.cli._show import Wanted, show_study
    from hpo.storage.many_objects import many_objects

    with many_objects():
        show_study(
            name,
            storage,
            Wanted(
                trial=trial,
                all_trials=all_trials,
                as_json=as_json,
                as_csv=as_csv,
                plots=plots,
                quiet=quiet,
                verbose=verbose,
            ),
        )


def audit(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Study.", show_default=False, autocompletion=study_names
        ),
    ],
    storage: Storage = None,
    pruners: Annotated[
        list[str] | None,
        option(
            "RULE",
            f"Another rule: {either('hpo.pruners')}; may be given several times.",
            False,
            "--pruner",
        ),
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Replay a study's curves under other rules: what pruning would save or lose."""
    from hpo.cli._audit import audit_study

    audit_study(name, storage, pruners or [], as_json=as_json)
