"""Several drivers, on one machine or many, share one study through its storage."""

import os
import subprocess
import sys
import textwrap

import pytest

from hpo import load_result

DRIVER = """
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
    store = TrialStore("shared", space, sys.argv[1], sampler=make_sampler("tpe", 0, parallel=True))
    store.fail_stale_trials()
    curve = lambda trial: [trial.params["x"] * step for step in range(1, 6)]
    objective = ScriptedObjective(curve, n_steps=5, delay=0.02)
    trials = TrialManager(store, MedianPruner(), Budget(16), max_steps=objective.max_steps)
    print("ready", flush=True)
    sys.stdin.readline()
    with SerialExecutor(objective) as executor:
        OptunaBackend().run(trials, executor)
    print(" ".join(str(n) for n in sorted(store._asked)))
"""


def url_of(kind, tmp_path):
    if kind == "postgresql":
        return os.environ.get("HPO_TEST_POSTGRESQL") or pytest.skip(
            "set HPO_TEST_POSTGRESQL to the URL of an empty database"
        )
    return {"sqlite": f"sqlite:///{tmp_path}/s.db", "journal": f"journal:///{tmp_path}/s.log"}[kind]


@pytest.mark.parametrize("kind", ["sqlite", "journal", "postgresql"])
def test_two_drivers_share_a_budget_and_no_trial_is_run_twice(kind, tmp_path):
    url = url_of(kind, tmp_path)
    code = textwrap.dedent(DRIVER)
    drivers = [
        subprocess.Popen(
            [sys.executable, "-c", code, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for driver in drivers:
        assert driver.stdout.readline() == "ready\n", driver.stderr.read()
    ran = []
    for driver in drivers:
        driver.stdin.write("go\n")
        driver.stdin.flush()
    for driver in drivers:
        out, err = driver.communicate(timeout=120)
        assert driver.returncode == 0, err
        ran.append(set(map(int, out.split())))
    result, _ = load_result("shared", url)
    assert ran[0]
    assert ran[1]
    assert not ran[0] & ran[1]
    assert ran[0] | ran[1] == {r.number for r in result.records}
    assert 16 <= result.n_trials <= 17  # both may see the last place free at once
    assert len({r.trial.params["x"] for r in result.records}) == result.n_trials
    assert result.n_pruned
