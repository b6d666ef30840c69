"""Stepping leaves no trace: on the net and its class, in the thread, in memory."""

import copy
import gc
import os
import pickle
import sys
import threading
import warnings
import weakref
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import sklearn
import torch
from greenlet import greenlet
from sklearn.base import clone
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback, Checkpoint
from torch import nn

from hpo.training._held import SuspendedSettings
from hpo.training._hooks import listen
from hpo.training.objective import Objective
from hpo.trial import Trial

TRIAL = Trial(0, {}, seed=5)


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


class Told(Callback):
    """Writes down what it is told of, in a list that copies of it share."""

    def __init__(self, log):
        self.log = log

    def on_train_begin(self, net, **kwargs):
        self.log.append("begin")

    def on_epoch_end(self, net, **kwargs):
        self.log.append("epoch")

    def on_train_end(self, net, **kwargs):
        self.log.append("end")


class Log(list):
    def __deepcopy__(self, memo):
        return self


def make(cls=NeuralNetClassifier, **params):
    known = dict(
        module=Net,
        criterion=nn.CrossEntropyLoss,
        lr=0.1,
        batch_size=16,
        max_epochs=4,
        train_split=None,
        verbose=0,
    )
    return cls(**{**known, **params})


def n_greenlets():
    gc.collect()
    return sum(issubclass(type(thing), greenlet) for thing in gc.get_objects())


class Looks(Callback):
    """Pickles, copies and clones the net in the middle of its training, and looks at them."""

    busy_ = False

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        if self.busy_:
            return
        self.busy_ = True
        X, y = dataset_train.X, dataset_train.y
        for again in (
            pickle.loads(pickle.dumps(net)),
            cloudpickle.loads(cloudpickle.dumps(net)),
            copy.deepcopy(net),
        ):
            assert type(again) is type(net)
            assert vars(again).keys() == vars(net).keys()
            assert np.array_equal(again.predict_proba(X), net.predict_proba(X))
            again.partial_fit(X, y, epochs=1)  # no step of the trial
            assert len(again.history) == len(net.history) + 1
        clone(net).set_params(callbacks="disable").fit(X, y)
        params = net.get_params()
        assert (
            params.keys()
            == make(callbacks=[Looks(), Checkpoint()]).initialize().get_params().keys()
        )
        assert params["dataset"] is make().dataset
        self.busy_ = False

    def on_train_end(self, net, X=None, y=None, **kwargs):
        if self.busy_:
            return
        kept = dict(net.callbacks_)["Checkpoint"].get_formatted_files(net)["f_pickle"]
        again = pickle.loads(Path(kept).read_bytes())
        again.set_params(callbacks="disable").fit(X, y)
        assert again.history[-1, "epoch"] == 4


def test_a_net_can_be_copied_and_pickled_on_its_way(three_classes, tmp_path):
    checkpoint = Checkpoint("train_loss_best", f_pickle="net.pkl", dirname=str(tmp_path))
    net = make(callbacks=[Looks(), checkpoint])
    reports = list(Objective(net, *three_classes, cv=3).run(TRIAL))
    assert [report.step for report in reports] == [1, 2, 3, 4]


def test_a_class_that_travels_by_value_travels_without_the_hook(three_classes):
    """As cloudpickle does with a class of the user's own script."""
    code = {}
    exec(
        "class Own(NeuralNetClassifier):\n    pass",
        {"NeuralNetClassifier": NeuralNetClassifier},
        code,
    )
    Own = code["Own"]
    Own.__module__ = "__main__"
    run = Objective(make(Own), *three_classes, cv=3).run(TRIAL)
    next(run)
    assert "notify" in vars(Own)
    again = cloudpickle.loads(cloudpickle.dumps(Own))
    run.close()
    assert again.notify is NeuralNet.notify
    assert make(again).fit(*three_classes).history[-1, "epoch"] == 4


@pytest.mark.parametrize("end", ["to its end", "closed", "dropped", "an error"])
def test_nothing_is_left_behind(three_classes, end):
    log, before = Log(), n_greenlets()
    own = dict(vars(NeuralNet))

    class Own(NeuralNetClassifier):
        def on_epoch_begin(self, net, **kwargs):
            super().on_epoch_begin(net, **kwargs)
            if end == "an error" and len(self.history) == 3:
                raise ZeroDivisionError

    objective = Objective(make(Own, callbacks=[Told(log)]), *three_classes, cv=3)
    run = objective.run(TRIAL)
    next(run)
    assert next(run).step == 2
    nets = [weakref.ref(fold.stepper.estimator) for fold in run._folds]
    assert n_greenlets() == before + 3
    assert {"notify", "run_single_epoch"} <= vars(Own).keys()
    if end == "to its end":
        assert [report.step for report in run] == [3, 4]
    elif end == "closed":
        run.close()
    elif end == "an error":
        with pytest.raises(ZeroDivisionError):
            next(run)
    del run, objective
    gc.collect()
    assert n_greenlets() == before
    assert [net() for net in nets] == [None] * 3
    assert not {"notify", "run_single_epoch", "get_iterator"} & vars(Own).keys()
    assert dict(vars(NeuralNet)) == own
    # A net whose fit raises is told of no end: so it is in a fit by itself.
    assert log.count("begin") == 3
    assert log.count("end") == (2 if end == "an error" else 3)
    assert log.count("epoch") == {"to its end": 12}.get(end, 6)


