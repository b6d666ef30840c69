"""Ray's own schedulers on hpo's studies."""

import sys
import time

import cloudpickle
import numpy as np
import pytest
from skorch import NeuralNetClassifier
from torch import nn

from hpo import Study, run_study
from hpo.backends.optuna import OptunaBackend
from hpo.backends.ray import RayBackend
from hpo.budget import Budget
from hpo.data import StudyData
from hpo.exceptions import ExecutorError, PluginError
from hpo.testing.backends import Recorder, search, steady_curve
from hpo.testing.scripted import ScriptedObjective
from hpo.training.objective import Objective
from hpo.trial import CHANGED

pytestmark = pytest.mark.slow

# As the file of a study, this module cannot be imported in a worker: it travels by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

SPACE = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
STEPS = 9


def rising(trial):
    return [trial.params["x"] * step for step in range(1, STEPS + 1)]


class SlowToSave(ScriptedObjective):
    """Takes longer to be put aside than a step takes."""

    def run(self, trial, device=None):
        return slow_to_save(super().run(trial, device))

    def resume(self, *args, **kwargs):
        return slow_to_save(super().resume(*args, **kwargs))


def slow_to_save(steps):
    state = steps.state

    def slow():
        time.sleep(0.3)
        return state()

    steps.state = slow
    return steps


def run(scheduler, *, n_trials=12, max_concurrent=2, objective=None, space=SPACE, **options):
    return search(
        RayBackend(scheduler=scheduler, max_concurrent=max_concurrent),
        objective or ScriptedObjective(rising, n_folds=2, n_steps=STEPS),
        space=space,
        n_trials=n_trials,
        pruner="nop",
        **options,
    )


def data(n=120):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 5)).astype("float32")
    return X, (X[:, 0] + X[:, 1] > 0).astype("int64")


def net(**kwargs):
    defaults = dict(
        criterion=nn.CrossEntropyLoss,
        module__dropout=0.2,
        lr=0.05,
        optimizer__momentum=0.9,
        batch_size=16,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    return NeuralNetClassifier(Net, **{**defaults, **kwargs})


class Net(nn.Sequential):
    def __init__(self, dropout):
        super().__init__(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2))


