import math
import pickle

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit
from torch import nn, optim

from hpo.callbacks import LRSchedule
from hpo.training.objective import Objective
from hpo.trial import Trial

N = 6
X = np.random.default_rng(0).normal(size=(48, 5)).astype("float32")
Y = (X[:, 0] > 0).astype("int64")


class Net(nn.Sequential):
    """A module of the user's own."""

    def __init__(self, dropout=0.3):
        super().__init__(nn.Linear(5, 8), nn.Dropout(dropout), nn.Linear(8, 2))


def net(*args, max_epochs=N, **kwargs):
    defaults = dict(
        criterion=nn.CrossEntropyLoss,
        lr=0.1,
        max_epochs=max_epochs,
        batch_size=16,
        train_split=None,
        verbose=0,
        callbacks__schedule=LRSchedule(*args, **kwargs.pop("schedule", {})),
    )
    schedule = defaults.pop("callbacks__schedule")
    return NeuralNetClassifier(Net, callbacks=[("schedule", schedule)], **defaults | kwargs)


def rates(*args, max_epochs=N, **kwargs):
    fitted = net(*args, max_epochs=max_epochs, **kwargs).fit(X, Y)
    return np.array(fitted.history[:, "lr"]) / 0.1


@pytest.mark.parametrize(
    ("policy", "options", "expected"),
    [
        ("constant", {}, [1] * N),
        ("linear", {}, [1 - t / N for t in range(N)]),
        ("inverse_sqrt", {}, [(t + 1) ** -0.5 for t in range(N)]),
        ("exponential", {}, [0.01 ** (t / N) for t in range(N)]),
        ("exponential", {"gamma": 0.5}, [0.5**t for t in range(N)]),
        ("step", {}, [1, 1, 0.1, 0.1, 0.01, 0.01]),
        ("step", {"step_epochs": 4, "gamma": 0.5}, [1, 1, 1, 1, 0.5, 0.5]),
        ("cosine", {}, [0.5 + 0.5 * math.cos(math.pi * t / N) for t in range(N)]),
        (
            "cosine_restarts",
            {},
            [0.5 + 0.5 * math.cos(math.pi * t) for t in (0, 0.5, 0, 0.25, 0.5, 0.75)],
        ),
    ],
)
def test_each_policy_keeps_to_its_formula(policy, options, expected):
    assert rates(policy, N, schedule=options) == pytest.approx(expected)


def test_a_plateau_falls_where_the_loss_does_not():
    # Weights that no step can move make no progress.
    patient = {"patience": 1, "gamma": 0.5}
    stuck = rates("plateau", schedule=patient, optimizer=Still, module__dropout=0)
    assert stuck == pytest.approx([1, 1, 1, 0.5, 0.5, 0.25])
    assert rates("plateau", optimizer=optim.SGD) == pytest.approx([1] * N)


class Still(optim.SGD):
    def step(self, closure=None):
        closure()


def test_a_plateau_looks_at_the_validation_part_where_there_is_one():
    fitted = net("plateau", schedule={"patience": 0}, train_split=ValidSplit(3), max_epochs=3)
    fitted.initialize()
    schedule = dict(fitted.callbacks_)["schedule"]
    fitted.partial_fit(X, Y)
    assert schedule.scheduler_.best == min(fitted.history[:, "valid_loss"])


def test_one_cycle_goes_by_batches():
    fitted = net("one_cycle", N).fit(X, Y)
    lr = np.array(fitted.history[:, "lr"])
    assert lr.argmax() == 1  # it has risen for 0.3 of 18 batches
    assert lr[-1] == pytest.approx(0.1 / 25 / 1e4, rel=1e-6)
    early = net("one_cycle", N, 4).fit(X, Y)
    assert np.argmax(early.history[:, "lr"]) == 3


def batch_rates(epochs=N, max_epochs=N, **options):
    """Return the rates of all batches, three an epoch, of a net whose rate is 1."""
    fitted = net("cyclic", epochs, max_epochs=max_epochs, schedule=options, lr=1.0)
    fitted.callbacks.append(("each", Each()))
    fitted.fit(X, Y)
    return np.array(fitted.history[:, "batches", :, "rate"]).ravel()


class Each(Callback):
    def on_batch_begin(self, net, training=None, **kwargs):
        net.history.record_batch("rate", net.optimizer_.param_groups[0]["lr"])


def test_cycles_go_up_and_down_by_batches():
    rise = [0.1, 0.4, 0.7]
    cycle = [*rise, 1, 0.7, 0.4]  # two of six epochs
    assert batch_rates() == pytest.approx(cycle * 3)
    high, low = (np.array([0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]) * h for h in (0.9, 0.45))
    assert batch_rates(cycle="triangular2")[:12] == pytest.approx([*(0.1 + high), *(0.1 + low)])
    left = 0.5 ** (np.arange(6) / 3)
    assert batch_rates(cycle="exp_range", gamma=0.5)[:6] == pytest.approx(0.1 + high * left)
    ends = batch_rates(cycle="exp_range", step_epochs=2)
    assert ends[15] == pytest.approx(0.1 + 0.9 * 0.01 ** (15 / 18))
    early = batch_rates(step_epochs=3, warmup_epochs=1)[:9]
    assert early == pytest.approx([*rise, 1, 0.85, 0.7, 0.55, 0.4, 0.25])


