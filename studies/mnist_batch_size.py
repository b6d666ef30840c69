"""Asks how the minibatch size changes accuracy and the time of an epoch.

Tutorials answer such questions by a loop over three values with one fixed seed. At one
learning rate for all sizes a large batch looks bad because it makes fewer steps of the same length:
here each size stands at its own best of three rates, over ten folds. Whether small batches act as
a regularizer is to be seen in the training accuracy beside it and in the norm of the weights.

Found at the default size: 0.905 ± 0.003 with 8 images a batch at 0.78 s an epoch, 0.900 with 32 at
0.31 s; 0.890 with 128 at 0.14 s, 0.880 with 256, and 0.712 and 0.735 with 512 and 1024 at 0.08 s
are worse: in equal epochs, large batches make too few steps.
"""

from functools import partial

from sklearn.model_selection import RepeatedStratifiedKFold
from skorch.callbacks import EpochScoring
from torch.optim import SGD

from hpo import Study
from hpo.callbacks import WeightStats
from hpo.data import load_mnist
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier

TRAIN_ACCURACY = EpochScoring(
    "accuracy", on_train=True, name="train_accuracy", lower_is_better=False
)


def study(full: bool = False) -> Study:
    """Compare minibatch sizes.

    Parameters
    ----------
    full : bool
        All 60,000 images and 20 epochs, for a GPU, in the place of 2,500 and 6.
    """
    return Study(
        name="mnist_batch_size_full" if full else "mnist_batch_size",
        estimator=RegularizedClassifier(
            MLP,
            module__n_features=28 * 28,
            module__n_classes=10,
            module__hidden_units=128,
            optimizer=SGD,
            optimizer__momentum=0.9,
            max_epochs=20 if full else 6,
            iterator_train__shuffle=True,
            callbacks=[("train_accuracy", TRAIN_ACCURACY), ("weights", WeightStats())],
            train_split=None,
            verbose=0,
        ),
        data=partial(load_mnist, n_train=None if full else 2_500, refit_on_all=False),
        search_space="../search_spaces/mnist_batch_size.yaml",
        scoring="accuracy",
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=1 if full else 2, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        compare=["batch_size"],
        watch=["train_accuracy", "weight_norm"],
        analyses=["confusion", "data", "weights", "learning_curve"],
    )
