"""Asks whether what is left of a pruned net learns as well from its first weights, and from others.

The smallest weights are cut in four rounds, and after each the rest is trained anew: from the
initial values that it had (a winning ticket), or from these in another order (Frankle and Carbin
2019, *The lottery ticket hypothesis*, figure 1). The same share of each layer is cut: the first
has fifty times the weights of the second, small ones all of them, and would be cut whole. Only
epochs after the last cut count.

The animal faces of $HPO_DATA stand in for AFHQ where that is not at hand; the score is balanced
accuracy, because their classes are of unequal size (chance: 1/3).

Found at the default size: with a tenth of the weights left, tickets score 0.666 ± 0.018 rewound
and 0.681 ± 0.022 with other initial weights, against 0.698 ± 0.015 of the whole net; with 2 % left
both break (0.49 and 0.46), with 0.5 % they are near chance. Rewinding is not told from the control
on so few images.
"""

from sklearn.model_selection import RepeatedStratifiedKFold
from torch.optim import AdamW

from hpo import Study
from hpo.callbacks import OncePruned, WeightPruning, WeightStats
from hpo.data import load_faces
from hpo.modules import MLP
from hpo.nets import ImageClassifier


def study(full: bool = False) -> Study:
    """Compare tickets with re-initialized nets.

    Parameters
    ----------
    full : bool
        Wider layers, more epochs, eight rounds, five folds four times instead of once.
    """
    rounds, epochs = (8, 60) if full else (4, 10)
    return Study(
        name="faces_lottery_full" if full else "faces_lottery",
        estimator=ImageClassifier(
            MLP,
            module__n_features=3 * 32 * 32,
            module__n_classes=3,
            module__hidden_units=300 if full else 64,
            module__n_layers=2,
            module__norm="batch",
            optimizer=AdamW,
            lr=1e-3,
            batch_size=32,
            max_epochs=(rounds + 1) * epochs,
            iterator_train__shuffle=True,
            iterator_train__drop_last=True,  # batch norm needs more than a few samples
            callbacks=[
                ("weights", WeightStats(threshold=0.0)),
                ("pruning", WeightPruning(at_epoch=epochs, rounds=rounds, scope="layer")),
            ],
            train_split=None,
            verbose=0,
        ),
        data=load_faces,
        search_space="../search_spaces/faces_lottery.yaml",
        scoring={"balanced_accuracy": OncePruned("balanced_accuracy")},
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=4 if full else 1, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        watch=["sparsity", "train_loss"],
    )
