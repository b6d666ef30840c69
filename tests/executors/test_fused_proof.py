"""What is proved of a batch before its first epoch, and what is looked at while it trains."""

import warnings
from dataclasses import replace

import numpy as np
import optuna
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn

from hpo import HPOSearchCV
from hpo.callbacks import LRSchedule
from hpo.executors import Ended, Failed, Reported, Revoked
from hpo.executors.fused import FusedExecutor, proof, sentinel
from hpo.executors.fused import batch as batches
from hpo.executors.fused.batch import TrialBatch, UnlikeError, is_watched
from hpo.executors.fused.extract import ModelExtractor
from hpo.executors.serial import SerialExecutor
from hpo.fused import UPDATES, NotFusibleError
from hpo.storage.open import open_storage
from hpo.testing.executors import drive
from hpo.training.objective import Objective
from hpo.trial import Trial

pytestmark = pytest.mark.slow

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 6)).astype("float32")
Y = (X @ rng.normal(size=(6, 3))).argmax(1)


class MLP(nn.Module):
    def __init__(self, n_out=3, p=0.0):
        super().__init__()
        self.a, self.b, self.drop = nn.Linear(6, 8), nn.Linear(8, n_out), nn.Dropout(p)

    def forward(self, X):
        return self.b(self.drop(torch.relu(self.a(X))))


def make_net(module=MLP, cls=NeuralNetClassifier, **params):
    given = {
        "criterion": nn.CrossEntropyLoss,
        "optimizer": torch.optim.SGD,
        "lr": 0.05,
        "max_epochs": 2,
        "batch_size": 16,
        "train_split": None,
        "verbose": 0,
    }
    return cls(module, **given | params)


def batch_of(net, x=X, y=Y, scoring="neg_log_loss", splits=3, **params):
    extractor = ModelExtractor(Objective(net, x, y, cv=splits, scoring=scoring))
    taken = extractor.extract_model(Trial(0, params or {"lr": 0.05}, 0))
    return TrialBatch(extractor, taken, device="cpu", n_slots=2, seed=0)


def forward(own, base=MLP, **attributes):
    """Return a module with this ``forward``, which is given the usual one, and attributes."""

    class Made(base):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            for name, value in attributes.items():
                setattr(self, name, value)

        def forward(self, X):
            return own(self, X, super().forward)

    return Made


# -- every draw of noise has its own mask -----------------------------------------------------


def test_each_call_of_a_dropout_layer_has_noise_of_its_own():
    """The difference of two calls is noise; of one mask for both it would be zero."""

    def twice(self, X, usual):
        one = torch.ones(len(X), 3)
        return usual(X) + 4 * (self.drop(one) - self.drop(one))

    batch = batch_of(make_net(forward(twice), module__p=0.5))
    batch.certify()
    models = batch.make_models(1)
    models.put(0, batch.first.member)
    noises = []
    step = models._step
    models._step = lambda *args: noises.append(args[8]) or step(*args)
    models.train_epoch(1)
    assert set(noises[0]) == {"drop", "drop#1", "drop#2"}
    assert not torch.equal(noises[0]["drop#1"], noises[0]["drop#2"])


def test_one_dropout_layer_under_two_names_is_two_draws():
    class Aliased(MLP):
        def __init__(self):
            super().__init__(p=0.4)
            self.other = self.drop

        def forward(self, X):
            return super().forward(self.other(X))

    batch_of(make_net(Aliased)).certify()


def test_a_batch_normalization_that_is_called_twice_is_named():
    class Twice(MLP):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(6)

        def forward(self, X):
            return super().forward(self.norm(self.norm(X)))

    with pytest.raises(NotFusibleError, match="'norm' is called 2 times in one forward"):
        batch_of(make_net(Twice))


# -- nothing but tensors changes ---------------------------------------------------------------


def count(self, X, usual):
    self.n_calls += 1
    return usual(X)


def count_in_training(self, X, usual):
    self.n_calls += self.training
    return usual(X) * (1 if self.n_calls < 1000 else 2)


def remember(self, X, usual):
    self.seen.append(len(X))
    return usual(X)


SHARED = {"n": 0}


