"""Asks whether a convolutional net reads MNIST better than a multilayer perceptron.

Both in one search space: the module is a choice, and each has parameters of its own (`when`). The
grid has eight trials of each, with the same data, folds, epochs and learning rates, so that neither
has the larger budget; seconds of an epoch stand in the table, as a convolution takes longer. What
is compared is the best of each.
"""

from functools import partial

from sklearn.model_selection import RepeatedStratifiedKFold
from skorch.callbacks import EpochScoring
from torch.optim import AdamW

from hpo import Study
from hpo.data import load_mnist
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier

TRAIN_ACCURACY = EpochScoring(
    "accuracy", on_train=True, name="train_accuracy", lower_is_better=False
)


def study(full: bool = False) -> Study:
    """Compare a convolutional net with a perceptron.

    Parameters
    ----------
    full : bool
        All 60,000 images and 20 epochs, for a GPU, in the place of 2,000 and 6.
    """
    return Study(
        name="mnist_cnn_or_mlp_full" if full else "mnist_cnn_or_mlp",
        estimator=RegularizedClassifier(
            MLP,
            module__n_classes=10,
            optimizer=AdamW,
            batch_size=64,
            max_epochs=20 if full else 6,
            iterator_train__shuffle=True,
            callbacks=[("train_accuracy", TRAIN_ACCURACY)],
            train_split=None,
            verbose=0,
        ),
        data=partial(load_mnist, n_train=None if full else 2_000, refit_on_all=False),
        search_space="../search_spaces/mnist_cnn_or_mlp.yaml",
        scoring="accuracy",
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=1, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        compare=["module"],
        watch=["train_accuracy"],
    )
