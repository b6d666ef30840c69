"""Asks what a warm-up of the learning rate is worth, at equal peak rates.

Schedules that rise first are compared with those that do not at each peak rate by itself: a warm-up
may make greater rates possible and gain nothing at small ones. A warm-up also shortens the time at
the peak, so that at a small rate it may cost a little.
"""

from functools import partial

from sklearn.model_selection import RepeatedStratifiedKFold
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
    """Compare warm-ups.

    Parameters
    ----------
    full : bool
        All 60,000 images and 30 epochs, for a GPU, in the place of 2,000 and 12.
    """
    epochs = 30 if full else 12
    return Study(
        name="mnist_warmup_full" if full else "mnist_warmup",
        estimator=RegularizedClassifier(
            MLP,
            module__n_features=28 * 28,
            module__n_classes=10,
            module__hidden_units=128,
            optimizer=SGD,
            optimizer__momentum=0.9,
            batch_size=64,
            max_epochs=epochs,
            iterator_train__shuffle=True,
            callbacks=[
                ("schedule", LRSchedule(epochs=epochs)),
                ("train_accuracy", TRAIN_ACCURACY),
            ],
            train_split=None,
            verbose=0,
        ),
        data=partial(load_mnist, n_train=None if full else 2_000, refit_on_all=False),
        search_space="../search_spaces/mnist_warmup.yaml",
        scoring="accuracy",
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=1 if full else 2, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        compare=["lr", "callbacks__schedule__policy", "callbacks__schedule__warmup_epochs"],
        watch=["train_accuracy", "lr"],
    )
