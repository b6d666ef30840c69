"""The storage of plain SQL is Optuna's own, by Optuna's own tests of storages."""

import optuna
import pytest
from optuna.storages import RDBStorage, get_storage
from optuna.testing.pytest_storages import StorageTestCase

from hpo.backends._sql import SQLStorage
from hpo.backends._storage import open_storage


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.db'}"


class TestSQLStorage(StorageTestCase):
    @pytest.fixture
    def storage(self, url):
        return get_storage(open_storage(url))


def test_optuna_reads_what_is_written(url):
    """And the other way round: trials of every state, with odd numbers among the values."""
    space = {
        "x": optuna.distributions.FloatDistribution(1e-5, 1.0, log=True),
        "k": optuna.distributions.CategoricalDistribution(("a", None, 3)),
    }
    for storage in (SQLStorage(url), RDBStorage(url)):
        study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
        for value in (0.5, float("inf"), float("-inf"), float("nan")):
            trial = study.ask(space)
            trial.set_user_attr("note", {"a": [1, None]})
            trial.report(value, 0)
            trial.report(1.0, 1)
            storage.set_trial_intermediate_value(trial._trial_id, 1, value)
            if value == 0.5:
                study.tell(trial, value)
        study.enqueue_trial({"x": 0.1})
    ours, theirs = (
        optuna.load_study(storage=storage(url), study_name="s").trials
        for storage in (SQLStorage, RDBStorage)
    )
    assert repr(ours) == repr(theirs)
    assert len(ours) == 9  # the second driver took the waiting one of the first
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        SQLStorage(url).set_trial_user_attr(ours[0]._trial_id, "late", 1)
    with pytest.raises(ValueError, match="distribution"):
        SQLStorage(url).set_trial_param(
            ours[1]._trial_id, "x", 1.0, optuna.distributions.IntDistribution(0, 1)
        )