@pytest.mark.usefixtures("local_ray")
class TestOnOneCluster:
    @pytest.mark.parametrize("name", ["asha", "bohb", "median_stopping"])
    def test_what_ray_stops_is_pruned_and_says_so(self, name):
        tracker = Recorder()
        records = run(name, trackers=[tracker])
        assert {str(r.state) for r in records} == {"complete", "pruned"}
        for record in records:
            steps = [report.step for report in record.reports]
            assert steps == list(range(1, record.last_step + 1))
            heard = [what for what, number in tracker.heard if number == record.number]
            assert heard == ["started", *["reported"] * len(steps), str(record.state)]
            if record.state == "pruned":
                value = f"{record.reports[-1].value:.4g}"
                why = f"epoch {record.last_step}: {value}, stopped by Ray's {name}"
                assert record.reason == why
            else:
                assert record.last_step == STEPS

    def test_bohb_proposes_from_what_its_scheduler_has_marked(self):
        pytest.importorskip("hpbandster", reason="pip install hpbandster ConfigSpace")
        records = run("bohb", n_trials=30, sampler="ray:algorithm=bohb", seed=1)
        xs = np.array([record.trial.params["x"] for record in records])
        assert np.median(xs[15:]) > np.median(xs[:10])
        assert np.std(xs[15:]) < np.std(xs[:10]) + 0.1

    def test_hyperband_puts_aside_and_goes_on(self):
        records = run("hyperband(reduction_factor=2)", n_trials=24)
        assert len(records) == 24
        assert {str(r.state) for r in records} == {"complete", "pruned"}
        for record in records:
            assert [r.step for r in record.reports] == list(range(1, record.last_step + 1))

    def test_a_trial_that_is_slow_to_be_put_aside_is_not_forgotten(self):
        objective = SlowToSave(rising, n_folds=2, n_steps=STEPS)
        budget = Budget(24, timeout=60)
        records = run("hyperband(reduction_factor=2)", objective=objective, budget=budget)
        assert {str(r.state) for r in records} == {"complete", "pruned"}

    def test_options_of_the_scheduler_count(self):
        records = run("asha(grace_period=4)", n_trials=8)
        assert {r.last_step for r in records if r.state == "pruned"} == {4}

    def test_a_net_that_was_put_aside_gives_the_same_bits(self):
        objective = Objective(net(), *data(), cv=3, scoring="accuracy", epochs=STEPS)
        space = {"lr": {"type": "float", "low": 1e-3, "high": 0.1, "log": True}}
        ours = run("bohb", objective=objective, space=space, max_concurrent=1, n_trials=6)
        reference = search(OptunaBackend(), objective, space=space, n_trials=6, pruner="nop")
        assert {str(r.state) for r in ours} == {"complete", "pruned"}
        for record, whole in zip(ours, reference, strict=True):
            steps = [r.fold_values for r in record.reports]
            assert steps == [r.fold_values for r in whole.reports][: record.last_step]

    def test_pbt_changes_parameters_and_tells_them_as_metrics(self, tmp_path):
        storage = f"sqlite:///{tmp_path}/s.db"
        records = run("pbt", storage=storage, n_trials=6)
        assert [str(r.state) for r in records] == ["complete"] * 6
        changed = 0
        for record in records:
            # One that goes on from the weights of a trial ahead of it misses a step.
            steps = [r.step for r in record.reports]
            assert (steps[0], steps[-1]) == (1, STEPS)
            assert steps == sorted(set(steps))
            xs = [report.metrics[f"{CHANGED}x"] for report in record.reports]
            assert xs[0] == (record.trial.params["x"],) * 2
            assert [r.value for r in record.reports] == [
                x[0] * n for x, n in zip(xs, steps, strict=True)
            ]
            assert all(0.0 <= x[0] <= 1.0 for x in xs)
            changed += xs[-1] != xs[0]
            best = record.best_report
            assert record.best_params == {"x": best.metrics[f"{CHANGED}x"][0]}
        assert changed >= 2

    def test_pbt_on_nets_clones_the_weights_and_refits_with_the_best_steps_parameters(self):
        X, y = data()
        study = Study(
            name="pbt",
            estimator=net(),
            data=StudyData(X=X, y=y),
            search_space={
                "lr": {"type": "float", "low": 1e-6, "high": 0.1, "log": True},
                "batch_size": [8, 16, 32],
                "module__dropout": [0.0, 0.5],
            },
            scoring="neg_log_loss",
            cv=2,
            epochs=6,
            n_trials=4,
            sampler="random",
            backend="ray:max_concurrent=2,scheduler=pbt(quantile_fraction=0.5)",
            storage=None,
            tracker="null",
        )
        result = run_study(study)
        assert result.n_complete == 4
        firsts = [r.reports[0].value for r in result.records]
        lasts = [r.reports[-1].value for r in result.records]
        # The worst half went on from the better half's weights: nobody is left behind.
        assert min(lasts) > max(firsts)
        metrics = result.records[0].reports[0].metrics
        assert {n for n in metrics if n.startswith(CHANGED)} == {"param_lr", "param_batch_size"}
        assert result.estimator.lr == result.best_params["lr"]
        assert isinstance(result.best_params["batch_size"], int)

    @pytest.mark.parametrize("name", ["hyperband", "pbt"])
    def test_comparing_all_side_by_side_needs_their_number(self, name):
        with pytest.raises(ExecutorError, match=r"n_trials must say how many. Got None"):
            run(name, budget=Budget(timeout=5))

    def test_pbt_needs_something_to_change(self):
        objective = Objective(net(), *data(), cv=2, epochs=2)
        with pytest.raises(PluginError, match=r"This space has none of them"):
            run("pbt", objective=objective, space={"module__dropout": [0.1, 0.2]})
        with pytest.raises(PluginError, match=r"cannot change module__dropout.*space has lr"):
            run(
                "pbt(mutate=[module__dropout])",
                objective=objective,
                space={"module__dropout": [0.1, 0.2], "lr": [0.1, 0.2]},
            )

    def test_an_interrupt_closes_what_was_put_aside_as_interrupted(self):
        objective = ScriptedObjective(steady_curve, n_steps=5, delay=0.05)
        records = run("bohb", objective=objective, budget=Budget(max_total_epochs=12))
        cut = [r for r in records if r.interrupted]
        assert cut
        assert all(r.reason == "the budget of 12 epochs is spent" for r in cut)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("asah", "no scheduler 'asah' that hpo knows, did you mean 'asha'"),
        ("asha(grace_perio=2)", "has no option 'grace_perio', did you mean 'grace_period'"),
        ("asha(grace_period=0)", "scheduler 'asha': grace_period must be positive"),
        ("asha(metric=loss)", "has no option 'metric'"),
        ("pbt(quantile_fraction=2)", "quantile_fraction"),
        ("asha:grace_period=2", r"scheduler must be a name such as 'asha'"),
        ("2", "no scheduler '2'"),
    ],
)
def test_options_are_checked_before_anything_starts(spec, told):
    with pytest.raises(PluginError, match=told):
        RayBackend(scheduler=spec)


def test_a_scheduler_takes_the_pruners_place():
    backend = RayBackend(scheduler="asha")
    assert backend.prunes_itself
    assert not RayBackend().prunes_itself
