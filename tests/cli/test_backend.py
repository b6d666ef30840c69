"""Flags of ``hpo run`` that are options of the backend, and how such a backend is shown."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from hpo._discovery import build
from hpo.backends.base import BaseBackend
from hpo.backends.ray import RayBackend
from hpo.cli._launch import with_options
from hpo.display.displays import LiveDisplay
from hpo.exceptions import PluginError
from hpo.observer import StudyInfo
from hpo.testing.observers import tell_trial

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., str]


def _built(spec: str) -> RayBackend:
    backend: RayBackend = build("hpo.backends", spec, BaseBackend)
    return backend


@pytest.mark.parametrize("spec", ["optuna", "ray:max_concurrent=2", "no such"])
def test_without_flags_a_spec_stays_as_it_is(spec: str) -> None:
    assert with_options(spec, {}) == spec


def test_flags_are_options_of_the_backend_and_come_before_those_of_the_study() -> None:
    flags = {"address": "auto", "cpus_per_trial": 2.0, "gpus_per_trial": 0.25}
    backend = _built(with_options("ray", flags))
    assert (backend.address, backend.n_threads, backend.device) == ("auto", 2, "cuda:0")
    named = "ray:address='10.0.0.1:6379',cpus_per_trial=4,resources={'disk': 1},max_concurrent=3"
    backend = _built(with_options(named, {"address": "10.0.0.2:6379"}))
    assert (backend.address, backend.n_threads, backend.max_concurrent) == ("10.0.0.2:6379", 4, 3)
    assert _built(with_options(named, flags)).n_threads == 2


@pytest.mark.parametrize(
    ("spec", "flags", "told"),
    [
        (
            "optuna",
            {"address": "auto", "gpus_per_trial": 1.0},
            "--ray-address and --gpus-per-trial need --backend ray. "
            "Got the backend 'optuna' instead.",
        ),
        (
            "optuna",
            {"cpus_per_trial": 2.0},
            "--cpus-per-trial needs --backend ray. Got the backend 'optuna' instead. "
            "The CPU threads of its trials are set by --n-threads.",
        ),
        (
            "rya",
            {"cpus_per_trial": 2.0},
            "There is no backend 'rya', did you mean 'ray'? Choose one of: optuna, ray; or name a "
            "class of your own as MODULE:CLASS.",
        ),
    ],
)
def test_a_backend_without_the_option_says_what_to_add(
    spec: str, flags: dict[str, object], told: str
) -> None:
    with pytest.raises(PluginError) as caught:
        with_options(spec, flags)
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--ray-address=auto"], "--ray-address needs --backend ray."),
        (["--backend=ray", "--cpus-per-trial=0"], "cpus_per_trial must be above 0. Got 0.0"),
        (["--backend=ray", "--gpus-per-trial=1.5"], "gpus_per_trial must be a fraction"),
    ],
)
def test_a_wrong_flag_is_told_of_and_nothing_created(
    hpo_command: Run, write_study: Write, args: list[str], told: str
) -> None:
    code, out, err = hpo_command("run", write_study(), *args)
    assert (code, out) == (2, "")
    assert told in err
    assert [path.name for path in Path.cwd().iterdir()] == ["tiny.py"]


@pytest.mark.parametrize(
    ("spec", "pruner", "at_a_time"),
    [
        ("ray", "median:n_startup_trials=2", "as many as the cluster holds"),
        (
            "ray:max_concurrent=2,scheduler=asha",
            "none: the backend's own scheduler stops trials",
            "as many as the cluster holds, at most 2",
        ),
        ("optuna", "median:n_startup_trials=2", "1"),
    ],
)
def test_a_study_is_validated_with_its_backend(
    hpo_command: Run, write_study: Write, spec: str, pruner: str, at_a_time: str
) -> None:
    code, out, _ = hpo_command("validate", write_study({"cv=3,": f"cv=3, backend='{spec}',"}))
    assert code == 0
    facts = dict(line.strip().split("  ", 1) for line in out.splitlines() if "  " in line.strip())
    assert facts["backend"].strip() == spec
    assert facts["pruner"].strip() == pruner
    assert facts["trials at a time"].strip() == at_a_time


def test_the_picture_says_that_workers_are_waited_for_and_who_trains() -> None:
    console = Console(file=io.StringIO(), width=100, height=30)
    display = LiveDisplay(console)
    settings = {"sampler": "tpe", "backend": "ray:max_concurrent=2", "executor": "serial"}
    display.on_study_start(StudyInfo("digits", "key", settings))

    def shown() -> str:
        with console.capture() as captured:
            console.print(display._render())
        return captured.get()

    assert shown().startswith("digits  sampler tpe, ray:max_concurrent=2\n")
    assert "waiting for ray" in shown()
    tell_trial(display, 0)
    assert "choosing the next trial" in shown()
    settings |= {"backend": "optuna"}
    display.on_study_start(StudyInfo("digits", "key", settings))
    assert shown().startswith("digits  sampler tpe, serial\n")
