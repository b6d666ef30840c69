import pickle

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn

from hpo.callbacks import GradientClipping
from hpo.nets import ImageClassifier, PrecisionMixin
from hpo.training.objective import Objective
from hpo.trial import Trial

X = np.random.default_rng(0).normal(size=(60, 5)).astype("float32")
Y = (X[:, 0] > 0).astype("int64")


class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 16), nn.Linear(16, 2)

    def forward(self, X):
        hidden = self.first(X).relu()
        self.seen = hidden.dtype
        return self.last(hidden)


class Net(PrecisionMixin, NeuralNetClassifier):
    """What a user writes."""


def net(cls=Net, **params):
    given = {"criterion": nn.CrossEntropyLoss, "max_epochs": 3, "lr": 0.1, "batch_size": 20}
    return cls(Module, train_split=None, verbose=0, **given | params)


def fitted(**params):
    torch.manual_seed(0)
    return net(**params).fit(X, Y)


def weights(estimator):
    return torch.cat([p.detach().ravel() for p in estimator.module_.parameters()])


def test_products_are_short_and_weights_and_outputs_are_not():
    short, plain = fitted(precision="bfloat16"), fitted()
    assert short.module_.seen == torch.bfloat16
    assert plain.module_.seen == torch.float32
    assert weights(short).dtype == torch.float32
    assert short.predict_proba(X).dtype == np.float32
    torch.testing.assert_close(weights(short), weights(plain), atol=0.02, rtol=0.02)
    assert not torch.equal(weights(short), weights(plain))


def test_float32_is_plain_training():
    class Plain(NeuralNetClassifier):
        pass

    assert torch.equal(weights(fitted()), weights(fitted(cls=Plain)))


@pytest.fixture
def _float16_on_a_cpu(monkeypatch):
    monkeypatch.setattr(PrecisionMixin, "_check_float16", lambda self, kind: None)


@pytest.mark.usefixtures("_float16_on_a_cpu")
def test_float16_scales_its_loss_and_callbacks_see_gradients_of_the_right_size():
    def clipped(precision):
        clipping = ("clipping", GradientClipping("norm", max_norm=1e-3))
        return fitted(precision=precision, callbacks=[clipping])

    half, plain = clipped("float16"), clipped("float32")
    assert half.module_.seen == torch.float16
    assert half.scaler_.get_scale() > 1000
    torch.testing.assert_close(weights(half), weights(plain), atol=1e-5, rtol=1e-3)
    norms = [np.array(one.history[:, "grad_norm"]) for one in (half, plain)]
    assert norms[0] == pytest.approx(norms[1], rel=0.02)
    again = pickle.loads(pickle.dumps(half))
    assert again.scaler_.get_scale() == half.scaler_.get_scale()


@pytest.mark.usefixtures("_float16_on_a_cpu")
def test_a_step_that_overflows_is_left_out():
    estimator = net(precision="float16", max_epochs=1).initialize()
    before = weights(estimator)
    estimator.scaler_ = torch.amp.GradScaler("cpu", init_scale=2.0**120)
    estimator.partial_fit(X, Y)
    assert torch.equal(weights(estimator), before)
    assert estimator.scaler_.get_scale() < 2.0**120


def test_a_search_turns_it():
    objective = Objective(net(cls=ImageClassifier), X, Y, cv=2, epochs=1)
    for number, precision in enumerate(["float32", "bfloat16"]):
        (report,) = objective.run(Trial(number, {"precision": precision}, 1))
        assert np.isfinite(report.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"precision": "bfloat32"}, "precision must be one of: float32, .* did you mean"),
        ({"precision": "float16"}, "needs a CUDA device. Got device='cpu'. Use .*'bfloat16'"),
        ({"precision": "bfloat16", "device": "meta"}, "needs a CPU, or a CUDA device that"),
    ],
)
def test_what_the_device_does_not_support_is_refused(params, message):
    with pytest.raises(ValueError, match=message):
        net(**params).initialize()
