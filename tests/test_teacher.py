"""The winner of one study as the teacher of another (studies/faces_distillation.py)."""

import runpy
from pathlib import Path

import pytest

from hpo import Study, run_study
from hpo.data import load_digits
from hpo.exceptions import StudyError
from hpo.modules import MLP
from hpo.nets import ImageClassifier

FILE = Path(__file__).parents[1] / "studies" / "faces_distillation.py"


@pytest.fixture(scope="module")
def winner_of():
    return runpy.run_path(str(FILE))["winner_of"]


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """Return a storage that holds a study of three epochs, "teaching"."""
    url = f"journal:///{tmp_path_factory.mktemp('teacher') / 'hpo.journal'}"
    run_study(
        Study(
            name="teaching",
            estimator=net(train_split=None),
            data=load_digits,
            search_space={"module__hidden_units": [4, 32], "lr": [0.01, 0.3]},
            cv=2,
            epochs=3,
            sampler="grid",
            n_trials=None,
            storage=url,
            tracker="null",
            analyses=(),
        )
    )
    return url


def net(**params):
    shape = {"module__n_features": 64, "module__n_classes": 10}
    return ImageClassifier(MLP, **shape, verbose=0, **params)


def test_a_teacher_takes_parameters_and_epochs_of_a_winner(winner_of, storage):
    teacher = winner_of("teaching", storage, net())
    params = teacher.get_params()
    assert (params["module__hidden_units"], params["lr"], params["max_epochs"]) == (32, 0.3, 3)


def test_a_winner_of_another_kind_of_net_is_refused(winner_of, storage):
    from sklearn.linear_model import LogisticRegression

    with pytest.raises(StudyError, match=r"^The winner of 'teaching' cannot be a teacher here"):
        winner_of("teaching", storage, LogisticRegression())
