"""Every public pruner, found by its module's name, and pruners of third parties, keep the laws."""

import itertools

import pytest

from hpo import _discovery
from hpo.pruners import BasePruner, PruneDecision
from hpo.testing.pruners import PrunerConformance, random_records


class TestPublicPruners(PrunerConformance):
    @pytest.fixture(params=_discovery.names("hpo.pruners"))
    def pruner(self, request):
        return _discovery.build("hpo.pruners", request.param, BasePruner)


class TestLentPruners(PrunerConformance):
    @pytest.fixture(
        params=[
            "hyperband,max_resource=9",
            "hyperband",
            "successive_halving,min_resource=1,reduction_factor=2",
            "successive_halving,min_resource=2,bootstrap_count=2",
            "median,n_startup_trials=1",
            "percentile,percentile=75.0,n_startup_trials=1",
            "threshold,lower=0.3",
            "patient,patience=1",
            "patient,patience=1,wrapped=successive_halving",
            "wilcoxon",
        ]
    )
    def pruner(self, request):
        return _discovery.build("hpo.pruners", f"optuna:pruner={request.param}", BasePruner)


class TestMedianOptions(PrunerConformance):
    @pytest.fixture(params=["reference=running_mean", "peers=reported,n_startup_trials=2"])
    def pruner(self, request):
        return _discovery.build("hpo.pruners", f"optuna_median:{request.param}", BasePruner)


class BelowOwnBest(BasePruner):
    """Somebody's pruner: stops a trial that has fallen below its own best."""

    def decide(self, record, peers):
        best = record.best_report
        if best is None or best.step == record.last_step:
            return PruneDecision(False)
        return PruneDecision(True, f"epoch {record.last_step}: no longer at its best")


class TestThirdParty(PrunerConformance):
    @pytest.fixture
    def pruner(self):
        return BelowOwnBest()


class EveryOther(BasePruner):
    """Breaks the law: counts its calls."""

    def __init__(self):
        self.calls = itertools.count()

    def decide(self, record, peers):
        return PruneDecision(next(self.calls) % 2 == 1, "odd")


class FirstPeer(BasePruner):
    """Breaks the law: looks at the order of the peers."""

    def decide(self, record, peers):
        return PruneDecision(bool(peers) and peers[0].number == 0, "first")


def test_the_suite_finds_a_pruner_that_counts():
    with pytest.raises(AssertionError):
        PrunerConformance().test_same_arguments_same_decision(EveryOther())


def test_the_suite_finds_a_pruner_that_minds_the_order():
    with pytest.raises(AssertionError):
        PrunerConformance().test_order_of_peers_is_irrelevant(FirstPeer())


def test_the_suite_finds_a_pruner_that_cannot_be_copied():
    pruner = BelowOwnBest()
    pruner.stream = (number for number in range(3))
    with pytest.raises(TypeError, match="pickle"):
        PrunerConformance().test_a_copy_decides_the_same(pruner, used=False)


def test_random_records_repeat():
    assert repr(random_records(7)) == repr(random_records(7))
    assert repr(random_records(7)) != repr(random_records(8))
