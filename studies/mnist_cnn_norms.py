"""Asks which normalization a small convolutional net wants, in its convolutions and in its head.

Two convolutions with 8 and 16 filters and a hidden layer of 64 units. What normalizes the maps is
one question, whether the head wants a batch normalization of its own another. Each stands at its
own best of two learning rates.
"""

from functools import partial

from sklearn.model_selection import RepeatedStratifiedKFold
from skorch.callbacks import EpochScoring
from torch.optim import SGD

from hpo import Study
from hpo.data import load_mnist
from hpo.modules import CNN
from hpo.nets import RegularizedClassifier

TRAIN_ACCURACY = EpochScoring(
    "accuracy", on_train=True, name="train_accuracy", lower_is_better=False
)


def study(full: bool = False) -> Study:
    """Compare normalizations of a convolutional net.

    Parameters
    ----------
    full : bool
        All 60,000 images and 20 epochs, for a GPU, in the place of 2,000 and 4.
    """
    return Study(
        name="mnist_cnn_norms_full" if full else "mnist_cnn_norms",
        estimator=RegularizedClassifier(
            CNN,
            module__n_classes=10,
            module__filters=8,
            module__hidden_units=64,
            optimizer=SGD,
            batch_size=64,
            max_epochs=20 if full else 4,
            iterator_train__shuffle=True,
            callbacks=[("train_accuracy", TRAIN_ACCURACY)],
            train_split=None,
            verbose=0,
        ),
        data=partial(load_mnist, n_train=None if full else 2_000, refit_on_all=False),
        search_space="../search_spaces/mnist_cnn_norms.yaml",
        scoring="accuracy",
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=1, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        compare=["module__norm", "module__groups", "module__head_norm"],
        watch=["train_accuracy"],
    )
