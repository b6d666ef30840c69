"""Lent pruners tell why they stop a trial, and what is wrong with their options."""

import math
import os
import subprocess
import sys

import optuna
import pytest

from hpo import _discovery
from hpo.exceptions import PluginError
from hpo.pruners import BasePruner
from hpo.pruners.optuna import OptunaPruner
from hpo.testing.pruners import scripted_record
from hpo.trial import TrialState


@pytest.mark.parametrize(
    ("options", "values", "reason"),
    [
        (
            {"pruner": "threshold", "lower": 0.5},
            [0.6, 0.4123456],
            "epoch 2: 0.4123 is out of bounds; stopped by ThresholdPruner(lower=0.5)",
        ),
        (
            {"pruner": "threshold", "lower": 0.5},
            [math.nan],
            "epoch 1: no finite score (diverged); stopped by ThresholdPruner(lower=0.5)",
        ),
        (
            {"pruner": "median"},
            [0.4, 0.3],
            "epoch 2: best so far 0.4 is below the median of the complete trials; "
            "stopped by MedianPruner",
        ),
        (
            {"pruner": "percentile", "percentile": 10},
            [math.nan, 0.3],
            "epoch 2: best so far 0.3 is below the percentile of the complete trials; "
            "stopped by PercentilePruner(percentile=10)",
        ),
        (
            {"pruner": "successive_halving"},
            [0.2, 0.41],
            "epoch 2: 0.41 was not promoted from its rung; stopped by SuccessiveHalvingPruner",
        ),
        (
            {"pruner": "hyperband", "max_resource": 2},
            [0.2, 0.41],
            "epoch 2: 0.41 was not promoted from its rung of its bracket; "
            "stopped by HyperbandPruner(max_resource=2)",
        ),
        (
            {"pruner": "patient", "patience": 0},
            [0.5, 0.4],
            "epoch 2: no gain within its patience, best so far 0.5; "
            "stopped by PatientPruner(patience=0)",
        ),
    ],
)
def test_reasons(options, values, reason):
    peers = [scripted_record(i, [0.9] * 4, TrialState.COMPLETE) for i in range(6)]
    assert OptunaPruner(**options).decide(scripted_record(6, values), peers).reason == reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pruner": "hyperban"}, "Optuna has no pruner 'hyperban', did you mean 'hyperband'?"),
        ({"pruner": 3}, "Optuna has no pruner 3. Choose one of: hyperband, median, nop, "),
        (
            {"pruner": "hyperband", "max_ressource": 3},
            "HyperbandPruner has no option 'max_ressource', did you mean 'max_resource'?",
        ),
        ({"pruner": "nop", "x": 3}, "NopPruner has no option 'x'. Its options are: none."),
        ({"pruner": "percentile"}, "PercentilePruner needs the option 'percentile'."),
        ({"pruner": "patient", "wrapped": "median"}, "PatientPruner needs the option 'patience'."),
        (
            {"min_resource": 2.5},
            "The 'min_resource' option of Optuna's SuccessiveHalvingPruner must be str | int. "
            "Got 2.5 instead.",
        ),
        (
            {"reduction_factor": True},
            "The 'reduction_factor' option of Optuna's SuccessiveHalvingPruner must be int. "
            "Got True instead.",
        ),
        ({"reduction_factor": 1}, "refused its options: The value of `reduction_factor` is 1"),
        ({"pruner": "threshold"}, "refused its options: Either lower or upper must be specified."),
        (
            {"pruner": "hyperband", "min_resource": 0},
            "needs `min_resource >= 1` and `reduction_factor >= 2`, "
            "but got (min_resource=0, reduction_factor=3).",
        ),
        (
            {"pruner": "hyperband", "min_resource": 9, "max_resource": 3},
            "needs `max_resource >= min_resource`, but got (min_resource=9, max_resource=3).",
        ),
        (
            {"pruner": "patient", "patience": 1, "wrapped__interval_steps": 3},
            "The option 'wrapped__interval_steps' needs the option 'wrapped'",
        ),
        (
            {"pruner": "patient", "patience": 1, "wrapped": "wilcoxon"},
            "WilcoxonPruner compares folds, so no pruner of steps can wrap it.",
        ),
        ({"study_name": 3}, "The 'study_name' parameter of OptunaPruner must be a str. Got 3"),
    ],
)
def test_mistakes_are_told_when_it_is_built(options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # compared below, brackets and all
        OptunaPruner(**options)
    assert message in str(caught.value)


def test_options_of_a_pruner_that_is_given_are_refused():
    with pytest.raises(ValueError, match="HyperbandPruner is built already, so it takes no"):
        OptunaPruner(optuna.pruners.HyperbandPruner(), max_resource=3)


def test_the_text_form_builds_it():
    pruner = _discovery.build("hpo.pruners", "optuna:pruner=hyperband,max_resource=20", BasePruner)
    assert repr(pruner) == "OptunaPruner('hyperband', max_resource=20)"
    with pytest.raises(PluginError, match=r"pruner 'optuna': .* did you mean 'max_resource'\?"):
        _discovery.build("hpo.pruners", "optuna:pruner=hyperband,max_resources=20", BasePruner)


def test_finding_it_does_not_import_optuna():
    code = (
        "import sys; from hpo import _discovery; from hpo.pruners import BasePruner;"
        "_discovery.find('hpo.pruners', 'optuna', BasePruner); assert 'optuna' not in sys.modules"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
