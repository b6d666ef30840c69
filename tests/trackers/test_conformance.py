import shutil

import pytest

from hpo.testing.trackers import TrackerConformance
from hpo.trackers.mlflow import MlflowTracker
from hpo.trackers.tensorboard import TensorboardTracker

pytestmark = pytest.mark.slow


class TestMlflowTracker(TrackerConformance):
    @pytest.fixture
    def make_tracker(self, empty_store):
        def make(folder):
            if not any(folder.glob("*.db")):
                shutil.copy(empty_store, folder / "mlflow.db")
            return MlflowTracker(f"sqlite:///{folder / 'mlflow.db'}")

        return make

    @pytest.fixture
    def read_target(self, read):
        def contents(folder):
            found = read(f"sqlite:///{folder / 'mlflow.db'}")
            (study,) = [e.name for e in found.client.search_experiments() if e.name != "Default"]
            return {
                number: [(step, float(value)) for step, value in found.history(run, "score")]
                for number, run in found.trials(study).items()
            }

        return contents


class TestTensorboardTracker(TrackerConformance):
    @pytest.fixture
    def make_tracker(self):
        return lambda folder: TensorboardTracker(folder / "runs")

    @pytest.fixture
    def read_target(self, read_events):
        def contents(folder):
            return {
                int(trial.name.removeprefix("trial_")): [
                    (step, value) for tag, step, value in read_events(trial) if tag == "score"
                ]
                for trial in (folder / "runs").glob("*/trial_*")
            }

        return contents
