"""Runs of Weights & Biases, offline; without its package the tracker is refused."""

import json
import struct
from importlib.util import find_spec

import pytest

from hpo.exceptions import MissingExtraError
from hpo.storage.study_facts import end_session
from hpo.testing.trackers import TrackerConformance, add_trial, follow, new_store
from hpo.trackers import wandb as module
from hpo.trackers.wandb import WandbTracker
from hpo.trial import TrialState

needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")


BLOCK = 32768


def records_in(data):
    """Yield the records of a log in LevelDB's format, after a header of seven bytes."""
    at, parts = 7, b""
    while at < len(data):
        left = BLOCK - at % BLOCK
        if left < 7:
            at += left
            continue
        _, n, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + n]
        at += 7 + n
        if kind in {1, 4}:  # whole, or the last part
            yield parts
            parts = b""


def read_run(folder):
    """Return the history, the summary and the config of the only offline run in a folder."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    history, summary, config = [], {}, {}
    for data in records_in(path.read_bytes()):
        record = Record.FromString(data)
        rows = {"history": record.history.item, "summary": record.summary.update}
        for kind, items in rows.items():
            values = {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}
            if values and kind == "history":
                history.append(values)
            summary |= values if kind == "summary" else {}
        config |= {i.key: json.loads(i.value_json) for i in record.run.config.update}
    return history, summary, config


@needs_wandb
class TestWandbTracker(TrackerConformance):
    @pytest.fixture
    def make_tracker(self):
        return lambda folder: WandbTracker(folder / "runs")

    @pytest.fixture
    def read_target(self):
        def contents(folder):
            return {
                int(trial.name.removeprefix("trial_")): [
                    (row["_step"], float(row["score"])) for row in read_run(trial)[0]
                ]
                for trial in (folder / "runs").glob("*/trial_*")
            }

        return contents


@needs_wandb
def test_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    kept = new_store(tmp_path)
    record = add_trial(kept)
    add_trial(kept, (), TrialState.FAILED, reason="no", error="Traceback")
    (tmp_path / "report.html").write_text("<html>")
    files = {"report.html": tmp_path / "report.html"}
    end_session(kept, {"best_score": 0.75}, {"best_lr": 0.1}, files, "complete")
    follow(WandbTracker(tmp_path / "runs", project="mine"), kept)
    (study,) = (tmp_path / "runs").iterdir()
    history, summary, config = read_run(study / "trial_00000")
    assert [row["score"] for row in history] == [0.5, 0.75]
    assert (summary["best_score"], summary["best_step"]) == (0.75, 2)
    assert config["lr"] == record.trial.params["lr"]
    _, summary, _ = read_run(study / "trial_00001")
    assert (summary["state"], summary["reason"]) == ("failed", "no")
    _, summary, config = read_run(study / "study")
    assert summary["best_lr"] == 0.1
    assert config["seed"] == 0
    (report,) = study.glob("study/wandb/offline-run-*/files/report.html")
    assert report.read_text() == "<html>"


def test_without_the_package_it_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hpo-torch\[wandb\]'"):
        WandbTracker(tmp_path)