class InAGlobal(MLP):
    def forward(self, X):
        SHARED["n"] += 1
        return super().forward(X)


class OfTheClass(MLP):
    n_calls = 0

    def forward(self, X):
        type(self).n_calls += 1
        return super().forward(X)


CHANGING = {
    "the attribute 'n_calls' of the module changes": forward(count, n_calls=0),
    "the attribute 'n_calls' of the module changes in training": forward(
        count_in_training, n_calls=0
    ),
    "the attribute 'seen' of the module changes": forward(remember, seen=[]),
    "the global variable 'SHARED' that InAGlobal reads changes": InAGlobal,
    "the class attribute 'n_calls' of OfTheClass changes": OfTheClass,
}


@pytest.mark.parametrize("told", CHANGING)
def test_a_module_that_keeps_something_beside_its_tensors_is_refused_by_name(told):
    with pytest.raises(NotFusibleError, match=told):
        batch_of(make_net(CHANGING[told])).certify()


def test_numbers_drawn_from_numpy_are_refused():
    def noisy(self, X, usual):
        return usual(X) + (float(np.random.normal()) * 1e-13 if self.training else 0)

    with pytest.raises(NotFusibleError, match="random numbers of Python's or NumPy's"):
        batch_of(make_net(forward(noisy))).certify()


def test_folds_whose_modules_differ_are_refused():
    class Drawn(MLP):
        def __init__(self):
            super().__init__()
            self.scale = 1 + float(torch.rand(()))

        def forward(self, X):
            return super().forward(X) * self.scale

    with pytest.raises(NotFusibleError, match="the modules of the folds differ"):
        batch_of(make_net(Drawn))


# -- evaluation, labels, types, scores ---------------------------------------------------------


def test_an_evaluation_that_depends_on_the_other_rows_is_refused():
    def centred(self, X, usual):
        out = usual(X)
        return out if self.training else out - out.mean(0)

    with pytest.raises(NotFusibleError, match="the outputs are other ones"):
        batch_of(make_net(forward(centred))).certify()


def test_a_large_part_alone_shows_what_depends_on_the_other_rows():
    def centred_if_many(self, X, usual):
        out = usual(X)
        return out - out.mean(0) if len(X) > 20 and not self.training else out

    with pytest.raises(NotFusibleError, match="outputs in evaluation are other ones"):
        batch_of(make_net(forward(centred_if_many), batch_size=4)).certify()


@pytest.mark.parametrize("label", [-100, -1, 3])
def test_a_label_late_in_the_data_that_is_no_class_is_refused(label):
    y = Y.copy()
    y[70] = label
    splits = [(np.arange(0, 60, 2), np.arange(1, 60, 2)), (np.r_[0:60:3, 65:80], np.arange(61, 65))]
    with pytest.raises(NotFusibleError, match=f"a label in y is {label}"):
        batch_of(make_net(), y=y, splits=splits, scoring="accuracy").certify()


@pytest.mark.parametrize("where", ["X", "y"])
def test_what_is_not_finite_is_refused(where):
    data = {"X": torch.ones(80, 6), "y": torch.ones(80, 1)}
    data[where][50] = torch.nan
    with pytest.raises(NotFusibleError, match=f"{where} has values that are not finite"):
        proof.check_rows(**data)


def test_the_net_itself_raises():
    def only_training(self, X, usual):
        if not self.training:
            raise ValueError("no evaluation")
        return usual(X)

    with pytest.raises(NotFusibleError, match="ValueError: no evaluation"):
        batch_of(make_net(forward(only_training))).certify()


class Thresholded(NeuralNetClassifier):
    def predict(self, X):
        return (self.predict_proba(X)[:, 1] > 0.2).astype("int64")


class Clamped(NeuralNetClassifier):
    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        super().on_batch_end(net, batch=batch, training=training, **kwargs)
        if training:
            self.module_.a.weight.data.clamp_(-0.1, 0.1)


