"""The Gaussian process that learns from stopped trials: what it takes them to have come to."""

import math

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GPSampler
from optuna.trial import TrialState, create_trial

from hpo.exceptions import PluginError
from hpo.samplers._acquisition import greatest
from hpo.samplers._gp import StoppedGPSampler, expected_values
from hpo.samplers.base import make_sampler

SPACE = {"x": FloatDistribution(0.0, 1.0)}


def trial(x, *curve, stopped=False):
    """Return a trial that reported a value after each step."""
    state = TrialState.PRUNED if stopped else TrialState.COMPLETE
    return create_trial(
        state=state,
        values=None if stopped else [max(curve)],
        params={"x": x},
        distributions=SPACE,
        intermediate_values={i + 1: value for i, value in enumerate(curve)},
    )


def study_of(*trials):
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return study


def test_a_stopped_trial_gains_what_the_nearest_have_gained():
    complete = [trial(0.1, 0.1, 0.3), trial(0.2, 0.5, 0.6), trial(0.3, 0.8, 0.85)]
    stopped = [trial(0.5, 0.12, stopped=True), trial(0.5, 0.45, stopped=True)]
    assert expected_values(stopped, complete) == pytest.approx([0.32, 0.55])


def test_it_is_not_better_than_the_median_of_the_complete():
    complete = [trial(0.1, 0.1, 0.9), trial(0.2, 0.7, 0.75), trial(0.3, 0.8, 0.7)]
    assert expected_values([trial(0.5, 0.2, stopped=True)], complete) == [0.8]


@pytest.mark.parametrize("curve", [(), (math.nan,), (0.1, 0.2, 0.3)])
def test_nothing_is_expected_where_nothing_is_known(curve):
    """No value, none that is a number, or none of others at that step."""
    complete = [trial(0.1, 0.1, 0.3)]
    assert expected_values([trial(0.5, *curve, stopped=True)], complete) == [None]


def seen_by_the_model(monkeypatch, sampler, study):
    """Return the values by x that Optuna's rule is given for a proposal."""
    seen = []

    def impl(self, study, completed_trials, running_trials, search_space):
        seen.append({t.params["x"]: t.values[0] for t in completed_trials})
        return {"x": 0.5}

    monkeypatch.setattr(GPSampler, "_sample_relative_impl", impl)
    asked = study.ask()
    frozen = study._storage.get_trial(asked._trial_id)
    sampler.sample_relative(study, frozen, SPACE)
    return seen[0] if seen else None


def test_the_model_sees_the_latest_stopped_trials(monkeypatch):
    study = study_of(
        trial(0.1, 0.1, 0.3),
        trial(0.2, 0.5, 0.6),
        trial(0.7, 0.2, stopped=True),
        trial(0.8, 0.1, stopped=True),
    )
    study.enqueue_trial({"x": 0.9})
    too_large = study.ask(SPACE)
    too_large.report(0.1, 1)
    too_large.set_constraint("memory", 1.0)
    study.tell(too_large, state=TrialState.PRUNED)
    sampler = StoppedGPSampler(n_startup_trials=2, random_share=0.0, n_stopped=1)
    seen = seen_by_the_model(monkeypatch, sampler, study)
    assert seen == pytest.approx({0.1: 0.3, 0.2: 0.6, 0.8: 0.3})


