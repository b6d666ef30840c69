"""Asks how much dropout helps to tell faces of animals apart, and in which layers.

A perceptron of two hidden layers learns cats, dogs and wild animals from all training images but
those of the fold; units are dropped after both hidden layers, after the first or after the last
(Srivastava et al. 2014, *Dropout*), and pixels at the input; or each layer has a rate of its own,
of 0.1, 0.3 and 0.5 in all combinations. All of it stands also in a net of doubled width, half of
whose units are as many.

The animal faces of $HPO_DATA stand in for AFHQ where that is not at hand; the score is balanced
accuracy, because their classes are of unequal size (chance: 1/3).

Found at the default size: 0.693 ± 0.032 with 0.2 after the first layer, 0.676 ± 0.026 without any,
0.669 to 0.686 with 0.5 after the last, none of them told apart; 0.5 after both layers (0.56 to
0.61) and 0.8 after the first (0.51) or both (0.37) are worse.
"""

from sklearn.model_selection import RepeatedStratifiedKFold
from skorch.callbacks import EpochScoring
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
        More epochs, five folds four times instead of once.
    """
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
            module__n_layers=2,
            optimizer=AdamW,
            lr=1e-3,
            batch_size=64,
            max_epochs=200 if full else 30,
            iterator_train__shuffle=True,
            callbacks=[("train_accuracy", train_accuracy)],
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
