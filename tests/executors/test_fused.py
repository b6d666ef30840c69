"""The fused executor: the scores of training alone; processes for what cannot be fused."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import get_scorer
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Checkpoint
from torch import nn

from hpo import HPOSearchCV, Study, run_study
from hpo.callbacks import GradientClipping, LRSchedule
from hpo.data import StudyData
from hpo.executors import Ended, Failed, Reported
from hpo.executors.fused import FusedExecutor
from hpo.executors.fused.scores import _JudgedClassifier, batch_scores
from hpo.executors.serial import SerialExecutor
from hpo.nets import RegularizedClassifier
from hpo.testing.executors import drive
from hpo.training.objective import Objective
from hpo.trial import Trial, TrialState

pytestmark = pytest.mark.slow

N_EPOCHS = 3


class Dense(nn.Module):
    def __init__(self, width=8, dropout=0.0, n_outputs=2, normed=True):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, width),
            nn.BatchNorm1d(width) if normed else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, n_outputs),
        )

    def forward(self, X):
        return self.layers(X)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.LSTMCell(1, 4), nn.Linear(4, 2)

    def forward(self, X):
        return self.head(self.cell(X[..., :1])[0])


def make_net(cls=RegularizedClassifier, module=Dense, **params):
    given = {
        "max_epochs": N_EPOCHS,
        "lr": 0.1,
        "batch_size": 16,
        "train_split": None,
        "verbose": 0,
    }
    return cls(module, **given | params)


def make_objective(net=None, scoring="accuracy", y=None, n=131):
    """Return an objective of three folds, whose last minibatches differ by a sample."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 6)).astype("float32")
    y = (X @ rng.normal(size=6) > 0).astype("int64") if y is None else y
    return Objective(net or make_net(), X, y, cv=3, scoring=scoring)


def reports(events):
    return {(e.number, e.report.step): e.report for e in events if isinstance(e, Reported)}


def assert_alike(fused, serial, tolerance):
    assert serial
    assert fused.keys() == serial.keys()
    for key, report in serial.items():
        np.testing.assert_allclose(fused[key].fold_values, report.fold_values, atol=tolerance)
        np.testing.assert_allclose(
            fused[key].metrics["train_loss"], report.metrics["train_loss"], rtol=1e-3
        )


# Adaptive optimizers make steps of full size of the rounding errors that are the gradient of a
# bias before a normalization, or behind a unit that is off: a larger eps keeps them small.
ADAPTIVE = {"lr": 0.01, "module__normed": False, "optimizer__eps": 1e-4}
CASES = {
    "sgd": {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9},
    "adamw": {"optimizer": torch.optim.AdamW, **ADAPTIVE},
    "rmsprop": {"optimizer": torch.optim.RMSprop, **ADAPTIVE},
    "adagrad": {"optimizer": torch.optim.Adagrad, **ADAPTIVE},
    "penalties": {"l1_lambda": 1e-3, "l2_lambda": 1e-3},
    "schedule": {"callbacks": [("schedule", LRSchedule("cosine", epochs=4, warmup_epochs=1))]},
    "cycles": {"callbacks": [("schedule", LRSchedule("cyclic", epochs=4, cycle="triangular2"))]},
    "clipping": {"callbacks": [("clipping", GradientClipping("norm", max_norm=0.1))]},
}


@pytest.mark.parametrize("case", CASES)
def test_without_random_draws_the_scores_are_those_of_training_alone(case):
    """No shuffling, no dropout: the same weights at the start, the same scores and losses."""
    trials = [Trial(i, {"lr": 0.02 * (i + 1), "l1_lambda": 1e-4 * i}, i) for i in range(4)]
    objective = make_objective(make_net(**CASES[case]), "neg_log_loss")
    executor = FusedExecutor(objective, n_slots=3, n_jobs=1, compile=False)
    fused = reports(drive(executor, trials))
    assert executor.notes == []
    assert_alike(fused, reports(drive(SerialExecutor(objective), trials)), 1e-4)


def test_folds_with_another_number_of_minibatches():
    """65 and 64 training samples in minibatches of 16: one fold has a fifth, of one sample."""
    trials = [Trial(i, {"lr": 0.05 * (i + 1)}, i) for i in range(2)]
    net = make_net(module__normed=False, optimizer__momentum=0.9)
    objective = make_objective(net, "neg_log_loss", n=97)
    executor = FusedExecutor(objective, n_jobs=1, compile=False)
    fused = reports(drive(executor, trials))
    assert executor.notes == []
    assert_alike(fused, reports(drive(SerialExecutor(objective), trials)), 1e-4)
    normed = FusedExecutor(make_objective(make_net(), n=97), n_jobs=1, compile=False)
    seen = drive(normed, trials)  # as in any other executor
    assert "Expected more than 1 value" in next(e for e in seen if isinstance(e, Failed)).reason
    assert "one sample" in normed.notes[0]


