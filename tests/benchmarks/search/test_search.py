"""The benchmark of searches runs, goes on where it ended, and its tables are right."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent


@pytest.fixture
def load(monkeypatch):
    """Return a function that imports a module of the benchmark as running it does."""
    monkeypatch.syspath_prepend(HERE)
    yield importlib.import_module
    for path in HERE.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def curves(load):
    module = load("curves")
    try:
        found = module.folder().is_dir()
    except KeyError:
        found = False
    if not found:
        pytest.skip("the learning curves are not in $HPO_DATA")
    return module


def test_it_runs_and_goes_on(load, curves, tmp_path, capsys):
    run, path = load("run"), tmp_path / "search.jsonl"
    options = ["--results", str(path), "--units", "8", "--tasks", "taskset-[01]"]
    arms = ["-a", "optuna_tpe|nop", "-a", "tpe|halving", "-a", "tpe|halving|4|0.05"]
    told = run.main([*options, "--seeds", "1", *arms])
    before = path.read_text().splitlines()
    assert len(before) == 2 + 2 * 3
    assert "| tpe + halving - optuna_tpe + nop |" in told
    run.main([*options, "--seeds", "2", *arms])
    after = path.read_text().splitlines()
    assert after[: len(before)] == before
    assert len(after) == 2 + 2 * 2 * 3
    assert run.main([*options, "--only-table"]) in capsys.readouterr().out


def test_only_fully_trained_trials_are_chosen_and_all_epochs_charged(load, curves):
    replay, task = load("replay"), curves.TaskSet(3)
    result = replay.replay(task, replay.Arm("tpe", "halving"), seed=0, n_units=6)
    assert result["n_complete"] < result["n_trials"]
    assert len(result["chosen"]) == 6
    known = [choice for choice in result["chosen"] if choice is not None]
    assert known == sorted(known)


def test_a_surrogate_predicts_rising_curves(curves):
    pytest.importorskip("onnxruntime")
    task = curves.LCBench("3945")
    middle = {
        name: spec["low"] + 0.3 * (spec["high"] - spec["low"]) for name, spec in task.space.items()
    }
    curve = task.curve(middle)
    assert curve.shape == (52,)
    assert 0 < curve[0] < curve[-1] <= 101
    assert len(curves.tasks()) == 40


def test_scores_of_diverged_trainings_are_bounded(curves):
    for number in range(6):
        task = curves.TaskSet(number)
        assert np.isfinite(task._scores).all()
        assert task.scale.best > task.scale.median


def test_regrets(load):
    tables = load("tables")
    lines = [
        {"scale": "a", "best": 10.0, "median": 0.0},
        *(
            {"arm": arm, "task": "a", "family": "F", "seed": 0, "chosen": chosen}
            for arm, chosen in (("x", [None, 5.0, 9.0]), ("y", [-7.0, 2.0, 12.0]))
        ),
    ]
    results = tables.Results(json.loads(json.dumps(lines)))
    assert np.allclose(results.regrets("x", "F")["a", 0], [1, 7 / 12, 3 / 12])
    assert np.allclose(results.regrets("y", "F")["a", 0], [1, 10 / 12, 0])


def test_the_searches_on_digits_run(load, capsys):
    scores = load("real_training").main(["--seeds", "1", "--epochs", "2", "--units", "3"])
    assert all(0 < score <= 1 for each in scores.values() for score in each)
    assert "| tpe + halving |" in capsys.readouterr().out
