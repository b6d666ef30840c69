"""TensorBoard's event files of studies: whole after a kill at any moment, nothing twice."""

import random
import time
from dataclasses import replace

import pytest

from hpo.storage.study_facts import end_session
from hpo.testing.trackers import add_trial, follow, new_store, order_for
from hpo.trackers import catch_up, start
from hpo.trackers.base import TrialChange
from hpo.trackers.tensorboard import TensorboardTracker, _hyperparameters
from hpo.trial import TrialState


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))


def scores(folder, read_events):
    return {
        int(trial.name.removeprefix("trial_")): [
            (step, value) for tag, step, value in read_events(trial) if tag == "score"
        ]
        for trial in sorted(folder.glob("*/trial_*"))
    }


def test_killed_at_random(tmp_path, read_events):
    dice = random.Random(0)
    kept, expected = new_store(tmp_path), {}
    order = order_for(TensorboardTracker(tmp_path / "runs"), kept)
    for _ in range(6):
        for _ in range(20):
            values = [dice.randrange(64) / 64 for _ in range(4)]
            record = add_trial(kept, values)
            expected[record.number] = list(enumerate(values, start=1))
        before = len(list((tmp_path / "runs").glob("*/trial_*")))
        process = start(order, watched=False)
        while len(list((tmp_path / "runs").glob("*/trial_*"))) == before:
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(dice.uniform(0.0, 0.1))
        process.kill()
        process.wait()
    end_session(kept, {}, {}, {}, "complete")
    assert catch_up(order).complete
    assert scores(tmp_path / "runs", read_events) == expected


def test_what_is_there(tmp_path, read_events):
    kept = new_store(tmp_path)
    add_trial(kept)
    add_trial(kept, (), TrialState.FAILED, reason="no", error="Traceback")
    (tmp_path / "report.html").write_text("<html>")
    files = {"report.html": tmp_path / "report.html"}
    end_session(kept, {"best_score": 0.75}, {"best_lr": 0.1}, files, "complete")
    follow(TensorboardTracker(tmp_path / "runs"), kept)
    (study,) = (tmp_path / "runs").iterdir()
    assert study.name == f"conformance-{kept.key[:8]}"
    assert (study / "study" / "files" / "report.html").read_text() == "<html>"
    assert read_events(study / "study") == [("best_score", 0, 0.75)]
    events = read_events(study / "trial_00000")
    assert ("best_score", 2, 0.75) in events
    assert ("train_loss", 1, 2.0) in events
    content = b"".join(path.read_bytes() for path in study.glob("trial_*/events.*"))
    for text in (b"_hparams_/session_start_info", b"torch.optim.", b"Traceback"):
        assert text in content
    # TensorBoard would take the first one for all trials, whatever parameters the others have
    assert b"_hparams_/experiment" not in content


def test_the_page_of_hyperparameters_has_each_trial_and_how_it_ended(tmp_path):
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    kept = new_store(tmp_path)
    found = {}
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED):
        record = add_trial(kept, (0.5,), state, reason="" if state == "complete" else "why")
        summaries = _hyperparameters(TrialChange(record, "mark"))
        found[state] = start, _ = [
            HParamsPluginData.FromString(each.value[0].metadata.plugin_data.content)
            for each in summaries
        ]
        hparams = start.session_start_info.hparams
        assert set(hparams) == {"trial", "state", *record.trial.params}
        assert hparams["lr"].number_value == record.trial.params["lr"]
        assert hparams["state"].string_value == state
    status = {state: end.session_end_info.status for state, (_, end) in found.items()}
    assert status["complete"] == status["pruned"] != status["failed"]


def test_a_running_trial_grows(tmp_path, read_events):
    """In the process that began it; what another one left unfinished is written anew."""
    kept = new_store(tmp_path)
    running = add_trial(kept, (0.5, 0.75), TrialState.RUNNING)
    follow(TensorboardTracker(tmp_path / "runs"), kept)
    assert scores(tmp_path / "runs", read_events) == {0: [(1, 0.5), (2, 0.75)]}
    kept.tell(replace(running, state=TrialState.COMPLETE, ended=time.time()))
    follow(TensorboardTracker(tmp_path / "runs"), kept)
    assert scores(tmp_path / "runs", read_events) == {0: [(1, 0.5), (2, 0.75)]}