@pytest.mark.parametrize(
    ("n_complete", "n_stopped", "share", "asks"),
    [
        (4, 15, 0.0, False),
        (5, 0, 0.0, True),
        (2, 18, 0.0, True),  # enough have ended
        (1, 30, 0.0, False),  # of one complete trial nothing can be learned
        (5, 0, 1.0, False),  # every trial is random
    ],
)
def test_when_it_begins(monkeypatch, n_complete, n_stopped, share, asks):
    complete = [trial(0.1 * i, 0.1, 0.3) for i in range(n_complete)]
    stopped = [trial(0.5 + 0.01 * i, 0.2, stopped=True) for i in range(n_stopped)]
    sampler = StoppedGPSampler(n_startup_trials=5, random_share=share)
    seen = seen_by_the_model(monkeypatch, sampler, study_of(*complete, *stopped))
    assert (seen is not None) is asks


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_it_proposes_near_the_best_and_not_near_the_stopped():
    """A peak at 0.3, which only stopped trials tell to be no wider."""
    study = optuna.create_study(direction="maximize", sampler=StoppedGPSampler(n_startup_trials=5))
    for i in range(25):
        asked = study.ask(SPACE)
        value = -((asked.params["x"] - 0.3) ** 2)
        asked.report(value, 1)
        if i > 4 and value < -0.04:
            study.tell(asked, state=TrialState.PRUNED)
        else:
            study.tell(asked, value)
    late = [t.params["x"] for t in study.trials[-8:]]
    assert sum(abs(x - 0.3) < 0.2 for x in late) >= 6


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_study_that_is_gone_on_with_proposes_the_same():
    """Random points at first, later the model's."""

    def proposals(n_before):
        study = optuna.create_study(direction="maximize")
        for i in range(9):
            if i in {0, n_before}:  # another process, which knows nothing but the study
                study.sampler = make_sampler("gp:n_startup_trials=4", 0, parallel=False)
            asked = study.ask(SPACE)
            study.tell(asked, -((asked.params["x"] - 0.3) ** 2))
        return [t.params["x"] for t in study.trials]

    straight = proposals(n_before=99)
    assert len(set(straight)) == 9
    assert proposals(n_before=2) == straight
    assert proposals(n_before=7) == straight


def test_options_are_checked():
    with pytest.raises(PluginError, match="n_startup_trials must be at least 1"):
        make_sampler("gp:n_startup_trials=0", 0, parallel=False)
    assert isinstance(make_sampler("optuna_gp", 0, parallel=False), GPSampler)


MIXED = {
    "x": FloatDistribution(0.0, 1.0),
    "rate": FloatDistribution(1e-5, 1.0, log=True),
    "width": IntDistribution(16, 1024, log=True),
    "depth": IntDistribution(1, 4),
    "kind": CategoricalDistribution(["a", "b", "c"]),
}


def mixed_study(n, sampler):
    study = optuna.create_study(direction="maximize", sampler=sampler)
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    for _ in range(n):
        params = drawn.ask(MIXED).params
        value = math.log(params["width"]) / 9 - (math.log10(params["rate"]) + 2) ** 2 / 4
        value += (params["kind"] == "b") - params["x"] * params["depth"] / 4
        study.add_trial(create_trial(params=params, distributions=MIXED, values=[value]))
    return study


@pytest.mark.parametrize("n", [15, 60])
def test_the_greatest_acquisition_is_that_which_optunas_search_finds(n, monkeypatch):
    found = []

    def both(self, acqf, best):
        theirs = GPSampler._optimize_acqf(self, acqf, best)
        ours = greatest(acqf, best, self._rng.rng)
        for i, choices in zip(
            acqf.search_space.discrete_indices,
            acqf.search_space.get_choices_of_discrete_params(),
            strict=True,
        ):
            assert ours[i] in choices
        assert ((ours >= 0) & (ours <= 3)).all()
        found.append(acqf.eval_acqf_no_grad(np.array([theirs, ours])))
        return ours

    monkeypatch.setattr(StoppedGPSampler, "_optimize_acqf", both)
    study = mixed_study(n, StoppedGPSampler(random_share=0.0))
    for _ in range(3):
        trial = study.ask(MIXED)
        study.tell(trial, 0.0)
    gaps = np.array([ours - theirs for theirs, ours in found])
    assert len(gaps) == 3
    assert (gaps > -0.05).all()


def test_the_same_seed_proposes_the_same():
    asked = [mixed_study(20, StoppedGPSampler(seed=4)).ask(MIXED).params for _ in range(2)]
    assert asked[0] == asked[1]


def test_without_what_is_asked_of_an_acquisition_function_optuna_searches(monkeypatch):
    monkeypatch.setattr("hpo.samplers._gp.PARTS", ("not_there",))
    monkeypatch.setattr("hpo.samplers._gp.greatest", None)
    noted = []
    monkeypatch.setattr("hpo.samplers._gp.note_missing", lambda *parts: noted.append(parts[1]))
    params = mixed_study(20, StoppedGPSampler(random_share=0.0)).ask(MIXED).params
    assert set(params) == set(MIXED)
    assert noted == ["BaseAcquisitionFunc.not_there"]
