"""Asks whether a small convolutional net learns as well in bfloat16, and how much faster it is.

Products and convolutions in bfloat16 have eight bits of precision; weights and steps stay in
float32. On a CPU without instructions for it, it is slower: the table has the seconds of an epoch.
On a CUDA device, float16 can be added to the search space. Each stands at its own best of three
learning rates.
"""

from functools import partial

from sklearn.model_selection import RepeatedStratifiedKFold
from skorch.callbacks import EpochScoring
from torch.optim import SGD

from hpo import Study
from hpo.data import load_mnist
from hpo.modules import CNN
from hpo.nets import ImageClassifier

TRAIN_ACCURACY = EpochScoring(
    "accuracy", on_train=True, name="train_accuracy", lower_is_better=False
)


def study(full: bool = False) -> Study:
    """Compare precisions.

    Parameters
    ----------
    full : bool
        All 60,000 images and 20 epochs, for a GPU, in the place of 2,000 and 4.
    """
    return Study(
        name="mnist_precision_full" if full else "mnist_precision",
        estimator=ImageClassifier(
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
        search_space="../search_spaces/mnist_precision.yaml",
        scoring="accuracy",
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=1, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        compare=["precision"],
        watch=["train_accuracy"],
    )
