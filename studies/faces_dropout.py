"""Asks how much dropout helps to tell faces of animals apart, and in which layers.

A perceptron of two hidden layers learns cats, dogs and wild animals from all training images but
those of the fold; units are dropped after both hidden layers, after the first or after the last
(Srivastava et al. 2014, *Dropout*), and pixels at the input.

The animal faces of $HPO_DATA stand in for AFHQ where that is not at hand; the score is balanced
accuracy, because their classes are of unequal size (chance: 1/3).
"""

from sklearn.model_selection import RepeatedStratifiedKFold
from skorch.callbacks import EpochScoring, LRScheduler
from torch.optim import AdamW

from hpo import Study
from hpo.data import load_faces
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier


def study(full: bool = False) -> Study:
    """Compare rates and places of dropout.

    Parameters
    ----------
    full : bool
        Wider layers, more epochs, five folds four times instead of once.
    """
    epochs = 200 if full else 30
    train_accuracy = EpochScoring(
        "accuracy",
        on_train=True,
        name="train_accuracy",
        lower_is_better=False,
        use_caching=False,  # predicted anew, with no unit dropped
    )
    return Study(
        name="faces_dropout_full" if full else "faces_dropout",
        estimator=RegularizedClassifier(
            MLP,
            module__n_features=3 * 32 * 32,
            module__n_classes=3,
            module__hidden_units=1024 if full else 128,
            module__n_layers=2,
            module__norm="batch",
            optimizer=AdamW,
            lr=1e-3,
            batch_size=64,
            max_epochs=epochs,
            iterator_train__shuffle=True,
            iterator_train__drop_last=True,  # batch norm needs more than a few samples
            callbacks=[
                ("train_accuracy", train_accuracy),
                ("cosine", LRScheduler("CosineAnnealingLR", T_max=epochs)),
            ],
            train_split=None,
            verbose=0,
        ),
        data=load_faces,
        search_space="../search_spaces/faces_dropout.yaml",
        scoring="balanced_accuracy",
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=4 if full else 1, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        watch=["train_accuracy"],
    )
