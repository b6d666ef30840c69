"""n steps are one fit, bit for bit, whichever part of skorch's loop a net overrides."""

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, EpochScoring
from skorch.dataset import Dataset, ValidSplit, unpack_data
from torch import nn
from torch.utils.data import Subset

N_EPOCHS = 4


class Net(nn.Module):
    def __init__(self, dropout=0.3):
        super().__init__()
        self.first, self.norm = nn.Linear(5, 8), nn.BatchNorm1d(8)
        self.dropout, self.last = nn.Dropout(dropout), nn.Linear(8, 3)

    def forward(self, X):
        return self.last(self.dropout(torch.relu(self.norm(self.first(X)))))


class Seeded(NeuralNetClassifier):
    def initialize(self):
        torch.manual_seed(3)
        np.random.seed(3)
        return super().initialize()


class Initialized(Seeded):
    def initialize(self):
        super().initialize()
        with torch.no_grad():
            self.module_.first.weight.mul_(0.5)
        return self


class OwnModules(Seeded):
    """Two modules, each with an optimizer of its own."""

    def initialize_module(self):
        super().initialize_module()
        self.shift_ = nn.Linear(3, 3)
        return self

    def initialize_criterion(self):
        self.criterion_ = nn.CrossEntropyLoss(label_smoothing=0.1)
        return self

    def initialize_optimizer(self, *args, **kwargs):
        self.optimizer_ = torch.optim.Adam(self.module_.parameters(), lr=self.lr)
        self.second_ = torch.optim.SGD(self.shift_.parameters(), lr=self.lr)
        return self

    def infer(self, x, **fit_params):
        return self.shift_(super().infer(x, **fit_params))

    def train_step_single(self, batch, **fit_params):
        self.second_.zero_grad()
        step = super().train_step_single(batch, **fit_params)
        self.second_.step()
        return step


class OwnLoop(Seeded):
    """Goes through the epochs by itself, and sets the module's mode once."""

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        whole, _ = self.get_split_datasets(X, y)
        loader = self.get_iterator(whole, training=True)
        self.module_.train()
        for epoch in range(self.max_epochs if epochs is None else epochs):
            self.notify("on_epoch_begin", dataset_train=whole, dataset_valid=None)
            for Xi, yi in loader:
                self.optimizer_.zero_grad()
                loss = self.criterion_(self.module_(Xi), yi) * (1 + epoch)
                loss.backward()
                self.optimizer_.step()
            self.history.record("train_loss", loss.item())
            self.notify("on_epoch_end", dataset_train=whole, dataset_valid=None)
        return self


class ByOnes(Seeded):
    """Calls skorch's loop once an epoch."""

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        for _ in range(self.max_epochs if epochs is None else epochs):
            super().fit_loop(X, y, epochs=1, **fit_params)
        return self


class Twice(Seeded):
    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        for _ in range(1 + training):
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)


class Noisy(Seeded):
    def train_step(self, batch, **fit_params):
        Xi, _ = unpack_data(batch)
        batch[0] = Xi + 0.1 * torch.randn_like(Xi)  # torch's loader makes lists
        return super().train_step(batch, **fit_params)


class OwnLoss(Seeded):
    def train_step_single(self, batch, **fit_params):
        step = super().train_step_single(batch, **fit_params)
        return {**step, "loss": step["loss"] + 1}

    def get_loss(self, y_pred, y_true, X=None, training=False):
        loss = super().get_loss(y_pred, y_true, X, training)
        return loss + 0.01 * sum(p.abs().sum() for p in self.module_.parameters())


