"""Workers are set to what their driver is set to."""

import multiprocessing
import os
import sys
import warnings
from operator import attrgetter
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import sklearn
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hpo import HPOSearchCV
from hpo.exceptions import ExecutorError
from hpo.executors import Reported
from hpo.executors.process import ProcessExecutor
from hpo.testing import ScriptedObjective
from hpo.testing.executors import drive
from hpo.training import BaseObjective
from hpo.trial import Report, Trial

cloudpickle.register_pickle_by_value(sys.modules[__name__])


# By their names: these modules of torch's cannot be carried by value.
SWITCHES = (
    "utils.deterministic.fill_uninitialized_memory",
    "backends.cudnn.benchmark",
    "backends.cudnn.deterministic",
    "backends.cuda.matmul.allow_tf32",
)


class OwnWarning(UserWarning):
    """A category that nobody can import."""


def facts():
    """Return what this process is set to, as far as a test can ask."""
    return {
        "sklearn": sklearn.get_config(),
        "numpy": np.geterr(),
        "recursion": sys.getrecursionlimit(),
        "dtype": str(torch.get_default_dtype()),
        "device": str(torch.get_default_device()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "switches": [attrgetter(name)(torch) for name in SWITCHES],
        "flash": attrgetter("backends.cuda.flash_sdp_enabled")(torch)(),
        "anomaly": torch.is_anomaly_enabled(),
        "check_nan": torch.is_anomaly_check_nan_enabled(),
        "sharing": torch.multiprocessing.get_sharing_strategy(),
        "filters": [(f[0], f[1] and f[1].pattern, f[2].__name__) for f in warnings.filters],
    }


def place():
    """Return what only a process of the same machine shares."""
    return {
        "folder": str(Path.cwd()),
        "variable": os.environ.get("HPO_TEST_VARIABLE"),
        "method": multiprocessing.get_start_method(allow_none=True),
    }


class Facts(BaseObjective):
    """One report, of which the sum of a metric says whether this process is set to ``expected``."""

    def __init__(self, expected, ask):
        self.expected = expected
        self.ask = ask

    def run(self, trial, device=None):
        found = self.ask()
        different = {name: found[name] for name in found if found[name] != self.expected[name]}
        assert not different, different
        yield Report(trial.number, 1, 1.0)

    def max_steps(self, params):
        return 1


def nothing():
    """Return the settings as they are."""


def sklearn_config():
    sklearn.set_config(enable_metadata_routing=True, transform_output="pandas", assume_finite=True)


def several():
    np.seterr(divide="raise", over="ignore")
    sys.setrecursionlimit(4321)
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.enable_flash_sdp(False)
    torch.autograd.set_detect_anomaly(True, check_nan=False)
    torch.multiprocessing.set_sharing_strategy("file_system")


def filters():
    warnings.filterwarnings("ignore", "no more of this", category=OwnWarning, module="some.*")
    warnings.simplefilter("always", FutureWarning)


@pytest.fixture
def _put_back():
    """Leave this process as it was found."""
    from hpo.executors._settings import settings_of_this_process

    before = settings_of_this_process(here=True)
    with warnings.catch_warnings():
        yield
    before.enter(here=True)
    before.configure()


@pytest.mark.usefixtures("_put_back")
@pytest.mark.parametrize("change", [nothing, sklearn_config, several, filters])
def test_a_worker_process_is_set_as_the_driver(change):
    change()
    seen = drive(ProcessExecutor(Facts(facts(), facts), n_jobs=1), [Trial(0, {}, 0)])
    assert [type(event) for event in seen[:1]] == [Reported], seen[0].reason


@pytest.mark.usefixtures("_put_back")
def test_a_worker_process_has_the_drivers_folder_and_environment(tmp_path, monkeypatch):
    drive(ProcessExecutor(Facts(place(), place), n_jobs=1), [Trial(0, {}, 0)])  # the server runs
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPO_TEST_VARIABLE", "set since")
    seen = drive(ProcessExecutor(Facts(place(), place), n_jobs=1), [Trial(0, {}, 0)])
    assert [type(event) for event in seen[:1]] == [Reported], seen[0].reason


def warns(trial):
    warnings.warn("this is old", DeprecationWarning, stacklevel=1)
    return [1.0]


@pytest.mark.parametrize(("action", "fate"), [("error", "failed"), ("ignore", "complete")])
def test_a_warning_becomes_in_a_worker_what_it_becomes_here(action, fate):
    with warnings.catch_warnings():
        warnings.filterwarnings(action, "this is old")
        seen = drive(ProcessExecutor(ScriptedObjective(warns), n_jobs=1), [Trial(0, {}, 0)])
    told = getattr(seen[0], "reason", "complete")
    assert told == ("complete" if fate == "complete" else "DeprecationWarning: this is old")


@pytest.mark.usefixtures("_put_back")
def test_routed_weights_reach_the_workers():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = (X[:, 0] > 0).astype(int)
    sklearn.set_config(enable_metadata_routing=True)

    def search(n_jobs):
        model = LogisticRegression().set_fit_request(sample_weight=True)
        model = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        space = {"logisticregression__C": [0.1, 1.0]}
        search = HPOSearchCV(model, space, sampler="grid", n_trials=None, cv=2, n_jobs=n_jobs)
        return search.fit(X, y, sample_weight=rng.uniform(size=60)).result_

    assert search(1).n_complete == search(2).n_complete == 2


class Unloadable:
    """Cannot be loaded where it is carried to, for a reason that looks like a hang-up."""

    def __reduce__(self):
        return eval, ("(_ for _ in ()).throw(EOFError('half a file'))",)


def test_what_cannot_be_loaded_in_a_worker_is_told_at_once():
    objective = ScriptedObjective(warns)
    objective.cargo = Unloadable()
    with pytest.raises(ExecutorError, match=r"cannot be loaded in a worker.*EOFError: half a file"):
        drive(ProcessExecutor(objective, n_jobs=1), [Trial(0, {}, 0)])
