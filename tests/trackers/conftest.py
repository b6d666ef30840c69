import math
import shutil
import struct
from pathlib import Path

import pytest


def pytest_itemcollected(item):
    # MLflow 3.17 uses what SQLAlchemy 2.1 deprecates; here its client reads stores in-process.
    item.add_marker(pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"))


@pytest.fixture
def store(empty_store, tmp_path, monkeypatch):
    """The URI of an empty store of the test's own."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


class Read:
    """What is in a store, read through MLflow's client."""

    def __init__(self, uri):
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(uri)

    def runs(self, study):
        experiment = self.client.get_experiment_by_name(study)
        runs, token = [], None
        while True:
            page = self.client.search_runs(
                [experiment.experiment_id], max_results=1000, page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def parent(self, study):
        (parent,) = (r for r in self.runs(study) if "mlflow.parentRunId" not in r.data.tags)
        return parent

    def trials(self, study):
        """Number to run; fails if a number has two runs."""
        runs = [r for r in self.runs(study) if "mlflow.parentRunId" in r.data.tags]
        numbers = [int(r.data.tags["number"]) for r in runs]
        assert len(set(numbers)) == len(numbers)
        return dict(sorted(zip(numbers, runs, strict=True)))

    def history(self, run, key):
        points = self.client.get_metric_history(run.info.run_id, key)
        return [
            (p.step, "nan" if math.isnan(p.value) else p.value)
            for p in sorted(points, key=lambda p: (p.step, p.timestamp))
        ]

    def artifacts(self, run, path=None):
        return [a.path for a in self.client.list_artifacts(run.info.run_id, path)]

    def text(self, run, path):
        return Path(self.client.download_artifacts(run.info.run_id, path)).read_text()


@pytest.fixture
def read():
    return Read


@pytest.fixture
def read_events():
    """Returns a function that reads the scalars of an event file's folder: (tag, step, value)."""
    from tensorboardX.proto.event_pb2 import Event

    def scalars(folder):
        found = []
        for path in folder.glob("events.*"):
            data, at = path.read_bytes(), 0
            while at < len(data):  # length, its checksum, content, its checksum
                (length,) = struct.unpack("<Q", data[at : at + 8])
                event = Event.FromString(data[at + 12 : at + 12 + length])
                at += 12 + length + 4
                found += [
                    (value.tag, event.step, value.simple_value)
                    for value in event.summary.value
                    if value.HasField("simple_value")
                ]
        return found

    return scalars
