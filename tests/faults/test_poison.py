"""Parameters that kill the driver are given up, and those that ran beside them are not."""

import json

import pytest

POISON = """
    import json, os, signal, sys
    from hpo.backends.optuna import OptunaBackend
    from hpo.budget import Budget
    from hpo.executors import BaseExecutor, Ended, Reported
    from hpo.pruners.nop import NopPruner
    from hpo.space import SearchSpace
    from hpo.storage.trial_store import TrialStore
    from hpo.trial import Report
    from hpo.trial_manager import TrialManager

    SPACE = SearchSpace.load({"x": [1, 2, 3, 4]})
    URL, CAPACITY = sys.argv[1], int(sys.argv[2])

    class InDriver(BaseExecutor):
        capacity = CAPACITY  # trains so many trials at once, in the driver

        def start(self, trials):
            self.trials = {**getattr(self, "trials", {}), **{t.number: t for t in trials}}

        def poll(self, timeout=0.1):
            if any(trial.params["x"] == 2 for trial in self.trials.values()):
                os.kill(os.getpid(), signal.SIGSEGV)
            events = []
            for number in self.trials:
                events += [Reported(Report(number, 1, 0.5, (0.5,))), Ended(number)]
            self.trials = {}
            return events

        def stop(self, numbers):
            for number in numbers:
                self.trials.pop(number, None)

        def close(self):
            pass

    def drive():
        store = TrialStore("s", SPACE, URL)
        store.fail_stale_trials()
        store.set_grid([{"x": x} for x in (1, 2, 3, 4)])
        with InDriver(None) as executor:
            OptunaBackend().run(TrialManager(store, NopPruner(), Budget()), executor)

    codes = []
    while not codes or codes[-1]:
        pid = os.fork()
        if not pid:
            drive()
            os._exit(0)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        assert len(codes) < 20
    records = TrialStore("s", SPACE, URL).records(running=True)
    ends = [(r.trial.params["x"], r.state, r.reason) for r in records if not r.interrupted]
    print(json.dumps([codes, sorted(ends)]))
"""


@pytest.mark.parametrize("capacity", [1, 4])
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_parameters_that_kill_the_driver_are_tried_three_times(kind, capacity, tmp_path, commands):
    done = commands.python(POISON, f"{kind}:///{tmp_path}/s", capacity, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    codes, ends = json.loads(done.stdout)
    assert codes == [-11, -11, -11, 0]
    assert [(x, state) for x, state, _ in ends] == [
        (1, "complete"),
        (2, "failed"),
        (3, "complete"),
        (4, "complete"),
    ]
    assert ends[1][2] == (
        "the process that ran it died, as did those of 2 trials with the same parameters before: "
        "it is not tried again"
    )
