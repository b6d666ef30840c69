"""Drivers that are killed in the middle of trainings: the next one goes on with them."""

import json

import pytest
from _studies import ROUNDS

KILLED = """
    import json, os, random, signal, sys, time
    from pathlib import Path

    import numpy as np
    from skorch import NeuralNetClassifier
    from torch import nn
    from hpo import Study, StudyData, run_study

    EXECUTOR, FOLDER, N_KILLS = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    N_EPOCHS = 12
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 5)).astype("float32")

    def run(name):
        net = NeuralNetClassifier(
            nn.Linear, module__in_features=5, module__out_features=2, lr=0.01,
            criterion=nn.CrossEntropyLoss, max_epochs=N_EPOCHS, batch_size=20, train_split=None,
            iterator_train__shuffle=True, optimizer__momentum=0.9, verbose=0,
        )
        return run_study(Study(
            name="s", estimator=net, data=StudyData(X=X, y=(X[:, 0] > 0).astype("int64")),
            search_space={"lr": [0.001, 0.01]}, sampler="grid", pruner=None, scoring="accuracy",
            cv=2, device="cpu", tracker="null", refit=False, executor=EXECUTOR,
            storage=f"journal:///{FOLDER}/{name}.journal", checkpoint_every=1e-9,
        ))

    def curves(result):
        return sorted(
            [r.trial.params["lr"], r.trial.seed, r.state, [list(p.fold_values) for p in r.reports]]
            for r in result.records if not r.interrupted
        )

    def n_reports():
        journal = FOLDER / "cut.journal"
        return journal.read_text().count('"hpo:report:') if journal.exists() else 0

    whole = run("whole")
    moments = random.Random(N_KILLS)
    for _ in range(N_KILLS):
        goal = n_reports() + moments.randint(5, 9)
        pid = os.fork()
        if not pid:
            run("cut")
            os._exit(0)
        while n_reports() < goal:
            time.sleep(0.005)
        time.sleep(moments.random() * 0.05)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    again = run("cut")
    resumed = [r.trial.resumed_step for r in again.records if r.trial.resumed_from is not None]
    left = [str(path) for path in FOLDER.glob("*.files/*/checkpoints/*")]
    print(json.dumps([
        curves(again) == curves(whole), again.epochs_run - whole.epochs_run, len(resumed), left,
    ]))
"""


@pytest.mark.parametrize("executor", ["serial", "process:n_jobs=2", "fused:compile=false,n_jobs=1"])
def test_a_study_whose_drivers_are_killed_is_one_that_ran_through(executor, tmp_path, commands):
    n_kills = 2 if executor == "serial" or ROUNDS > 1 else 1
    done = commands.python(KILLED, executor, tmp_path, n_kills, folder=tmp_path, seconds=240)
    assert done.returncode == 0, done.stderr
    same, n_twice, n_resumed, left = json.loads(done.stdout.splitlines()[-1])
    assert same
    assert n_resumed
    assert not left
    # A checkpoint is written before each step, so that a kill costs a trial two steps at most.
    n_at_a_time = 1 if executor == "serial" else 2
    assert 0 <= n_twice <= 2 * n_kills * n_at_a_time
