"""Many drivers of one study make exactly its number of trials, also if some are killed."""

import json

import pytest
from _studies import ROUNDS

N_TRIALS = 16 if ROUNDS == 1 else 40
"""Each of them costs every driver a look at all that there are."""

DRIVERS = """
    import json, os, random, signal, sys
    import optuna.storages, threadpoolctl, torch  # here, or each driver would load them itself
    from hpo.backends.optuna import OptunaBackend
    from hpo.budget import Budget
    from hpo.executors.serial import SerialExecutor
    from hpo.pruners.median import MedianPruner
    from hpo.samplers.base import make_sampler
    from hpo.space import SearchSpace
    from hpo.storage.drivers import at_work
    from hpo.storage.journal import JournalFile
    from hpo.storage.trial_store import TrialStore
    from hpo.testing import ScriptedObjective
    from hpo.trial_manager import TrialManager
    from optuna.storages._rdb import models, storage
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    SPACE = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}})
    URL, NAME = sys.argv[1:3]
    N_DRIVERS, N_KILLED, SEED, N_TRIALS = map(int, sys.argv[3:])
    chance = random.Random(SEED)

    def die_at(write):
        left = [write]
        def count(*_):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        event.listen(Engine, "commit", count)
        append = JournalFile.append_logs
        JournalFile.append_logs = lambda self, logs: (count(), append(self, logs))

    def drive(seed, death=None):
        sampler = make_sampler("random", seed, parallel=True)
        store = TrialStore(NAME, SPACE, URL, sampler=sampler)
        store.fail_stale_trials()
        # Those that are killed are killed early, so that there is somebody to notice.
        delay = 0.02 if N_KILLED and death is None else 0.0
        objective = ScriptedObjective(lambda trial: [trial.params["x"]], n_steps=1, delay=delay)
        budget = Budget(N_TRIALS)
        trials = TrialManager(store, MedianPruner(), budget, max_steps=objective.max_steps)
        if death is not None:
            die_at(death)
        with at_work(store.driver), SerialExecutor(objective) as executor:
            OptunaBackend().run(trials, executor)
        return store

    def facts(store):
        records = store.records(running=True)
        counted = [r for r in records if not r.interrupted]
        begun = [r.trial.params["x"] for r in counted]
        return {"n": len(counted), "n_points": len(set(begun)),
                "running": sum(r.state == "running" for r in records)}

    gate_out, gate_in = os.pipe()
    pids = []
    for i in range(N_DRIVERS):
        pid = os.fork()
        if not pid:
            os.close(gate_in)
            os.read(gate_out, 1)  # all begin at once, when the parent closes its end
            drive(SEED * 10 + i, chance.randint(1, 12) if i < N_KILLED else None)
            os._exit(0)
        pids.append(pid)
        chance.random()
    os.close(gate_in)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    at_once = facts(TrialStore(NAME, SPACE, URL))
    print(json.dumps({"codes": codes, "at_once": at_once, "later": facts(drive(SEED * 10 + 9))}))
"""


@pytest.mark.timeout(60 + 60 * ROUNDS)
@pytest.mark.parametrize(("n_drivers", "n_killed"), [(2, 1), (5, 0), (5, 2)])
@pytest.mark.parametrize("kind", ["sqlite", "journal", "postgresql"])
def test_drivers_make_exactly_the_trials_of_the_budget(
    kind, n_drivers, n_killed, storage_url, tally, commands, tmp_path
):
    url = storage_url(kind)
    for seed in range(ROUNDS):
        numbers = (n_drivers, n_killed, seed, N_TRIALS)
        done = commands.python(DRIVERS, url, f"study {seed}", *numbers, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        outcome = json.loads(done.stdout)
        killed, others = outcome["codes"][:n_killed], outcome["codes"][n_killed:]
        assert set(killed) <= {-9, 0}, done.stderr  # 0 if the others were much faster
        assert others == [0] * (n_drivers - n_killed), done.stderr
        exactly = {"n": N_TRIALS, "n_points": N_TRIALS, "running": 0}
        found = [outcome["at_once"], outcome["later"]]
        lost = sum(max(N_TRIALS - each["n"], 0) for each in found)
        doubled = sum(each["n"] - each["n_points"] + max(each["n"] - N_TRIALS, 0) for each in found)
        tally(f"{n_drivers} drivers, {n_killed} killed while writing", kind, 1, lost, doubled)
        assert found[1] == exactly
        # One that dies after all others have ended leaves its trial to the next run.
        assert found[0].pop("running") <= n_killed
        assert found[0] == {"n": N_TRIALS, "n_points": N_TRIALS}
