"""How many of some published small nets the fused executor trains, and why not the others.

python tests/benchmarks/published_nets.py [NAME ...]
"""

import argparse
import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import _published_images as images
import _published_others as others
import numpy as np
import torch
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from hpo.executors.fused.batch import TrialBatch
from hpo.executors.fused.extract import ModelExtractor
from hpo.executors.fused.reference import NetReference
from hpo.executors.fused.scores import batch_scores
from hpo.executors.serial import SerialExecutor
from hpo.fused import FusedModels, NotFusibleError
from hpo.testing.executors import drive
from hpo.training.objective import Objective
from hpo.trial import Trial

__all__ = ["NETS", "Published", "main", "outcome"]

N, N_FOLDS, N_EPOCHS = 96, 2, 2
TOLERANCE = 1e-6
"""Difference of two scores in float64 that is still the same."""
SERIAL_TOLERANCE = 2e-3
"""The same in float32, against the serial executor."""

_draws = np.random.default_rng(0)


@dataclass(frozen=True)
class Published:
    """A net and its data.

    Parameters
    ----------
    module : callable
        Makes it.
    X, y : array
    settings : mapping of str to object
        Of the skorch net.
    scoring : str
    """

    module: Any
    X: np.ndarray
    y: np.ndarray
    settings: Mapping[str, Any]
    scoring: str

    @property
    def net(self) -> Any:
        """A skorch net of it."""
        kind = NeuralNetRegressor if self.y.dtype.kind == "f" else NeuralNetClassifier
        given = {
            "criterion": nn.MSELoss if kind is NeuralNetRegressor else nn.CrossEntropyLoss,
            "lr": 0.01,
            "max_epochs": N_EPOCHS,
            "batch_size": 24,
            "train_split": None,
            "verbose": 0,
        }
        return kind(self.module, **{**given, **self.settings})


def _images(channels: int, padding: int) -> np.ndarray:
    """Return digits of 32 x 32, or less by the padding, and some noise."""
    digits = load_digits(n_class=images.N_CLASSES).images[:N] / 8 - 1
    large = np.kron(digits, np.ones((1, 4, 4)))[:, None].repeat(channels, 1)
    large += 0.3 * _draws.normal(size=large.shape)
    return large[..., padding : 32 - padding, padding : 32 - padding].astype("float32")


ROWS = _draws.normal(size=(N, others.N_COLUMNS)).astype("float32")
LABELS = load_digits(n_class=images.N_CLASSES).target[:N]
TARGET = ROWS @ _draws.normal(size=(others.N_COLUMNS, 1)).astype("float32")
WORDS = _draws.integers(1, others.N_WORDS, size=(N, others.LENGTH))
WORDS *= np.arange(others.LENGTH) < _draws.integers(3, others.LENGTH + 1, size=(N, 1))
GREY, COLOUR = _images(1, 2), _images(3, 0)
OF_PROBABILITIES = {"criterion": nn.NLLLoss}


def _classifier(module: Any, X: np.ndarray, **settings: Any) -> Published:
    return Published(module, X, LABELS, settings, "neg_log_loss")


def _regressor(module: Any, y: np.ndarray) -> Published:
    return Published(module, ROWS, y, {}, "neg_mean_squared_error")


NETS: dict[str, Published] = {
    "skorch README, classifier": _classifier(others.SkorchClassifier, ROWS, **OF_PROBABILITIES),
    "skorch, regressor": _regressor(others.SkorchRegressor, TARGET),
    "skorch MNIST, MLP": _classifier(images.SkorchMlp, GREY, **OF_PROBABILITIES),
    "skorch MNIST, CNN": _classifier(images.SkorchCnn, GREY, **OF_PROBABILITIES),
    "PyTorch examples, MNIST": _classifier(images.MnistExample, GREY),
    "LeNet-5": _classifier(images.LeNet5, GREY),
    "AlexNet, small": _classifier(images.AlexNet, COLOUR),
    "All-CNN-C": _classifier(images.AllConvolutional, COLOUR),
    "VGG with batch normalization": _classifier(images.Vgg, COLOUR),
    "ResNet-20": _classifier(images.ResNet20, COLOUR),
    "ResNet-18 (torchvision)": _classifier(images.resnet18, COLOUR),
    "SqueezeNet 1.1 (torchvision)": _classifier(images.squeeze_net, COLOUR),
    "MobileNetV3-Small (torchvision)": _classifier(images.mobile_net, COLOUR),
    "ShuffleNetV2 0.5 (torchvision)": _classifier(images.shuffle_net, COLOUR),
    "MNASNet 0.5 (torchvision)": _classifier(images.mnas_net, COLOUR),
    "DenseNet, small (torchvision)": _classifier(images.dense_net, COLOUR),
    "TextCNN": _classifier(others.TextCnn, WORDS),
    "LSTM classifier": _classifier(others.LstmClassifier, WORDS),
    "GRU classifier": _classifier(functools.partial(others.LstmClassifier, kind=nn.GRU), WORDS),
    "Transformer encoder, padded": _classifier(others.TransformerClassifier, WORDS),
    "ViT, tiny": _classifier(others.Vit, COLOUR),
    "MLP-Mixer": _classifier(others.MlpMixer, COLOUR),
    "TabResNet": _classifier(others.TabResNet, ROWS),
    "FT-Transformer": _classifier(others.FTTransformer, ROWS),
    "autoencoder": _regressor(others.Autoencoder, ROWS),
}