def test_cycles_end_with_the_schedule():
    assert (batch_rates(epochs=2, max_epochs=4)[6:] == batch_rates(epochs=2, max_epochs=4)[5]).all()


@pytest.mark.parametrize("policy", ["constant", "linear", "cosine", "step", "plateau"])
def test_a_warm_up_rises_in_equal_steps_to_where_the_policy_begins(policy):
    expected = [0.25, 0.5, 0.75, *rates(policy, N - 3, max_epochs=N - 3)]
    assert rates(policy, N, 3) == pytest.approx(expected)


@pytest.mark.parametrize(
    "policy",
    [
        "linear",
        "exponential",
        "step",
        "cosine",
        "cosine_restarts",
        "one_cycle",
        "cyclic",
        "inverse_sqrt",
    ],
)
def test_the_length_is_no_matter_of_how_long_is_trained(policy):
    whole = rates(policy, N, 1)
    assert (rates(policy, N, 1, max_epochs=4) == whole[:4]).all()
    beyond = rates(policy, N, 1, max_epochs=N + 3)
    assert (beyond == [*whole, *[whole[-1]] * 3]).all()


def test_each_group_keeps_its_own_rate():
    groups = [("0.*", {"lr": 0.01})]
    fitted = net("linear", N, 1, optimizer__param_groups=groups).fit(X, Y)
    slow, fast = fitted.optimizer_.param_groups
    assert slow["lr"] == pytest.approx(fast["lr"] / 10)
    assert fitted.history[:, "lr"] == pytest.approx(
        [0.01 * f for f in (0.5, 1, 0.8, 0.6, 0.4, 0.2)]
    )


def test_a_fit_begins_anew_and_a_partial_fit_goes_on():
    fitted = net("linear", N, max_epochs=3).fit(X, Y)
    assert fitted.fit(X, Y).history[:, "lr"] == pytest.approx([0.1, 0.1 * 5 / 6, 0.1 * 4 / 6])
    again = pickle.loads(pickle.dumps(fitted))
    for one in (fitted, again):
        one.partial_fit(X, Y)
        assert np.array(one.history[:, "lr"]) == pytest.approx(0.1 * np.arange(N, 0, -1) / N)
        assert one.optimizer_.param_groups[0]["lr"] == one.history[-1]["lr"]


@pytest.mark.parametrize(
    ("policy", "at", "eval_every"),
    [
        ("linear", 1, None),
        ("plateau", 2, None),
        ("plateau", 4, 1),
        ("one_cycle", 2, 1),
        ("cyclic", 2, 1),
    ],
)
def test_a_training_that_is_put_aside_goes_on_with_its_schedule(policy, at, eval_every):
    warmup = 1 if policy == "cyclic" else 2
    estimator = net(policy, N, warmup, iterator_train__shuffle=True)
    objective = Objective(estimator, X, Y, cv=2, epochs=N, eval_every=eval_every)
    trial = Trial(0, {}, seed=1)
    whole = [r.fold_values for r in objective.run(trial)]
    run = objective.run(trial)
    before = [next(run).fold_values for _ in range(at)]
    state = run.state()
    run.close()
    after = [r.fold_values for r in objective.resume(trial, state)]
    assert before + after == whole


def test_a_search_sees_the_rate_and_sets_the_policy():
    torch.manual_seed(0)
    objective = Objective(net(), X, Y, cv=2, epochs=3)
    params = {"callbacks__schedule__policy": "linear", "callbacks__schedule__epochs": 3}
    reports = list(objective.run(Trial(0, params, seed=1)))
    assert [r.metrics["lr"][0] for r in reports] == pytest.approx([0.1, 0.2 / 3, 0.1 / 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "cosin"}, "must be one of: .* Got 'cosin' instead, did you mean 'cosine'"),
        ({"policy": "cosine"}, r"LRSchedule\(policy='cosine'\) needs epochs"),
        ({"epochs": 0}, "LRSchedule's epochs must be at least 1. Got 0."),
        ({"epochs": 2, "warmup_epochs": 2}, "warmup_epochs must be below its epochs. Got 2 of 2."),
        ({"gamma": 1.0}, "gamma must be from above 0 to below 1. Got 1.0."),
        ({"cycle": "triangle"}, "cycle of LRSchedule must be .* did you mean 'triangular'"),
        ({"policy": "cyclic", "epochs": 6, "warmup_epochs": 2}, "a cycle. Got 2 of 2."),
        ({"patience": -1}, "patience must be at least 0. Got -1."),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        net(schedule=options).initialize()
