"""Points that a study gives itself: where they stand among the others, also read back."""

from sklearn.linear_model import RidgeClassifier

from hpo import Study, run_study
from hpo.cli._show import show_study
from hpo.data import load_digits
from hpo.study import load_result

GIVEN = ({"alpha": 1e6}, {"alpha": 10.0})


def make_study(storage, **changes):
    study = Study(
        name="given",
        estimator=RidgeClassifier(),
        data=load_digits,
        search_space={"alpha": {"type": "float", "low": 1e-3, "high": 1e6, "log": True}},
        cv=2,
        n_trials=4,
        sampler="random",
        pruner="nop",
        storage=storage,
        tracker="null",
        refit=False,
        enqueue=GIVEN,
    )
    return study.replace(**changes)


def test_given_points_are_ranked_among_the_complete_trials(tmp_path, capsys):
    storage = f"journal:///{tmp_path / 'hpo.journal'}"
    result = run_study(make_study(storage))
    ranks = {record.trial.params["alpha"]: rank for rank, record in result.enqueued_trials()}
    values = {r.trial.params["alpha"]: r.value for r in result.records}
    assert ranks == {
        point["alpha"]: 1 + sum(value > values[point["alpha"]] for value in values.values())
        for point in GIVEN
    }
    assert ranks[1e6] == 4  # such a model is all but constant
    read = load_result("given", storage)
    assert [(rank, r.number) for rank, r in read.enqueued_trials()] == [
        (rank, r.number) for rank, r in result.enqueued_trials()
    ]
    show_study("given", storage, None)
    shown = capsys.readouterr().out
    assert "Enqueued points" in shown
    assert "4 of 4" in shown


def test_a_point_that_names_some_parameters_is_found(tmp_path):
    space = {"alpha": [0.1, 1.0], "fit_intercept": [True, False]}
    study = make_study(None, search_space=space, enqueue=[{"alpha": 1.0}], n_trials=2)
    ((_, record),) = run_study(study).enqueued_trials()[:1]
    assert record.number == 0
    assert record.trial.params["alpha"] == 1.0


def test_nothing_given(tmp_path):
    assert run_study(make_study(None, enqueue=(), n_trials=1)).enqueued_trials() == []


def test_the_own_settings_are_the_first_trial(tmp_path):
    space = {"alpha": {"type": "float", "low": 1e-3, "high": 10.0, "log": True}}
    study = make_study(None, search_space=space, enqueue=(), n_trials=3)
    own = study.estimator.get_params()["alpha"]
    assert run_study(study).records[0].trial.params == {"alpha": own}
    other = run_study(study.replace(baseline=False)).records[0].trial.params
    assert other != {"alpha": own}
    outside = study.replace(search_space={"alpha": {**space["alpha"], "high": own / 2}})
    assert run_study(outside).records[0].trial.params["alpha"] <= own / 2
    told = study.replace(enqueue=[{"alpha": 5.0}])
    assert run_study(told).records[0].trial.params == {"alpha": 5.0}


def test_a_search_that_gains_nothing_says_so():
    worse = {"alpha": {"type": "float", "low": 1.0, "high": 1e6, "log": True}}
    study = make_study(None, search_space=worse, enqueue=(), n_trials=12, folds="all", pruner=None)
    result = run_study(study)
    gained = result.winner.number != 0
    said = any("none of 11 other trials was better" in note for note in result.notes)
    assert said != gained
