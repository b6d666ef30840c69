"""Asks which penalty on the weights helps a net that has seen few images, and how much of it.

A perceptron learns to tell cats, dogs and wild animals apart from 30 to 250 images
(``--n-images``) and is scored on others; each of six draws of the images is a fold. Against no
penalty stand L1 and L2 in the loss, both together (elastic net; Zou and Hastie 2005), and decoupled
weight decay (Loshchilov and Hutter 2019). The norm of the weights and the share of them below
1e-3 are recorded by epoch. Every figure is that of a trial's best epoch, so no penalty is compared
with early stopping, not with a net that was trained too long.

The animal faces of $HPO_DATA stand in for AFHQ where that is not at hand; the score is balanced
accuracy, because their classes are of unequal size (chance: 1/3).

Found at the default size: little: from 0.571 ± 0.027 without any, the best of each kind come to
0.576 (decay 0.01), 0.574 (L2 1e-4), 0.568 (L1 1e-5) and 0.576 (L1 1e-4 with L2 0.01), where six
draws tell nothing below 0.05 apart; from L1 1e-3, L2 0.1 and decay 5 on it costs. L1 1e-4 leaves
half of the weights below 1e-3, at no loss; 5 leaves chance. With 30 images the best is L1 1e-3
(0.503 ± 0.029 against 0.487 ± 0.031), with 250 it is L1 1e-7 (0.658 ± 0.011 against 0.652 ±
0.021): the fewer images, the more penalty a net bears, and nowhere a gain beyond noise.
"""

from dataclasses import replace
from functools import partial

from sklearn.model_selection import StratifiedShuffleSplit
from torch.optim import AdamW

from hpo import Study
from hpo.callbacks import WeightStats
from hpo.data import StudyData, load_faces
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier


def few_faces(n_images: int) -> StudyData:
    """Return the faces; the winner is refitted on as many as a fold is trained on."""
    few = load_faces(n_images, refit_on_all=False)
    return replace(load_faces(), X_refit=few.X, y_refit=few.y)


def study(full: bool = False, n_images: int = 100) -> Study:
    """Compare penalties on the weights of a net that is trained on few images.

    Parameters
    ----------
    full : bool
        Wider layers, more epochs and twenty draws of the images instead of six.
    n_images : int
        Images that a fold is trained on, from 30 to 250.
    """
    return Study(
        name=f"faces_penalties_{n_images}{'_full' if full else ''}",
        estimator=RegularizedClassifier(
            MLP,
            module__n_features=3 * 32 * 32,
            module__n_classes=3,
            module__hidden_units=512 if full else 64,
            optimizer=AdamW,
            optimizer__weight_decay=0.0,
            lr=1e-3,
            batch_size=16,
            max_epochs=200 if full else 40,
            iterator_train__shuffle=True,
            callbacks=[("weights", WeightStats())],
            train_split=None,
            verbose=0,
        ),
        data=partial(few_faces, n_images),
        search_space="../search_spaces/faces_penalties.yaml",
        scoring="balanced_accuracy",
        cv=StratifiedShuffleSplit(
            20 if full else 6, train_size=n_images, test_size=None if full else 0.15, random_state=0
        ),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        watch=["train_loss", "weight_norm", "sparsity"],
        analyses=["confusion", "weights"],
    )
