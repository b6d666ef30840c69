"""The backend on Ray Tune: its workers, their deaths, resources, a Ray of its own."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from dataclasses import replace

import cloudpickle
import numpy as np
import pytest
import sklearn
import torch

from hpo._discovery import build
from hpo._stop_signal import StopSignal
from hpo.backends.base import BaseBackend
from hpo.backends.ray import RayBackend
from hpo.exceptions import ExecutorError, PluginError
from hpo.testing import ScriptedObjective
from hpo.testing.backends import Recorder, search
from hpo.testing.user_errors import USER_ERRORS, failing_curve
from hpo.training import BaseObjective
from hpo.trial import Report

pytestmark = pytest.mark.slow

# As the file of a study, this module cannot be imported in a worker: it travels by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

SPACE = {"x": {"type": "float", "low": 0.0, "high": 1.0}}


class Probe(BaseObjective):
    """Five reports that name the process they come from; ``at_step`` does the mischief."""

    def __init__(self, at_step=lambda trial, step: None):
        self.at_step = at_step

    def run(self, trial, device=None):
        for step in range(1, 6):
            self.at_step(trial, step)
            yield Report(trial.number, step, trial.params["x"] * step, metrics=self.facts())

    def facts(self):
        return {"pid": (os.getpid(),)}

    def max_steps(self, params):
        return 5


class TorchProbe(Probe):
    def facts(self):
        return {"threads": (torch.get_num_threads(),), "pid": (os.getpid(),)}


def facts(records, name):
    return {report.metrics[name][0] for record in records for report in record.reports}


@pytest.mark.usefixtures("local_ray")
class TestOnOneCluster:
    def test_a_trial_whose_worker_is_killed_starts_again_and_fails_if_that_goes_on(self, tmp_path):
        mark = tmp_path / "killed"

        def kill(trial, step):
            if (trial.number, step) == (2, 2):
                os.kill(os.getpid(), signal.SIGKILL)
            if (trial.number, step) == (1, 3) and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        tracker = Recorder()
        records = search(
            RayBackend(max_concurrent=1, max_failures=1),
            Probe(kill),
            space=SPACE,
            n_trials=4,
            pruner="nop",
            storage=f"sqlite:///{tmp_path}/s.db",
            trackers=[tracker],
        )
        assert [str(r.state) for r in records] == ["complete", "complete", "failed", "complete"]
        assert [r.last_step for r in records] == [5, 5, 1, 5]
        assert {r.trained_by for r in records} == {"ray"}
        heard = [what for what, number in tracker.heard if number == 1]
        assert heard == ["started", *["reported"] * 5, "complete"]
        assert records[2].reason.startswith("the worker process died 2 times: ")
        assert records[2].error
        # What a killed worker said is kept; the trial goes on in another, which is used again.
        pids = [[r.metrics["pid"][0] for r in record.reports] for record in records]
        assert len({*pids[0], *pids[1][:2]}) == len({*pids[1][2:], *pids[2]}) == 1
        assert len(facts(records, "pid")) == 3

    def test_as_many_at_a_time_as_asked_for_in_as_many_actors(self):
        def sleep(trial, step):
            time.sleep(0.1)

        backend = RayBackend(max_concurrent=2)
        records = search(backend, Probe(sleep), space=SPACE, n_trials=8, pruner="nop")
        assert len(facts(records, "pid")) == 2
        events = sorted([(r.started, 1) for r in records] + [(r.ended, -1) for r in records])
        running = [sum(change for _, change in events[: i + 1]) for i in range(len(events))]
        assert max(running) == 2

    def test_the_objective_is_pickled_once_a_study_and_loaded_once_a_worker(self, tmp_path):
        objective = Probe()
        objective.cargo = Counted(tmp_path)
        backend = RayBackend(max_concurrent=2)
        records = search(backend, objective, space=SPACE, n_trials=6, pruner="nop")
        assert len((tmp_path / "pickled").read_text().split()) == 1
        loaded = (tmp_path / "loaded").read_text().split()
        assert len(loaded) == len(set(loaded))
        assert set(loaded) >= {str(pid) for pid in facts(records, "pid")}

    def test_whatever_a_trial_raises_fails_it_alone(self):
        kinds = [*USER_ERRORS, None]

        def curve(trial):
            return failing_curve(replace(trial, params={"kind": kinds[trial.number]}))

        *failed, fine = search(
            RayBackend(max_concurrent=1),
            ScriptedObjective(curve),
            space=SPACE,
            n_trials=len(kinds),
            pruner="nop",
        )
        assert str(fine.state) == "complete"
        for kind, record in zip(USER_ERRORS, failed, strict=True):
            assert (str(record.state), record.last_step) == ("failed", 1)
            assert record.reason.startswith(kind)
            assert len(record.reason) < 700
            assert "Traceback" in record.error
            assert len(record.error) < 21_000

    def test_an_actor_is_set_as_the_driver(self):
        def ask(trial, step):
            told.append(
                [
                    sklearn.get_config()["transform_output"],
                    np.geterr()["under"],
                    sys.getrecursionlimit(),
                    str(torch.get_default_dtype()),
                ]
            )
            warnings.warn("this is old", DeprecationWarning, stacklevel=1)
            assert told[-1] == expected, told[-1]

        told = []
        expected = ["pandas", "raise", 4321, "torch.float64"]
        limit = sys.getrecursionlimit()
        with warnings.catch_warnings(), sklearn.config_context(transform_output="pandas"):
            warnings.filterwarnings("ignore", "this is old")
            try:
                sys.setrecursionlimit(4321)
                torch.set_default_dtype(torch.float64)
                with np.errstate(under="raise"):
                    records = search(RayBackend(), Probe(ask), space=SPACE, n_trials=1)
            finally:
                torch.set_default_dtype(torch.float32)
                sys.setrecursionlimit(limit)
        assert [str(record.state) for record in records] == ["complete"], records[0].reason
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "this is old")
            (failed,) = search(RayBackend(), Probe(ask), space=SPACE, n_trials=1)
        assert failed.reason.startswith("DeprecationWarning: this is old")

    def test_torch_computes_with_the_cpus_given(self):
        backend = RayBackend(cpus_per_trial=2)
        records = search(backend, TorchProbe(), space=SPACE, n_trials=2, pruner="nop")
        assert facts(records, "threads") == {2}
        assert len(facts(records, "pid")) == 1  # two CPUs hold one such trial

    def test_an_interrupt_does_not_wait_for_the_step(self):
        interrupt = StopSignal()

        class Cut(Recorder):
            def on_report(self, record, report):
                interrupt.request("test")

        def sleep(trial, step):
            time.sleep(0 if step == 1 else 1000)  # longer than a test may take

        records = search(
            RayBackend(max_concurrent=1),
            Probe(sleep),
            space=SPACE,
            interrupt=interrupt,
            trackers=[Cut()],
        )
        assert [r.interrupted for r in records] == [True]

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"cpus_per_trial": 4096}, r"wants 4096 CPU on one node.* has .* CPU"),
            ({"resources": {"fast_disk": 1}}, r"1 fast_disk on one node.* 0 fast_disk"),
        ],
    )
    def test_what_the_cluster_can_never_give_is_refused_at_once(self, options, told):
        tracker = Recorder()
        with pytest.raises(ExecutorError, match=told):
            search(RayBackend(**options), Probe(), space=SPACE, trackers=[tracker])
        assert not tracker.heard

    def test_an_objective_that_cannot_be_loaded_ends_the_study(self):
        objective = Probe()
        objective.broken = Unloadable()
        with pytest.raises(ExecutorError, match=r"cannot load the study: ImportError: no such lib"):
            search(RayBackend(max_concurrent=1), objective, space=SPACE)

    def test_an_error_of_the_storage_comes_through_as_it_is(self):
        class Full(Recorder):
            def on_report(self, record, report):
                raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            search(RayBackend(max_concurrent=1), Probe(), space=SPACE, trackers=[Full()])


class Counted:
    """Writes down who pickles it and who loads it."""

    def __init__(self, folder):
        self.folder = folder

    def note(self, what):
        with (self.folder / what).open("a") as file:
            file.write(f"{os.getpid()}\n")

    def __getstate__(self):
        self.note("pickled")
        return {"folder": self.folder}

    def __setstate__(self, state):
        vars(self).update(state)
        self.note("loaded")


def fail_to_load():
    raise ImportError("no such lib")


class Unloadable:
    def __reduce__(self):
        return fail_to_load, ()


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("cpus_per_trial=0", "cpus_per_trial must be above 0. Got 0"),
        ("gpus_per_trial=1.5", "gpus_per_trial must be a fraction .* Got 1.5"),
        ("max_concurrent=0", "max_concurrent must be at least 1. Got 0"),
        ("max_failures=-1", "max_failures must not be negative. Got -1"),
        ("resources=2", "resources must be a mapping .* Got 2"),
        ("adress=auto", "did you mean 'address'"),
    ],
)
def test_options_are_checked_before_anything_starts(spec, told):
    with pytest.raises(PluginError, match=told):
        build("hpo.backends", f"ray:{spec}", BaseBackend)


PRIVATE = """
    import logging, os, signal, sys
    from hpo.backends.ray.cluster import _ENVIRONMENT
    from hpo.backends.ray import RayBackend
    from hpo.exceptions import ExecutorError
    from hpo.testing.backends import search, scripted_curve
    from hpo.testing.scripted import ScriptedObjective

    environment = dict(os.environ)
    objective = ScriptedObjective(scripted_curve, n_folds=2, n_steps=5)
    def heard(number, frame): pass
    signal.signal(signal.SIGTERM, heard)
    for address, told in [("127.0.0.1:1", "ray start --head"), ("ray://x:1", "address=auto")]:
        try:
            search(RayBackend(address=address), objective)
        except ExecutorError as error:
            assert told in str(error), error
        else:
            raise SystemExit("reached")
    records = search(RayBackend(max_concurrent=1), objective, n_trials=3)
    assert len(records) == 3
    import ray
    assert not ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is heard
    print([name for name in _ENVIRONMENT if os.environ.get(name) != environment.get(name)])
"""


def test_a_private_ray_is_started_and_shut_down_without_a_trace():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(PRIVATE)],
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    assert done.stderr == ""
