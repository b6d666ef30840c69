"""Asks what normalization gains a net of two and one of five hidden layers.

Each normalization stands at its own best of four learning rates, which fall to zero, for each
depth: what it gains is in part that greater rates become possible. Of a flat layer
instance normalization is one over all units of a sample, so that it differs from layer
normalization by its scale and shift alone.
"""

from functools import partial

from skorch.callbacks import EpochScoring
from torch.optim import SGD

from hpo import Study
from hpo.callbacks import LRSchedule
from hpo.data import load_mnist
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier

TRAIN_ACCURACY = EpochScoring(
    "accuracy", on_train=True, name="train_accuracy", lower_is_better=False
)


def study(full: bool = False) -> Study:
    """Compare normalizations.

    Parameters
    ----------
    full : bool
        All 60,000 images and 20 epochs, for a GPU, in the place of 2,000 and 10.
    """
    epochs = 20 if full else 10
    return Study(
        name="mnist_normalisation_full" if full else "mnist_normalisation",
        estimator=RegularizedClassifier(
            MLP,
            module__n_features=28 * 28,
            module__n_classes=10,
            module__hidden_units=64,
            optimizer=SGD,
            batch_size=64,
            max_epochs=epochs,
            iterator_train__shuffle=True,
            callbacks=[
                ("schedule", LRSchedule("linear", epochs)),
                ("train_accuracy", TRAIN_ACCURACY),
            ],
            train_split=None,
            verbose=0,
        ),
        data=partial(load_mnist, n_train=None if full else 2_000, refit_on_all=False),
        search_space="../search_spaces/mnist_normalisation.yaml",
        scoring="accuracy",
        cv=5,
        sampler="grid",
        pruner="nop",
        n_trials=None,
        compare=["module__n_layers", "module__norm"],
        watch=["train_accuracy"],
    )
