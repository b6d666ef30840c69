"""The part of ``hpo run`` that needs torch: load the study and run it."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo._discovery import find, parse_spec
from hpo._stop_signal import StopSignal
from hpo.backends.base import BaseBackend
from hpo.cli._storage import storage_of
from hpo.cli._study_file import StudyFile, load_study_file, user_errors
from hpo.cli._summary import RunSummary
from hpo.display.displays import BaseDisplay
from hpo.exceptions import PluginError, RefitError
from hpo.study import run_study
from hpo.study.plan import plan_of
from hpo.trackers import BaseTracker

__all__ = ["launch", "with_options"]

_FLAGS = {
    "address": "--ray-address",
    "cpus_per_trial": "--cpus-per-trial",
    "gpus_per_trial": "--gpus-per-trial",
}


def launch(
    path: Path,
    changes: Mapping[str, Any],
    *,
    study_options: Mapping[str, Any],
    backend_options: Mapping[str, Any],
    tracker_options: Mapping[str, Any],
    fresh: bool,
    extend: bool = False,
    accept_code: bool = False,
    retry_failed: bool = False,
    smoke: bool,
    display: BaseDisplay,
    interrupt: StopSignal,
) -> RunSummary:
    """Load the study at ``path``, run it, and return its summary.

    Parameters
    ----------
    path : Path
    changes : mapping of str to object
        Fields of `Study` that were given on the command line.
    study_options : mapping of str to object
        Options defined by the study file that were given there.
    backend_options, tracker_options : mapping of str to object
        Options of the study's backend and tracker that were given there.
    fresh, extend, accept_code, retry_failed : bool
        See `run_study`.
    smoke : bool
        Run the smoke test of the study; options of the command line still apply.
    display : BaseDisplay
    interrupt : StopSignal

    Raises
    ------
    HpoError
        If the study is invalid, or no trial is complete at its end.
    """
    file = load_study_file(path, study_options)
    storage_option = changes.get("storage")
    storage = storage_option if smoke else storage_of(file.study, storage_option)
    backend = with_options(changes.get("backend", file.study.backend), backend_options)
    tracker = _with_tracker_options(changes.get("tracker", file.study.tracker), tracker_options)
    study = file.study.smoke() if smoke else file.study
    if not smoke or "tracker" in changes:  # a smoke test is not tracked
        changes = {**changes, "tracker": tracker}
    if "scoring" in changes:
        study = study.replace(metric=None)  # the name of one of several
    study = study.replace(**{**_without_n_jobs(changes), "storage": storage, "backend": backend})
    display.plan(plan_of(study, file.folder, fresh=fresh, retry_failed=retry_failed))
    try:
        with user_errors(path):
            result = run_study(
                study,
                folder=file.folder,
                fresh=fresh,
                extend=extend,
                accept_code=accept_code,
                observers=[display],
                interrupt=interrupt,
                artifacts=_artifacts(file),
                reuse_refit=True,
                retry_failed=retry_failed,
                progress="none",  # which is among the observers
            )
    except RefitError as failure:
        return RunSummary(study, failure.result, display.progress, failure)
    return RunSummary(study, result, display.progress)


def _without_n_jobs(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the changes; ``--executor serial`` without ``n_jobs`` overrides the study's."""
    serial = parse_spec(changes.get("executor", ""))[0] == "serial"
    return {"n_jobs": None, **changes} if serial else changes


def _artifacts(file: StudyFile) -> dict[str, str]:
    """Return the texts to record with the study: its file, and the options passed to it."""
    texts = {file.path.name: file.text}
    if file.options:
        texts["options.json"] = json.dumps(dict(file.options), default=str, indent=2)
    return texts


def with_options(backend: str, options: Mapping[str, Any]) -> str:
    """Return the spec of a backend with further options, which override existing ones.

    Parameters
    ----------
    backend : str
        ``"ray"``, ``"ray:max_concurrent=2"``.
    options : mapping of str to object
        Values of the flags, by the name of the backend's option.

    Raises
    ------
    PluginError
        If the backend does not accept one of them, or there is no such backend.
    """
    if not options:
        return backend
    name, _ = parse_spec(backend)
    supported = inspect.signature(find("hpo.backends", name, BaseBackend)).parameters
    unsupported = [_FLAGS[option] for option in options if option not in supported]
    if unsupported:
        raise PluginError(_unsupported_flags(unsupported, name))
    text = ",".join(f"{option}={value}" for option, value in options.items())
    return f"{backend}{',' if ':' in backend else ':'}{text}"  # the last value of a name counts


def _with_tracker_options(tracker: Any, options: Mapping[str, Any]) -> Any:
    """Return the spec of a tracker with further options, which override existing ones.

    Raises
    ------
    PluginError
        If the tracker does not accept one of them.
    """
    if not options:
        return tracker
    name = parse_spec(tracker)[0] if isinstance(tracker, str) else type(tracker).__name__
    flag = ", ".join(f"--{option.replace('_', '-')}" for option in options)
    if not isinstance(tracker, str):
        raise PluginError(f"{flag}: the study's tracker is an object ({name}): set its own option.")
    supported = inspect.signature(find("hpo.trackers", name, BaseTracker)).parameters
    if any(option not in supported for option in options):
        raise PluginError(f"{flag} needs --tracker mlflow. Got the tracker '{name}' instead.")
    text = ",".join(f"{option}={value}" for option, value in options.items())
    return f"{tracker}{',' if ':' in tracker else ':'}{text}"  # the last value of a name counts


def _unsupported_flags(flags: list[str], name: str) -> str:
    need = "needs" if len(flags) == 1 else "need"
    text = f"{' and '.join(flags)} {need} --backend ray. Got the backend '{name}' instead."
    if "--cpus-per-trial" in flags:
        text += " The CPU threads of its trials are set by --n-threads."
    return text
