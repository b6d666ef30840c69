"""The commands and their options; their implementation is imported when they are called."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import hpo
from hpo.cli._group import ARGS, Group
from hpo.cli._options import (
    STORES,
    STUDYS_STORAGE,
    STUDYS_TRACKING,
    TRACKING_STORES,
    AsJson,
    Quiet,
    Storage,
    TrackingUri,
    Verbose,
    budget,
    either,
    examples,
    execution,
    on_ray,
    option,
    plugins,
    search,
    source,
    storage_option,
)
from hpo.cli._reading import audit, list_, show
from hpo.cli._study_command import StudyCommand, study_options

__all__ = [
    "app",
    "audit",
    "export_model",
    "hpo_command",
    "init",
    "list_",
    "main",
    "run",
    "show",
    "sync",
    "ui",
    "validate",
]

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"hpo {hpo.__version__}")
        raise typer.Exit


@app.callback(
    epilog=examples(
        "hpo init",
        "hpo run studies/digits_mlp.py",
        "hpo show digits_mlp",
    )
)
def hpo_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Find good hyperparameters for PyTorch models: cross-validated, pruned, tracked, resumable."""


@app.command(
    cls=StudyCommand,
    epilog=examples(
        "hpo run studies/digits_mlp.py --n-trials 60 --pruner halving:eta=3",
        "hpo run studies/digits_mlp.py --executor process --n-jobs -1 --timeout 3600",
        "hpo run studies/own_table.py --help    # with its own options",
    ),
)
def run(  # noqa: PLR0917 - each parameter is an option, given by name
    ctx: typer.Context,
    study_file: Annotated[
        Path,
        typer.Argument(
            metavar="STUDY.py",
            help="Python file that defines `study`; --help after it lists its own options too.",
            show_default=False,
        ),
    ],
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke",
            help="Does it all work? One trial of one epoch on few samples; nothing is kept.",
        ),
    ] = False,
    n_trials: Annotated[
        int | None, budget("N", "Trials of the whole study, those of earlier runs included.")
    ] = None,
    timeout: Annotated[float | None, budget("SECONDS", "Wall time of this run.")] = None,
    trial_timeout: Annotated[
        float | None, budget("SECONDS", "Training time of a trial; one that takes longer fails.")
    ] = None,
    max_total_epochs: Annotated[int | None, budget("N", "Epochs of all trials together.")] = None,
    epochs: Annotated[int | None, budget("N", "Epochs of one trial, at most.")] = None,
    eval_every: Annotated[
        int | None,
        budget("N", "Optimizer steps of a net between two reports, instead of an epoch."),
    ] = None,
    repeats: Annotated[
        int | None,
        search("N", "Sets of folds, each shuffled anew, on which trials are trained."),
    ] = None,
    nested: Annotated[
        int | None,
        search("K", "Outer folds of nested cross-validation: K more searches, as a check."),
    ] = None,
    select: Annotated[
        str | None,
        search("WHICH", "Which epoch's score stands for a trial: best or last."),
    ] = None,
    choose: Annotated[
        str | None,
        search("WHICH", "Which trial wins: best, one_se or finalists."),
    ] = None,
    folds: Annotated[
        str | None,
        search(
            "HOW", "Which folds train first: race (one, then the others of the better), or all."
        ),
    ] = None,
    scoring: Annotated[
        str | None,
        search("NAME", "What trials are compared by: a scorer of scikit-learn, such as roc_auc."),
    ] = None,
    sampler: Annotated[
        str | None,
        search(
            "NAME",
            f"Who proposes trials: {either('hpo.samplers')}; with options: tpe:random_share=0.2.",
            **plugins("hpo.samplers"),
        ),
    ] = None,
    pruner: Annotated[
        str | None,
        search(
            "NAME",
            f"Who stops trials: {either('hpo.pruners')}; with options: halving:eta=3.",
            **plugins("hpo.pruners"),
        ),
    ] = None,
    seed: Annotated[int | None, search("N", "All random numbers follow from it.")] = None,
    add_trials: Annotated[
        list[str] | None,
        search(
            "NAME",
            "Take in the finished trials of this study of the storage, where they fit and were "
            "scored alike; may be given several times.",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        execution(
            "NAME",
            f"Who runs the trials: {either('hpo.backends')}; with options: ray:max_concurrent=4.",
            **plugins("hpo.backends"),
        ),
    ] = None,
    executor: Annotated[
        str | None,
        execution(
            "NAME",
            f"How one machine trains them: {either('hpo.executors')}.",
            **plugins("hpo.executors"),
        ),
    ] = None,
    n_jobs: Annotated[
        int | None, execution("N", "Trials at a time; -1 is one a CPU core, or one a GPU.")
    ] = None,
    n_threads: Annotated[
        int | None, execution("N", "CPU threads of each trial, and of the winner's training.")
    ] = None,
    device: Annotated[str | None, execution("NAME", "Torch device: cpu, cuda or cuda:1.")] = None,
    ray_address: Annotated[
        str | None,
        on_ray("ADDRESS", "A running cluster, as auto or HOST:PORT; else a Ray of this run's own."),
    ] = None,
    cpus_per_trial: Annotated[
        float | None,
        on_ray("N", "CPUs kept for each trial, and its threads; else --n-threads."),
    ] = None,
    gpus_per_trial: Annotated[
        float | None,
        on_ray("N", "GPUs kept for each trial; 0.25: four share one."),
    ] = None,
    data: Annotated[
        Path | None,
        source("PATH", "Folder of data sets.", "$HPO_DATA", exists=True, file_okay=False),
    ] = None,
    storage: Annotated[
        str | None, storage_option("URL", f"Where the study is kept: {STORES}", STUDYS_STORAGE)
    ] = None,
    tracking_uri: Annotated[
        str | None, storage_option("URI", TRACKING_STORES, STUDYS_TRACKING)
    ] = None,
    tracker: Annotated[
        str | None,
        storage_option(
            "NAME",
            f"Who shows the trials too: {either('hpo.trackers')}.",
            **plugins("hpo.trackers"),
        ),
    ] = None,
    register: Annotated[
        str | None,
        storage_option("MODEL", "Register the winner under this name in MLflow's model registry."),
    ] = None,
    analyses: Annotated[
        list[str] | None,
        storage_option(
            "NAME",
            f"What is made of the winner: {either('hpo.analyses')}; may be given several times.",
            False,
            "--analysis",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        storage_option(
            "WHOSE", "Files that callbacks of trials write: those of the winner, or of all."
        ),
    ] = None,
    checkpoint_every: Annotated[
        str | None,
        storage_option(
            "SECONDS",
            "How often a training is put aside, to go on from there if it is interrupted; auto: "
            "as costs 2 % of the time at most; 0: not at all.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        storage_option(
            None,
            "Go on with the study of this name, or start it anew beside the old one.",
            True,
            "--resume/--fresh",
        ),
    ] = True,
    extend: Annotated[
        bool,
        storage_option(
            None,
            "Go on in a changed search space: the old trials that fit the new one count.",
            False,
            "--extend",
        ),
    ] = False,
    accept_code: Annotated[
        bool,
        storage_option(
            None,
            "Go on although your own code has changed: it bears on no score.",
            False,
            "--accept-code",
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        storage_option(
            None,
            "Try the failed trials again: what they failed of is mended.",
            False,
            "--retry-failed",
        ),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a study, or go on with it, and name its winner.

    What is not given as an option is as the study says.
    Ctrl-C stops it after this epoch and prints the command to go on with;
    pressed twice, it stops at once. All finished trials are kept either way.
    """
    changes = {
        "n_trials": n_trials,
        "timeout": timeout,
        "trial_timeout": trial_timeout,
        "max_total_epochs": max_total_epochs,
        "epochs": epochs,
        "eval_every": eval_every,
        "repeats": repeats,
        "nested": nested,
        "select": select,
        "choose": choose,
        "folds": folds,
        "scoring": scoring,
        "keep": keep,
        "checkpoint_every": checkpoint_every,
        "sampler": sampler,
        "pruner": pruner,
        "backend": backend,
        "executor": executor,
        "n_jobs": n_jobs,
        "n_threads": n_threads,
        "device": device,
        "seed": seed,
        "storage": storage,
        "tracking_uri": tracking_uri,
        "add_trials": add_trials or None,
        "tracker": tracker,
        "analyses": analyses or None,
    }
    tracker_options = {"register": register}
    backend_options = {
        "address": ray_address,
        "cpus_per_trial": cpus_per_trial,
        "gpus_per_trial": gpus_per_trial,
    }
    from hpo.cli._command import Command
    from hpo.cli._run import Output, run_file

    raise typer.Exit(
        run_file(
            study_file,
            _without_none(changes),
            study_options=study_options(ctx),
            backend_options=_without_none(backend_options),
            tracker_options=_without_none(tracker_options),
            fresh=not resume,
            extend=extend,
            accept_code=accept_code,
            retry_failed=retry_failed,
            smoke=smoke,
            data=data,
            command=Command.typed(ctx.meta[ARGS]),
            output=Output(as_json=as_json, quiet=quiet, verbose=verbose),
        )
    )


def _without_none(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


@app.command(
    cls=StudyCommand,
    epilog=examples(
        "hpo validate studies/digits_mlp.py",
        "hpo validate search_spaces/mlp.yaml",
    ),
)
def validate(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A study (.py) or a search space (.yaml).", show_default=False
        ),
    ],
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Check a study or a search space, and print what it is. Nothing is created."""
    from hpo.cli._validate import validate_file

    validate_file(file, study_options(ctx), as_json=as_json, quiet=quiet)


@app.command(epilog=examples("hpo init elsewhere"))
def init(
    ctx: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to; made if need be.")
    ] = Path(),
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Copy the example studies and search spaces into a folder."""
    from hpo.cli._command import Command
    from hpo.cli._init import copy_examples

    command = Command.typed(ctx.meta[ARGS])
    copy_examples(folder, command, as_json=as_json, quiet=quiet)


app.command("list", epilog=examples("hpo list --storage journal:///elsewhere/hpo.journal"))(list_)
app.command(
    epilog=examples(
        "hpo show digits_mlp",
        "hpo show digits_mlp --trial 3",
        "hpo show digits_mlp@1 --plots report",
    )
)(show)
app.command(epilog=examples("hpo audit digits_mlp", "hpo audit digits_mlp --pruner halving:eta=4"))(
    audit
)


@app.command(epilog=examples("hpo ui digits_mlp --port 8080"))
def ui(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Study whose page is meant.", show_default=False),
    ] = None,
    tracking_uri: TrackingUri = None,
    storage: Storage = None,
    port: Annotated[
        int, option("PORT", "Where to listen; the next free one if taken.", True, min=1, max=65535)
    ] = 5000,
    as_json: AsJson = False,
) -> None:
    """Serve MLflow's web interface on this machine alone, until Ctrl-C."""
    from hpo.cli._ui import serve

    raise typer.Exit(serve(tracking_uri, port, name, storage, as_json=as_json))


@app.command(
    "export-model",
    epilog=examples("hpo export-model digits_mlp digits_model"),
)
def export_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Study.", show_default=False)],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to; new or empty.", show_default=False)
    ],
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """Write the winner, refitted on all data, as a model that MLflow loads and serves."""
    from hpo.cli._export import export_model as export

    export(name, folder, storage, as_json=as_json)


@app.command(epilog=examples("hpo sync digits_mlp --tracking-uri http://localhost:5000"))
def sync(  # noqa: PLR0917 - each parameter is an option, given by name
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Study; without it, all that earlier runs could not send.",
            show_default=False,
        ),
    ] = None,
    storage: Storage = None,
    tracker: Annotated[
        str | None,
        option("NAME", f"Who is to have it: {either('hpo.trackers')}; by default as it was run."),
    ] = None,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make MLflow, or another tracker, agree with a study's storage."""
    from hpo.cli._sync import send

    raise typer.Exit(send(name, storage, tracker, tracking_uri, as_json=as_json, quiet=quiet))


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line on ``args``, by default those of the process, and exit."""
    folder = str(Path.cwd())
    if folder not in sys.path:  # for the user's plugins MODULE:CLASS, like `python -m`
        sys.path.append(folder)
    app(args=list(sys.argv[1:] if args is None else args), prog_name="hpo")
