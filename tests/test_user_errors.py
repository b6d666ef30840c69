"""What the user's code raises is that trial's failure: with every executor, in every place."""

import sys

import cloudpickle
import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from hpo import HPOSearchCV
from hpo.exceptions import HpoError, PluginError
from hpo.testing.user_errors import USER_ERRORS
from hpo.trial import TrialState

cloudpickle.register_pickle_by_value(sys.modules[__name__])

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4)).astype("float32")
y = (X[:, 0] > 0).astype("int64")

EXECUTORS = ["serial", "process:n_jobs=2", "fused:n_jobs=2", "auto:n_jobs=2"]
SIGNALS = ["StopIteration", "GeneratorExit", "SystemExit", "EOFError", "ConnectionResetError"]
SIGNALS += ["_Stop", "_Bare", "_Untold"]


class Net(nn.Module):
    def __init__(self, breaks=""):
        super().__init__()
        if breaks == "module":
            raise USER_ERRORS["SystemExit"]()
        self.breaks = breaks
        self.layer = nn.Linear(4, 2)

    def forward(self, X):
        if self.breaks == "forward":
            raise USER_ERRORS["_Bare"]()
        return self.layer(X)


class Broken(Callback):
    """Raises in the second epoch, or where else it is told to."""

    def __init__(self, kind="", place="epoch"):
        self.kind = kind
        self.place = place

    def on_train_begin(self, net, **kwargs):
        self.raise_in("begin")

    def on_train_end(self, net, **kwargs):
        self.raise_in("end")

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            self.raise_in("epoch")

    def raise_in(self, place):
        if self.kind and self.place == place:
            raise USER_ERRORS[self.kind]()


def make_net(**settings):
    return NeuralNetClassifier(
        Net,
        **{"criterion": nn.CrossEntropyLoss, "max_epochs": 3, "train_split": None, "verbose": 0},
        **settings,
    )


pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(r"ignore:.* trained by \d worker process:UserWarning"),
]
"""Of the fused executors, which say what they leave to processes."""


def search(estimator, space, **settings):
    defaults = {"sampler": "grid", "n_trials": None, "cv": 2, "pruner": "nop", "random_state": 0}
    return HPOSearchCV(estimator, space, **{**defaults, **settings})


def fates(found):
    return [(str(r.state), r.last_step, r.reason.partition(":")[0]) for r in found.result_.records]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_no_error_of_a_callback_is_taken_for_a_signal(executor):
    net = make_net(callbacks=[("broken", Broken())])
    found = search(net, {"callbacks__broken__kind": [*SIGNALS, ""]}, executor=executor).fit(X, y)
    outside_the_loop = [kind for kind in SIGNALS if kind != "_Stop"]  # which skorch ends it by
    expected = {kind: ("failed", 1, kind) for kind in outside_the_loop}
    kinds = [r.trial.params["callbacks__broken__kind"] for r in found.result_.records]
    assert dict(zip(kinds, fates(found), strict=True)) == {
        **expected,
        "_Stop": ("complete", 2, ""),
        "": ("complete", 3, ""),
    }


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.parametrize("place", ["begin", "end"])
def test_keyboard_interrupts_of_the_user_outside_the_loop_of_epochs(place):
    net = make_net(callbacks=[("broken", Broken(place=place))])
    found = search(net, {"callbacks__broken__kind": ["_Stop", ""]}).fit(X, y)
    assert fates(found) == [
        ("failed", 2 if place == "end" else 0, "_Stop"),
        ("complete", 3, ""),
    ]


def exits(net, X, y):
    if net.lr > 0.15:
        raise KeyboardInterrupt("not the user's hand")
    return net.score(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.parametrize("executor", EXECUTORS[:2])
def test_keyboard_interrupts_of_a_scorer(executor):
    found = search(make_net(), {"lr": [0.1, 0.2]}, executor=executor, scoring=exits).fit(X, y)
    assert fates(found) == [("complete", 3, ""), ("failed", 0, "KeyboardInterrupt")]
    assert "not the user's hand in fold 0" in found.result_.records[1].reason


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("place", ["module", "forward"])
def test_errors_of_a_module(executor, place):
    found = search(make_net(), {"module__breaks": ["", place]}, executor=executor).fit(X, y)
    states = {r.trial.params["module__breaks"]: r.state for r in found.result_.records}
    assert states == {"": TrialState.COMPLETE, place: TrialState.FAILED}
    (failed,) = (r for r in found.result_.records if r.state is TrialState.FAILED)
    assert failed.reason.startswith("SystemExit: 3" if place == "module" else "_Bare: shard 7")
    assert "Traceback" in failed.error


@pytest.mark.parametrize("kind", SIGNALS)
def test_what_every_training_raises_is_told_before_the_first_trial(kind):
    search_ = search(make_net(callbacks=[("broken", Broken(kind, "begin"))]), {"lr": [0.1, 0.2]})
    with pytest.raises(HpoError, match=kind):
        search_.fit(X, y)


def test_serial_trains_one_trial_at_a_time():
    with pytest.raises(PluginError, match="'serial' trains one trial at a time, and n_jobs=2"):
        search(make_net(), {"lr": [0.1, 0.2]}, executor="serial", n_jobs=2).fit(X, y)


@pytest.mark.parametrize("executor", ["serial", "process:n_jobs=2"])
@pytest.mark.parametrize("kind", ["StopIteration", "SystemExit", "ConnectionResetError"])
def test_the_error_itself_is_raised_where_that_is_asked_for(executor, kind):
    net = make_net(callbacks=[("broken", Broken())])
    found = search(net, {"callbacks__broken__kind": [kind]}, executor=executor, error_score="raise")
    with pytest.raises(type(USER_ERRORS[kind]())) as caught:
        found.fit(X, y)
    (note,) = (note for note in caught.value.__notes__ if note.startswith("Trial 0 failed"))
    assert ("In its own process:\nTraceback" in note) == (executor != "serial")


def test_what_cannot_be_carried_here_is_told_where_errors_are_to_be_raised():
    net = make_net(callbacks=[("broken", Broken())])
    space = {"callbacks__broken__kind": ["_Unpicklable"]}
    with pytest.raises(HpoError, match=r"Trial 0 failed .* _Unpicklable: shard 7 in fold 0"):
        search(net, space, executor="process:n_jobs=1", error_score="raise").fit(X, y)


def test_ten_megabytes_are_cut_in_all_that_is_kept_and_shown(capsys):
    net = make_net(callbacks=[("broken", Broken())])
    with pytest.raises(HpoError) as told:
        search(net, {"callbacks__broken__kind": ["LookupError"]}, verbose=1).fit(X, y)
    assert len(str(told.value)) < 2_000
    assert len(capsys.readouterr().out) < 2_000
    assert torch.is_grad_enabled()
