import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from hpo.data import StudyData
from hpo.exceptions import DataError

Y = np.array([0, 1, 0])


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((3, 2)),
        pd.DataFrame({"a": [1, 2, 3]}),
        torch.zeros(3, 2),
        sparse.csr_matrix((3, 2)),
        [[1], [2], [3]],
        {"images": np.zeros((3, 4, 4)), "rows": torch.zeros(3, 2)},
    ],
    ids=["numpy", "pandas", "torch", "scipy", "list", "dict"],
)
def test_takes_every_kind_of_X(X):
    assert StudyData(X=X, y=Y, X_test=X, y_test=Y, groups=[1, 1, 2]).X is X


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": None}, "X was given without y. Give both or neither."),
        ({"X_test": Y}, "X_test was given without y_test. Give both or neither."),
        ({"y_refit": Y}, "y_refit was given without X_refit. Give both or neither."),
        (
            {"y": [0, 1]},
            "X and y must have one entry for each sample, but their lengths differ (X: 3, y: 2).",
        ),
        (
            {"X": {"a": Y, "b": Y[:1]}},
            "X and y must have one entry for each sample, but their lengths differ "
            "(X['a']: 3, X['b']: 1, y: 3).",
        ),
        (
            {"X_test": Y, "y_test": Y[:2]},
            "X_test and y_test must have one entry for each sample, but their lengths differ "
            "(X_test: 3, y_test: 2).",
        ),
        (
            {"sample_weight": [1.0]},
            "sample_weight and y must have one entry for each sample, but their lengths differ "
            "(sample_weight: 1, y: 3).",
        ),
        (
            {"X": 3},
            "X must be an array, a data frame, a tensor, a list or a dict of them. "
            "Got int instead.",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(given, message):
    with pytest.raises(DataError) as caught:
        StudyData(**{"X": np.zeros((3, 2)), "y": Y, **given})
    assert str(caught.value) == message
