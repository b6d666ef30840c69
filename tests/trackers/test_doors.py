"""Studies that are run with a tracker, in storages and in memory, by both doors."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from sklearn.datasets import make_classification
from sklearn.linear_model import SGDClassifier

from hpo import HPOSearchCV, Study, StudyData, run_study
from hpo.exceptions import PluginError
from hpo.trackers import all_orders, catch_up
from hpo.trackers.tensorboard import TensorboardTracker

pytestmark = pytest.mark.slow

X, y = make_classification(60, random_state=0)
SPACE = {"alpha": {"type": "float", "low": 1e-5, "high": 1.0, "log": True}}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_study(tmp_path, **changes):
    fields = {
        "name": "tracked",
        "estimator": SGDClassifier(random_state=0),
        "data": StudyData(X=X, y=y),
        "search_space": SPACE,
        "cv": 2,
        "epochs": 2,
        "n_trials": 2,
        "sampler": "random",
        "refit": False,
        "pruner": "nop",
        "storage": None,
        "tracker": TensorboardTracker(tmp_path / "runs"),
    }
    return Study(**{**fields, **changes})


def scores(tmp_path, read_events):
    return {
        trial.name: [step for tag, step, _ in read_events(trial) if tag == "score"]
        for trial in sorted((tmp_path / "runs").glob("*/trial_*"))
    }


WHOLE = {"trial_00000": [1, 2], "trial_00001": [1, 2]}


def test_a_study_in_memory_leaves_nothing_but_the_target(tmp_path, read_events, cache):
    result = run_study(make_study(tmp_path))
    assert result.notes == ()
    assert scores(tmp_path, read_events) == WHOLE
    assert list((cache / "unsaved").iterdir()) == []
    assert list(all_orders()) == []


class Reluctant(TensorboardTracker):
    """A tracker whose target is away until a file is there."""

    def open(self, study):
        if not (self.folder.parent / "up").exists():
            raise ConnectionError("the target is away")
        return super().open(study)


def test_a_study_in_memory_is_kept_until_it_is_sent(tmp_path, read_events, cache):
    result = run_study(make_study(tmp_path, tracker=Reluctant(tmp_path / "runs")))
    (note,) = result.notes
    assert "has not reached" in note
    assert "the target is away" in note
    assert "`hpo sync` sends it" in note
    assert len(list((cache / "unsaved").iterdir())) >= 1
    (tmp_path / "up").touch()
    (order,) = all_orders()
    assert catch_up(order).complete
    assert scores(tmp_path, read_events) == WHOLE
    assert list((cache / "unsaved").iterdir()) == []
    assert list(all_orders()) == []


def test_a_search_in_memory_leaves_nothing_but_the_target(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    search = HPOSearchCV(
        SGDClassifier(random_state=0),
        SPACE,
        n_trials=1,
        cv=2,
        epochs=1,
        tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
    )
    search.fit(X, y)
    assert (tmp_path / "mlflow.db").exists()
    assert list((cache / "unsaved").iterdir()) == []


def test_a_search_takes_the_trackers_of_a_study(tmp_path, read_events):
    search = HPOSearchCV(
        SGDClassifier(random_state=0),
        SPACE,
        n_trials=2,
        cv=2,
        epochs=2,
        sampler="random",
        pruner="nop",
        tracker=f"tensorboard:folder={tmp_path / 'runs'}",
    )
    search.fit(X, y)
    assert scores(tmp_path, read_events) == WHOLE


def test_a_tracker_that_cannot_travel_is_refused(tmp_path):
    tracker = TensorboardTracker(tmp_path / "runs")
    tracker.lock = threading.Lock()
    with pytest.raises(PluginError, match="cannot be carried to its process"):
        run_study(make_study(tmp_path, tracker=tracker))


RUN = """
import os, sys, signal
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import test_doors
from hpo import run_study
from hpo.observer import BaseObserver

class Dies(BaseObserver):
    def on_report(self, record, report):
        if record.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)

home = Path(sys.argv[1])
study = test_doors.make_study(home, storage=f"sqlite:///{home}/hpo.db")
run_study(study, observers=[Dies()] if len(sys.argv) > 3 else [])
"""


def test_a_killed_driver_leaves_an_interrupted_study_that_goes_on(tmp_path, read_events, commands):
    def run(*more):
        arguments = [tmp_path, Path(__file__).parent, *more]
        cache = os.environ["HPO_CACHE"]
        return commands.python(RUN, *arguments, folder=tmp_path, HPO_CACHE=cache)

    assert run("dies").returncode == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while list(all_orders()) and time.monotonic() < deadline:
        time.sleep(0.1)
    (study,) = (tmp_path / "runs").iterdir()
    content = b"".join(path.read_bytes() for path in study.glob("study/events.*"))
    assert b"| state | interrupted |" in content
    done = run()
    assert done.returncode == 0, done.stderr
    found = scores(tmp_path, read_events)
    assert found["trial_00000"] == [1, 2]
    assert found["trial_00002"] == [1, 2]
    content = b"".join(path.read_bytes() for path in study.glob("study/events.*"))
    assert b"| state | complete |" in content
