"""Several drivers, on one machine or many, share one study through its storage."""

import json
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow

SETUP = """
    import sys
    from hpo.budget import Budget
    from hpo.storage.trial_store import TrialStore
    from hpo.samplers.base import make_sampler
    from hpo.backends.optuna import OptunaBackend
    from hpo.executors.serial import SerialExecutor
    from hpo.pruners.median import MedianPruner
    from hpo.trial_manager import TrialManager
    from hpo.space import SearchSpace
    from hpo.testing import ScriptedObjective

    space = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}})

    def drive(name, sampler, budget, objective):
        store = TrialStore(
            name, space, sys.argv[1], sampler=make_sampler(sampler, int(sys.argv[2]), parallel=True)
        )
        store.fail_stale_trials()
        trials = TrialManager(
            store, MedianPruner(), Budget(budget), max_steps=objective.max_steps
        )
        print("ready", flush=True)
        sys.stdin.readline()
        with SerialExecutor(objective) as executor:
            OptunaBackend().run(trials, executor)
        return store
"""

SHARING = """
    curve = lambda trial: [trial.params["x"] * step for step in range(1, 6)]
    store = drive("shared", "tpe", 16, ScriptedObjective(curve, n_steps=5, delay=0.02))
    print(" ".join(str(n) for n in sorted(store._asked)))
"""

RACING = """
    objective = ScriptedObjective(lambda trial: [trial.params["x"]], n_steps=1)
    for name in sys.argv[3:]:
        drive(name, "random", 3, objective)
    print("done")
"""

RECORDS = """
    import json, sys
    from hpo import load_result

    def told(name):
        records = load_result(name, sys.argv[1]).records
        return [[r.number, r.trial.params["x"], r.state, r.cause, len(r.reports)] for r in records]

    print(json.dumps([told(name) for name in sys.argv[2:]]))
"""


def start(code, url, *arguments):
    """Start two drivers."""
    text = textwrap.dedent(SETUP) + textwrap.dedent(code)
    return [
        subprocess.Popen(
            [sys.executable, "-c", text, url, str(i), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]


def let_go(drivers):
    """Wait until both are ready, and let them go at once."""
    for driver in drivers:
        assert driver.stdout.readline() == "ready\n", driver.stderr.read()
    for driver in drivers:
        driver.stdin.write("go\n")
        driver.stdin.flush()


def outputs(drivers):
    """Return what they print until they end."""
    for driver in drivers:
        out, err = driver.communicate(timeout=120)
        assert driver.returncode == 0, err
        yield out


def records_of(url, *names):
    """Return for each study its records as lists: number, x, state, cause, number of reports."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RECORDS), url, *names],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return json.loads(done.stdout)


KINDS = pytest.mark.parametrize("kind", ["sqlite", "journal", "postgresql"])


@KINDS
def test_two_drivers_share_a_budget_and_no_trial_is_run_twice(kind, storage_url):
    url = storage_url(kind)
    drivers = start(SHARING, url)
    let_go(drivers)
    ran = [set(map(int, out.split())) for out in outputs(drivers)]
    (records,) = records_of(url, "shared")
    assert ran[0]
    assert ran[1]
    assert not ran[0] & ran[1]
    assert ran[0] | ran[1] == {number for number, *_ in records}
    assert sum(state != "interrupted" for _, _, state, _, _ in records) == 16
    begun = [x for _, x, _, _, n_reports in records if n_reports]
    assert len(set(begun)) == len(begun) == 16
    assert "pruned" in {state for _, _, state, _, _ in records}


@KINDS
def test_two_drivers_that_race_for_the_last_trials_never_make_one_too_many(kind, storage_url):
    url = storage_url(kind)
    names = [f"race {i}" for i in range(8)]
    drivers = start(RACING, url, *names)
    for _ in names:
        let_go(drivers)
    assert list(outputs(drivers)) == ["done\n"] * 2
    for records in records_of(url, *names):
        assert sum(state != "interrupted" for _, _, state, _, _ in records) == 3
        for _, _, _, cause, n_reports in records:
            assert bool(n_reports) == (cause != "withdrawn")
