"""A driver that is killed between any two writes of asking for a trial leaves nothing behind."""

import json

import pytest

KILLED = """
    import json, os, signal, sys
    from hpo.budget import Budget
    from hpo.pruners.nop import NopPruner
    from hpo.space import SearchSpace
    from hpo.storage.journal import JournalFile
    from hpo.storage.trial_store import TrialStore
    from hpo.trial import Report, TrialState
    from hpo.trial_manager import TrialManager
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    SPACE = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}, "k": [1, 2, 3]})
    POINTS = [{"x": 0.25, "k": 2}, {"x": 0.5, "k": 3}]
    KIND, FOLDER, ENQUEUED = sys.argv[1], sys.argv[2], sys.argv[3] == "enqueued"

    def manager(url):
        store = TrialStore("s", SPACE, url)
        closed = store.fail_stale_trials()
        return store, TrialManager(store, NopPruner(), Budget(3)), closed

    def die_at(write):
        left = [write]
        def count(*_):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        event.listen(Engine, "commit", count)
        append = JournalFile.append_logs
        JournalFile.append_logs = lambda self, logs: (count(), append(self, logs))

    def die(url, write):
        store, trials, _ = manager(url)
        die_at(write)
        trials.ask()
        os._exit(0)

    outcomes, write, alive = [], 0, False
    while not alive:
        url = f"{KIND}:///{FOLDER}/{write}"
        if ENQUEUED:
            TrialStore("s", SPACE, url).enqueue(POINTS)
        pid = os.fork()
        if not pid:
            die(url, write)
        alive = os.WIFEXITED(os.waitpid(pid, 0)[1])
        store, trials, closed = manager(url)
        while (trial := trials.ask()) is not None:
            trials.report([Report(trial.number, 1, 0.5, (0.5,))])
            trials.end(trial.number)
        records = store.records(running=True)
        outcomes.append([
            len(closed),
            sum(r.state is TrialState.COMPLETE for r in records),
            sum(r.state is TrialState.RUNNING for r in records),
            all(p in [r.trial.params for r in records if not r.interrupted] for p in POINTS),
        ])
        write += 1
    print(json.dumps(outcomes))
"""


@pytest.mark.parametrize("points", ["sampled", "enqueued"])
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_driver_killed_at_any_write_of_asking_leaves_no_trial_open(
    kind, points, tmp_path, commands
):
    done = commands.python(KILLED, kind, tmp_path, points, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert len(outcomes) > 4  # making or beginning it, two parameters, what is known of it
    for closed, complete, running, has_points in outcomes:
        assert (complete, running) == (3, 0), outcomes
        assert closed <= 1
        assert has_points or points == "sampled", outcomes
    assert sum(closed for closed, *_ in outcomes) >= 4
