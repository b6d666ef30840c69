"""The score of studies/cifar10_finetune.py: how many epochs a strategy needs."""

from pathlib import Path

import numpy as np
import pytest
from skorch.history import History

from hpo.cli._study_file import load_study_file
from hpo.exceptions import DataError

FILE = Path(__file__).parents[1] / "studies" / "cifar10_finetune.py"


class Scripted:
    """A net that predicts as many of 100 samples rightly as it is told."""

    def __init__(self):
        self.history = History()
        self.n_right = 0

    def predict(self, X):
        return np.arange(100) < self.n_right


def test_epochs_to_95_percent_of_the_best_so_far():
    try:
        scoring = load_study_file(FILE).study.scoring
    except DataError as error:
        pytest.skip(f"no data: {error}")
    net, firsts = Scripted(), []
    for n_right in (10, 50, 76, 79, 80, 100, 20):
        net.history.new_epoch()
        net.n_right = n_right
        scores = scoring(net, None, np.ones(100))
        assert scores["accuracy"] == n_right / 100
        firsts.append(scores["epochs_to_95"])
    assert firsts == [1, 2, 3, 3, 3, 6, 6]
