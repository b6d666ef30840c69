"""A conformance suite for pruners: inherit it, supply the pruner, and pytest runs its laws."""

import copy
import math
import pickle
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from hpo.pruners import BasePruner, PruneDecision
from hpo.trial import Report, Trial, TrialRecord, TrialState
from hpo.trial_records import TrialRecords

__all__ = ["PrunerConformance", "random_records", "scripted_record"]

N_FOLDS = 5


def scripted_record(
    number: int, values: Sequence[float], state: TrialState = TrialState.RUNNING
) -> TrialRecord:
    """Return the record of a trial that has reported ``values`` at the steps 1, 2, ….

    The five folds of each report have scores around its value.
    """
    spread = range(-(N_FOLDS // 2), N_FOLDS // 2 + 1)
    reports = tuple(
        Report(number, step, value, tuple(value + i / 100 for i in spread))
        for step, value in enumerate(values, start=1)
    )
    return TrialRecord(Trial(number, {}, seed=number), state, reports)


def random_records(
    seed: int, *, n_trials: int = 15, n_steps: int = 12, nan: float = 0.1
) -> list[TrialRecord]:
    """Return the records of a study at some moment: all states, ragged lengths, some nan.

    Parameters
    ----------
    seed : int
        The same seed gives the same records.
    n_trials : int, default=15
        Number of records, numbered from 0; the last one is running and has reports.
    n_steps : int, default=12
        Steps of a complete trial; the others have made fewer, or none.
    nan : float, default=0.1
        Share of the reports without a finite value, from 0 to 1.
    """
    rng = random.Random(seed)
    records = []
    for number in range(n_trials):
        last = number == n_trials - 1
        state = TrialState.RUNNING if last else rng.choice(list(TrialState))
        length = n_steps if state is TrialState.COMPLETE else rng.randint(int(last), n_steps)
        level = rng.random()
        values = [level * (1 - 0.8**step) + rng.gauss(0, 0.02) for step in range(1, length + 1)]
        values = [math.nan if rng.random() < nan else value for value in values]
        records.append(scripted_record(number, values, state))
    return records


def _moments(nan: float = 0.1) -> Iterator[tuple[TrialRecord, list[TrialRecord]]]:
    """Yield records of a running trial with those of its peers."""
    for seed in range(12):
        *peers, record = random_records(seed, nan=nan)
        yield record, peers


def _course() -> Iterator[tuple[TrialRecords, int]]:
    """Yield the records of a study after each report, with the number of the trial that made it.

    Three trials run at a time; they end in all states, and one that had ended is revoked.
    """
    rng, records, states = random.Random(0), TrialRecords(), list(TrialState)[1:]
    waiting = [rng.randint(1, 12) for _ in range(30)]  # steps of the trials to come
    running: dict[int, int] = {}
    while waiting or running:
        while waiting and len(running) < 3:
            number = len(records)
            running[number] = waiting.pop()
            records.store(scripted_record(number, []))
        for number, n_steps in list(running.items()):
            values = [report.value for report in records[number].reports]
            values.append(math.nan if rng.random() < 0.1 else rng.random())
            records.store(scripted_record(number, values))
            yield records, number
            if len(values) == n_steps:
                del running[number]
                records.store(scripted_record(number, values, rng.choice(states)))
            if len(records) == 20:
                records.store(replace(records[5], state=TrialState.INTERRUPTED))


class PrunerConformance:
    """What holds for every pruner.

    Inherit from it in a test module and supply the pruner::

        class TestMyPruner(PrunerConformance):
            @pytest.fixture
            def pruner(self):
                return MyPruner()
    """

    @pytest.fixture
    def pruner(self) -> BasePruner:
        """Return a new pruner."""
        raise NotImplementedError("A subclass supplies this fixture.")

    def test_a_decision_is_made_and_a_stop_has_a_reason(self, pruner: BasePruner) -> None:
        """Every answer is a `PruneDecision`; `PruneDecision` refuses a stop without a reason."""
        for record, peers in _moments():
            decision = pruner.decide(record, peers)
            assert isinstance(decision, PruneDecision)
            assert isinstance(decision.reason, str)
            assert decision.reason.strip() or not decision.stop

    def test_same_arguments_same_decision(self, pruner: BasePruner) -> None:
        """Asked again, or after other questions, or as a new object, a pruner says the same."""
        fresh = [copy.deepcopy(pruner) for _ in _moments()]
        first = [pruner.decide(*moment) for moment in _moments()]
        again = [pruner.decide(*moment) for moment in _moments()]
        assert again == first
        for record, peers in _moments():
            assert pruner.decide(record, peers) == pruner.decide(record, peers)
        alone = [each.decide(*moment) for each, moment in zip(fresh, _moments(), strict=True)]
        assert alone == first

    def test_order_of_peers_is_irrelevant(self, pruner: BasePruner) -> None:
        """The peers are a set."""
        for record, peers in _moments():
            shuffled = random.Random(0).sample(peers, len(peers))
            fresh = copy.deepcopy(pruner)
            assert fresh.decide(record, shuffled) == pruner.decide(record, peers)

    def test_a_trial_without_peers_can_be_judged(self, pruner: BasePruner) -> None:
        """The first trial of a study has none."""
        for record, _ in _moments():
            assert isinstance(pruner.decide(record, []), PruneDecision)

    def test_a_trial_without_reports_goes_on(self, pruner: BasePruner) -> None:
        """There is nothing to judge."""
        *peers, _ = random_records(0)
        assert not pruner.decide(scripted_record(len(peers), []), peers).stop

    @pytest.mark.parametrize("share", [0.5, 1.0])
    def test_nan_never_raises(self, pruner: BasePruner, share: float) -> None:
        """Neither the trial's own nor its peers'."""
        for record, peers in _moments(nan=share):
            assert isinstance(pruner.decide(record, peers), PruneDecision)
            diverged = scripted_record(record.number, [math.nan] * 5)
            assert isinstance(pruner.decide(diverged, peers), PruneDecision)

    def test_a_growing_trial_can_be_judged_at_each_step(self, pruner: BasePruner) -> None:
        """The way a scheduler asks: after each report, of one object."""
        *peers, _ = random_records(3)
        values = [0.1 * step for step in range(1, 11)]
        for n_reports in range(1, len(values) + 1):
            record = scripted_record(len(peers), values[:n_reports])
            assert isinstance(pruner.decide(record, peers), PruneDecision)

    def test_the_live_records_of_a_study_are_judged_like_a_list(self, pruner: BasePruner) -> None:
        """The peers that a study passes are not copied, and change between two decisions."""
        twin = copy.deepcopy(pruner)
        for records, number in _course():
            peers = records.peers_of(number)
            assert pruner.decide(records[number], peers) == twin.decide(
                records[number], [record for record in records if record.number != number]
            )

    @pytest.mark.parametrize("used", [False, True])
    def test_a_copy_decides_the_same(self, pruner: BasePruner, used: bool) -> None:
        """Pickled or deep-copied, before and after use."""
        if used:
            for moment in _moments():
                pruner.decide(*moment)
        twins = [pickle.loads(pickle.dumps(pruner)), copy.deepcopy(pruner)]
        for record, peers in _moments():
            decision = pruner.decide(record, peers)
            assert [twin.decide(record, peers) for twin in twins] == [decision] * 2
