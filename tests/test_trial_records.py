"""The records of a study: figures that follow every change, and peers that are never copied."""

from dataclasses import replace

import pytest

from hpo.testing.pruners import random_records, scripted_record
from hpo.trial import TrialState
from hpo.trial_records import TrialRecords


@pytest.mark.parametrize("seed", range(5))
def test_the_figures_are_those_of_the_records(seed):
    records = TrialRecords(reversed(random_records(seed)))
    for changed in random_records(seed + 100):
        records.store(changed)
        held = records.by_number
        assert [r.number for r in held] == sorted(records.numbers) == list(range(15))
        assert records.n_steps == sum(r.last_step for r in held)
        assert records.n_counted == sum(not r.interrupted for r in held)
        assert {r.number for r in records.running} == {
            r.number for r in held if r.state is TrialState.RUNNING
        }
        assert {id(r) for r in records.ended} == {
            id(r) for r in held if r.state is not TrialState.RUNNING
        }
        for number in (0, 7, 20):
            before = [r for r in held if r.number < number and r.interrupted]
            assert records.n_interrupted_before(number) == len(before)


def test_the_list_of_ended_trials_grows_until_one_of_them_is_replaced():
    records, ended = TrialRecords(), []
    for number in range(3):
        records.store(scripted_record(number, [0.5]))
        ended.append(scripted_record(number, [0.5], TrialState.COMPLETE))
        before = records.ended
        records.store(ended[-1])
        assert records.ended is before
        assert records.ended == ended
    revoked = replace(ended[1], state=TrialState.INTERRUPTED)
    records.store(revoked)
    assert records.ended is not before
    assert records.ended == [ended[0], revoked, ended[2]]
    assert before == ended


def test_peers_are_all_trials_but_one_as_they_are_now():
    held = random_records(0, nan=0)
    records = TrialRecords(held)
    peers = records.peers_of(14)
    assert list(peers) == held[:14]
    assert len(peers) == 14
    assert peers[-1].number == 13
    assert [r.number for r in peers[2:4]] == [2, 3]
    assert records[14] not in peers
    assert records[3] in peers
    records.store(scripted_record(15, [0.1]))
    assert len(peers) == 15
    assert peers[-1].number == 15
    assert 14 not in {r.number for r in peers.running}
    assert len(records.peers_of(99)) == 16


def test_a_trial_that_another_one_goes_on_with_is_no_peer():
    records = TrialRecords()
    interrupted = scripted_record(0, [0.5, 0.6], TrialState.INTERRUPTED)
    records.store(interrupted)
    records.store(scripted_record(1, [0.5], TrialState.COMPLETE))
    before = records.ended
    resumed = scripted_record(2, [0.5, 0.6, 0.7])
    resumed = replace(resumed, trial=replace(resumed.trial, resumed_from=0, resumed_step=1))
    records.store(resumed)
    peers = records.peers_of(2)
    assert before is not peers.ended
    assert [record.number for record in peers] == [record.number for record in peers.ended] == [1]
    assert len(peers) == 1
    assert records.n_steps == 2 + 1 + 2
    records.store(replace(resumed, state=TrialState.COMPLETE))
    assert [record.number for record in records.peers_of(7).ended] == [1, 2]
