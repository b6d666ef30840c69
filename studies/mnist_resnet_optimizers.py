"""Asks which of SGD, Adagrad, RMSprop and Adam trains a deep residual MLP best.

Four blocks of two layers with batch normalization and skip connections, each optimizer at its own
best of six learning rates: SGD's are a hundred times Adam's.
"""

from functools import partial

from sklearn.model_selection import RepeatedStratifiedKFold
from skorch.callbacks import EpochScoring

from hpo import Study
from hpo.data import load_mnist
from hpo.modules import ResidualMLP
from hpo.nets import RegularizedClassifier

TRAIN_ACCURACY = EpochScoring(
    "accuracy", on_train=True, name="train_accuracy", lower_is_better=False
)


def study(full: bool = False) -> Study:
    """Compare optimizers of a residual MLP.

    Parameters
    ----------
    full : bool
        All 60,000 images and 20 epochs, for a GPU, in the place of 2,000 and 6.
    """
    return Study(
        name="mnist_resnet_optimizers_full" if full else "mnist_resnet_optimizers",
        estimator=RegularizedClassifier(
            ResidualMLP,
            module__n_features=28 * 28,
            module__n_classes=10,
            module__hidden_units=64,
            module__n_blocks=4,
            batch_size=64,
            max_epochs=20 if full else 6,
            iterator_train__shuffle=True,
            callbacks=[("train_accuracy", TRAIN_ACCURACY)],
            train_split=None,
            verbose=0,
        ),
        data=partial(load_mnist, n_train=None if full else 2_000, refit_on_all=False),
        search_space="../search_spaces/mnist_resnet_optimizers.yaml",
        scoring="accuracy",
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=1, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        compare=["optimizer"],
        watch=["train_accuracy"],
    )