def outcome(published: Published, *, serial: bool = True) -> str:
    """Return "same", or the reason why no batch takes a net.

    Every score of every fold at each of two epochs is compared: with that of the net's own fit
    from the same draws in float64, and, if it drops nothing, with that of the serial executor.

    Raises
    ------
    AssertionError
        If a batch that was certified has other scores.
    """
    objective = Objective(
        published.net, published.X, published.y, cv=N_FOLDS, scoring=published.scoring
    )
    trial = Trial(0, {}, 0)
    try:
        extractor = ModelExtractor(objective)
        taken = extractor.extract_model(trial)
        batch = TrialBatch(extractor, taken, device="cpu", n_slots=1, seed=0)
        batch.certify()
    except NotFusibleError as error:
        return str(error)
    for fold in range(N_FOLDS):
        _compare_replayed(extractor, taken, fold)
    if serial and not any(taken.plan().batchable.noise_shapes(extractor.arrays.X[:2])):
        _compare_serial(objective, batch, taken)
    return "same"


def _compare_replayed(extractor: ModelExtractor, taken: Any, fold: int) -> None:
    plan, arrays = taken.plan(), extractor.arrays
    n, labels = len(arrays.y_valid[fold]), [arrays.y_valid[fold]]
    models = FusedModels(
        plan, arrays.X, arrays.y, arrays.train, n_slots=1, seed=0, dtype=torch.float64
    )
    models.put(0, taken.member)
    for number in range(1, N_EPOCHS + 1):
        models.train_epoch(number)
        found = models.predict(arrays.X_valid)[fold, 0, :n]
        alone = NetReference(
            extractor.unfitted(taken.trial, "cpu"), plan, taken.member, fold, n_folds=N_FOLDS
        )
        alone.train(list(range(1, number + 1)), arrays.X, arrays.y, arrays.train[fold])
        own = alone.predict(arrays.X_valid[fold, :n])
        a, b = (
            batch_scores(extractor.objective.scoring, [taken.net], out[None, None], labels)[0][0]
            for out in (found, own)
        )
        for name, score in b.items():
            assert abs(a[name] - score) <= TOLERANCE * max(1, abs(score)), (
                f"fold {fold}, epoch {number}: '{name}' is {a[name]} in a batch and {score} alone"
            )


def _compare_serial(objective: Objective, batch: TrialBatch, taken: Any) -> None:
    batch.use(batch.make_models(1))
    batch.add(replace(taken))
    told = [e.report for _ in range(N_EPOCHS) for e in batch.advance() if hasattr(e, "report")]
    events = drive(SerialExecutor(objective), [taken.trial])
    alone = [event.report for event in events if hasattr(event, "report")]
    assert len(told) == len(alone) == N_EPOCHS
    for a, b in zip(told, alone, strict=True):
        np.testing.assert_allclose(
            a.fold_values, b.fold_values, SERIAL_TOLERANCE, SERIAL_TOLERANCE, err_msg=f"{b.step}"
        )


def main(arguments: list[str] | None = None) -> dict[str, str]:
    """Print the table; return the verdict of each net."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="all by default")
    names = parser.parse_args(arguments).names or list(NETS)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    found = {}
    print("| net | fused | why not |\n|---|---|---|")
    for name in names:
        try:
            found[name] = outcome(NETS[name])
        except AssertionError as error:  # what this looks for
            found[name] = f"WRONG: {error}"
        why = "" if found[name] == "same" else found[name]
        print(f"| {name} | {'no' if why else 'yes'} | {why} |", flush=True)
    n = sum(told == "same" for told in found.values())
    print(f"{n} of {len(found)} are fused.")
    return found


if __name__ == "__main__":
    raise SystemExit(any(told.startswith("WRONG") for told in main().values()))
