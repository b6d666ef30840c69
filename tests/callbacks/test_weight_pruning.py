import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from hpo.callbacks import OncePruned, WeightPruning, WeightStats
from hpo.modules import MLP
from hpo.training.objective import Objective
from hpo.trial import Trial


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1] > 0).astype(np.int64)


def classifier(max_epochs=4, module=MLP, **params):
    shape = {"module__n_features": 6, "module__n_classes": 2, "module__hidden_units": 16}
    return NeuralNetClassifier(
        module,
        **(shape if module is MLP else {}),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        optimizer__weight_decay=0.01,
        lr=0.02,
        max_epochs=max_epochs,
        train_split=None,
        verbose=0,
        callbacks=[
            ("pruning", WeightPruning(**{"at_epoch": 2, **params})),
            ("stats", WeightStats(threshold=0.0)),
        ],
    )


def fitted(net, data, seed=0):
    torch.manual_seed(seed)
    return net.fit(*data)


def weights(net):
    return [p.detach() for p in net.module_.parameters() if p.ndim > 1]


def zeros(tensors):
    return [round((w == 0).double().mean().item(), 2) for w in tensors]


def test_after_the_epoch_the_share_is_zero_and_stays_zero_while_the_rest_trains(data):
    net = fitted(classifier(amount=0.75), data)
    # WeightStats counts the zeros that there are, and stands behind the callback's own record.
    assert net.history[:, "sparsity"] == pytest.approx([0, 0, 0.75, 0.75], abs=0.01)
    before, after = (fitted(classifier(n, amount=0.75), data) for n in (3, 4))
    for early, late in zip(weights(before), weights(after), strict=True):
        assert torch.equal(early == 0, late == 0)
        assert not torch.equal(early, late)


def test_until_then_it_changes_nothing(data):
    pruned, plain = fitted(classifier(2, amount=0.9), data), fitted(classifier(2, amount=0.0), data)
    assert all(map(torch.equal, weights(pruned), weights(plain)))


def test_global_cuts_the_smallest_weights_of_the_whole_net(data):
    whole = torch.cat([w.ravel().abs() for w in weights(fitted(classifier(2), data))])
    kept = torch.cat([w.ravel() != 0 for w in weights(fitted(classifier(3, amount=0.8), data))])
    assert whole[kept].min() >= whole[~kept].max()


def test_layer_cuts_the_same_share_of_each(data):
    by_layer = zeros(weights(fitted(classifier(3, amount=0.5, scope="layer"), data)))
    assert by_layer == [0.5, 0.5, 0.5]
    assert len(set(zeros(weights(fitted(classifier(3, amount=0.5), data))))) > 1


def test_rounds_take_the_same_share_of_what_is_left(data):
    net = fitted(classifier(7, amount=1 - 0.5**3, at_epoch=2, rounds=3), data)
    assert net.history[:, "sparsity"] == pytest.approx(
        [0, 0, 0.5, 0.5, 0.75, 0.75, 0.875], abs=0.01
    )


@pytest.mark.parametrize("reinit", ["keep", "random", "rewind"])
def test_what_becomes_of_the_rest(data, reinit):
    torch.manual_seed(0)
    at_start = weights(classifier(1).initialize())
    net = classifier(3, amount=0.5, reinit=reinit).set_params(lr=0.0, optimizer=torch.optim.SGD)
    # Without steps, all weights are initial ones; only a shuffle can move them.
    after = weights(fitted(net, data))
    same = [
        torch.equal(w[w != 0], initial[w != 0]) for w, initial in zip(after, at_start, strict=True)
    ]
    assert same == [reinit != "random"] * 3
    for w, initial in zip(after, at_start, strict=True):
        assert torch.isin(w[w != 0], initial).all()


def test_rewinding_takes_back_what_training_did(data):
    net = classifier(3, amount=0.5, reinit="rewind").set_params(batch_size=-1)
    fitted(net, data)
    torch.manual_seed(0)
    start = weights(net.__class__(**classifier(1).get_params(deep=False)).initialize())
    steps = [
        (w - initial)[w != 0].abs().max().item()
        for w, initial in zip(weights(net), start, strict=True)
    ]
    # The first step of Adam, whose memory is new, is lr for every weight.
    assert steps == pytest.approx([0.02] * 3, rel=1e-3)


class ChannelsLast(nn.Module):
    """A convolution whose weights are stored in another order."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
        self.head = nn.Linear(4, 2)

    def forward(self, X):
        return self.head(self.conv(X.view(-1, 3, 1, 2).expand(-1, -1, 2, -1)).flatten(1))


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("reinit", ["rewind", "random"])
def test_weights_may_be_stored_in_any_order(data, scope, reinit):
    net = classifier(3, module=ChannelsLast, amount=0.5, scope=scope, reinit=reinit)
    assert fitted(net, data).history[-1, "sparsity"] == pytest.approx(0.5, abs=0.02)
    assert not net.module_.conv.weight.is_contiguous()


class Attentive(nn.Module):
    """A user's module, one of whose weights no layer's own forward ever sees."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, X):
        return self.head(self.attention(X[:, None], X[:, None], X[:, None])[0].squeeze(1))


def test_a_search_puts_it_on_any_module_and_can_put_it_aside(data):
    objective = Objective(
        classifier(5, module=Attentive),
        *data,
        cv=StratifiedKFold(2),
        scoring=OncePruned("accuracy"),
    )
    trial = Trial(0, {"callbacks__pruning__amount": 0.5, "callbacks__pruning__reinit": "random"}, 7)
    straight = list(objective.run(trial))
    assert [report.value == 0 for report in straight] == [True, True, False, False, False]
    assert straight[-1].metrics["sparsity"] == pytest.approx((0.5, 0.5), abs=0.01)
    first = objective.run(trial)
    reports = [next(first) for _ in range(3)]
    state = first.state()
    first.close()
    reports += objective.resume(trial, state)
    assert [r.fold_values for r in reports] == [r.fold_values for r in straight]
    assert [r.metrics for r in reports] == [r.metrics for r in straight]


def test_the_scorer_looks_through_a_pipeline(data):
    net = fitted(make_pipeline(StandardScaler(), classifier(3)), data)
    assert OncePruned("accuracy")(net, *data) == net.score(*data) > 0
    assert OncePruned("accuracy")(fitted(classifier(2), data), *data) == 0


def test_the_scorer_needs_the_callback(data):
    net = fitted(classifier(1).set_params(callbacks__pruning=None), data)
    with pytest.raises(ValueError, match=r"^OncePruned needs a net with the callback"):
        OncePruned()(net, *data)


def test_a_fitted_net_can_be_cloned_and_fitted_again(data):
    net = fitted(classifier(3), data)
    again = fitted(clone(net), data)
    assert all(map(torch.equal, weights(net), weights(again)))
    assert all(map(torch.equal, weights(net), weights(fitted(net, data))))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amount", 1.0),
        ("amount", -0.1),
        ("at_epoch", 0),
        ("rounds", 0),
        ("scope", "net"),
        ("reinit", "rewnd"),
    ],
)
def test_a_value_out_of_range_is_refused(data, name, value):
    with pytest.raises(ValueError, match=f"^The {name} of WeightPruning must be"):
        fitted(classifier(1, **{name: value}), data)
