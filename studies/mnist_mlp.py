"""Asks how well a plain multilayer perceptron reads MNIST if a sixth of it decides the settings.

The search cross-validates on 10,000 of the 60,000 training images; the winner is trained on all
of them and scored once on the official 10,000 test images. The learning rate falls to zero
over the epochs along a cosine (Loshchilov and Hutter 2017, SGDR), in the search and in the
refit alike.
"""

from functools import partial

from skorch.callbacks import LRScheduler

from hpo import Study
from hpo.data import load_mnist
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier

EPOCHS = 12

study = Study(
    name="mnist_mlp",
    estimator=RegularizedClassifier(
        MLP,
        module__n_features=28 * 28,
        module__n_classes=10,
        max_epochs=EPOCHS,
        iterator_train__shuffle=True,
        callbacks=[("cosine", LRScheduler("CosineAnnealingLR", T_max=EPOCHS))],
        train_split=None,
        verbose=0,
    ),
    data=partial(load_mnist, n_train=10_000),
    search_space="../search_spaces/mnist_mlp.yaml",
    scoring="accuracy",
    cv=3,
    n_trials=30,
    pruner="median:n_warmup_steps=2",  # much dropout starts slowly and ends well
)
