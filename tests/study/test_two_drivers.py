"""Several drivers, on one machine or many, share one study through its storage."""

import json
import textwrap
import time

import pytest

pytestmark = pytest.mark.slow

SETUP = """
    import sys, time
    from pathlib import Path
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
        Path(f"{name}, driver {sys.argv[2]}").touch()
        while not Path(f"{name}, go").exists():
            time.sleep(0.001)
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


class Drivers:
    """Two drivers, which wait for each other before each study.

    Parameters
    ----------
    commands : Commands
    folder : Path
    url : str
        Of their storage.
    """

    def __init__(self, commands, folder, url):
        self._commands, self._folder, self._url = commands, folder, url

    def start(self, code, *arguments):
        text = textwrap.dedent(SETUP) + textwrap.dedent(code)
        self._both = [
            self._commands.start(self._url, i, *arguments, folder=self._folder, code=text)
            for i in range(2)
        ]

    def let_go(self, name):
        """Wait until both are ready for a study, and let them go at once."""
        ready = [self._folder / f"{name}, driver {i}" for i in range(2)]
        while not all(path.exists() for path in ready):
            assert not any(driver.over for driver in self._both), self.outputs()
            time.sleep(0.005)
        (self._folder / f"{name}, go").touch()

    def outputs(self):
        """Return what they print until they end."""
        for driver in self._both:
            assert driver.wait() == 0, driver.text
        return [driver.text for driver in self._both]

    def records(self, *names):
        """Return for each study its records: number, x, state, cause, number of reports."""
        done = self._commands.python(RECORDS, self._url, *names, folder=self._folder)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def drivers(kind, storage_url, commands, tmp_path):
    return Drivers(commands, tmp_path, storage_url(kind))


KINDS = pytest.mark.parametrize("kind", ["sqlite", "journal", "postgresql"])


@KINDS
def test_two_drivers_share_a_budget_and_no_trial_is_run_twice(drivers):
    drivers.start(SHARING)
    drivers.let_go("shared")
    ran = [set(map(int, out.split())) for out in drivers.outputs()]
    (records,) = drivers.records("shared")
    assert ran[0]
    assert ran[1]
    assert not ran[0] & ran[1]
    assert ran[0] | ran[1] == {number for number, *_ in records}
    assert sum(state != "interrupted" for _, _, state, _, _ in records) == 16
    begun = [x for _, x, _, _, n_reports in records if n_reports]
    assert len(set(begun)) == len(begun) == 16
    assert "pruned" in {state for _, _, state, _, _ in records}


@KINDS
def test_two_drivers_that_race_for_the_last_trials_never_make_one_too_many(drivers):
    names = [f"race {i}" for i in range(8)]
    drivers.start(RACING, *names)
    for name in names:
        drivers.let_go(name)
    assert drivers.outputs() == ["done\n"] * 2
    for records in drivers.records(*names):
        assert sum(state != "interrupted" for _, _, state, _, _ in records) == 3
        for _, _, _, cause, n_reports in records:
            assert bool(n_reports) == (cause != "withdrawn")