def test_a_regression():
    y = np.random.default_rng(1).normal(size=(131, 1)).astype("float32")
    net = make_net(NeuralNetRegressor, module__n_outputs=1, lr=0.01)
    objective = make_objective(net, ["neg_mean_squared_error", "r2"], y)
    trials = [Trial(i, {"lr": 0.01 * (i + 1)}, i) for i in range(2)]
    executor = FusedExecutor(objective, n_jobs=1, compile=False)
    fused = reports(drive(executor, trials))
    assert executor.notes == []
    serial = reports(drive(SerialExecutor(objective), trials))
    assert_alike(fused, serial, 1e-4)
    for key, report in serial.items():
        np.testing.assert_allclose(fused[key].metrics["r2"], report.metrics["r2"], atol=1e-4)


def test_trials_that_end_make_room_and_rates_of_dropout_differ():
    """The same draws for all: a trial beside others is what it is beside one other."""
    objective = make_objective(make_net(iterator_train__shuffle=True))
    trials = [
        Trial(i, {"module__dropout": 0.1 * i, "module__width": 8 + 4 * (i % 2)}, i)
        for i in range(6)
    ]
    executor = FusedExecutor(objective, n_slots=4, n_jobs=1, compile=False)
    seen = drive(executor, trials, stop_at={0: 1, 3: 2})
    counts = {i: sum(e.number == i and isinstance(e, Reported) for e in seen) for i in range(6)}
    assert counts == {0: 1, 1: 3, 2: 3, 3: 2, 4: 3, 5: 3}
    assert {e.number for e in seen if isinstance(e, Ended)} == {1, 2, 4, 5}
    assert executor.notes == []
    pair = [trials[1], trials[3]]
    again = reports(drive(FusedExecutor(objective, n_slots=2, n_jobs=1, compile=False), pair))
    first = reports(seen)
    for step in (1, 2, 3):
        a, b = again[1, step].metrics["train_loss"], first[1, step].metrics["train_loss"]
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_a_diverged_trial_is_told_and_touches_no_other():
    objective = make_objective(make_net(optimizer__momentum=0.9))
    trials = [Trial(0, {"lr": 1e30}, 0), Trial(1, {"lr": 0.05}, 1)]
    seen = reports(drive(FusedExecutor(objective, n_jobs=1, compile=False), trials))
    alone = reports(drive(FusedExecutor(objective, n_jobs=1, compile=False), trials[1:]))
    assert np.isnan(seen[0, 1].value)
    assert not np.isfinite(seen[0, 1].metrics["train_loss"]).all()
    for step in (1, 2, 3):
        np.testing.assert_allclose(seen[1, step].fold_values, alone[1, step].fold_values)


def test_a_refused_value_fails_its_trial_alone():
    trials = [Trial(0, {"l1_lambda": -1.0}, 0), Trial(1, {"l1_lambda": 0.0}, 1)]
    seen = drive(FusedExecutor(make_objective(), n_jobs=1, compile=False), trials)
    (failed,) = [event for event in seen if isinstance(event, Failed)]
    assert failed.number == 0
    assert "l1_lambda must be a number of 0 or greater" in failed.reason
    assert [e.number for e in seen if isinstance(e, Ended)] == [1]


REFUSED = {
    "is a LSTMCell": make_net(module=Recurrent),
    "'kept' (Checkpoint)": make_net(callbacks=[("kept", Checkpoint("train_loss_best"))]),
    "train_split": make_net(
        NeuralNetClassifier, criterion=nn.CrossEntropyLoss, train_split=None
    ).set_params(train_split=lambda X, y: (X, X)),
    "the optimizer is Adamax": make_net(optimizer=torch.optim.Adamax),
}


@pytest.mark.parametrize("cause", REFUSED)
def test_what_cannot_be_fused_is_trained_in_a_process_and_told_once(cause):
    objective = make_objective(REFUSED[cause])
    trials = [Trial(i, {"lr": 0.01 * (i + 1)}, i) for i in range(3)]
    executor = FusedExecutor(objective, n_jobs=1, compile=False)
    seen = drive(executor, trials)
    assert {e.number for e in seen if isinstance(e, Ended)} == {0, 1, 2}
    (note,) = executor.notes
    assert cause in note
    if "LSTMCell" in cause:
        assert reports(seen).keys() == reports(drive(SerialExecutor(objective), trials)).keys()


def test_n_slots_is_checked():
    with pytest.raises(ValueError, match=r"n_slots must be at least 1\. Got 0"):
        FusedExecutor(make_objective(), n_slots=0)


