"""Asks whether a net learns labels that mean nothing, and what a few wrong labels do to it.

None, 15 % or all of the training labels are shuffled (Zhang et al. 2017, *Understanding deep
learning requires rethinking generalization*): the training accuracy, on the labels trained on,
rises to 1 all the same, while validation, on true labels, stays at chance where all are shuffled.
The best epoch's score stands there too, a little above chance: it is the best of many.

The animal faces of $HPO_DATA stand in for AFHQ where that is not at hand; the score is balanced
accuracy, because their classes are of unequal size (chance: 1/3).
"""

from sklearn.model_selection import RepeatedStratifiedKFold
from skorch.callbacks import EpochScoring
from torch.optim import AdamW

from hpo import Study
from hpo.callbacks import WeightStats
from hpo.data import load_faces
from hpo.modules import CNN
from hpo.nets import ImageClassifier


def study(full: bool = False) -> Study:
    """Compare shares of shuffled labels.

    Parameters
    ----------
    full : bool
        More filters, more epochs, five folds four times instead of three twice.
    """
    train_accuracy = EpochScoring(
        "accuracy", on_train=True, name="train_accuracy", lower_is_better=False
    )
    return Study(
        name="faces_memorisation_full" if full else "faces_memorisation",
        estimator=ImageClassifier(
            CNN,
            module__n_classes=3,
            module__in_channels=3,
            module__image_size=32,
            module__n_blocks=3,
            module__filters=32 if full else 8,
            module__hidden_units=128,
            module__norm="batch",
            optimizer=AdamW,
            lr=2e-3,
            batch_size=32,
            max_epochs=200 if full else 50,
            iterator_train__shuffle=True,
            callbacks=[("train_accuracy", train_accuracy), ("weights", WeightStats())],
            train_split=None,
            verbose=0,
        ),
        data=load_faces,
        search_space="../search_spaces/faces_memorisation.yaml",
        scoring="balanced_accuracy",
        cv=RepeatedStratifiedKFold(
            n_splits=5 if full else 3, n_repeats=4 if full else 2, random_state=0
        ),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        watch=["train_accuracy", "weight_norm"],
    )
