"""Asks which optimizer learns MNIST best, each at its own best learning rate.

At one shared learning rate, as in a loop over optimizers, what is compared is little but that rate:
the best ones of these differ by a factor of a hundred. What each remembers is turned too: the
momentum from none to a hundred steps, with and without Nesterov's, RMSprop's alpha, Adam's betas.

Found at the default size: Adagrad 0.912, RMSprop 0.910, Nesterov 0.902, Adam 0.900, AdamW 0.899 and
momentum 0.894; plain SGD comes last, with 0.874 at the greatest of the rates. Ten folds of 400
images tell none apart from the first, and one more repeat would tell plain SGD.
"""

from functools import partial

from sklearn.model_selection import RepeatedStratifiedKFold
from skorch.callbacks import EpochScoring

from hpo import Study
from hpo.data import load_mnist
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier

TRAIN_ACCURACY = EpochScoring(
    "accuracy", on_train=True, name="train_accuracy", lower_is_better=False
)


def study(full: bool = False) -> Study:
    """Compare optimizers.

    Parameters
    ----------
    full : bool
        All 60,000 images and 20 epochs, for a GPU, in the place of 2,000 and 8.
    """
    return Study(
        name="mnist_optimizers_full" if full else "mnist_optimizers",
        estimator=RegularizedClassifier(
            MLP,
            module__n_features=28 * 28,
            module__n_classes=10,
            module__hidden_units=128,
            batch_size=64,
            max_epochs=20 if full else 8,
            iterator_train__shuffle=True,
            callbacks=[("train_accuracy", TRAIN_ACCURACY)],
            train_split=None,
            verbose=0,
        ),
        data=partial(load_mnist, n_train=None if full else 2_000, refit_on_all=False),
        search_space="../search_spaces/mnist_optimizers.yaml",
        scoring="accuracy",
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=1 if full else 2, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        compare=[
            "optimizer",
            "optimizer__momentum",
            "optimizer__nesterov",
            "optimizer__alpha",
            "optimizer__betas",
        ],
        watch=["train_accuracy"],
    )
