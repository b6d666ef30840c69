"""Samplers by name, and what they propose."""

import sys

import optuna
import pytest

from hpo import samplers
from hpo._discovery import names
from hpo.exceptions import PluginError
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.trial import Report, TrialRecord, TrialState

SPACE = SearchSpace.load(
    {
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
        "width": {"type": "int", "low": 4, "high": 64},
        "kind": {"type": "categorical", "choices": ["a", "b"]},
        "rate": {"type": "float", "low": 0.0, "high": 1.0, "when": {"kind": "b"}},
    }
)


def ask_and_tell(sampler, n, seed=0):
    store = TrialStore("s", SPACE, sampler=make_sampler(sampler, seed, parallel=False), seed=seed)
    asked = []
    for _ in range(n):
        trial = store.ask()
        asked.append(trial.params)
        value = trial.params["lr"] + trial.params["width"] / 100
        report = Report(trial.number, 1, value, (value,))
        store.report(report)
        store.tell(TrialRecord(trial, TrialState.COMPLETE, (report,)))
    return asked


@pytest.mark.parametrize("name", sorted(set(names("hpo.samplers")) - {"grid", "ray"}))
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_every_sampler_asks_within_the_space_and_repeats_with_its_seed(name):
    first, second = ask_and_tell(name, 14), ask_and_tell(name, 14)
    assert first == second
    assert ask_and_tell(name, 14, seed=1) != first
    for params in first:
        assert 1e-4 <= params["lr"] <= 1
        assert ("rate" in params) == (params["kind"] == "b")


def test_options_reach_the_sampler():
    sampler = make_sampler("qmc:qmc_type=halton", 0, parallel=False)
    assert isinstance(sampler, optuna.samplers.QMCSampler)
    assert sampler._qmc_type == "halton"


ONE_MORE = """
import optuna

from hpo.samplers.base import BaseOptunaFactory


class Constant(optuna.samplers.RandomSampler):
    def __init__(self, seed, share=0.5):
        self.share = share

    def sample_independent(self, study, trial, name, distribution):
        return distribution.low + self.share * (distribution.high - distribution.low)


class Steady(BaseOptunaFactory):
    sampler = Constant
"""


@pytest.fixture
def one_more(tmp_path):
    """Add a module to the package of samplers."""
    (tmp_path / "steady.py").write_text(ONE_MORE)
    samplers.__path__.append(str(tmp_path))
    yield
    samplers.__path__.remove(str(tmp_path))
    sys.modules.pop("hpo.samplers.steady", None)


@pytest.mark.usefixtures("one_more")
def test_one_new_file_is_a_new_sampler():
    assert "steady" in names("hpo.samplers")
    sampler = make_sampler("steady:share=0.25", 0, parallel=False)
    study = optuna.create_study(sampler=sampler)
    assert study.ask({"x": optuna.distributions.FloatDistribution(0, 8)}).params == {"x": 2.0}
    with pytest.raises(PluginError, match="sampler 'steady' has no option 'part'"):
        make_sampler("steady:part=1", 0, parallel=False)


def test_a_sampler_is_passed_through():
    sampler = optuna.samplers.RandomSampler()
    assert make_sampler(sampler, 0, parallel=False) is sampler


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tpee", "There is no sampler 'tpee', did you mean 'tpe'?"),
        ("tpe:n_startup=3", "did you mean 'n_startup_trials'?"),
        ("rays", "There is no sampler 'rays', did you mean 'ray'? Choose one of: auto, cmaes, "),
        (3, "The sampler must be a name"),
        ("tpe:n_startup_trials", "expected name:key=value"),
    ],
)
def test_mistakes_are_named(spec, message):
    with pytest.raises(PluginError) as caught:
        make_sampler(spec, 0, parallel=False)
    assert message in str(caught.value)


def test_running_trials_count_as_bad_ones_when_several_run():
    assert make_sampler("tpe", 0, parallel=True)._sampler._constant_liar
    assert not make_sampler("tpe", 0, parallel=False)._sampler._constant_liar