@pytest.mark.parametrize(
    ("cls", "told"),
    [(Thresholded, "score 'score' of the net itself"), (Clamped, r"'a.weight' are other ones")],
)
def test_what_the_list_forgets_the_net_itself_shows(monkeypatch, cls, told):
    """Were an override allowed, the net's own fit and scores would give it away."""
    monkeypatch.setattr("hpo.executors.fused.extract.check_net", lambda net: None)
    with pytest.raises(NotFusibleError, match=told):
        batch_of(make_net(cls=cls), scoring="accuracy").certify()


def test_schedules_are_proved_over_two_epochs(monkeypatch):
    monkeypatch.setattr("hpo.executors.fused.extract.schedules_of", lambda net: None)
    net = make_net(callbacks=[("schedule", LRSchedule("exponential", epochs=4, gamma=0.5))])
    with pytest.raises(NotFusibleError, match="are other ones when the model is trained alone"):
        batch_of(net).certify()


@pytest.mark.parametrize("lr", [1e30, 1e4])
def test_a_trial_that_diverges_is_no_reason(lr):
    batch_of(make_net(), lr=lr).certify()


# -- the sentinel ------------------------------------------------------------------------------


def slightly_wrong(monkeypatch, factor=1.01):
    """Have the engine's updates be wrong from now on; what was certified was right."""
    right = UPDATES[torch.optim.SGD]

    def step(w, g, state, hyper, flags):
        right.step(w, g * factor, state, hyper, flags)

    changed = {**UPDATES, torch.optim.SGD: replace(right, step=step)}
    monkeypatch.setattr("hpo.fused._step.UPDATES", changed)


def after_certification(monkeypatch, change):
    certify = TrialBatch.certify

    def certified(self):
        certify(self)
        change()

    monkeypatch.setattr(TrialBatch, "certify", certified)


def executor_of(objective, monkeypatch, **params):
    """Return a fused executor whose other trials are trained here and by no process."""

    class Pool(SerialExecutor):
        def __init__(self, objective, **kwargs):
            super().__init__(objective)

    monkeypatch.setattr("hpo.executors.fused.executor.find", lambda *args: Pool)
    return FusedExecutor(objective, n_slots=2, compile=False, **params)


def scores(events):
    return {(e.number, e.report.step): e.report.fold_values for e in events if type(e) is Reported}


def test_which_trials_are_watched():
    assert [n for n in range(1, 6000) if is_watched(n)] == [1, 50, 500, 5000]


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_batch_that_is_right_is_left_alone(monkeypatch, optimizer, shuffle):
    """Also with a bias before a normalization, of whose rounding errors Adam makes full steps."""

    class Normed(MLP):
        def __init__(self):
            super().__init__(p=0.3)
            self.norm = nn.BatchNorm1d(8)

        def forward(self, X):
            return self.b(self.drop(torch.relu(self.norm(self.a(self.drop(X))))))

    monkeypatch.setattr(batches, "is_watched", lambda nth: True)
    net = make_net(Normed, optimizer=optimizer, iterator_train__shuffle=shuffle)
    objective = Objective(net, X, Y, cv=3, scoring="accuracy")
    executor = executor_of(objective, monkeypatch)
    seen = drive(executor, [Trial(i, {"lr": 0.01 * (i + 1)}, i) for i in range(4)])
    assert executor.notes == []
    assert sum(isinstance(e, Ended) for e in seen) == 4


def test_a_batch_that_is_slightly_wrong_is_seen_in_its_first_epoch(monkeypatch):
    """Nothing has been reported yet: the processes train the trials, and a note says why."""
    objective = Objective(make_net(), X, Y, cv=3, scoring="neg_log_loss")
    trials = [Trial(i, {"lr": 0.02 * (i + 1)}, i) for i in range(3)]
    expected = scores(drive(SerialExecutor(objective), trials))
    after_certification(monkeypatch, lambda: slightly_wrong(monkeypatch))
    executor = executor_of(objective, monkeypatch)
    seen = drive(executor, trials)
    assert scores(seen) == expected
    assert not [e for e in seen if isinstance(e, Revoked | Failed)]
    (note,) = executor.notes
    assert "trial 0 was trained again by its own net" in note
    assert "of its way from that in the batch" in note