class Hooked(Seeded):
    """Hears every notification itself."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        super().on_train_begin(net, X=X, y=y, **kwargs)
        self.told_ = ["begin"]
        self.scale_ = float(np.abs(X).mean())

    def on_epoch_begin(self, net, **kwargs):
        super().on_epoch_begin(net, **kwargs)
        self.told_.append("epoch begin")

    def on_batch_begin(self, net, **kwargs):
        super().on_batch_begin(net, **kwargs)
        torch.rand(1)

    def on_grad_computed(self, net, named_parameters, **kwargs):
        super().on_grad_computed(net, named_parameters, **kwargs)
        for _, parameter in named_parameters:
            parameter.grad.mul_(self.scale_)

    def on_epoch_end(self, net, **kwargs):
        super().on_epoch_end(net, **kwargs)
        self.told_.append("epoch end")
        self.optimizer_.param_groups[0]["lr"] *= 0.9

    def on_train_end(self, net, X=None, y=None, **kwargs):
        super().on_train_end(net, X=X, y=y, **kwargs)
        self.told_.append("end")
        with torch.no_grad():
            self.module_.last.bias.add_(torch.tensor([0.0, 0.5, 0.0]))


class Notified(Seeded):
    def notify(self, method_name, **cb_kwargs):
        self.n_told_ = getattr(self, "n_told_", 0) + 1
        super().notify(method_name, **cb_kwargs)
        if method_name == "on_epoch_end":
            self.history.record("n_told", self.n_told_)


class Deaf(Seeded):
    """Tells itself, and no callback."""

    def notify(self, method_name, **cb_kwargs):
        getattr(self, method_name)(self, **cb_kwargs)


class Validated(Seeded):
    def validation_step(self, batch, **fit_params):
        step = super().validation_step(batch, **fit_params)
        return {**step, "loss": step["loss"] * 2}

    def evaluation_step(self, batch, training=False):
        return super().evaluation_step(batch, training=training) * 0.5


class OwnSplit(Seeded):
    def get_split_datasets(self, X, y=None, **fit_params):
        whole = self.get_dataset(X, y)
        order = torch.randperm(len(whole)).tolist()
        return Subset(whole, order[10:]), Subset(whole, order[:10])


class OwnData(Seeded):
    def get_dataset(self, X, y=None):
        return Dataset(X * 2, y)

    def get_iterator(self, dataset, training=False):
        loader = super().get_iterator(dataset, training=training)
        return list(loader)[:-1] if training else loader


class OwnPredictions(Seeded):
    def predict_proba(self, X):
        return super().predict_proba(X)[:, ::-1]

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)

    def score(self, X, y=None, sample_weight=None):
        return super().score(X, y, sample_weight) / 2


class BestWeights(Callback):
    """Puts the best weights back when the training has ended."""

    def on_train_begin(self, net, **kwargs):
        self.best_ = np.inf

    def on_epoch_end(self, net, **kwargs):
        loss = net.history[-1, "valid_loss"]
        if loss < self.best_:
            weights = {name: value.clone() for name, value in net.module_.state_dict().items()}
            self.best_, self.weights_ = loss, weights

    def on_train_end(self, net, **kwargs):
        net.module_.load_state_dict(self.weights_)


def make(cls=Seeded, **params):
    known = dict(
        module=Net,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        lr=0.1,
        batch_size=16,
        max_epochs=N_EPOCHS,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    return cls(**{**known, **params})


SPLIT = ValidSplit(3)
NETS = {
    "nothing": make(),
    "initialize": make(Initialized),
    "initialize_module, _criterion and _optimizer": make(OwnModules),
    "fit_loop": make(OwnLoop, callbacks__train_loss=None, callbacks__valid_loss=None),
    "fit_loop by ones": make(ByOnes),
    "run_single_epoch": make(Twice, train_split=SPLIT),
    "train_step": make(Noisy),
    "train_step_single, get_loss": make(OwnLoss),
    "on_train_begin and its like": make(Hooked),
    "notify": make(Notified),
    "notify without callbacks": make(Deaf),
    "validation_step, evaluation_step": make(Validated, train_split=SPLIT),
    "get_split_datasets": make(OwnSplit),
    "get_dataset, get_iterator": make(OwnData),
    "predict, predict_proba, score": make(OwnPredictions),
    "callbacks that put the best weights back": make(train_split=SPLIT, callbacks=[BestWeights()]),
    "callbacks that stop early": make(
        train_split=SPLIT, max_epochs=9, callbacks=[EarlyStopping(patience=1, load_best=True)]
    ),
    "callbacks disabled": make(callbacks="disable"),
    "callbacks that score": make(
        callbacks=[EpochScoring("accuracy", on_train=True, name="share", use_caching=False)]
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_n_steps_are_one_fit(name, three_classes, assert_law):
    reports, nets = assert_law(NETS[name], *three_classes)
    assert len(reports) == max(len(net.history) for net in nets)
    assert not any(report.notes for report in reports)


def test_a_net_hears_of_its_training_once(three_classes, stepped):
    _, nets, _ = stepped(NETS["on_train_begin and its like"], *three_classes)
    epochs = ["epoch begin", "epoch end"] * N_EPOCHS
    assert [net.told_ for net in nets] == [["begin", *epochs, "end"]] * 3


@pytest.mark.parametrize("name", ["nothing", "train_step", "run_single_epoch", "notify"])
def test_slices_of_epochs_are_stepped_too(name, three_classes, stepped, assert_same):
    whole, nets, _ = stepped(NETS[name], *three_classes, epochs=2)
    cut, sliced, _ = stepped(NETS[name], *three_classes, epochs=8, eval_every=1)
    if name != "run_single_epoch":  # which makes two slices of each
        assert cut[-1].fold_values == whole[-1].fold_values
        assert len(cut) == 8
    assert [len(net.history) for net in sliced] == [8] * 3
    assert [len(net.history) for net in nets] == [2] * 3


@pytest.mark.parametrize("name", NETS)
def test_epochs_asked_for_are_the_nets(name, three_classes, stepped):
    reports, nets, _ = stepped(NETS[name], *three_classes, epochs=2)
    assert [report.step for report in reports] == [1, 2]
    assert {net.max_epochs for net in nets} == {2}


@pytest.mark.parametrize("name", NETS)
def test_a_training_put_aside_goes_on_as_it_was(name, three_classes, put_aside):
    whole, parts = put_aside(NETS[name], *three_classes, at=2)
    assert parts == whole
