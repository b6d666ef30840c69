"""Studies with costs: several objectives, a Pareto front, pruning by the score."""

import math

import optuna
import pytest

from hpo import Study, load_result, run_study
from hpo.cli._tables import front_table
from hpo.data import load_digits
from hpo.exceptions import PluginError, StorageError, StudyError
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier
from hpo.result import StudyResult
from hpo.review import write_report
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.trial import Report, Trial, TrialRecord, TrialState


def study(tmp_path, **changes):
    net = RegularizedClassifier(
        MLP, module__n_features=64, module__n_classes=10, train_split=None, verbose=0, lr=0.1
    )
    defaults = dict(
        name="costs",
        estimator=net,
        data=load_digits,
        search_space={"module__hidden_units": [4, 16, 64], "batch_size": [64, 256]},
        scoring="accuracy",
        costs=["train_loss", "seconds"],
        cv=2,
        epochs=4,
        n_trials=8,
        refit=False,
        storage=f"sqlite:///{tmp_path}/s.db",
        tracker="null",
    )
    return Study(**{**defaults, **changes})


def record(number, value, *costs):
    metrics = {name: (cost, cost) for name, cost in zip("ab", costs, strict=False)}
    report = Report(number, 1, value, (value, value), metrics=metrics, seconds=2.0)
    return TrialRecord(Trial(number, {}, 0), TrialState.COMPLETE, (report,))


def front(*records):
    result = StudyResult(name="s", records=records, costs=("a", "b"))
    return [r.number for r in result.pareto_front()]


def test_the_front_is_what_nothing_is_better_than_in_all_respects():
    assert front(record(0, 1.0, 5, 5), record(1, 0.9, 4, 6), record(2, 0.8, 6, 6)) == [0, 1]
    assert front(record(0, 1.0, 5, 5), record(1, 1.0, 4, 5)) == [1]
    assert front(record(0, 1.0, 5, 5), record(1, 1.0, 5, 5)) == [0]
    assert front(record(0, 1.0, 5, 5), record(1, 0.5, math.nan, 1)) == [0, 1]
    assert front() == []


def test_without_costs_the_front_is_the_winner():
    records = (record(0, 0.5), record(1, 0.7), record(2, 0.7))
    assert [r.number for r in StudyResult(name="s", records=records).pareto_front()] == [1]


def test_a_cost_is_that_of_the_way_to_the_best_step():
    reports = tuple(
        Report(0, step, value, (value,), {"loss": (10.0 - step, 12.0 - step)}, seconds=step)
        for step, value in enumerate([1.0, 3.0, 2.0], start=1)
    )
    trial = TrialRecord(Trial(0, {}, 0), reports=reports)
    assert trial.cost("seconds") == 1 + 2
    assert trial.cost("loss") == 9.0
    assert math.isnan(trial.cost("missing"))
    assert math.isnan(TrialRecord(Trial(0, {}, 0)).cost("seconds"))


@pytest.mark.parametrize("sampler", ["tpe:n_startup_trials=3", "qmc"])
def test_a_study_searches_for_all_and_prunes_by_the_score(tmp_path, sampler):
    made = study(tmp_path, sampler=sampler, pruner="median:n_startup_trials=2", n_trials=12)
    result = run_study(made)
    assert {r.state for r in result.records} == {TrialState.COMPLETE, TrialState.PRUNED}
    kept = optuna.load_study(study_name="costs", storage=made.storage)
    for trial in kept.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        ours = result.records[trial.number]
        assert trial.values == [ours.value, ours.cost("train_loss"), ours.cost("seconds")]
    assert {t.number for t in kept.best_trials} == {r.number for r in result.pareto_front()}
    assert result.pareto_front()[0].value == result.best_score


def test_it_goes_on_is_read_back_and_shown(tmp_path):
    run_study(study(tmp_path, n_trials=3))
    result = run_study(study(tmp_path, n_trials=6))
    assert len(result.records) == 6
    again = load_result("costs", f"sqlite:///{tmp_path}/s.db")
    assert again.costs == ("train_loss", "seconds")
    numbers = [r.number for r in result.pareto_front()]
    assert [r.number for r in again.pareto_front()] == numbers
    assert front_table(again).row_count == len(numbers)
    files = write_report(again, tmp_path / "report")
    assert "Pareto front" in files["report.html"].read_text()
    assert files["pareto_front.png"].stat().st_size > 5000


def test_a_cost_that_nobody_reports_ends_the_study_with_what_there_is(tmp_path):
    with pytest.raises(StudyError, match=r"'train_los', did you mean 'train_loss'.*seconds"):
        run_study(study(tmp_path, costs=["train_los"]))


def test_what_cannot_have_costs_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(PluginError, match=r"CmaEsSampler searches for one objective"):
        run_study(study(tmp_path, sampler="cmaes"))
    assert not list(tmp_path.iterdir())


def test_a_study_of_other_objectives_is_refused(tmp_path):
    storage = f"sqlite:///{tmp_path}/s.db"
    TrialStore("s", SearchSpace.load({}), storage)
    with pytest.raises(StorageError, match=r"objectives maximize, and this one maximize, minimize"):
        TrialStore("s", SearchSpace.load({}), storage, costs=["seconds"])
