"""Asks how well scikit-learn's own multilayer perceptron reads digits, beside the nets of skorch.

The same command and the same review for an estimator that knows nothing of torch: 1,797 digits of
8 x 8 pixels, one fifth held out, the rest cross-validated on five folds, as in ``digits_mlp.py``. A
trial is one whole ``fit``, which ends by scikit-learn's rule, since the solver lbfgs has no epochs:
it reports once, and nothing is pruned.

Found at the default size: adam 0.978 ± 0.004 over the folds, 0.972 held out; lbfgs 0.976 and sgd
0.972 are not told apart from it.
"""

from sklearn.neural_network import MLPClassifier

from hpo import Study
from hpo.data import load_digits


def study(full: bool = False) -> Study:
    """Search the solver, penalty and layers of an MLPClassifier.

    Parameters
    ----------
    full : bool
        200 trials in the place of 20.
    """
    return Study(
        name="digits_sklearn_full" if full else "digits_sklearn",
        estimator=MLPClassifier(max_iter=1000),
        data=load_digits,
        search_space="../search_spaces/digits_sklearn.yaml",
        scoring="accuracy",
        cv=5,
        n_trials=200 if full else 20,
        pruner="nop",
        compare=["solver"],
    )
