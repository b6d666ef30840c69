"""Freezing and the body's learning rate, on a module that is none of the package's."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from torch import nn

from hpo import HPOSearchCV
from hpo.callbacks import Freezing
from hpo.nets import FineTuningClassifier
from hpo.training.adapters import NetStepper

NAMES = ("first", "second", "third", "head")


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.flat = nn.Flatten()  # no parameters: no stage
        self.second = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.third = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, X):
        return self.head(torch.relu(self.third(self.flat(self.second(self.first(X))))))


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = rng.normal(size=(60, 6)).astype(np.float32)
    X[np.arange(60), y] += 2
    return X, y


def make(*, lr=0.05, epochs=3, body_lr_ratio=1.0, **freezing):
    torch.manual_seed(0)
    return FineTuningClassifier(
        Own,
        lr=lr,
        max_epochs=epochs,
        body_lr_ratio=body_lr_ratio,
        callbacks=[("freezing", Freezing(**freezing))],
        optimizer__momentum=0.9,
        optimizer__weight_decay=0.1,
        iterator_train__shuffle=True,
        train_split=None,
        batch_size=20,
        verbose=0,
    )


def stage_bits(net):
    return {
        name: pickle.dumps([v.numpy() for v in getattr(net.module_, name).state_dict().values()])
        for name in NAMES
    }


def changed(before, after):
    return [name for name in NAMES if before[name] != after[name]]


def steps(net, X, y, n):
    """Train as a trial does and yield the stages that each epoch changed."""
    with torch.random.fork_rng():
        before = stage_bits(clone(net).initialize())
    stepper = NetStepper(net, X, y, {}, epochs=n)
    for step in range(1, n + 1):
        stepper.step(last=step == n)
        after = stage_bits(net)
        yield changed(before, after)
        before = after


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_frozen_stages_keep_every_bit_with_their_statistics(data, depth):
    net = make(depth=depth, epochs=2)
    net.initialize()
    before = stage_bits(net)
    net.partial_fit(*data)
    assert changed(before, stage_bits(net)) == list(NAMES[depth:])
    assert net.history[:, "frozen_stages"] == [depth, depth]


def test_gradual_unfreezing_starts_next_to_the_head(data):
    net = make(depth=3, unfreeze_every=2)
    assert list(steps(net, *data, 8)) == [
        ["head"],
        ["head"],
        ["third", "head"],
        ["third", "head"],
        ["second", "third", "head"],
        ["second", "third", "head"],
        list(NAMES),
        list(NAMES),
    ]
    assert net.history[:, "frozen_stages"] == [3, 3, 2, 2, 1, 1, 0, 0]


def test_a_frozen_stage_runs_as_in_evaluation(data):
    X = torch.as_tensor(data[0])
    net = make(depth=2).fit(*data)
    net.module_.train()
    frozen = net.module_.second(net.module_.first(X))
    assert torch.equal(frozen, net.module_.second(net.module_.first(X)))  # nothing drops out
    net = make(depth=2, unfreeze_every=1).fit(*data)
    net.module_.train()
    thawed = net.module_.second(net.module_.first(X))
    assert not torch.equal(thawed, net.module_.second(net.module_.first(X)))


def test_stepped_by_a_trial_it_is_one_fit(data):
    stepped, fitted = make(depth=2, unfreeze_every=1), make(depth=2, unfreeze_every=1)
    torch.manual_seed(1)
    list(steps(stepped, *data, 3))
    torch.manual_seed(1)
    fitted.fit(*data)
    assert stage_bits(stepped) == stage_bits(fitted)


def test_a_second_fit_begins_frozen_again(data):
    net = make(depth=3, unfreeze_every=1, epochs=4)
    for _ in range(2):
        net.fit(*data)
        assert net.history[:, "frozen_stages"] == [3, 2, 1, 0]
    net.partial_fit(*data)
    assert net.history[-4:, "frozen_stages"] == [3, 2, 1, 0]


def test_it_goes_through_pickles_and_clones(data):
    net = make(depth=2, unfreeze_every=2, epochs=2).fit(*data)
    again = pickle.loads(pickle.dumps(net))
    assert np.array_equal(again.predict_proba(data[0]), net.predict_proba(data[0]))
    (_, copy) = clone(net).callbacks[0]
    assert copy.get_params() == {"depth": 2, "unfreeze_every": 2}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"depth": 4}, r"from 0 to 3, .* before the head of Own \(first, second, third\). Got 4"),
        ({"depth": -1}, "from 0 to 3"),
        ({"unfreeze_every": 0}, "None or at least 1 epoch. Got 0"),
    ],
)
def test_what_is_refused(data, parameters, message):
    with pytest.raises(ValueError, match=message):
        make(**parameters).fit(*data)


def test_the_body_has_its_own_learning_rate(data):
    net = make(lr=0.2, body_lr_ratio=0.1).initialize()
    rates = {id(p): g["lr"] for g in net.optimizer_.param_groups for p in g["params"]}
    by_name = {name: rates[id(p)] for name, p in net.module_.named_parameters()}
    assert {lr for name, lr in by_name.items() if name.startswith("head")} == {0.2}
    assert {lr for name, lr in by_name.items() if not name.startswith("head")} == {0.2 * 0.1}


def test_one_group_is_what_a_ratio_of_one_means(data):
    assert len(make().initialize().optimizer_.param_groups) == 1
    alone = make()
    alone.set_params(body_lr_ratio=0.5, optimizer__param_groups=[("third.*", {"lr": 1.0})])
    assert [g["lr"] for g in alone.initialize().optimizer_.param_groups] == [1.0, 0.05]


@pytest.mark.parametrize("ratio", [0, -1, float("nan"), float("inf")])
def test_a_ratio_that_is_none_is_refused(ratio):
    with pytest.raises(ValueError, match="body_lr_ratio must be a number greater than 0"):
        make(body_lr_ratio=ratio).initialize()


def test_a_search_turns_all_of_it_on_the_users_own_module(data):
    search = HPOSearchCV(
        make(epochs=2),
        {
            "callbacks__freezing__depth": [0, 3, 9],
            "body_lr_ratio": [0.1, 1.0],
        },
        sampler="grid",
        n_trials=None,
        pruner="nop",
        cv=2,
        refit=False,
    )
    with pytest.warns(FitFailedWarning, match="from 0 to 3"):
        search.fit(*data)
    failed = np.isnan(search.cv_results_["mean_test_score"])
    assert failed.sum() == 2  # a depth that there is not ends that trial, not the search
    assert all(
        params["callbacks__freezing__depth"] == 9
        for params, fails in zip(search.cv_results_["params"], failed, strict=True)
        if fails
    )
