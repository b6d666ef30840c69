"""Asks which multilayer perceptron reads handwritten digits best, and how well it reads new ones.

The data come with scikit-learn (1,797 digits of 8 x 8 pixels): one fifth is held out as the test
set, the rest is cross-validated on five folds. Optimizer, learning rate, regularization,
width and depth are searched together, 20 epochs a trial at most.
"""

from hpo import Study
from hpo.data import load_digits
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier

study = Study(
    name="digits_mlp",
    estimator=RegularizedClassifier(
        MLP,
        module__n_features=64,
        module__n_classes=10,
        max_epochs=20,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    ),
    data=load_digits,
    search_space="../search_spaces/mlp.yaml",
    scoring="accuracy",
    cv=5,
    n_trials=30,
)
