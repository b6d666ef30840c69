"""The smaller ones of some published nets are trained in a batch as by themselves, or refused."""

import importlib
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FUSED = [
    "skorch README, classifier",
    "skorch, regressor",
    "skorch MNIST, MLP",
    "PyTorch examples, MNIST",
    "LeNet-5",
    "TextCNN",
    "LSTM classifier",
    "GRU classifier",
    "Transformer encoder, padded",
    "ViT, tiny",
    "MLP-Mixer",
    "TabResNet",
    "FT-Transformer",
    "autoencoder",
]
REFUSED = {"ResNet-20": "rounding errors grow so fast"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype:UserWarning"),
]


@pytest.fixture(scope="module")
def published():
    names = ["published_nets", "_published_images", "_published_others"]
    sys.path.insert(0, str(HERE))
    yield importlib.import_module("published_nets")
    sys.path.remove(str(HERE))
    for name in names:
        del sys.modules[name]


@pytest.mark.parametrize("name", FUSED)
def test_every_score_of_every_fold_is_that_of_training_alone(published, name):
    assert published.outcome(published.NETS[name]) == "same"


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_why(published, name):
    assert REFUSED[name] in published.outcome(published.NETS[name])


def test_a_wrong_batch_is_seen(published, monkeypatch):
    """The comparison can fail: a batch whose outputs are slightly off."""
    predict = published.FusedModels.predict

    def off(self, X):
        return predict(self, X) * (1 + 1e-4 * (self._dtype.itemsize == 8))

    monkeypatch.setattr("hpo.executors.fused.batch.TrialBatch.certify", lambda self: None)
    monkeypatch.setattr(published.FusedModels, "predict", off)
    with pytest.raises(AssertionError, match="in a batch and"):
        published.outcome(published.NETS["skorch, regressor"])


def test_there_are_at_least_twenty(published, capsys):
    assert len(published.NETS) >= 20
    assert published.main(["skorch, regressor"]) == {"skorch, regressor": "same"}
    assert "| skorch, regressor | yes |" in capsys.readouterr().out