def test_it_can_be_switched_off(monkeypatch):
    objective = Objective(make_net(), X, Y, cv=3, scoring="neg_log_loss")
    after_certification(monkeypatch, lambda: slightly_wrong(monkeypatch))
    executor = executor_of(objective, monkeypatch, sentinel=False)
    drive(executor, [Trial(0, {"lr": 0.02}, 0)])
    assert executor.notes == []
    with pytest.raises(ValueError, match="sentinel must be true or false"):
        FusedExecutor(objective, sentinel="often")


def wrong_for_the_third(monkeypatch):
    """Have the third trial of a structure be found wrong, once two are over."""
    monkeypatch.setattr(batches, "is_watched", lambda nth: nth == 3)

    def unlike(*args, **kwargs):
        raise NotFusibleError("a weight differs")

    monkeypatch.setattr(batches, "check_epoch", unlike)


def test_what_was_finished_before_is_revoked(monkeypatch):
    objective = Objective(make_net(), X, Y, cv=3, scoring="neg_log_loss")
    wrong_for_the_third(monkeypatch)
    executor = executor_of(objective, monkeypatch)
    seen = drive(executor, [Trial(i, {"lr": 0.02 * (i + 1)}, i) for i in range(4)])
    revoked = [e for e in seen if isinstance(e, Revoked)]
    assert [e.number for e in revoked] == [0, 1]
    assert "the batch did not train it as its own net does" in revoked[0].reason
    assert [e.number for e in seen if isinstance(e, Ended)] == [0, 1, 2, 3]
    notes = " ".join(executor.notes)
    assert "because trial 2 was trained again by its own net, and a weight differs" in notes
    assert "2 trials (the first: trial 0) had been trained in a batch before that was seen" in notes


@pytest.mark.parametrize("stored", [False, True])
def test_a_study_tries_revoked_parameters_again(monkeypatch, tmp_path, stored):
    """Finished trials are void, not among the candidates, and their parameters come again."""
    wrong_for_the_third(monkeypatch)
    storage = f"journal:///{tmp_path / 'hpo.journal'}" if stored else None

    def search(n_trials):
        return HPOSearchCV(
            make_net(),
            {"lr": {"type": "float", "low": 0.01, "high": 0.1}},
            n_trials=n_trials,
            sampler="random",
            pruner="nop",
            cv=3,
            scoring="neg_log_loss",
            random_state=0,
            executor="fused:n_slots=2,compile=false",
            storage=storage,
            study_name="revoked",
            refit=False,
            n_jobs=1,
        )

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = search(4).fit(X, Y).result_
    assert any("what they reported is void" in str(one.message) for one in told)
    void = [r for r in result.records if r.interrupted]
    assert [r.number for r in void] == [0, 1]
    assert {r.trained_by for r in void} == {"fused (eager)"}
    assert result.trained_by == {"process": 4}
    assert result.n_complete == 4
    complete = [r.trial.params["lr"] for r in result.candidates]
    assert {r.trial.params["lr"] for r in void} <= set(complete)
    serial = search(4).set_params(executor="serial", storage=None).fit(X, Y).result_
    assert sorted(complete) == sorted(r.trial.params["lr"] for r in serial.candidates)
    if stored:
        kept = optuna.load_study(study_name="revoked", storage=open_storage(storage))
        assert kept.user_attrs["hpo:revoked"] == {str(r.number): r.reason for r in void}
        assert {t.user_attrs.get("hpo:retry_of") for t in kept.trials} == {None, 0, 1}
        again = search(5).fit(X, Y).result_
        assert [r.number for r in again.records if r.interrupted] == [0, 1]
        assert again.n_complete == 5


def test_rounding_explains_what_it_explains():
    """A tensor that is off by more than ten times what rounding does is found, others are not."""
    sentinel._check_spread({"bias": 0.5}, lambda seed: {"bias": 0.06 * seed})
    with pytest.raises(NotFusibleError, match=r"'bias' was 50.00% .* rounding explains 1.00%"):
        sentinel._check_spread({"bias": 0.5}, lambda seed: {"bias": 0.01})


def test_an_unlike_error_names_its_trial():
    assert "trial 7 was trained again" in str(UnlikeError(7, "it differs"))
