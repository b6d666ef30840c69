"""Texts as blocks of characters."""

import numpy as np
import pytest

from hpo.data import find_alphabet, load_characters
from hpo.exceptions import DataError

TEXT = "to be, or nöt to be: 🎭\n" * 8


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "play.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def spelled(data, places):
    return "".join(data.class_names[i] for i in np.ravel(places))


def test_the_blocks_are_the_text_and_the_labels_are_its_next_characters(file):
    data = load_characters(file, context_length=5, test_size=0.2)
    n = 5 * (len(data.X) + len(data.X_test))
    assert (data.X.dtype, data.X.shape[1]) == (np.int64, 5)
    assert spelled(data, data.X) + spelled(data, data.X_test) == TEXT[:n]
    assert spelled(data, data.y) + spelled(data, data.y_test) == TEXT[1 : n + 1]
    assert len(data.X_test) == round(0.2 * n / 5)


def test_the_alphabet_is_the_class_names(file):
    assert find_alphabet(file) == "".join(sorted(set(TEXT)))
    assert load_characters(file, 5).class_names == tuple(find_alphabet(file))


def test_a_part_is_the_beginning(file):
    whole, part = load_characters(file, 5), load_characters(file, 5, n_train=7)
    assert np.array_equal(part.X, whole.X[:7])
    assert np.array_equal(part.y_refit, whole.y)
    assert np.array_equal(part.X_test, whole.X_test)
    assert load_characters(file, 5, n_train=7, refit_on_all=False).X_refit is None
    assert whole.X_refit is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_length": 0}, "context_length must be at least 1"),
        ({"test_size": 0}, "test_size must be between 0 and 1"),
        ({"n_train": 1000}, "not enough for n_train=1000"),
        ({"context_length": 500}, "There are 0 blocks of 500 characters"),
    ],
)
def test_what_does_not_fit_is_told(file, options, message):
    with pytest.raises(DataError, match=message):
        load_characters(file, **options)