def test_a_study_changes_its_executor_alone():
    """Same trials, about the same scores, prunes with their reasons; a note for the user."""
    objective = make_objective()
    study = Study(
        name="fused",
        estimator=make_net(iterator_train__shuffle=True),
        data=StudyData(X=objective.X, y=objective.y),
        search_space={
            "lr": {"type": "float", "low": 1e-3, "high": 0.3, "log": True},
            "optimizer": ["torch.optim.SGD", "torch.optim.Adamax"],
        },
        scoring="accuracy",
        cv=3,
        n_trials=12,
        sampler="random",
        pruner="median:n_startup_trials=2,peers=reported",
        storage=None,
        tracker="null",
        refit=False,
        n_jobs=1,
    )
    fused = run_study(study.replace(executor="fused:n_slots=4"))
    serial = run_study(study.replace(pruner="nop"))
    assert [r.trial.params for r in fused.records] == [r.trial.params for r in serial.records]
    assert fused.n_complete + fused.n_pruned == 12
    assert fused.n_pruned
    assert all("is rank" in r.reason for r in fused.records if r.state is TrialState.PRUNED)
    pairs = [
        (r.value, serial.records[r.number].value)
        for r in fused.records
        if r.state is TrialState.COMPLETE
    ]
    assert np.mean([abs(a - b) for a, b in pairs]) < 0.05
    assert "the optimizer is Adamax" in fused.notes[0]


def test_a_batch_advances_together():
    """A poll reports of as many trials as there are places, and the next one takes their places."""
    objective = make_objective()
    trials = [Trial(i, {"lr": 0.01 * (i + 1)}, i) for i in range(5)]
    with FusedExecutor(objective, n_slots=3, n_jobs=1, compile=False) as executor:
        executor.start(trials)
        for numbers, step in (({0, 1, 2}, 1), ({0, 1, 2}, 2)):
            seen = {(e.number, e.report.step) for e in executor.poll() if isinstance(e, Reported)}
            assert seen == {(number, step) for number in numbers}
        executor.stop([0, 1])
        seen = {(e.number, e.report.step) for e in executor.poll() if isinstance(e, Reported)}
        assert seen == {(2, 3), (3, 1), (4, 1)}


def test_a_model_that_diverged_gets_no_score_of_another():
    net = make_net().initialize()
    net.classes_inferred_ = np.arange(2)
    outputs = torch.zeros(1, 3, 4, 2)
    outputs[0, 0] = torch.nan
    outputs[0, 1, :, 1] = outputs[0, 2, :, 0] = 1.0
    scoring = make_objective(net, "accuracy").scoring
    (found,) = batch_scores(scoring, [net] * 3, outputs, [np.ones(4, dtype="int64")])
    assert [scores.get("score", scores.get(scoring.metric)) for scores in found[1:]] == [1.0, 0.0]


@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc", "balanced_accuracy", "accuracy"])
def test_scores_of_all_models_at_once_are_those_of_scikit_learn(scoring):
    rng = np.random.default_rng(0)
    net = make_net().initialize()
    outputs = torch.as_tensor(rng.normal(size=(2, 3, 40, 2)).astype("float32"))
    y = [rng.integers(0, 2, 40), rng.integers(0, 2, 37)]
    own = make_objective(net, scoring).scoring
    net.classes_inferred_ = np.arange(2)
    found = batch_scores(own, [net] * 3, outputs, y)
    for i, labels in enumerate(y):
        for j in range(3):
            shown = torch.softmax(outputs[i, j, : len(labels)], -1).numpy()
            known = _JudgedClassifier(shown, np.arange(2))
            assert found[i][j][own.metric] == pytest.approx(
                get_scorer(scoring)(known, shown, labels), abs=1e-6
            )


def test_a_search_of_scikit_learn_changes_its_executor_alone():
    """Without shuffling and dropout: the same table, the same winner, which is refitted alike."""
    objective = make_objective()
    space = {"lr": [0.02, 0.05, 0.1], "l1_lambda": [0.0, 1e-3]}
    found = [
        HPOSearchCV(
            make_net(),
            space,
            sampler="grid",
            pruner="nop",
            n_trials=None,
            cv=3,
            scoring="neg_log_loss",
            executor=executor,
            random_state=0,
        ).fit(objective.X, objective.y)
        for executor in ("serial", "fused:n_slots=4")
    ]
    serial, fused = (pd.DataFrame(search.cv_results_) for search in found)
    assert list(serial.columns) == list(fused.columns)
    np.testing.assert_allclose(serial["mean_test_score"], fused["mean_test_score"], rtol=1e-4)
    assert found[0].best_params_ == found[1].best_params_
    np.testing.assert_allclose(
        *(search.predict_proba(objective.X) for search in found), rtol=1e-4, atol=1e-5
    )


def test_a_study_goes_on_where_it_stopped(tmp_path):
    objective = make_objective()
    study = Study(
        name="fused",
        estimator=make_net(),
        data=StudyData(X=objective.X, y=objective.y),
        search_space={"lr": {"type": "float", "low": 1e-3, "high": 0.3, "log": True}},
        scoring="accuracy",
        cv=3,
        sampler="random",
        pruner="nop",
        executor="fused",
        storage=f"journal:///{tmp_path / 'hpo.journal'}",
        tracker="null",
        refit=False,
    )
    run_study(study.replace(n_trials=3))
    result = run_study(study.replace(n_trials=5))
    whole = run_study(study.replace(n_trials=5, storage=None))
    assert [r.trial.params for r in result.records] == [r.trial.params for r in whole.records]
    assert [r.value for r in result.records] == pytest.approx([r.value for r in whole.records])
