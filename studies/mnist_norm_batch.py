"""Asks down to which batch size batch normalization learns as well as group normalization.

Batch normalization estimates means and deviations from the images of a batch, group normalization
(Wu and He 2018) from the units of one image: of two images an estimate is rough. One, eight and
sixteen groups of 64 units say how many units an estimate wants.
Each stands at its own best of three learning rates.
"""

from functools import partial

from sklearn.model_selection import RepeatedStratifiedKFold
from skorch.callbacks import EpochScoring
from torch.optim import SGD

from hpo import Study
from hpo.data import load_mnist
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier

TRAIN_ACCURACY = EpochScoring(
    "accuracy", on_train=True, name="train_accuracy", lower_is_better=False
)


def study(full: bool = False) -> Study:
    """Compare normalizations by batch size.

    Parameters
    ----------
    full : bool
        All 60,000 images and 20 epochs, for a GPU, in the place of 2,000 and 6.
    """
    return Study(
        name="mnist_norm_batch_full" if full else "mnist_norm_batch",
        estimator=RegularizedClassifier(
            MLP,
            module__n_features=28 * 28,
            module__n_classes=10,
            module__hidden_units=64,
            module__n_layers=3,
            optimizer=SGD,
            max_epochs=20 if full else 6,
            iterator_train__shuffle=True,
            iterator_train__drop_last=True,  # batch normalization needs two images or more
            callbacks=[("train_accuracy", TRAIN_ACCURACY)],
            train_split=None,
            verbose=0,
        ),
        data=partial(load_mnist, n_train=None if full else 2_000, refit_on_all=False),
        search_space="../search_spaces/mnist_norm_batch.yaml",
        scoring="accuracy",
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=1 if full else 2, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        compare=["batch_size", "module__norm", "module__groups"],
        watch=["train_accuracy"],
    )
