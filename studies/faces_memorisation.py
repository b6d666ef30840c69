"""Asks whether a net learns labels that mean nothing, and what a few wrong labels do to it.

None, 15 % or all of the training labels are shuffled (Zhang et al. 2017, *Understanding deep
learning requires rethinking generalization*): the training accuracy, on the labels trained on,
rises to 1 all the same, while validation, on true labels, stays at chance where all are shuffled.
A score counts once the training has ended: the best of many epochs would be above chance.

The animal faces of $HPO_DATA stand in for AFHQ where that is not at hand; the score is balanced
accuracy, because their classes are of unequal size (chance: 1/3).

Found at the default size: the training accuracy is 1.00 with true labels and with 15 % of them
shuffled, and 0.98 ± 0.02 with all of them; validation 0.729 ± 0.010, 0.697 ± 0.021 and 0.326 ±
0.019, which is chance. The more labels are wrong, the larger the weights.
"""

from sklearn.model_selection import RepeatedStratifiedKFold
from skorch.callbacks import EpochScoring
from torch.optim import AdamW

from hpo import Study
from hpo.callbacks import EndOfTraining, OnceTrained, WeightStats
from hpo.data import load_faces
from hpo.modules import MLP
from hpo.nets import ImageClassifier


def study(full: bool = False) -> Study:
    """Compare shares of shuffled labels.

    Parameters
    ----------
    full : bool
        Wider layers, more epochs, five folds four times instead of once.
    """
    train_accuracy = EpochScoring(
        "accuracy", on_train=True, name="train_accuracy", lower_is_better=False
    )
    return Study(
        name="faces_memorisation_full" if full else "faces_memorisation",
        estimator=ImageClassifier(
            MLP,
            module__n_features=3 * 32 * 32,
            module__n_classes=3,
            module__hidden_units=1024 if full else 128,
            module__n_layers=2,
            module__norm="batch",
            optimizer=AdamW,
            lr=1e-3,
            batch_size=64,
            max_epochs=200 if full else 60,
            iterator_train__shuffle=True,
            iterator_train__drop_last=True,  # batch norm needs more than a few samples
            callbacks=[
                ("train_accuracy", train_accuracy),
                ("weights", WeightStats()),
                ("ending", EndOfTraining()),
            ],
            train_split=None,
            verbose=0,
        ),
        data=load_faces,
        search_space="../search_spaces/faces_memorisation.yaml",
        scoring={"balanced_accuracy": OnceTrained("balanced_accuracy")},
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=4 if full else 1, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        watch=["train_accuracy", "weight_norm"],
    )