def test_ctrl_c_in_the_driver_ends_the_fits(three_classes):
    log, before = Log(), n_greenlets()
    run = Objective(make(callbacks=[Told(log)]), *three_classes, cv=3).run(TRIAL)
    next(run)
    with pytest.raises(KeyboardInterrupt):
        run.throw(KeyboardInterrupt)
    assert (log.count("begin"), log.count("epoch"), log.count("end")) == (3, 3, 3)
    del run
    assert n_greenlets() == before


class Stubborn(NeuralNetClassifier):
    """Trains again and again until it has made its epochs."""

    def fit(self, X, y, **fit_params):
        self.initialize()
        self.n_tried_ = 0
        while len(self.history) < self.max_epochs:
            self.n_tried_ += 1
            self.partial_fit(X, y, epochs=1, **fit_params)
        return self


def test_a_fit_that_will_not_end_is_broken_off(three_classes):
    before = n_greenlets()
    run = Objective(make(Stubborn), *three_classes, cv=3).run(TRIAL)
    next(run)
    nets = [fold.stepper.estimator for fold in run._folds]
    run.close()
    assert [len(net.history) for net in nets] == [1] * 3
    assert all(10 < net.n_tried_ < 1000 for net in nets)
    del run, nets
    assert n_greenlets() == before


def test_trials_of_one_class_and_of_its_subclass_side_by_side(three_classes):
    class Own(NeuralNetClassifier):
        pass

    class Twice(Own):
        def notify(self, method_name, **kwargs):
            super().notify(method_name, **kwargs)
            if method_name == "on_epoch_end":
                self.history.record("heard", 2.0)

    objectives = [Objective(make(cls), *three_classes, cv=3) for cls in (Own, Twice, Own)]
    runs = [objective.run(TRIAL) for objective in objectives]
    told = [[next(run) for run in runs] for _ in range(4)]
    for reports in told:
        values = {report.fold_values for report in reports}
        assert len(values) == 1
        assert ["heard" in report.metrics for report in reports] == [False, True, False]
    for run in runs:
        assert list(run) == []
    assert "notify" not in vars(Own)
    assert Twice.notify.__qualname__.endswith("Twice.notify")


def test_a_base_that_comes_later_is_still_heard():
    """The hook of one class hides nothing from another that inherits it."""

    class Mixin:
        def notify(self, *args, **kwargs):
            return "mixin"

    class Own(NeuralNetClassifier):
        pass

    class Both(Own, Mixin, NeuralNetClassifier):
        pass

    class Owner:
        pass

    net, other, owner = make(Own), object.__new__(Both), Owner()
    end = listen(net, [(Own, "notify", lambda method, *args, **kwargs: "handled")], owner)
    assert net.notify("on_train_begin") == "handled"
    expected = next(vars(c)["notify"] for c in Both.__mro__[2:] if "notify" in vars(c))
    assert other.notify.__func__ is expected
    assert Both.notify is expected
    assert Own.notify is NeuralNet.notify
    end()
    end()
    assert "notify" not in vars(Own)


def test_a_search_in_a_thread_of_its_own(three_classes):
    reports = []
    run = Objective(make(), *three_classes, cv=3).run
    expected = [report.fold_values for report in run(TRIAL)]
    thread = threading.Thread(target=lambda: reports.extend(run(TRIAL)))
    thread.start()
    thread.join()
    assert [report.fold_values for report in reports] == expected


def settings():
    return {
        "gradients": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "dtype": torch.get_default_dtype(),
        "assume_finite": sklearn.get_config()["assume_finite"],
        "filters": warnings.filters,
        "stdout": sys.stdout,
        "folder": Path.cwd(),
    }


def change(folder):
    torch.set_grad_enabled(False)
    torch.set_autocast_enabled("cpu", True)
    torch.set_default_dtype(torch.float64)
    sklearn.set_config(assume_finite=True)
    warnings.filters = list(warnings.filters)
    sys.stdout = sys.stderr
    os.chdir(folder)


@pytest.fixture
def as_before():
    before = settings()
    yield before
    torch.set_grad_enabled(before["gradients"])
    torch.set_autocast_enabled("cpu", before["autocast"])
    torch.set_default_dtype(before["dtype"])
    sklearn.set_config(assume_finite=before["assume_finite"])
    warnings.filters = before["filters"]
    sys.stdout = before["stdout"]
    os.chdir(before["folder"])


def test_what_a_fit_holds_open_is_its_own(as_before, tmp_path):
    suspended = SuspendedSettings()
    with suspended:
        change(tmp_path)
        inside = settings()
    assert settings() == as_before
    assert settings()["filters"] is as_before["filters"]
    for _ in range(2):
        with suspended:
            assert settings() == inside
        assert settings() == as_before


def test_what_a_fit_leaves_changed_stays_changed(as_before, tmp_path):
    suspended = SuspendedSettings()
    with suspended:
        pass
    with suspended:
        change(tmp_path)
        inside = settings()
        suspended.finished = True
    assert settings() == inside


def test_what_the_driver_changes_meanwhile_is_the_drivers(as_before):
    suspended = SuspendedSettings()
    with suspended:
        sys.stdout = sys.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filters = warnings.filters
        with suspended:
            assert warnings.filters is filters
            sys.stdout = as_before["stdout"]
            warnings.filters = as_before["filters"]  # as of a block that was begun before
            suspended.finished = True
        assert warnings.filters is filters
    assert settings() == as_before
